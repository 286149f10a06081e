"""Networks of other libraries, whose weights are published: torchvision's and timm's classification models.

Pixels, 0 to 1, are normalised as the published weights want them, grey ones three times over. Features are what the network's
classifier reads.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Shape
from ssl_cli.errors import ConfigError
from ssl_cli.models.backbones.published_weights import CLASSIFIERS, downloaded, load_published, needs

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
AT_LEAST = {"inception_v3": 75, "alexnet": 63}  # pixels a side; 32 for others
SIZED = ("vit", "deit", "deit3", "eva02", "swin", "beit", "beitv2")  # of timm: networks made for one size of images


class Published(nn.Module):
    """A network without its classifier.

    Args:
        network: (B, 3, H, W) → (B, dim).
        stages: parts of it, whose outputs are the features of stages.
        dim: number of features.
        normalisation: mean and standard deviation of each channel.
        at_least: smallest side of the inputs in pixels.
        shape: of the inputs.
        channels_last: whether stages give (B, H, W, C).

    Raises:
        ValueError: the inputs are too small.
    """

    scale = 1.0  # what pixels end at

    def __init__(
        self,
        network: nn.Module,
        stages: Iterable[nn.Module],
        dim: int,
        normalisation: tuple[Iterable[float], Iterable[float]],
        at_least: int,
        shape: Shape,
        channels_last: bool = False,
    ):
        super().__init__()
        self.network, self.dim, self._at_least, self._channels_last = network, dim, at_least, channels_last
        self.stages = list(stages)  # no ModuleList: their weights are those of `network`, and would be saved twice
        mean, deviation = (torch.tensor(list(values)).view(1, -1, 1, 1) for values in normalisation)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)
        self.is_published = False
        self.check_sides(shape)

    def check_sides(self, shape: Shape) -> None:
        """Raises ValueError if inputs of this shape do not fit."""
        if min(shape[1:]) < self._at_least:
            raise ValueError(f"inputs of {shape[1]}×{shape[2]} do not fit; sides must be at least {self._at_least}")

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) → (B, dim)."""
        return self.network((inputs.expand(-1, 3, -1, -1) - self.mean) / self.deviation).flatten(1)

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The features of every stage, those of the last being the network's: (B, features of that stage)."""
        outputs, features = self._watched(inputs)
        return [self._pool(output) for output in outputs[:-1]] + [features]

    def maps(self, inputs: Tensor) -> Tensor:
        """The last stage's output: (B, C, H, W).

        Raises:
            ValueError: it has no maps.
        """
        output = self._watched(inputs)[0][-1]
        if output.ndim != 4:
            raise ValueError("it gives tokens and no maps of features; take a convolutional one")
        return output.permute(0, 3, 1, 2) if self._channels_last else output

    def _watched(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        """The outputs of all stages, and the features."""
        outputs: list[Tensor] = []
        hooks = [stage.register_forward_hook(_appender(outputs)) for stage in self.stages]
        try:
            features = self(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs, features

    def _pool(self, output: Tensor) -> Tensor:
        if output.ndim == 4:
            return output.mean((1, 2) if self._channels_last else (2, 3))
        return output[:, 0]


def _appender(outputs: list[Tensor]) -> Callable[[nn.Module, Any, Any], None]:
    def append(_module: nn.Module, _inputs: Any, output: Any) -> None:
        outputs.append(output)

    return append


def torchvision(shape: Shape, model: str, weights: Literal["DEFAULT"] | Path | None) -> Published:
    """A classification model of torchvision.

    Args:
        shape: channels, height, width of the inputs.
        model: its name, such as resnet18 or convnext_tiny.
        weights: a file (.pth or .safetensors); DEFAULT: torchvision's best, downloaded once; null: random.

    Raises:
        ValueError: there is no such model, or inputs or weights do not fit.
    """
    from torchvision import models

    names = models.list_models(module=models)
    if model not in names:
        raise ValueError(f"model={model}: must be one of {', '.join(names)}")
    special: dict[str, Any] = {"image_size": shape[1]} if model.startswith("vit_") else {}
    if model in ("googlenet", "inception_v3"):
        # Published weights of these two are of pixels in another range, into which the network itself brings them.
        special = {"aux_logits": False, "init_weights": True, "transform_input": weights is not None}
    try:
        network = models.get_model(model, weights=None, **special)
    except (AssertionError, ValueError, RuntimeError) as error:
        patch = int(model.rpartition("_")[2]) if special.get("image_size") else 1
        near = max(1, round(shape[1] / patch)) * patch
        why = f"sides must be multiples of its patches of {patch} pixels, such as {needs(near)}" if patch > 1 else error
        raise ValueError(f"inputs of {shape[1]}×{shape[2]} do not fit {model}: {why}") from error
    dim = _remove_classifier(network)
    smallest = AT_LEAST.get(model, 32)
    backbone = Published(network, _stages(network), dim, IMAGENET, smallest, shape, model.startswith("swin"))
    if weights is not None:
        best: Any = models.get_model_weights(model)
        path = downloaded(best.DEFAULT.url) if weights == "DEFAULT" else weights
        load_published(network, path, f"weights={weights}", shape)
        backbone.is_published = True
    return backbone


def timm(shape: Shape, model: str, weights: Path | None) -> Published:
    """A model of the library timm.

    Args:
        shape: channels, height, width of the inputs.
        model: its name, such as resnet50 or vit_small_patch16_224.
        weights: a file (.pth or .safetensors), such as one from the model's page on the Hugging Face hub; null: random.

    Raises:
        ConfigError: timm is not installed.
        ValueError: there is no such model, or inputs or weights do not fit.
    """
    try:
        import timm as library
    except ImportError as error:
        raise ConfigError("backbone=timm: needs timm; pip install timm") from error
    if not library.is_model(model):
        raise ValueError(f"model={model}: timm has no such model; timm.list_models() lists them")
    sized: dict[str, Any] = {"img_size": shape[1:]} if model.split("_")[0] in SIZED else {}
    network: Any = library.create_model(model, pretrained=False, num_classes=0, **sized)
    about = network.pretrained_cfg
    side: int = about["input_size"][1]
    if not sized and about.get("fixed_input_size") and shape[1:] != (side, side):
        _try_size(lambda: library.create_model(model, pretrained=False, num_classes=0), model, shape, side)
    dim = getattr(network, "head_hidden_size", network.num_features)
    channels_last = getattr(network, "output_fmt", "") == "NHWC"
    normalisation = about["mean"], about["std"]
    backbone = Published(network, _timm_stages(network), dim, normalisation, 32, shape, channels_last)
    if weights is not None:
        load_published(network, weights, f"weights={weights}", shape, side)
        backbone.is_published = True
    return backbone


def _try_size(make: Callable[[], nn.Module], model: str, shape: Shape, side: int) -> None:
    """Raises ValueError where a network of timm that is made for inputs of `side` pixels takes none of this shape.

    Some are called so and take others, and each of the rest says it in another way.
    """
    with torch.device("meta"):
        try:
            make()(torch.empty(1, 3, *shape[1:]))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"inputs of {shape[1]}×{shape[2]} do not fit {model}; it needs inputs of {needs(side)}"
            ) from error


def _timm_stages(network: Any) -> list[nn.Module]:
    """The parts whose outputs are the features of stages, or the whole where a model does not say which they are."""
    try:
        return [network.get_submodule(info["module"]) for info in getattr(network, "feature_info", [])] or [network]
    except AttributeError:
        return [network]


def _remove_classifier(network: nn.Module) -> int:
    """Take the classifier away; how many features it read."""
    for name in CLASSIFIERS:
        head = getattr(network, name, None)
        if isinstance(head, nn.Linear):
            setattr(network, name, nn.Identity())
            return head.in_features
        if isinstance(head, nn.Sequential):
            last = head[-1]
            if isinstance(last, nn.Linear):
                head[-1] = nn.Identity()
                return last.in_features
            (mapped,) = [layer for layer in head if isinstance(layer, nn.Conv2d)]  # SqueezeNet's, before the pooling
            setattr(network, name, nn.AdaptiveAvgPool2d(1))
            return mapped.in_channels
    raise ValueError("its classifier is not found; take another model")


def _stages(network: Any) -> list[nn.Module]:
    """The parts whose outputs are the features of stages."""
    if hasattr(network, "layer4"):
        return [network.layer1, network.layer2, network.layer3, network.layer4]
    if hasattr(network, "encoder"):
        return list(network.encoder.layers)
    for name in ("features", "trunk_output", "blocks", "layers"):
        if hasattr(network, name):
            return list(getattr(network, name).children())
    passed = (*CLASSIFIERS, "dropout", "avgpool")
    return [part for name, part in network.named_children() if name not in passed]
