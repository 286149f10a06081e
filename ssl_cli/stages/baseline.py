"""Labels only: fine-tuning without a checkpoint, by the same function, so that the comparison is fair."""

from ssl_cli.stages.finetune import finetune as baseline

__all__ = ["baseline"]
