"""What the README says there is, there is."""

import re
import shlex
from pathlib import Path

import pytest

from ssl_cli.cli.runs.commands import COMMANDS as LOOKING_AT_RUNS
from ssl_cli.config.choices import GROUPS
from ssl_cli.config.compose import from_overrides, precheck, sweep_settings
from ssl_cli.config.plugins import EXTRAS, is_there
from ssl_cli.config.trust import settings_folder
from ssl_cli.config.words import with_params

DOCS = Path(__file__).parent.parent / "docs"
README = (Path(__file__).parent.parent / "README.md").read_text()
LOOKING = [[command] for command in LOOKING_AT_RUNS]
COMMANDS = [line.split("#")[0].split() for line in README.splitlines() if line.startswith("ssl-cli ")]


@pytest.mark.parametrize("group", GROUPS)
def test_the_table_of_groups_names_every_choice(group):
    (row,) = re.findall(rf"^\| `{group}` \|(.*)\|$", README, re.MULTILINE)
    named = set(re.findall(r"`([a-z0-9_]+)`", row))
    assert named == {path.stem for path in (settings_folder() / group).glob("*.yaml")}


@pytest.mark.parametrize(
    "command",
    [
        c
        for c in COMMANDS
        if "-m" not in c and "…" not in "".join(c) and "--" not in "".join(c) and c[1:2] not in LOOKING
    ],
)
def test_every_command_is_valid(command):
    words = [f"stage={word}" if "=" not in word else word for word in command[1:]]
    assert from_overrides(*words)


SWEEPS = [
    shlex.split(line, comments=True)[2:]
    for page in (README, *(path.read_text() for path in DOCS.glob("*.md")))
    for line in page.splitlines()
    if line.startswith("ssl-cli -m ")
]


@pytest.mark.parametrize("words", SWEEPS, ids=" ".join)
def test_every_sweep_is_valid(words):
    overrides = [f"stage={word}" if "=" not in word else word for word in words]
    for word in words:
        extra, module = EXTRAS.get(tuple(word.split("=", 1)), ("", ""))
        if module and not is_there(module):
            pytest.skip(f"needs pip install 'ssl-cli[{extra}]'")
    if "experiment=label_curve" in words:
        overrides = with_params(sweep_settings(overrides).hydra.sweeper.params, overrides)
    jobs = precheck([word for word in overrides if not word.startswith("seed=")], multirun=True)
    assert len(jobs) > 1 or any(word.startswith("seed=") for word in words)


@pytest.mark.parametrize("command", LOOKING_AT_RUNS)
def test_the_commands_that_look_at_runs_are_named_in_the_readme(command):
    assert [command] in [words[1:2] for words in COMMANDS]
