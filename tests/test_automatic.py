"""Views and schedule that fit the data: what `auto` stands for, and where it comes from."""

import json

import numpy as np
import pytest
import torch
import yaml

from ssl_cli.config.choices import GROUPS
from ssl_cli.config.compose import from_overrides
from ssl_cli.config.groups import groups
from ssl_cli.config.trust import settings_folder
from ssl_cli.data.dataset import load
from ssl_cli.data.images.mirror import SAME, is_grey, mirror_ratio
from ssl_cli.errors import ConfigError
from ssl_cli.stages.automatic import settings_for

SMALL = ("budget=random", "budget.labels=20")


def blobs(count: int, size: int, seed: int) -> np.ndarray:
    """Colour pictures without a left and a right: soft blobs at random places, uint8 (N, size, size, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    pictures = np.zeros((count, size, size, 3))  # less than 255 in all
    for _ in range(8):
        cx, cy, width = rng.uniform(0.1, 0.9, (3, count, 1, 1)) * size
        shape = np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / (width / 2) ** 2))
        pictures += shape[..., None] * rng.uniform(10, 60, (count, 1, 1, 3))
    return pictures.astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Arrays of a folder of a person's own: colour pictures unless told otherwise."""

    def make(train=None, size=32, count=300):
        train = blobs(count, size, 0) if train is None else train
        for part, inputs in (("train", train), ("test", train[:20])):
            np.save(tmp_path / f"{part}_inputs.npy", inputs)
            np.save(tmp_path / f"{part}_labels.npy", np.arange(len(inputs)) % 2)
        return f"dataset.root={tmp_path}"

    return make


def digits():
    return load(from_overrides("dataset=mnist5k").dataset).train.inputs


def test_digits_and_letters_are_not_mirrored_and_blobs_are():
    letters = load(from_overrides("dataset=letters").dataset).train.inputs
    pictures = torch.from_numpy(blobs(300, 32, 1)).permute(0, 3, 1, 2)
    assert mirror_ratio(digits()) > 1.2 > SAME
    assert mirror_ratio(letters) > 1.2
    assert mirror_ratio(pictures) <= SAME


@pytest.mark.parametrize(
    ("kind", "network", "resolution"), [("colour", "resnet9", 0.625), ("digits", "small", 1), ("tiny", "small", 1)]
)
def test_colour_pictures_get_a_residual_network_and_smaller_views(folder, kind, network, resolution):
    train = {"colour": blobs(300, 32, 0), "digits": digits()[:300, 0].numpy(), "tiny": blobs(300, 16, 0)}[kind]
    config = settings_for("dataset=arrays", folder(train), *SMALL)
    assert (config.backbone.name, config.augment.pretrain.arguments["resolution"]) == (network, resolution)


def test_a_method_that_needs_whole_images_gets_them(folder):
    config = settings_for("dataset=arrays", folder(), "method=autoencoder", *SMALL)
    assert (config.backbone.name, config.augment.pretrain.arguments["resolution"]) == ("resnet9", 1)


def test_a_network_that_was_typed_stays(folder):
    data = ("dataset=arrays", folder(), *SMALL)
    assert settings_for(*data, "backbone=small").backbone.name == "small"
    assert settings_for(*data, "backbone=resnet18").backbone.name == "resnet18"
    chosen = settings_for(*data, "backbone.width=4", "augment.pretrain.resolution=1")
    assert (chosen.backbone.name, chosen.backbone.arguments["width"]) == ("resnet9", 4)
    assert chosen.augment.pretrain.arguments["resolution"] == 1


def test_a_pretraining_that_is_named_brings_its_network(cli, tmp_path, folder):
    data = ("dataset=arrays", folder(), *SMALL, "schedule=smoke")
    made = tmp_path / "made"
    done = cli("pretrain", *data, "backbone=resnet", "backbone.width=0.125", f"hydra.run.dir={made}")
    assert done.returncode == 0, done.stderr
    found = settings_for("stage=finetune", *data, f"checkpoint={made}").backbone
    assert (found.name, found.arguments["width"]) == ("resnet", 0.125)
    assert settings_for("stage=finetune", *data, f"checkpoint={made}", "backbone=small").backbone.name == "small"
    done = cli("finetune", *data, f"checkpoint={made}")
    assert "backbone=auto: backbone=resnet, as in" in done.stdout
    assert done.returncode == 0, done.stderr


def test_too_few_images_and_copies_tell_nothing():
    assert mirror_ratio(digits()[:150]) is None
    assert mirror_ratio(digits()[:1].expand(400, -1, -1, -1)) is None


def test_three_equal_channels_are_grey():
    assert is_grey(digits().expand(-1, 3, -1, -1))
    assert not is_grey(torch.from_numpy(blobs(50, 16, 0)).permute(0, 3, 1, 2))


def test_colour_pictures_get_views_for_colour_and_a_schedule_of_steps(folder):
    config = settings_for("dataset=arrays", folder(), *SMALL)
    views, schedule = config.augment.pretrain.arguments, config.schedule
    assert (config.augment.name, schedule.name) == ("natural", "standard")
    assert views["colour"].hue > 0
    assert views["flip"].p == 0.5
    assert views["crop"].area == (0.25, 1.0)
    assert (schedule.pretrain.max_steps, schedule.pretrain.batch_size) == (1000, 256)
    assert schedule.supervised.max_steps == 600


