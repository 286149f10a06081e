"""A finished network for images as one file: safetensors, torch.export or ONNX.

The network in the file takes float pixels in 0–1 and has the run's own scale of pixels inside. A classifier's gives logits
divided by the temperature of its calibration, so that their softmax is what `stage=predict` says; a pre-training's gives
features.
"""

import io
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_cli.config.build import plain
from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import write
from ssl_cli.stages.calibration import read_calibration
from ssl_cli.stages.trained import TrainedNetwork, ends_in_classifier, open_backbone, open_classifier
from ssl_cli.training.device import borrowed

FILES = {"safetensors": "model.safetensors", "torch_export": "model.pt2", "onnx": "model.onnx"}
TOLERANCE = 1e-4  # between what the file gives and what the network gives, absolute and relative
TIMED = 20  # passes, of one input each

Answers = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Exported:
    """Of a file: its size; milliseconds of one input by itself; the shape of an input (C, H, W); what comes out, in words.

    largest_difference: from what the network gives, on random inputs.
    """

    bytes: int
    milliseconds: float
    shape: tuple[int, int, int]
    gives: str
    largest_difference: float


class PixelsIn(nn.Module):
    """Pixels in 0–1 → what the network gives for them, divided by a temperature.

    Args:
        network: takes pixels in 0 to `scale`.
    """

    def __init__(self, network: nn.Module, scale: float, temperature: float):
        super().__init__()
        self.network = network
        self.scale, self.temperature = scale, temperature

    def forward(self, pixels: Tensor) -> Tensor:
        """Float (B, C, H, W) → (B, D)."""
        return self.network(pixels * self.scale) / self.temperature


def export_network(source: Path, kind: str, path: Path) -> Exported:
    """Write the network of a finished run on images.

    Args:
        source: the folder of the run.
        kind: one of `FILES`.
        path: of the file.

    Raises:
        ConfigError: a package is missing, the network cannot be exported, or the file gives other numbers than the network.
    """
    _require_packages(kind)
    here = replace(borrowed("cpu"), channels_last=False)
    is_classifier = ends_in_classifier(source)
    trained = (open_classifier if is_classifier else open_backbone)("stage.run", source, lambda _: here)
    calibration = read_calibration("stage.run", source) if is_classifier else None
    temperature = calibration.temperature if calibration else 1.0
    network = PixelsIn(trained.network, trained.config.augment.scale or 1.0, temperature).eval()
    example = torch.rand(2, *trained.form.shape, generator=torch.Generator().manual_seed(0))
    try:
        with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
            warnings.simplefilter("ignore")  # of what the exporters use themselves
            content, load = WRITERS[kind](network, example, trained)
    except Exception as error:  # exporters raise whatever a network leads them to
        first = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"stage.format={kind}: backbone={trained.config.backbone.name} cannot be exported ({first})"
        ) from error
    write(path, content)
    answers = load()
    difference = _difference(network, answers, trained.form.shape, kind)
    gives = f"logits of {len(trained.form.classes)} classes" if is_classifier else f"{trained.network.dim} features"
    return Exported(len(content), _milliseconds(answers, example[:1]), trained.form.shape, gives, difference)


def _require_packages(kind: str) -> None:
    if kind != "onnx":
        return
    missing: list[str] = []
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ConfigError(f"stage.format=onnx: needs the packages {', '.join(missing)}: pip install 'ssl-cli[onnx]'")


def _as_safetensors(network: PixelsIn, example: Tensor, trained: TrainedNetwork) -> tuple[bytes, Callable[[], Answers]]:
    """All weights in one file, whose metadata say what they are the weights of, each a JSON value."""
    from safetensors.torch import load, save

    config, form = trained.config, trained.form
    about: dict[str, Any] = {
        "classes": form.classes if _is_classifier(trained) else (),
        "inputs": asdict(form.reading) if form.reading else {},
        "pixels": {"given": "0 to 1", "scale": network.scale},
        "temperature": network.temperature,
        "backbone": plain(config.backbone),
        "head": plain(config.head) if _is_classifier(trained) else None,
        "weights": {"backbone.": "of the backbone", "head.": "of the classifier on its features"},
    }
    weights = {name: tensor.contiguous() for name, tensor in network.network.state_dict().items()}
    content = save(weights, {name: json.dumps(value, ensure_ascii=False) for name, value in about.items()})

    def reload() -> Answers:
        network.network.load_state_dict(load(content))
        return network

    return content, reload


def _as_torch_export(
    network: PixelsIn, example: Tensor, trained: TrainedNetwork
) -> tuple[bytes, Callable[[], Answers]]:
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    content = buffer.getvalue()
    return content, lambda: torch.export.load(io.BytesIO(content)).module()


def _as_onnx(network: PixelsIn, example: Tensor, trained: TrainedNetwork) -> tuple[bytes, Callable[[], Answers]]:
    program = torch.onnx.export(
        network, (example,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},), input_names=["pixels"],
        output_names=["logits" if _is_classifier(trained) else "features"], verbose=False,
    )  # fmt: skip
    if program is None:
        raise RuntimeError("the exporter gave nothing")
    content: bytes = program.model_proto.SerializeToString()

    def load() -> Answers:
        import onnxruntime

        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return lambda pixels: torch.from_numpy(np.asarray(session.run(None, {"pixels": pixels.numpy()})[0]))

    return content, load


WRITERS = {"safetensors": _as_safetensors, "torch_export": _as_torch_export, "onnx": _as_onnx}


def _is_classifier(trained: TrainedNetwork) -> bool:
    return ends_in_classifier(trained.folder)


@torch.no_grad()
def _difference(network: nn.Module, answers: Answers, shape: tuple[int, int, int], kind: str) -> float:
    """The largest difference between what the file gives and what the network gives, for batches of several sizes.

    Raises:
        ConfigError: it is more than rounding.
    """
    source = torch.Generator().manual_seed(1)
    largest = 0.0
    for count in (1, 3, 8):
        pixels = torch.rand(count, *shape, generator=source)
        own, theirs = network(pixels), answers(pixels)
        apart = float((own - theirs).abs().max())
        if not torch.allclose(own, theirs, rtol=TOLERANCE, atol=TOLERANCE):
            raise ConfigError(
                f"stage.format={kind}: the file gives other numbers than the network, by up to {apart:.2g}"
            )
        largest = max(largest, apart)
    return largest


@torch.no_grad()
def _milliseconds(answers: Answers, pixels: Tensor) -> float:
    """The median time of one input by itself."""
    taken = []
    for _ in range(TIMED + 2):
        began = time.perf_counter()
        answers(pixels)
        taken.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(taken[2:]), 4)
