"""The folder of weights that a run begins with: a finished pre-training, or a model of the library transformers."""

from pathlib import Path

from ssl_cli.config.build import named, plain
from ssl_cli.config.schema import Config, HeadComponent
from ssl_cli.errors import ConfigError
from ssl_cli.models.backbones.transformer import Transformer
from ssl_cli.models.huggingface.reading import differences, is_folder, read_model
from ssl_cli.runs.finished import finished_pretraining
from ssl_cli.runs.own import own_settings


def source_at(key: str, folder: Path, otherwise: str, config: Config, projection: HeadComponent | None) -> Path:
    """The folder that `key`=`folder` names, if its network is the one of the settings, or what that may begin with.

    Args:
        key, folder: as typed; `otherwise` is the other value that the key can have.
        config: of the run that begins with it.
        projection: the projection head, layers of which are kept; None where it is not.

    Raises:
        ConfigError: it is not finished, is no pre-training, or was trained with another network or range of pixels.
    """
    if is_folder(folder):
        _check_model(f"{key}={folder}", folder, config, projection)
        return folder
    backbone = None if _has_embeddings(key, folder, config) else config.backbone
    return finished_pretraining(key, folder, otherwise, config.augment.scale, backbone, projection)


def _check_model(asked: str, folder: Path, config: Config, projection: HeadComponent | None) -> None:
    """Raises ConfigError where a folder of the library transformers has another network than the settings."""
    model = read_model(folder, asked)
    title = model.architecture.title
    if not _is_transformer(config):
        raise ConfigError(f"backbone={config.backbone.name}: {asked} is of {title}'s shape; take backbone=transformer")
    if projection is not None:
        raise ConfigError(f"head.keep={config.head.keep}: {asked} has no projection head to keep; use head.keep=0")
    other = differences(model, config.backbone.arguments)
    if other:
        raise ConfigError(
            f"backbone={config.backbone.name}: {asked} is of {title}'s shape with other settings; add {' '.join(other)}"
        )


def _is_transformer(config: Config) -> bool:
    own = named(config.backbone)
    return isinstance(own, type) and issubclass(own, Transformer)


def _has_embeddings(key: str, folder: Path, config: Config) -> bool:
    """Whether it is a run of a backbone whose token embeddings are the first ones of another backbone, that of the settings.

    Raises:
        ConfigError: they are of another width.
    """
    if not (folder / "config.yaml").exists():
        return False
    theirs = own_settings(f"{key}={folder}", folder).get("backbone")
    if not isinstance(theirs, dict):
        return False  # which is said where the settings are checked
    if theirs.get("_target_") not in getattr(named(config.backbone), "embeddings_from", ()):
        return False
    dim = plain(config.backbone).get("dim")
    if theirs.get("dim") != dim:
        raise ConfigError(
            f"backbone.dim={dim}: {key}={folder} is a {theirs.get('name')} with {theirs.get('dim')}; "
            "token embeddings are taken over where they are as wide"
        )
    return True
