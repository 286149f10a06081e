"""Pages from outside of docs/ in the site, and links that lead to the right place both in the repository and in the site."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
OUTSIDE = {  # where things are in the repository, and in the site
    "README.md": "command.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/growth.png": "pictures/growth.png",
}
LINK = re.compile(r"(\]\()(?!\w+:|#)([^\s)#]+)")


def on_files(files, config):
    """Take in what lies outside of docs/."""
    for source, place in OUTSIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Pages link to what is in the repository; here the same links lead to what is in the site."""
    place = page.file.src_uri
    source = next((source for source, taken in OUTSIDE.items() if taken == place), f"docs/{place}")

    def moved(link: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2]))
        target = OUTSIDE.get(target) or target.removeprefix("docs/")
        return link[1] + posixpath.relpath(target, posixpath.dirname(place) or ".")

    return LINK.sub(moved, markdown)
