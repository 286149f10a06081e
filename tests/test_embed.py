"""Features of files, from the run's folder alone."""

import csv
import importlib.util
from pathlib import Path

import finished_runs
import numpy as np
import pytest

import ssl_cli
from ssl_cli.config.compose import from_overrides
from ssl_cli.errors import ConfigError
from ssl_cli.report.feature_map import places_of
from ssl_cli.runs.run import Run
from ssl_cli.stages.embed import embed


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """A pre-training whose data are gone."""
    return finished_runs.train_on_pictures(tmp_path_factory.mktemp("images"), "stage=pretrain")


@pytest.fixture
def embedded(tmp_path):
    def make(run: Path, inputs: Path, *overrides: str) -> tuple[dict, Path]:
        words = ("stage=embed", f"stage.run={run}", f"stage.inputs={inputs}", "runtime.threads=1", *overrides)
        config = from_overrides(*words, "runtime.precision=float32")
        folder = tmp_path / f"embedded{len(list(tmp_path.glob('embedded*')))}"
        return embed(config, Run(folder, config)), folder

    return make


def names(folder: Path) -> list[str]:
    with (folder / "ids.csv").open(newline="") as file:
        return [row["path"] for row in csv.DictReader(file)]


def test_features_are_those_of_the_backbone_in_the_order_of_the_ids(pretrained, tmp_path, embedded):
    finished_runs.save_pictures(tmp_path / "new", 8)
    (tmp_path / "new" / "000.png").write_bytes(b"no image")
    result, folder = embedded(pretrained, tmp_path / "new", "stage.parquet=true")
    features = np.load(folder / "features.npy")
    assert names(folder) == [f"{number:03d}.png" for number in range(1, 8)]
    assert (result["inputs"], result["skipped"], result["features"]) == (7, 1, features.shape[1])
    own = ssl_cli.load_backbone(pretrained)([tmp_path / "new" / name for name in names(folder)])
    assert features.dtype == np.float32
    assert np.allclose(features, own, atol=1e-5)
    assert (folder / "map.png").stat().st_size > 5000
    assert (folder / "skipped.csv").read_text() == "path,reason\n000.png,no image\n"
    from pyarrow import parquet

    table = parquet.read_table(folder / "features.parquet").to_pydict()
    assert table["path"] == names(folder)
    assert np.array_equal(np.array(table["features"], dtype=np.float32), features)


def test_a_classifiers_backbone_is_embedded_without_its_logits(tmp_path, embedded):
    run = finished_runs.train_on_pictures(tmp_path / "trained")
    finished_runs.save_pictures(tmp_path / "new", 3)
    _, folder = embedded(run, tmp_path / "new", "stage.map=pca", "stage.parquet=false")
    own = ssl_cli.load_backbone(run)(sorted((tmp_path / "new").iterdir()))
    assert np.allclose(np.load(folder / "features.npy"), own, atol=1e-5)
    assert not (folder / "features.parquet").exists()


def test_texts_are_embedded(tmp_path, embedded):
    run = finished_runs.train_on_texts(tmp_path / "trained")
    (tmp_path / "new.txt").write_text("bread")
    result, folder = embedded(run, tmp_path / "new.txt")
    assert names(folder) == ["new.txt:1"]
    assert np.load(folder / "features.npy").shape == (1, result["features"])


def test_parquet_without_pyarrow_says_what_to_install(pretrained, tmp_path, embedded, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs the package pyarrow: pip install pyarrow"):
        embedded(pretrained, tmp_path, "stage.parquet=true")


@pytest.mark.parametrize(("count", "width"), [(1, 4), (2, 1), (3, 8), (5, 4), (40, 3)])
@pytest.mark.parametrize("kind", ["pca", "tsne"])
def test_every_number_of_inputs_has_a_map(kind, count, width):
    features = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
    places = places_of(features, kind, seed=0)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert np.array_equal(places, places_of(features, kind, seed=0))


@pytest.mark.parametrize("kind", ["pca", "tsne"])
@pytest.mark.parametrize("value", [0.0, 1.234])
def test_features_that_collapsed_are_one_place_and_do_not_end_the_process(kind, value):
    assert not places_of(np.full((50, 8), value, np.float32), kind, seed=0).any()


def test_inputs_with_like_features_are_near_each_other():
    source = np.random.default_rng(0)
    features = np.concatenate([source.normal(size=(30, 6)), source.normal(size=(30, 6)) + 8]).astype(np.float32)
    for kind in ("pca", "tsne"):
        places = places_of(features, kind, seed=0)
        apart = np.linalg.norm(places[:30].mean(0) - places[30:].mean(0))
        assert apart > 2 * places[:30].std()
