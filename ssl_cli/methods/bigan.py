"""Bidirectional GANs (BiGAN, Donahue et al., 2017; ALI, Dumoulin et al., 2017): the backbone learns to invert a generator."""

from torch import Tensor, nn

from ssl_cli.config.schema import Count, Shape
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.critic import Critic, critic_accuracy, critic_loss, frozen
from ssl_cli.models.decoders import Decoder
from ssl_cli.randomness import Draws


class BiGAN(Method):
    """A critic tells (input, encoded latent) pairs from (generated input, latent) pairs.

    Encoder and generator deceive it together; at the optimum they are each other's inverse (theorem 2).

    Args:
        backbone: of the encoder, which adds one linear layer; batch norm gives each latent dimension mean 0 and standard
            deviation 1 over the batch, as the noise has, or the critic could tell latents by their scale.
        shape, scale: of the inputs.
        latent_dim: dimension of the latent vectors; those of the generator are standard normal.
        width: channels of the generator at full resolution, and of the critic's first convolution.
    """

    def __init__(self, backbone: Backbone, shape: Shape, scale: float, latent_dim: Count, width: Count):
        super().__init__(backbone)
        standardise = nn.BatchNorm1d(latent_dim, affine=False)
        self.encoder = nn.Sequential(self.backbone, nn.Linear(backbone.dim, latent_dim, bias=False), standardise)
        self.generator = Decoder(latent_dim, shape, width)
        self.critic = Critic(shape, width, latent_dim)
        self.scale = scale
        self.latent_dim = latent_dim

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss (equation 3), plus that of encoder and generator: the same with the answers swapped."""
        (view,) = views
        noise = draws.normal(len(view), self.latent_dim)
        encoded, generated, real = self.encoder(view).float(), self._generate(noise), view / self.scale
        of_real, of_fake = self.critic(real, encoded.detach()), self.critic(generated.detach(), noise)
        with frozen(self.critic):
            of_generator = critic_loss(self.critic(generated, noise), self.critic(real, encoded))
        of_critic = critic_loss(of_real, of_fake)
        return of_critic + of_generator, {
            "pretext_accuracy": critic_accuracy(of_real, of_fake),
            "critic_loss": of_critic.detach(),
            "generator_loss": of_generator.detach(),
            "spread": embedding_spread(encoded),
        }

    def pictures(self, views: tuple[Tensor, ...], draws: Draws) -> dict[str, Tensor]:
        """Views, their reconstructions from the encoded latents, and inputs generated from noise."""
        (view,) = views
        noise = draws.normal(len(view), self.latent_dim)
        rows = {"reconstructed": self.encoder(view).float(), "generated": noise}
        return {"view": view, **{name: self._generate(latents) * self.scale for name, latents in rows.items()}}

    def _generate(self, latents: Tensor) -> Tensor:
        return self.generator(latents).float().sigmoid()
