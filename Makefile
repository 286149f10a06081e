.PHONY: check test slow format

check:            ## what CI checks, in this environment
	ruff check .
	ruff format --check .
	pytest

test:
	pytest

slow:             ## minutes, not seconds
	pytest -m slow

format:
	ruff check --fix .
	ruff format .
