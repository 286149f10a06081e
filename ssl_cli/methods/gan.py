"""A critic's features (DCGAN, Radford et al., 2016): the backbone learns to tell inputs from made ones."""

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Shape
from ssl_cli.methods.base import Method
from ssl_cli.models.batch_norm import statistics_kept
from ssl_cli.models.critic import calls_right, deception, detection, untaught
from ssl_cli.models.decoders import Decoder


class GAN(Method):
    """The backbone, with one answer on top, is the critic; a generator makes inputs of noise to deceive it.

    Args:
        backbone: the critic's.
        shape, scale: of the inputs.
        codes: numbers of noise that an input is made of, normally distributed.
        width: channels of the generator at full size.
    """

    def __init__(self, backbone: nn.Module, shape: Shape, scale: float, codes: Count, width: Count):
        super().__init__(backbone)
        self.critic = nn.Sequential(self.backbone, nn.Linear(backbone.dim, 1))
        self.generator = Decoder(codes, shape, width)
        self.scale = scale
        self.codes = codes

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """What the critic minimises plus what the generator minimises, neither of which the other one feels.

        Batch norm sees real and made inputs apart, as one batch of both would tell which is which, and remembers the
        real ones alone, since features are wanted of them.
        """
        (view,) = views
        made = self._made(torch.randn(len(view), self.codes, device=view.device))
        real = self._judged(view)
        with statistics_kept(self.backbone):
            caught = self._judged(made.detach())
            with untaught(self.critic):
                deceived = deception(self._judged(made))
        detected = detection(real, caught)
        return detected + deceived, {
            "pretext_accuracy": calls_right(real, caught),
            "critic_loss": detected.detach(),
            "generator_loss": deceived.detach(),
        }

    def pictures(self, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Views, and inputs made of noise."""
        (view,) = views
        noise = torch.randn(2 * len(view), self.codes, device=view.device)
        first, second = self._made(noise).chunk(2)
        return {"view": view, "made": first, "made, too": second}

    def _made(self, codes: Tensor) -> Tensor:
        return self.generator(codes).float().sigmoid() * self.scale

    def _judged(self, inputs: Tensor) -> Tensor:
        return self.critic(inputs)[:, 0].float()
