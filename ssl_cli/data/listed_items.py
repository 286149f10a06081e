"""Which training inputs a table lists."""

from pathlib import Path

from ssl_cli.config.item_list import read_item_list
from ssl_cli.data.images.listing import inside
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError


def listed_items(key: str, table: Path, dataset: Dataset, others_may_be_listed: bool = False) -> dict[int, str | None]:
    """The training inputs that the table `key`=`table` lists, in its order, each with the class that it says.

    Args:
        key, table: as typed; see `config.item_list`. Of data that were read from files, paths count, where there are any.
        dataset: whose inputs they are.
        others_may_be_listed: whether test inputs and files that were left out may be among them; they are passed over.

    Returns:
        items, with the name of the class that the table says; empty where its row says none, None where no column could.

    Raises:
        ConfigError: an input is none of the data set, or is listed twice.
    """
    asked = f"{key}={table}"
    files = dataset.files
    places = {} if files is None else {path: item for item, path in enumerate(files.train)}
    elsewhere = {} if files is None else {path: "for the test" for path in files.test}
    elsewhere |= {} if files is None else {path: f"left out: {why}" for path, why in files.skipped}
    found: dict[int, str | None] = {}
    for row in read_item_list(key, table):
        if files is not None and row.path is not None:
            path = row.path if row.path in places or row.path in elsewhere else inside(Path(files.root), row.path)
            name, item = f"{row.path}", places.get(path)
            if item is None and others_may_be_listed and path in elsewhere:
                continue
            why = elsewhere.get(path, f"not in dataset.root={files.root}")
        else:
            name, item = f"item {row.item}", row.item
            why = f"none of the {len(dataset.train):,} training inputs of dataset={dataset.name}"
            if item is None:
                raise ConfigError(
                    f"{asked}: has no column item, and the inputs of dataset={dataset.name} have no paths"
                )
            item = item if item < len(dataset.train) else None
        if item is None:
            raise ConfigError(f"{asked}: lists {name}, which is {why}")
        if item in found:
            raise ConfigError(f"{asked}: lists {name} twice")
        found[item] = row.label
    return found
