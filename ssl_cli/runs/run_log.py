"""`run.log`: what is logged while a run's folder is worked in."""

import contextlib
import io
import logging
from collections.abc import Generator
from pathlib import Path

from ssl_cli.runs.files import open_to_append

log = logging.getLogger("ssl_cli")


@contextlib.contextmanager
def logged(folder: Path) -> Generator[None]:
    """What is logged meanwhile also goes to the folder's run.log."""
    handler = _LogFile(io.TextIOWrapper(open_to_append(folder / "run.log"), encoding="utf-8"))
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.stream.close()


class _LogFile(logging.StreamHandler[io.TextIOWrapper]):
    """A log that loses its lines where the disk is full: what is said there has been said in the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  as logging calls it
        """Nothing, where the standard one prints a traceback in the midst of a training."""
