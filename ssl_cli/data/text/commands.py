"""Voice commands in many languages, sampled from the sentence templates of Home Assistant."""

import random
import re
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from ssl_cli.config.schema import Bpe, Count, TextFacts
from ssl_cli.data.text.corpus import Corpus, Text
from ssl_cli.data.text.store import stored
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError

SAMPLING = 1  # raised when the same templates give other texts
FEWEST = 5  # templates with more than one text that an intent has in a language; with fewer it is left out
TRIES = 3  # times as many draws as texts wanted, since some come out equal
DEEPEST = 24  # rules within rules

# Words for what a template leaves open and its language has no list for; names that are the same in many languages.
PLACES = ("Studio", "Loft", "Patio", "Atelier", "Salon", "Foyer", "Sauna", "Bar", "Veranda", "Lounge", "Galerie")
NAMES = ("Luna", "Nova", "Orion", "Bella", "Solar", "Aura", "Titan", "Vega", "Nemo", "Robo", "Alpha", "Delta")
FILLERS = {
    "area": PLACES,
    "zone": PLACES,
    "floor": ("Alpha", "Delta", "Omega", "Sigma", "Terra"),
    "name": NAMES,
    "timer_name": ("pizza", "pasta", "yoga", "sauna", "espresso", "tennis"),
    "shopping_list_item": ("pizza", "pasta", "bananas", "tofu", "kiwi", "espresso"),
    "todo_list_item": ("yoga", "tennis", "piano", "taxi", "hotel", "museum"),
    "search_query": ("Mozart", "Vivaldi", "jazz", "techno", "Beethoven", "opera"),
    "message": ("pizza", "taxi", "stop", "hotel", "alarm", "karaoke"),
}


class _Template(NamedTuple):
    """A sentence with what may stand in it: parsed, and the lists and rules that it refers to."""

    text: str
    expression: Any
    lists: dict[str, Any]
    rules: dict[str, Any]


class _UnknownError(Exception):
    """A template refers to what there is not."""


def commands(
    languages: list[str],
    labelled_languages: list[str] | None,
    per_template: Count,
    test_fraction: Annotated[float, "(0, 1)"],
    tokenizer: Bpe,
    cache: Path,
    facts: TextFacts,
) -> Dataset:
    """Voice commands with their intents; no template is both in training and in the test.

    Args:
        languages: codes such as `en`.
        labelled_languages: whose labels may be used; training texts in other languages have none; null for all.
        per_template: number of different texts of a template, at most.
        test_fraction: of the templates of each intent that are held out; always the same ones.
        tokenizer: how texts become tokens.
        cache: the folder where tokens are kept.
        facts: what is known.

    Raises:
        ConfigError: a package is missing, or it has no such language.
    """
    intents, _ = _packages()
    if not languages:
        raise ConfigError("dataset.languages: must name at least one language, such as en")
    for language in languages:
        if language not in intents.get_languages() or intents.get_intents(language) is None:
            raise ConfigError(f"dataset.languages={language}: must be of {', '.join(intents.get_languages())}")
    source = {
        "commands": SAMPLING,
        "packages": {name: version(name) for name in ("home-assistant-intents", "hassil")},
        "languages": languages,
        "per_template": per_template,
        "test_fraction": test_fraction,
    }
    read = partial(commands_of, languages, per_template, test_fraction)
    return stored(
        Corpus(source, read, has_sentences=False, test_fraction=test_fraction), tokenizer, cache, labelled_languages
    )


def _packages() -> tuple[Any, Any]:
    """The templates, and the library that parses them.

    Raises:
        ConfigError: one is not installed.
    """
    try:
        import hassil
        import home_assistant_intents
    except ImportError as error:
        raise ConfigError(
            "dataset=commands needs the packages home-assistant-intents and hassil: pip install 'ssl-cli[text]'"
        ) from error
    return home_assistant_intents, hassil


