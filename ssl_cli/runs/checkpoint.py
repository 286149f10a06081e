"""Checkpoint files: each carries a checksum, and the one before the last stays until the training ends.

`torch.load` reads a file with a flipped bit without a word. So the checksum of all its bytes stands in its comment, which the
ZIP format, in which PyTorch saves, provides for; other programs read the file as before.
"""

import hashlib
import logging
from pathlib import Path

from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import write

log = logging.getLogger("ssl_cli")

LAST, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
LABEL = b"sha256:"
COMMENT = len(LABEL) + 64  # bytes
NO_COMMENT = b"\0\0"  # the comment's length, at the very end of an archive without one


def save(folder: Path, archive: bytes) -> None:
    """Write the last checkpoint; the one that was the last is then the one before it.

    Args:
        folder: of the run.
        archive: what `torch.save` wrote, which ends in a ZIP archive's end record with no comment.
    """
    if archive[-2:] != NO_COMMENT:
        raise ValueError("the archive has a comment already")
    last = folder / LAST
    body = archive[: -len(NO_COMMENT)]
    sealed = body + _seal(body)
    if last.exists():
        last.replace(folder / PREVIOUS)
    write(last, sealed)


def read(folder: Path) -> bytes | None:
    """The last checkpoint that is whole; None where there is none at all.

    Raises:
        ConfigError: there are checkpoints, and all are damaged.
    """
    present = [name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for name in present:
        content = (folder / name).read_bytes()
        if _is_whole(content):
            if name == PREVIOUS:
                what = f"{LAST} is damaged (its checksum is wrong)" if LAST in present else f"{LAST} is not there"
                log.warning("%s: %s; going on from the checkpoint before it.", folder, what)
                (folder / PREVIOUS).replace(folder / LAST)  # or the next one would take a good one's place
            return content
    if present:
        raise ConfigError(
            f"{folder}: {' and '.join(present)} {'is' if len(present) == 1 else 'are'} damaged (the checksum is wrong); "
            "remove to train this from its beginning"
        )
    return None


def drop_previous(folder: Path) -> None:
    """Remove the checkpoint before the last."""
    (folder / PREVIOUS).unlink(missing_ok=True)


def _seal(body: bytes | memoryview) -> bytes:
    """The end of a file whose other bytes are `body`: the length of the archive's comment, and the comment."""
    return COMMENT.to_bytes(2, "little") + LABEL + hashlib.sha256(body).hexdigest().encode()


def _is_whole(content: bytes) -> bool:
    end = COMMENT + 2
    return content[-end:] == _seal(memoryview(content)[:-end])
