"""What networks and methods need of inputs: one sentence for each thing that is not so, before anything runs."""

import math
from collections.abc import Iterator
from typing import get_args

from ssl_cli import signatures
from ssl_cli.schema import Component, Config, Facts, Shape
from ssl_cli.typed import anything, typed, words

VISION_TRANSFORMER = "ssl_cli.backbones.vit.VisionTransformer"


def shape_problems(config: Config, shape: Shape) -> Iterator[str]:
    """What the networks need of inputs of a shape."""
    students = {"backbone@stage.student": config.stage.student} if config.stage.name == "simclr_v2" else {}
    for key, network in {"backbone": config.backbone, **students}.items():
        needed = _sides_needed(network, shape)
        if needed:
            yield f"{key}={network.name}: inputs of {_sides(shape)} do not fit; sides must be {needed}"


def _sides(shape: Shape) -> str:
    return "×".join(map(str, shape[1:]))


def _sides_needed(network: Component, shape: Shape) -> str | None:
    """What the sides of inputs must be, in words, where a backbone's constructor says that these do not fit.

    Its annotation of `shape` carries an interval, and behind it, where sides must be divisible, `multiples of` a setting.
    """
    annotation = signatures.parameters(network.path)["shape"].annotation
    complaints: list[str] = []
    typed(list(shape), annotation, "shape", complaints, anything)
    _, interval, *divisors = get_args(annotation)
    if complaints:
        return words(interval)
    for divisor in divisors:
        setting = divisor.removeprefix("multiples of ")
        if any(side % network.arguments[setting] for side in shape[1:]):
            return f"multiples of {setting}={network.arguments[setting]}"
    return None


def method_problems(config: Config, facts: Facts | None, inputs: int | None) -> Iterator[str]:
    """What a method needs of its backbone and, where they are known, of its inputs and views.

    `inputs` is how many there are to pre-train on, None where that is not known.
    """
    if config.method.path == "ssl_cli.methods.mae.MAE" and config.backbone.path != VISION_TRANSFORMER:
        yield f"method={config.method.name}: hides patches, and backbone={config.backbone.name} has none; use backbone=vit"
        return
    needs = {
        "ssl_cli.methods.rotation.Rotation": _rotation_problems,
        "ssl_cli.methods.patch_location.PatchLocation": _patch_problems,
        "ssl_cli.methods.mae.MAE": _hiding_problems,
        "ssl_cli.methods.transfer.Transfer": _transfer_problems,
    }
    if config.method.path in needs and facts and facts.shape:
        yield from needs[config.method.path](config, facts.shape)
    if config.method.path == "ssl_cli.methods.exemplar.Exemplar":
        yield from _exemplar_problems(config, inputs)


def _exemplar_problems(config: Config, inputs: int | None) -> Iterator[str]:
    where, settings = f"method={config.method.name}", config.method.arguments
    clusters, features = settings["clusters"], settings["features"]
    if clusters is None and features != "pixels":
        yield f"{where}: method.features={features} is what clusters are found by; give method.clusters a number"
    if clusters and inputs is not None and clusters > inputs:
        yield f"{where}: method.clusters={clusters} is more than there are inputs to pre-train on; at most {inputs:,}"


def _hiding_problems(config: Config, shape: Shape) -> Iterator[str]:
    patches = math.prod(side // config.backbone.arguments["patch"] for side in shape[1:])
    share = config.method.arguments["share"]
    hidden = round(share * patches)
    if not 0 < hidden < patches:
        yield (
            f"method={config.method.name}: share={share:g} hides {hidden} of {patches} patches; some must be hidden and "
            "some seen"
        )


def _rotation_problems(config: Config, shape: Shape) -> Iterator[str]:
    where = f"method={config.method.name}"
    if shape[1] != shape[2]:
        yield f"{where}: inputs of {shape[1]}×{shape[2]} change their shape when turned; they must be square"
    affine = config.augment.pretrain.arguments.get("affine")
    if affine and affine.p and affine.rotation >= 45:
        yield f"{where}: augment.pretrain.affine.rotation={affine.rotation:g} hides quarter turns; it must be below 45"


def _patch_problems(config: Config, shape: Shape) -> Iterator[str]:
    where, settings = f"method={config.method.name}", config.method.arguments
    patch, gap, jitter = (settings[key] for key in ("patch", "gap", "jitter"))
    span = 3 * (patch + jitter) + 2 * gap
    if span > min(shape[1:]):
        yield (
            f"{where}: three patches of {patch} with gap={gap} and jitter={jitter} take {span} pixels, and inputs are "
            f"{shape[1]}×{shape[2]}; 3 · (patch + jitter) + 2 · gap may be at most {min(shape[1:])}"
        )
    needed = _sides_needed(config.backbone, (shape[0], patch, patch))
    if needed:
        yield f"{where}: method.patch={patch} does not fit backbone={config.backbone.name}; sides must be {needed}"
    if settings["colour"] == "project" and shape[0] != 3:
        yield f"{where}: method.colour=project needs three colours, and inputs have {shape[0]}; use drop or keep"


def _transfer_problems(config: Config, shape: Shape) -> Iterator[str]:
    source = config.method.arguments["source"]
    if (source.path, source.arguments) == (config.dataset.path, config.dataset.arguments):
        yield (
            f"method={config.method.name}: {_source_named(config)} is the target itself, whose labels would leak into "
            "pre-training; take another source"
        )
    facts = source.arguments.get("facts")
    if isinstance(facts, Facts) and facts.shape:
        yield from source_problems(config, shape, facts.shape)


def source_problems(config: Config, shape: Shape, theirs: Shape) -> Iterator[str]:
    """What keeps a network made for inputs of `shape` from learning from a source whose inputs are `theirs`."""
    where = f"method={config.method.name}: {_source_named(config)}"
    if theirs[0] != shape[0]:
        yield (
            f"{where} has inputs of {theirs[0]} channels and dataset={config.dataset.name} of {shape[0]}; "
            "they must have as many"
        )
    allowed = _sides_needed(config.backbone, theirs)
    if allowed:
        yield (
            f"{where} has inputs of {_sides(theirs)}, which do not fit backbone={config.backbone.name}; "
            f"sides must be {allowed}"
        )


def _source_named(config: Config) -> str:
    """The source as it is typed on the command line."""
    place = f"stage.methods.{config.method.name}" if config.stage.name == "league" else "method"
    return f"dataset@{place}.source={config.method.arguments['source'].name}"
