"""The commands that look at runs and keep order among them: a word, the module that carries it out, and what it does.

None of them starts a training or imports torch, and none is a setting of Hydra's.
"""

import argparse
import importlib
from collections.abc import Sequence
from typing import NoReturn

from ssl_cli.errors import ConfigError

COMMANDS = {
    "status": "how the runs below a folder are going: finished, running, failed, and how long it takes",
    "list": "all runs below a folder, and the settings in which they differ",
    "diff": "two runs side by side: settings and numbers that differ",
    "prune": "removes what finished runs no longer need, once --yes is added",
    "log": "a run's metrics for TensorBoard, or for Weights & Biases without a network",
}
DEFAULT_FOLDER = "outputs"


class Options(argparse.ArgumentParser):
    """The options of one command; what is wrong with them is a ConfigError."""

    def __init__(self, command: str):
        about = COMMANDS[command]
        super().__init__(f"ssl-cli {command}", description=about[0].upper() + about[1:] + ".", allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """What was typed behind the command.

        Raises:
            ConfigError: an option does not exist, lacks its value or has an impossible one, or there is a word too many.
        """
        asked, unknown = self.parse_known_args(words)
        for word in unknown:
            what = "no such option" if word.startswith("-") else "one word too many"
            raise ConfigError(f"{word}: {what} of {self.prog}; see {self.prog} --help")
        return asked


def carry_out_command(command: str, words: Sequence[str]) -> None:
    """Carry out one of `COMMANDS`.

    Raises:
        ConfigError: what was typed cannot be carried out.
    """
    importlib.import_module(f"ssl_cli.cli.runs.{command}").main(Options(command), words)
