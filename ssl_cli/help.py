"""What `ssl-cli --help` says."""

from collections.abc import Sequence

from ssl_cli.config import described

HEADER = """\
ssl-cli: what does a label buy, and how much of it can self-supervised pre-training buy instead?

ssl-cli [STAGE] [GROUP=CHOICE ...] [KEY=VALUE ...]     run one stage; without a word, compare all arms
ssl-cli -m KEY=VALUE,VALUE,... [...]                   sweep: every combination, one table at the end
ssl-cli resume=FOLDER                                  go on with an interrupted run or sweep
"""
EXAMPLES = """\
Examples
  ssl-cli                                              the comparison on 5,000 real digits with 200 labels
  ssl-cli -m budget.labels=50,100,200                  what each label buys
  ssl-cli pretrain dataset=cifar10 augment=natural backbone=resnet18 schedule=standard

--cfg job prints the settings that would run; --config-dir FOLDER adds your own YAML files to the groups;
--hydra-help lists what else the command line takes.
"""


def text(overrides: Sequence[str], extra_folder: str | None) -> str:
    """Usage, the groups with their choices, the settings as these overrides leave them, examples.

    Raises:
        ConfigError: an override cannot be carried out.
    """
    groups, settings = described(overrides, extra_folder)
    choices = "".join(f"{group}: {', '.join(names)}\n" for group, names in groups.items())
    return "\n".join(
        (HEADER, f"Groups and their choices (GROUP=CHOICE)\n{choices}", f"Settings (KEY=VALUE)\n{settings}", EXAMPLES)
    )