def test_larger_pictures_get_smaller_crops_blur_and_smaller_batches(folder):
    config = settings_for("dataset=arrays", folder(size=96, count=220), *SMALL)
    views = config.augment.pretrain.arguments
    assert views["crop"].area == (0.08, 1.0)
    assert views["blur"].p > 0
    assert config.schedule.pretrain.batch_size == 128


def test_grey_pictures_get_neither_hue_nor_flips(folder):
    three = digits()[:300].expand(-1, 3, -1, -1).numpy()
    views = settings_for("dataset=arrays", folder(three), *SMALL).augment.pretrain.arguments
    assert views["colour"].saturation == views["colour"].hue == views["grey"].p == views["flip"].p == 0
    assert views["affine"].p > 0


def test_a_batch_has_no_more_inputs_than_there_are(folder):
    schedule = settings_for("dataset=arrays", folder(count=30), *SMALL).schedule
    assert (schedule.pretrain.batch_size, schedule.semi.batch_size) == (30, 30)


def test_what_was_typed_stays_even_where_it_is_the_default(folder):
    typed = ("augment.pretrain.flip.p=0", "augment.pretrain.crop={p:0}", "schedule.pretrain.max_steps=50")
    config = settings_for("dataset=arrays", folder(), *SMALL, *typed, "schedule.supervised.epochs=300")
    views = config.augment.pretrain.arguments
    assert (views["flip"].p, views["crop"].p, views["crop"].area) == (0, 0, (0.25, 1.0))
    assert config.augment.supervised.arguments["flip"].p == 0.5
    assert config.schedule.pretrain.max_steps == 50
    assert (config.schedule.supervised.max_steps, config.schedule.supervised.epochs) == (None, 300)


def test_views_that_were_typed_are_for_images_or_refused(folder):
    with pytest.raises(ConfigError, match=r"augment=auto: is chosen for images, and dataset=commands has texts"):
        settings_for("dataset=commands", "augment=auto", "backbone=bag")
    with pytest.raises(ConfigError, match="is for texts, and dataset=arrays has images"):
        settings_for("dataset=arrays", folder(), "augment=text", *SMALL)


@pytest.mark.parametrize(
    "nested", ["dataset@method.source=arrays method=transfer", "dataset@stage.other=texts stage=evaluate stage.run=x"]
)
def test_a_second_data_set_does_not_change_the_views_of_the_first(nested):
    config = from_overrides(*nested.split())
    chosen = (config.augment.name, config.backbone.name, config.head.name, config.schedule.name)
    assert chosen == ("digits", "small", "simclr", "quick")


def test_experiments_and_words_go_before_what_a_data_set_brings():
    config = from_overrides("experiment=gpt", "dataset=texts", "schedule=smoke")
    assert (config.augment.name, config.backbone.name, config.schedule.name) == ("whole_text", "transformer", "smoke")


def test_what_is_usual_is_written_twice_and_the_same():
    written = yaml.safe_load((settings_folder() / "usual.yaml").read_text())["defaults"]
    usual = {key.removeprefix("override /"): value for entry in written for key, value in entry.items()}
    assert usual == {name: groups()[name].default for name in usual}
    assert set(usual) <= set(GROUPS)


def test_texts_need_no_more_words_than_their_file(tmp_path):
    rows = [{"text": f"the {word} number {n}", "label": word} for n in range(20) for word in ("sea", "sun", "sky")]
    (tmp_path / "toy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    here = (f"dataset.root={tmp_path / 'toy.jsonl'}", f"dataset.cache={tmp_path}", "dataset.tokenizer.vocabulary=300")
    config = settings_for("dataset=texts", *here, *SMALL)
    assert (config.augment.name, config.backbone.name, config.head.name, config.schedule.name) == (
        "text",
        "bag",
        "linear",
        "text",
    )
    assert config.schedule.pretrain.batch_size <= 60
    assert (config.schedule.supervised.max_steps, config.schedule.supervised.pretrained_rate) == (300, 0.1)


def test_the_command_decides_says_and_saves_and_goes_on_where_it_was(cli, tmp_path, folder):
    words = (
        "pretrain",
        "dataset=arrays",
        folder(),
        *SMALL,
        "schedule.pretrain.max_steps=2",
        "backbone.width=4",
        "hydra.run.dir=run",
    )
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    assert "augment=auto: views for colour photographs of 32 pixels, with flips" in done.stdout
    assert "schedule=auto: pre-training takes 2 steps" in done.stdout
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (saved["augment"]["name"], saved["schedule"]["name"]) == ("natural", "standard")
    again = cli(*words)
    assert "finished already" in again.stdout


def test_data_that_do_not_fit_are_refused_and_leave_nothing(cli, tmp_path, folder):
    done = cli("baseline", "dataset=arrays", folder(), "budget.labels=9999", "budget=random")
    assert done.returncode == 2
    assert done.stderr == "ssl-cli: budget.labels=9999: dataset=arrays has 300 labelled inputs; budget=all takes them\n"
    assert not any(path.is_dir() for path in (tmp_path / "outputs").glob("*/*"))
