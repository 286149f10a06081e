"""The files of a choice of inputs to label: `to_label.csv`, `to_label.png`, `label.html`."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from ssl_cli.config.schema import Config
from ssl_cli.data.images.files import UnreadableError, open_image, read_file, to_eight_bits
from ssl_cli.data.images.listing import TEST, TRAIN, inside, read_label_table
from ssl_cli.data.progress import show_progress
from ssl_cli.data.selection.proposal import Proposal
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.types import UNKNOWN, Dataset, Files, as_texts, in_order
from ssl_cli.report.contact_sheet import save_contact_sheet
from ssl_cli.report.label_page import SIDE, Entry, write_label_page
from ssl_cli.report.texts import save_texts
from ssl_cli.runs.files import as_csv, write
from ssl_cli.runs.run import Run
from ssl_cli.stages.one_input import picture_of

SHOWN = 200  # inputs in the picture
SHOWN_FROM = 200  # pictures, whose reading takes seconds


def save_selected(
    config: Config,
    run: Run,
    dataset: Dataset,
    known: dict[int, str | None],
    proposal: Proposal,
    classes: tuple[str, ...],
) -> None:
    """Write the choice as a table, as a picture, and as a page on which a person labels it.

    Args:
        config, run: of the choice.
        dataset: it was chosen from.
        known: the training inputs that have a label, with their classes.
        proposal: the choice.
        classes: names that the page offers, beside those in `known`.
    """
    items: list[int] = proposal.items.tolist()
    files = dataset.files
    texts: list[str] = []
    if dataset.vocabulary is not None:
        texts = texts_of(dataset.vocabulary, as_texts(dataset.train.inputs)[proposal.items])
    names: list[str] = [str(item) if files is None else str(files.train[item]) for item in items]
    pictures = [] if texts else _pictures(dataset, items)
    heads = ["rank", "item", *(["path"] if files else []), *(["text"] if texts else []), "score", "reason"]
    rows = [
        [rank + 1, item, *([names[rank]] if files else []), *([texts[rank]] if texts else []), f"{score:.6g}", reason]
        for rank, (item, score, reason) in enumerate(zip(items, proposal.scores, proposal.reasons, strict=True))
    ]
    offered = in_order({*classes, *(name for name in known.values() if name)})
    columns, entries, others = _page_rows(config, dataset, known, items, texts, pictures)
    write_label_page(run.folder / "label.html", run.id, columns, entries, others, offered)
    if texts:
        save_texts([(str(rank + 1), text) for rank, text in enumerate(texts[:SHOWN])], run.folder / "to_label.png")
    else:
        tiles = [
            (picture, f"{rank + 1}", name) for rank, (picture, name) in enumerate(zip(pictures, names, strict=True))
        ]
        save_contact_sheet(tiles[:SHOWN], run.folder / "to_label.png")
    write(run.folder / "to_label.csv", as_csv([heads, *rows], "surrogateescape"))


def _pictures(dataset: Dataset, items: list[int]) -> list[Image.Image]:
    """The images: from their files, which show more than inputs do, where there are files."""
    return [_picture(dataset, item) for item in show_progress("Reading", "images", len(items), SHOWN_FROM, items)]


def _picture(dataset: Dataset, item: int) -> Image.Image:
    if dataset.files is not None:
        path = Path(dataset.files.root) / dataset.files.train[item]
        try:
            picture = to_eight_bits(open_image(read_file(path), path.suffix))
            picture.thumbnail((SIDE, SIDE))  # at once, since photographs would fill the memory
            return picture
        except UnreadableError:  # it was there when it was read first
            pass
    return picture_of(dataset.train.inputs, item)


def _page_rows(
    config: Config, dataset: Dataset, known: dict[int, str | None], items: list[int], texts: list[str],
    pictures: list[Image.Image],
) -> tuple[list[str], list[Entry], list[list[str]]]:  # fmt: skip
    """The columns of the table that the page makes, of which the second is the label; its entries, and the rows beside them.

    Of image files it is a table for `dataset.labels`, which has all that is known, since a table replaces another one and what
    names of folders say.
    """
    listed: set[str] = set()
    if dataset.files is None:
        columns = ["item", "label", *(["text"] if texts else [])]
        rows = [[str(item), "", *([texts[rank]] if texts else [])] for rank, item in enumerate(items)]
        others = [] if texts else [[str(item), name] for item, name in known.items() if name]
    else:
        table = config.dataset.arguments.get("labels")
        columns, found = (
            _table_rows(dataset.files, table) if isinstance(table, Path) else _known_rows(dataset, dataset.files, known)
        )
        for item, name in known.items():
            path = dataset.files.train[item]
            found.setdefault(path, [path, "", *[""] * (len(columns) - 2)])[1] = name or ""
        paths = [dataset.files.train[item] for item in items]
        listed = found.keys() & set(paths)
        rows = [[path, "", *found.pop(path, [""] * len(columns))[2:]] for path in paths]
        others = list(found.values())
    shown = texts or pictures
    return columns, [Entry(row, each, row[0] in listed) for row, each in zip(rows, shown, strict=True)], others


def _table_rows(files: Files, table: Path) -> tuple[list[str], dict[str, list[str]]]:
    """The rows of the table of labels that the data set was read with, by path."""
    root = Path(files.root)
    said = read_label_table(root, table)
    found = {inside(root, path): [path, *(cell or "" for cell in row)] for path, row in said.items()}
    return ["path", "label", "split", "case"], found


def _known_rows(dataset: Dataset, files: Files, known: dict[int, str | None]) -> tuple[list[str], dict[str, list[str]]]:
    """A row for each file that has a label by the name of its folder, by path; with its part where folders say that."""

    def rows() -> Iterator[list[str]]:
        for item in known:
            yield [files.train[item], "", TRAIN]
        for path, label in zip(files.test, dataset.test.labels.tolist(), strict=True):
            yield [path, "" if label == UNKNOWN else dataset.classes[label], TEST]

    width = 3 if files.test and not files.held_out else 2
    return ["path", "label", "split"][:width], {row[0]: row[:width] for row in rows()}
