"""A GAN's discriminator (DCGAN, Radford et al., 2016): the backbone learns to tell real inputs from generated ones."""

from torch import Tensor, nn

from ssl_cli.config.schema import Count, Shape
from ssl_cli.methods.base import Method
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.batch_norm import keep_running_statistics
from ssl_cli.models.critic import critic_accuracy, critic_loss, frozen, generator_loss
from ssl_cli.models.decoders import Decoder
from ssl_cli.randomness import Draws


class GAN(Method):
    """The backbone with a linear layer on top is the critic; a generator maps noise to inputs that should deceive it.

    Args:
        backbone: of the critic.
        shape, scale: of the inputs.
        latent_dim: dimension of the generator's input, which is standard normal.
        width: channels of the generator at full resolution.
    """

    def __init__(self, backbone: Backbone, shape: Shape, scale: float, latent_dim: Count, width: Count):
        super().__init__(backbone)
        self.critic = nn.Sequential(self.backbone, nn.Linear(backbone.dim, 1))
        self.generator = Decoder(latent_dim, shape, width)
        self.scale = scale
        self.latent_dim = latent_dim

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss plus the generator's; neither sends gradients into the other network's weights.

        Real and generated inputs pass through batch norm in separate batches, since the statistics of a mixed batch would
        give the answer away. Only real inputs enter its running statistics, because features are used for those.
        """
        (view,) = views
        generated = self._generate(draws.normal(len(view), self.latent_dim))
        real = self._logits(view)
        with keep_running_statistics(self.backbone):
            fake = self._logits(generated.detach())
            with frozen(self.critic):
                of_generator = generator_loss(self._logits(generated))
        of_critic = critic_loss(real, fake)
        return of_critic + of_generator, {
            "pretext_accuracy": critic_accuracy(real, fake),
            "critic_loss": of_critic.detach(),
            "generator_loss": of_generator.detach(),
        }

    def pictures(self, views: tuple[Tensor, ...], draws: Draws) -> dict[str, Tensor]:
        """Views, and two rows of generated inputs."""
        (view,) = views
        noise = draws.normal(2 * len(view), self.latent_dim)
        first, second = self._generate(noise).chunk(2)
        return {"view": view, "generated": first, "generated, too": second}

    def _generate(self, latents: Tensor) -> Tensor:
        return self.generator(latents).float().sigmoid() * self.scale

    def _logits(self, inputs: Tensor) -> Tensor:
        return self.critic(inputs)[:, 0].float()
