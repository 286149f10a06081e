"""The features that a finished network has for files that belong to no data set."""

import importlib.util
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.schema import Config
from ssl_cli.errors import ConfigError
from ssl_cli.methods.networks import count_parameters
from ssl_cli.report.feature_map import save_map
from ssl_cli.runs.files import as_csv, quoted, write
from ssl_cli.runs.identity import identity
from ssl_cli.runs.result import Result, finished_result
from ssl_cli.runs.run import Run
from ssl_cli.stages.embed_settings import EmbedStage
from ssl_cli.stages.given_inputs import GivenInputs
from ssl_cli.stages.predict import save_skipped
from ssl_cli.stages.trained import (
    TrainedNetwork,
    WithFeatures,
    ends_in_classifier,
    open_backbone,
    open_with_features,
)
from ssl_cli.training.device import Machine, machine_of

log = logging.getLogger("ssl_cli")

TSNE_UP_TO = 5000  # inputs, for which t-SNE takes half a minute


@dataclass(frozen=True, kw_only=True)
class EmbedResult(Result):
    """Of embeddings: how many inputs, how many could not be read, the width of their features, how the map was made."""

    inputs: int
    skipped: int
    features: int
    map: str


def embed(config: Config, run: Run) -> dict[str, Any]:
    """Write the features of the files and a map of them; the numbers of the run.

    Raises:
        ConfigError: there is no finished network, no file that can be read, or no pyarrow where Parquet is asked for.
    """
    if run.result:
        return run.result
    here = machine_of(run, config.runtime)
    stage = config.stage_as(EmbedStage)
    if stage.run is None or stage.inputs is None:
        raise ValueError("stage.run and stage.inputs must be given")
    has_parquet = _has_parquet(stage.parquet)
    trained = _opened(stage.run, here)
    log.info("Features of %s, %s → %s", trained.config.backbone.name, here.described(), quoted(run.folder))
    given = GivenInputs(trained, stage.inputs, stage.column)
    names: list[str] = []
    parts: list[Tensor] = []
    for part in given.parts():
        names += part.names
        parts.append(trained(part.inputs))
    classes = trained.form.classes if isinstance(trained.network, WithFeatures) else ()
    found = torch.cat(parts)
    features = found[:, len(classes) :].contiguous().numpy()
    predicted = found[:, : len(classes)].argmax(1) if classes else None
    _save(names, features, has_parquet, run.folder)
    save_skipped(given.skipped, run.folder)
    kind = ("tsne" if len(names) <= TSNE_UP_TO else "pca") if stage.map == "auto" else stage.map
    title = (
        f"{len(names):,} inputs, {'t-SNE' if kind == 'tsne' else 'first two principal components'} of their features"
    )
    save_map(features, kind, config.seed, predicted, classes, title, run.folder / "map.png")
    theirs = finished_result(stage.run)
    return run.finish(
        EmbedResult(
            identity=identity(
                {"stage": "embed", "run": theirs["identity"], "inputs": given.hash, "precision": here.precision}
            ),
            labels=theirs["labels"],
            dataset=trained.config.dataset.name,
            backbone=trained.config.backbone.name,
            backbone_parameters=count_parameters(getattr(trained.network, "backbone", trained.network)),
            environment=here.environment(),
            inputs=len(names),
            skipped=len(given.skipped),
            features=features.shape[1],
            map=kind,
        )
    )


def _opened(folder: Path, here: Machine) -> TrainedNetwork:
    """The backbone of a pre-training; of a classifier both, so that the map shows what it says."""
    trained = open_backbone("stage.run", folder, lambda _: here)
    return open_with_features("stage.run", folder, lambda _: here) if ends_in_classifier(folder) else trained


def _has_parquet(asked: bool | str) -> bool:
    if asked is False:
        return False
    there = importlib.util.find_spec("pyarrow") is not None
    if asked is True and not there:
        raise ConfigError("stage.parquet=true: needs the package pyarrow: pip install pyarrow")
    return there


def _save(names: list[str], features: np.ndarray, has_parquet: bool, folder: Path) -> None:
    """`features.npy`, float32 (N, D), `ids.csv` with the name of each row, and maybe both in `features.parquet`."""
    content = io.BytesIO()
    np.save(content, features)
    write(folder / "features.npy", content.getvalue())
    write(folder / "ids.csv", as_csv([("row", "path"), *enumerate(names)], "surrogateescape"))
    if has_parquet:
        import pyarrow
        from pyarrow import parquet

        values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(features.ravel()), features.shape[1])
        written = [name.encode(errors="replace").decode() for name in names]
        content = io.BytesIO()
        parquet.write_table(pyarrow.table({"path": written, "features": values}), content)
        write(folder / "features.parquet", content.getvalue())


def closing(result: dict[str, Any], run: Run) -> None:
    """How many features of how many inputs, and where they are."""
    log.info(
        "%s features of %s inputs in %s: features.npy, ids.csv, map.png (%.0f s)",
        f"{result['features']:,}", f"{result['inputs']:,}", quoted(run.folder), result["seconds"],
    )  # fmt: skip
