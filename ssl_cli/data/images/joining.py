"""Which parts of a cache are written anew, together: small ones, and those of which little is needed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ssl_cli.data.images.item import Item
from ssl_cli.data.images.part import Decoded, Version, version

ROUNDS = 16  # the largest share of a cache that is there twice at a time is one of so many, or one part


def parts_to_join(found: Iterable[Decoded], rows: Mapping[str, int], size: int) -> set[str]:
    """Some parts that are less than half full, or hold more rows that nobody needs than others; none where that gains nothing.

    Args:
        found: what is needed.
        rows: how many each part has.
        size: rows of a full part.
    """
    needed: Counter[str] = Counter()
    for each in found:
        needed[each.part] += each.row is not None
    wasteful = {part for part, count in needed.items() if 2 * count < rows[part]}
    group: set[str] = set()
    most, taken = max(size, needed.total() // ROUNDS), 0
    for part, count in needed.items():
        if (part in wasteful or 2 * count < size) and (not group or taken + count <= most):
            group.add(part)
            taken += count
    return group if len(group) > 1 or group & wasteful else set()


def cut(items: Sequence[Item], known: Mapping[Version, Decoded], size: int) -> Iterator[list[Item]]:
    """Items in their order, as many at a time as have a full part's rows."""
    one: list[Item] = []
    rows = 0
    for item in items:
        has_row = known[version(item)].row is not None
        if has_row and rows == size:
            yield one
            one, rows = [], 0
        one.append(item)
        rows += has_row
    if one:
        yield one
