"""LeJEPA: embeddings of a standard normal distribution, alike for all views of an input (Balestriero and LeCun, 2025)."""

import math

import torch
from torch import Tensor

from ssl_cli.config.schema import Count, Fraction
from ssl_cli.data.types import View
from ssl_cli.methods.base import Projecting, embedding_spread
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.processes import gather
from ssl_cli.randomness import Draws


def epps_pulley(samples: Tensor, largest: float, knots: int) -> Tensor:
    """How far samples are from a standard normal distribution, by their characteristic function: (..., B, K) → (..., K).

    B · ∫ |φ(t) − exp(−t²/2)|² exp(−t²/2) dt, with φ the samples' characteristic function, by the trapezoidal rule at `knots`
    equally spaced t from 0 to `largest`, counted twice, since the integrand is even in t (Epps and Pulley, 1983). About 1 for
    samples of that distribution.
    """
    spacing = largest / (knots - 1)
    angle = samples * spacing
    # All cos(kα) and sin(kα) from those of α: cos((k + 1)α) = 2 cos α cos kα − cos((k − 1)α), and sin likewise.
    cosine, sine = angle.cos(), angle.sin()
    twice, (cosine_before, sine_before) = 2 * cosine, (torch.ones_like(angle), torch.zeros_like(angle))
    statistic = torch.zeros_like(samples.select(-2, 0))  # at t = 0 both functions are 1
    for knot in range(1, knots):
        normal = math.exp(-((knot * spacing) ** 2) / 2)
        weight = normal * spacing * (1 if knot == knots - 1 else 2)
        statistic = statistic + weight * ((cosine.mean(-2) - normal).square() + sine.mean(-2).square())
        cosine, cosine_before = twice * cosine - cosine_before, cosine
        sine, sine_before = twice * sine - sine_before, sine
    return samples.shape[-2] * statistic


def sigreg(z: Tensor, directions: Tensor, largest: float = 3.0, knots: int = 17) -> Tensor:
    """Sketched isotropic Gaussian regularisation: the mean of `epps_pulley` over projections onto lines.

    Args:
        z: (V, B, D) embeddings of V views.
        directions: (D, K), of any length.
        largest, knots: of the integral; the paper's values.
    """
    return epps_pulley(z @ (directions / directions.norm(dim=0)), largest, knots).mean()


def invariance(z: Tensor) -> Tensor:
    """The mean squared distance of all views from their centre: (V, B, D) → scalar."""
    return (z - z.mean(0)).square().mean()


class LeJEPA(Projecting):
    """Views of an input have one embedding, and embeddings of all inputs a standard normal distribution.

    The latter is tested on random lines, and prevents collapse without a teacher, a stopped gradient or a predictor.

    Args:
        backbone, head: the network.
        regularisation: λ, the share of the distribution's term in the loss; the views' has 1 − λ.
        directions: number of lines, drawn anew for each step.
    """

    n_views = 2

    def __init__(self, backbone: Backbone, head: HeadFactory, regularisation: Fraction, directions: Count):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.regularisation = regularisation
        self.directions = directions

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """λ · SIGReg + (1 − λ) · invariance; the terms are logged without their weights."""
        z = torch.stack([gather(z) for z in self.project(views)])
        lines = draws.for_all().normal(z.shape[-1], self.directions)
        with torch.autocast(z.device.type, enabled=False):
            terms = {"sigreg": sigreg(z, lines), "invariance": invariance(z)}
        loss = self.regularisation * terms["sigreg"] + (1 - self.regularisation) * terms["invariance"]
        logged = {name: term.detach() for name, term in terms.items()}
        return loss, {"spread": embedding_spread(z.flatten(0, 1)), **logged}
