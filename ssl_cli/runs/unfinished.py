"""Is there an unfinished run with the same settings beside a new one?"""

import contextlib
from pathlib import Path

from ssl_cli.runs import claim
from ssl_cli.runs.reading import is_file


def unfinished_like(folder: Path) -> Path | None:
    """The newest run beside that in `folder` that has the same settings, is not finished, and that nobody works on.

    Only names, sizes and, where these agree, settings are read. What cannot be read, or is gone meanwhile, is passed over.
    """
    settings = (folder / "config.yaml").read_bytes()
    beside: list[tuple[float, Path]] = []
    for path in folder.parent.glob("*/config.yaml"):
        with contextlib.suppress(OSError):
            if path.parent != folder and not path.parent.is_symlink() and _is_unfinished(path, settings):
                beside.append((path.stat().st_mtime, path.parent))
    return max(beside, default=(0.0, None))[1]


def _is_unfinished(path: Path, settings: bytes) -> bool:
    """Whether a settings file holds `settings`, and nobody has finished its run or works on it."""
    if not is_file(path) or path.stat().st_size != len(settings) or (path.parent / "result.json").exists():
        return False
    return claim.holder_of(path.parent) is None and path.read_bytes() == settings
