"""The settings of `stage=pretrain`."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ssl_cli.config.schema import Ending, Stage


@dataclass(frozen=True)
class PretrainStage(Stage):
    """Every training input, no labels."""

    name: Literal["pretrain"]

    function: ClassVar[str] = "ssl_cli.stages.pretrain.pretrain"
    ends_in: ClassVar[Ending] = "pre-training"

    @property
    def phases(self) -> tuple[str, ...]:
        """Pre-training."""
        return ("pretrain",)

    @property
    def sees_labels(self) -> bool:
        """It sees none."""
        return False

    @property
    def takes_checkpoint(self) -> bool:
        """It makes one; what it goes on from is `start`."""
        return False
