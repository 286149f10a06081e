"""Is there an unfinished run with the same settings beside a new one?"""

from pathlib import Path

from ssl_cli.runs import claim
from ssl_cli.runs.reading import is_file


def unfinished_like(folder: Path) -> Path | None:
    """The newest run beside that in `folder` that has the same settings, is not finished, and that nobody works on.

    Only names, sizes and, where these agree, settings are read.
    """
    own = folder / "config.yaml"
    size = own.stat().st_size
    beside = [
        path
        for path in folder.parent.glob("*/config.yaml")
        if path != own and not path.parent.is_symlink() and is_file(path) and path.stat().st_size == size
    ]
    for path in sorted(beside, key=lambda path: path.stat().st_mtime, reverse=True):
        is_finished = (path.parent / "result.json").exists()
        if not is_finished and claim.holder_of(path.parent) is None and path.read_bytes() == own.read_bytes():
            return path.parent
    return None
