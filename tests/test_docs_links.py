"""Links between the pages of the repository lead somewhere, and docs/references.md has what the code cites."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("docs", "benchmarks", "conf", "ssl_cli", "tests", ".github")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])

FENCED = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+).+?\1", re.DOTALL)
LINKS = re.compile(
    r"""\]\(\s*<?([^\s)>]+)>?(?:\s+"[^"]*")?\s*\)"""  # [text](target "title"), and pictures
    r"""|^\[[^\]^]+\]:\s*<?([^\s>]+)"""  # [name]: target
    r"""|(?:href|src)="([^"]+)\"""",
    re.MULTILINE,
)


def links(text: str) -> Iterator[str]:
    for found in LINKS.finditer(CODE.sub("", FENCED.sub("", text))):
        yield next(filter(None, found.groups()))


def anchors(text: str) -> set[str]:
    """What `#` may lead to, as GitHub makes it of headings."""
    found: set[str] = set(re.findall(r"""(?:id|name)="([^"]+)\"""", text))
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", FENCED.sub("", text), re.MULTILINE):
        words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug, count = re.sub(r"[^\w\- ]", "", words).replace(" ", "-"), 0
        while (name := f"{slug}-{count}" if count else slug) in found:
            count += 1
        found.add(name)
    return found


def dead_links(page: Path, root: Path) -> list[str]:
    """A sentence for each link of a page that leads nowhere in the repository at `root`."""
    said = []
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-zA-Z][\w+.-]*:|//", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(root):
            said.append(f"{link}: lies outside the repository")
        elif not target.exists():
            said.append(f"{link}: does not exist")
        elif anchor and (target.suffix != ".md" or anchor not in anchors(target.read_text(encoding="utf-8"))):
            said.append(f"{link}: {target.name} has no #{anchor}")
    return said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page):
    assert dead_links(page, ROOT) == []


def test_the_pages_that_people_look_for_are_among_them():
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/index.md"} <= {
        page.relative_to(ROOT).as_posix() for page in PAGES
    }


def test_dead_links_are_found(tmp_path):
    root = tmp_path / "repository"
    (root / "docs").mkdir(parents=True)
    (tmp_path / "outside.md").touch()
    (root / "docs" / "other.md").write_text("# What it *is*\n\n## Twice\n\n## Twice\n")
    (root / "picture.png").touch()
    page = root / "page.md"
    page.write_text(
        "# Here\n[a](docs/other.md) [b](docs/other.md#what-it-is) [c](docs/other.md#twice-1) [d](#here) "
        "[e](https://example.org/gone) ![f](picture.png) `[g](in/code)`\n```\n[h](in/code)\n```\n"
        '[i](gone.md) [j](docs/other.md#gone) [k](#gone) ![l](gone.png "title")\n[m](../outside.md) '
        '[n](picture.png#part) <img src="gone.gif">\n\n[o]: gone.txt\n'
    )
    assert [said.partition(":")[0] for said in dead_links(page, root)] == [
        "gone.md", "docs/other.md#gone", "#gone", "gone.png", "../outside.md", "picture.png#part", "gone.gif", "gone.txt",
    ]  # fmt: skip


CITATION = re.compile(r"\b([A-Z][a-zé]+)(?: et al\.| (?:and|&) [A-Z]\w+)?(?:, | \()((?:19|20)\d\d)b?\b")
CITING = sorted([*(ROOT / "ssl_cli").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml"), *(ROOT / "docs").rglob("*.md")])
ENTRIES = [
    " ".join(entry.split())
    for entry in re.split(r"^- ", (ROOT / "docs" / "references.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
]


def citations(text: str) -> set[tuple[str, str]]:
    """First name and year of each citation, over the ends of lines too."""
    return set(CITATION.findall(re.sub(r"\s*\n\s*(?:# )?", " ", text)))


def test_citations_are_found():
    text = "(Ng, 2001) Ito (2002), Roe\n    et al., 2003; Lee and Cho, 2004b;\n# MoCo, Fan et\n# al. (2005) PyTorch 2.9, 2026"
    assert citations(text) == {("Ng", "2001"), ("Ito", "2002"), ("Roe", "2003"), ("Lee", "2004"), ("Fan", "2005")}


def test_every_citation_is_among_the_references():
    cited = {found for path in CITING for found in citations(path.read_text(encoding="utf-8"))}
    assert len(cited) > 30
    missing = [
        f"{name}, {year}"
        for name, year in sorted(cited)
        if not any(re.search(rf"\b{name}\b.*\({year}b?\)", entry) for entry in ENTRIES)
    ]
    assert missing == []
