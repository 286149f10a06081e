"""What reaches the terminal, and the exit codes."""

import logging
import os
import sys

from ssl_cli.errors import ConfigError, Interrupted, TrainingError

log = logging.getLogger("ssl_cli")

MISTAKE, FAILED = 2, 1


class Exits:
    """Every way out: a mistake is a sentence and 2, a failed training 1, a signal 128 + its number."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: type | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ConfigError):
            for problem in error.problems:
                _complain(problem)
            sys.exit(MISTAKE)
        if isinstance(error, TrainingError):
            _complain(str(error))
            sys.exit(FAILED)
        if isinstance(error, Interrupted):
            sys.exit(128 + error.signal_number)


def _complain(sentence: str) -> None:
    red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"{red}ssl-cli: {sentence}{plain}", file=sys.stderr)


def interrupt(number: int, _frame: object) -> None:
    """Handle a signal: what is under way ends as `Interrupted`."""
    raise Interrupted(number)


def log_to_terminal() -> None:
    """Progress bars stay whole: what is said goes above them."""

    class Terminal(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            from tqdm import tqdm

            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()

    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(Terminal())
