.PHONY: check test slow bench docs format

check:            ## what CI checks, in this environment
	ruff check .
	ruff format --check .
	basedpyright
	lint-imports
	pytest

test:
	pytest

slow:             ## minutes, not seconds
	pytest -m slow -n 0

bench:            ## on an otherwise idle machine, after pip install '.[bench]'
	python benchmarks/steps.py
	python benchmarks/text_steps.py
	python benchmarks/startup.py
	python benchmarks/growth.py

docs:             ## the site, into site/; after pip install '.[docs]'
	mkdocs build --strict

format:
	ruff check --fix .
	ruff format .
