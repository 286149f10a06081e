"""The page on which a person labels inputs: what it holds, what keys do, and the table that it makes."""

import csv
import html.parser
import io
import json
import re
import shutil
import subprocess

import pytest
from PIL import Image

from ssl_cli.report.label_page import Entry, write_label_page

HOSTILE = [
    "</script><script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "a,b",
    'say "hi"',
    "two\nlines",
    " é ",
    "=1+1",
]
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node to run the page's code")


@pytest.fixture
def page(tmp_path):
    """The text of a page with these names as paths and as classes, and a row that is there already."""

    def make(names: list[str], classes: list[str], listed: bool = False) -> str:
        entries = [Entry([name, "", ""], Image.new("L", (8, 8)), listed) for name in names]
        path = tmp_path / "label.html"
        write_label_page(path, "key", ["path", "label", "split"], entries, [["old.png", "cat", "test"]], classes)
        return path.read_text(encoding="utf-8")

    return make


class Elements(html.parser.HTMLParser):
    """The elements of a page, and where its attributes lead."""

    def __init__(self, text: str):
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs


def data_of(text: str) -> dict:
    """What a browser finds in the page's data."""
    return json.loads(re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[0])


def run(text: str, code: str) -> str:
    """What code prints that knows the page's data and its functions that touch no element."""
    logic = re.findall(r'<script id="logic">(.*?)</script>', text, re.DOTALL)[0]
    whole = f"{logic}\nconst data = {json.dumps(data_of(text))};\nlet state = start();\n{code}"
    done = subprocess.run(["node", "-"], input=whole.encode(), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_names_are_data_and_never_elements_or_code(page):
    text = page(HOSTILE, HOSTILE)
    data = data_of(text)
    assert [entry["cells"][0] for entry in data["entries"]] == HOSTILE
    assert data["classes"] == HOSTILE
    assert Elements(text).names == Elements(page(["x"], ["y"])).names
    assert text.count("<script") == 3


def test_the_page_reads_nothing_from_elsewhere(page):
    text = page(["x.png"], ["y"])
    assert not [value for name, value in Elements(text).attributes if name in ("src", "href")]
    assert "default-src 'none'" in text
    assert not re.findall(r"https?://", text)


def test_an_image_is_embedded_at_a_sensible_size(tmp_path):
    picture = Image.effect_noise((3000, 1500), 50)
    write_label_page(tmp_path / "a.html", "key", ["path", "label"], [Entry(["a", ""], picture)], [], [])
    embedded = data_of((tmp_path / "a.html").read_text())["entries"][0]["image"]
    assert embedded.startswith("data:image/jpeg;base64,")
    assert 1000 < len(embedded) < 300_000


@needs_node
def test_the_table_survives_every_name(page):
    code = "for (const name of data.classes) state = given(state, data.entries.length, name);\n"
    printed = run(page(HOSTILE, HOSTILE), code + "process.stdout.write(toBytes(toCsv(rowsOf(data, state))));")
    rows = list(csv.reader(io.StringIO(printed, newline="")))
    assert rows[:2] == [["path", "label", "split"], ["old.png", "cat", "test"]]
    assert rows[2:] == [[name, name.strip(), ""] for name in HOSTILE]


@needs_node
def test_a_files_name_that_is_not_utf8_gets_its_bytes_back(page):
    name = b"caf\xe9.png".decode(errors="surrogateescape")
    logic = "process.stdout.write(Buffer.from(toBytes(data.entries[0].cells[0])).toString('hex'));"
    assert run(page([name], []), logic) == name.encode(errors="surrogateescape").hex()


@needs_node
def test_labels_are_given_skipped_undone_and_given_again(page):
    code = """
    const steps = [];
    const step = next => { state = next; steps.push([state.at, { ...state.labels }]); };
    step(given(state, 3, "cat"));
    step(moved(state, 3, 1));
    step(given(state, 3, " dog "));
    step(given(state, 3, "more than there are"));
    step(undone(state));
    step(moved(state, 3, -9));
    step(given(state, 3, "cow"));
    step(undone(undone(state)));
    console.log(JSON.stringify([steps, rowsOf(data, given(state, 3, "owl"))]));
    """
    steps, rows = json.loads(run(page(["a", "b", "c"], ["cat"]), code))
    assert steps == [
        [1, {"0": "cat"}],
        [2, {"0": "cat"}],
        [3, {"0": "cat", "2": "dog"}],
        [3, {"0": "cat", "2": "dog"}],
        [2, {"0": "cat"}],
        [0, {"0": "cat"}],
        [1, {"0": "cow"}],
        [0, {}],
    ]
    assert rows[2:] == [["a", "owl", ""]]


@needs_node
def test_what_has_a_row_keeps_it_without_a_label(page):
    assert json.loads(run(page(["a"], [], listed=True), "console.log(JSON.stringify(rowsOf(data, state)[2]))")) == [
        "a",
        "",
        "",
    ]


@needs_node
@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["ant", "bee"], {"1": "ant", "2": "bee"}),
        (list("0123456789"), {digit: digit for digit in "0123456789"}),
        (["1", "2", "none"], {"1": "1", "2": "2", "3": "none"}),
        (["none", "1"], {"1": "1", "2": "none"}),
        ([f"c{n}" for n in range(12)], {"1": "c0", "9": "c8", "0": "c9"}),
        (["__proto__", "constructor"], {"1": "__proto__", "2": "constructor"}),
    ],
)
def test_digits_stand_for_classes(page, names, keys):
    found = dict(json.loads(run(page(["a"], names), "console.log(JSON.stringify([...keysOf(data, state)]))")))
    assert {key: found[key] for key in keys} == keys
    assert len(found) == min(len(names), 10)


@needs_node
def test_a_class_that_is_typed_changes_no_key(page):
    code = "state = { ...state, classes: ['5', 'cat'] };\nconsole.log(JSON.stringify([...keysOf(data, state)]))"
    assert dict(json.loads(run(page(["a"], ["ant", "3"]), code))) == {"3": "3", "1": "ant", "5": "5", "2": "cat"}
