"""A generator's inverse (BiGAN, Donahue et al., 2017; ALI, Dumoulin et al., 2017): the backbone learns to encode."""

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Shape
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.models.critic import Critic, calls_right, detection, untaught
from ssl_cli.models.decoders import Decoder


class BiGAN(Method):
    """A critic judges pairs: an input with its code, or an input made of a code with that code.

    Encoder and generator deceive it together, which they do best as each other's inverse (theorem 2).

    Args:
        backbone: the encoder's, with one linear layer on top; each number of a code has mean 0 and deviation 1 over a
            batch, as noise has, or the critic would know codes by their range alone.
        shape, scale: of the inputs.
        codes: numbers in a code; noise is normally distributed.
        width: channels of the generator at full size, and of the critic after its first convolution.
    """

    def __init__(self, backbone: nn.Module, shape: Shape, scale: float, codes: Count, width: Count):
        super().__init__(backbone)
        same_range = nn.BatchNorm1d(codes, affine=False)
        self.encoder = nn.Sequential(self.backbone, nn.Linear(backbone.dim, codes, bias=False), same_range)
        self.generator = Decoder(codes, shape, width)
        self.critic = Critic(shape, width, codes)
        self.scale = scale
        self.codes = codes

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """What the critic minimises (equation 3), plus what encoder and generator do: its loss with flipped answers."""
        (view,) = views
        noise = torch.randn(len(view), self.codes, device=view.device)
        code, made, seen = self.encoder(view).float(), self._made(noise), view / self.scale
        encoded, decoded = self.critic(seen, code.detach()), self.critic(made.detach(), noise)
        with untaught(self.critic):
            deceived = detection(self.critic(made, noise), self.critic(seen, code))
        detected = detection(encoded, decoded)
        return detected + deceived, {
            "pretext_accuracy": calls_right(encoded, decoded),
            "critic_loss": detected.detach(),
            "generator_loss": deceived.detach(),
            "spread": embedding_spread(code),
        }

    def pictures(self, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Views, what the generator makes of their codes, and what it makes of noise."""
        (view,) = views
        noise = torch.randn(len(view), self.codes, device=view.device)
        made = {"from its code": self.encoder(view).float(), "from noise": noise}
        return {"view": view, **{name: self._made(codes) * self.scale for name, codes in made.items()}}

    def _made(self, codes: Tensor) -> Tensor:
        return self.generator(codes).float().sigmoid()