def commands_of(languages: list[str], per_template: int, test_fraction: float) -> Iterator[Text]:
    """Test texts first; a text that several templates give is where it comes first."""
    seen: set[tuple[str, str]] = set()
    for is_test in (True, False):
        for language in languages:
            for intent, templates in _templates(language).items():
                order = sorted(templates)
                random.Random(f"{language}/{intent}").shuffle(order)
                held_out = max(1, round(test_fraction * len(order)))
                for text in order[:held_out] if is_test else order[held_out:]:
                    place = f"{language}/{intent}: {text}"
                    for sampled in _samples(templates[text], place, per_template):
                        if (language, sampled) not in seen:
                            seen.add((language, sampled))
                            named = language if len(languages) > 1 else None
                            yield Text((sampled,), None, intent, named, is_test, None, place)


def _templates(language: str) -> dict[str, dict[str, _Template]]:
    """The templates of each intent that has enough of them, by their text.

    What two intents share (they differ by the room that the speaker is in) tells nothing and belongs to neither.
    """
    intents, hassil = _packages()
    known = hassil.Intents.from_dict(intents.get_intents(language))
    found: dict[str, dict[str, _Template]] = {}
    owners: dict[str, set[str]] = {}
    for name, intent in known.intents.items():
        for block in intent.data:
            lists, rules = {**known.slot_lists, **block.slot_lists}, {**known.expansion_rules, **block.expansion_rules}
            for text, parsed in ((sentence.text, sentence.expression) for sentence in block.sentences):
                template = _Template(text, parsed, lists, rules)
                if next(_samples(template, text, 1), None) is not None:
                    found.setdefault(name, {}).setdefault(text, template)
                    owners.setdefault(text, set()).add(name)
    own = {
        name: {text: template for text, template in templates.items() if len(owners[text]) == 1}
        for name, templates in found.items()
    }
    varied = {
        name: sum(len(list(_samples(each, text, 2))) > 1 for text, each in own[name].items()) for name in sorted(own)
    }
    return {name: own[name] for name, count in varied.items() if count >= FEWEST}


def _samples(template: _Template, seed: str, count: int) -> Iterator[str]:
    """Up to `count` different sentences of a template, the same ones for the same seed; none if a list is missing."""
    source = random.Random(seed)
    seen: set[str] = set()
    for _ in range(TRIES * count):
        try:
            text = " ".join(_draw(template.expression, template, source, DEEPEST).split())
        except _UnknownError:
            return
        if text and text not in seen:
            seen.add(text)
            yield text
            if len(seen) == count:
                return


def _draw(expression: Any, template: _Template, source: random.Random, deepest: int) -> str:
    kind = type(expression).__name__
    if kind == "TextChunk":
        return expression.original_text
    if kind == "Alternative":
        return _draw(source.choice(expression.items), template, source, deepest)
    if kind in ("Sequence", "Permutation"):
        items = list(expression.items)
        if kind == "Permutation":
            source.shuffle(items)
        return "".join(_draw(item, template, source, deepest) for item in items)
    if kind == "RuleReference" and expression.rule_name in template.rules and deepest:
        return _draw(template.rules[expression.rule_name].expression, template, source, deepest - 1)
    if kind == "ListReference":
        return _filler(expression, template, source, deepest)
    raise _UnknownError


def _filler(reference: Any, template: _Template, source: random.Random, deepest: int) -> str:
    values: Any = template.lists.get(reference.list_name)
    kind = type(values).__name__
    if kind == "TextSlotList" and values.values:
        return _draw(source.choice(values.values).text_in, template, source, deepest)
    if kind == "RangeSlotList":
        return str(source.choice(range(values.start, values.stop + 1, values.step)))
    if values is None and (inline := re.fullmatch(r"(\d+)\.\.(\d+)(?:,(\d+))?", reference.list_name)):
        first, last, step = inline.groups("1")
        return str(source.choice(range(int(first), int(last) + 1, int(step))))
    if reference.list_name not in FILLERS:
        raise _UnknownError
    return source.choice(FILLERS[reference.list_name])
