"""Files of public text data as `dataset=texts` and `dataset=parallel` read them; with `--choose`, for choosing settings.

python benchmarks/text_files.py FROM TO            the test texts are the published ones
python benchmarks/text_files.py FROM TO --choose   a fifth of the training texts stands in their place

FROM has folders `debian` (descriptions of Debian 12's packages: labelled.tsv.gz, parallel.en-XX.tsv.gz), `trec` (TREC.train,
TREC.test), `davidson` (labeled_data.csv) and `sib200` (a folder for each language); what is not there is left out. Settings
that were chosen with the files of `--choose` have seen no test text.
"""

import argparse
import csv
import gzip
import html
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

Row = dict[str, str]
RETRIEVED = 500  # translations
LANGUAGES = ("en", "it", "da", "de", "fr")
SIB = {"en": "eng_Latn", "it": "ita_Latn", "da": "dan_Latn", "de": "deu_Latn", "fr": "fra_Latn", "ru": "rus_Cyrl"}
SIB |= {"es": "spa_Latn"}


def held_out(rows: list[Row], choose: bool) -> list[Row]:
    """The rows as they are, or only those for training, a fifth of each class being the test."""
    if not choose:
        return rows
    rows = [dict(row) for row in rows if row["split"] == "train"]
    draw = random.Random(0)
    for label in sorted({row["label"] for row in rows}):
        members = [row for row in rows if row["label"] == label]
        for row in draw.sample(members, len(members) // 5):
            row["split"] = "test"
    return rows


def write(path: Path, rows: Iterable[Row]) -> None:
    """A CSV file with the columns of the first row."""
    rows = iter(rows)
    first = next(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, first)
        table.writeheader()
        table.writerow(first)
        table.writerows(rows)
    print(path)


def debian(source: Path, target: Path, choose: bool) -> None:
    """English descriptions, paragraphs without labels beside them, and the same in several languages."""
    with gzip.open(source / "labelled.tsv.gz", "rt", encoding="utf-8") as file:
        found = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = held_out([row | {"label": row["section"], "text": row["en"]} for row in found], choose)
    write(target / "debian.csv", ({key: row[key] for key in ("split", "label", "text")} for row in rows))
    # What training may read of other packages' descriptions; of the test texts' packages there are no pairs.
    test = {part.strip() for row in rows if row["split"] == "test" for part in row["en"].split("¶")}
    paragraphs: dict[str, None] = {}
    pairs: list[Row] = []
    for language in LANGUAGES[1:]:
        for english, said in _pairs(source / f"parallel.en-{language}.tsv.gz"):
            if english not in test:
                paragraphs[english] = None
                pairs.append(dict.fromkeys(LANGUAGES, "") | {"en": english, language: said})
    more = ({"split": "unlabelled", "label": "", "text": text} for text in paragraphs)
    labelled = [{key: row[key] for key in ("split", "label", "text")} for row in rows]
    write(target / "debian_more.csv", [*labelled, *more])
    # Of each language so many paragraphs are for retrieval alone; none of their English is in another pair.
    draw = random.Random(0)
    aside = {row["en"] for name in LANGUAGES[1:] for row in draw.sample([row for row in pairs if row[name]], RETRIEVED)}
    write(target / "debian_pairs.csv", (row for row in pairs if row["en"] not in aside))
    write(target / "debian_pairs_held_out.csv", (row for row in pairs if row["en"] in aside))
    write(target / "debian_languages.csv", _in_languages(rows))
    # A small language, and beside it a related one, in descriptions of other packages.
    spanish = [{"label": row["label"], "language": "es", "text": row["es"]} for row in rows if row["es"].strip()]
    italian = [
        {"label": row["label"], "language": "it", "text": row["it"]}
        for row in rows
        if row["it"].strip() and not row["es"].strip()
    ]
    write(target / "spanish.csv", spanish)
    write(target / "spanish_italian.csv", spanish + italian)


def _in_languages(rows: list[Row]) -> Iterator[Row]:
    """English descriptions, and the others' as tests alone."""
    for row in rows:
        for language in LANGUAGES:
            if row[language].strip() and (language == "en" or row["split"] == "test"):
                yield {"split": row["split"], "label": row["label"], "language": language, "text": row[language]}


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            english, said = line.rstrip("\n").split("\t")
            yield english.strip(), said.strip()


def trec(source: Path, target: Path, choose: bool) -> None:
    """Questions, by what they ask for."""
    rows: list[Row] = []
    for split in ("train", "test"):
        for line in (source / f"TREC.{split}").read_text(encoding="latin-1").splitlines():
            label, text = line.split(" ", 1)
            rows.append({"split": split, "label": label.split(":")[0], "text": text})
    write(target / "trec.csv", held_out(rows, choose))


def davidson(source: Path, target: Path, choose: bool) -> None:
    """Tweets: hate, offensive or neither. A fifth of each class is the test, always the same."""
    names = {"0": "hate", "1": "offensive", "2": "neither"}
    with (source / "labeled_data.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            {"split": "train", "label": names[row["class"]], "text": html.unescape(row["tweet"])}
            for row in csv.DictReader(file)
        ]
    rows = held_out(rows, choose=True)
    write(target / "davidson.csv", held_out(rows, choose))


def sib200(source: Path, target: Path, choose: bool) -> None:
    """Sentences by topic: English to train on, and all languages to test on."""
    rows: list[Row] = []
    for language, folder in SIB.items():
        for split in ("train", "test"):
            with (source / folder / f"{split}.tsv").open(encoding="utf-8") as file:
                for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                    if language == "en" or split == "test":
                        rows.append(
                            {"split": split, "label": row["category"], "language": language, "text": row["text"]}
                        )
    write(target / "sib200.csv", held_out(rows, choose))


def main() -> None:
    """Write what is there."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("source", type=Path, metavar="FROM")
    asked.add_argument("target", type=Path, metavar="TO")
    asked.add_argument("--choose", action="store_true", help="a fifth of the training texts is the test")
    options = asked.parse_args()
    for make in (debian, trec, davidson, sib200):
        if (options.source / make.__name__).is_dir():
            make(options.source / make.__name__, options.target, options.choose)


if __name__ == "__main__":
    main()
