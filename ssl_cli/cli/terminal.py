"""What reaches the terminal, and the exit codes."""

import contextlib
import logging
import os
import re
import signal
import sys
from collections.abc import Generator
from pathlib import Path

from ssl_cli.errors import ConfigError, Interrupted, TrainingError

log = logging.getLogger("ssl_cli")

MISTAKE, FAILED = 2, 1
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # all but tab and line feed


class Exits:
    """Every way out: a mistake is a sentence and 2, a failed training 1, a signal 128 + its number."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: type | None, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, BrokenPipeError):
            try:
                sys.stdout.flush()
            except BrokenPipeError as broken:
                error = error or broken
                _no_output()
        if isinstance(error, ConfigError):
            for problem in error.problems:
                _complain(problem)
            sys.exit(MISTAKE)
        if isinstance(error, TrainingError):
            _complain(str(error))
            sys.exit(FAILED)
        if isinstance(error, Interrupted):
            sys.exit(128 + error.signal_number)
        if isinstance(error, BrokenPipeError):  # as with `| head`: whoever read the output has enough of it
            _no_output()
            sys.exit(128 + 13)  # SIGPIPE
        if isinstance(error, OSError):
            from ssl_cli.runs.files import what_failed

            _complain(what_failed(error, Path.cwd()))
            sys.exit(FAILED)


def _no_output() -> None:
    """What is still to be printed goes nowhere, instead of failing once more at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(sentence: str) -> None:
    red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"{red}ssl-cli: {_harmless(sentence)}{plain}", file=sys.stderr)


def _harmless(text: str) -> str:
    """A text in which names and values from a file cannot steer the terminal: what would is spelt out."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def interrupt(number: int, _frame: object) -> None:
    """Handle a signal: what is under way ends as `Interrupted`."""
    raise Interrupted(number)


@contextlib.contextmanager
def stopped_by_signals() -> Generator[None]:
    """SIGTERM and Ctrl-C end what is under way, whoever deals with them otherwise."""
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def log_to_terminal() -> None:
    """Progress bars stay whole: what is said goes above them."""

    class Terminal(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            from tqdm import tqdm

            tqdm.write(_harmless(self.format(record)), file=sys.stdout)
            sys.stdout.flush()

    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(Terminal())
