import math

import pytest
import torch
from torch import nn

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.models.batch_norm import keep_running_statistics
from ssl_cli.models.critic import Critic, critic_accuracy, critic_loss, frozen, generator_loss
from ssl_cli.randomness import Draws
from ssl_cli.stages.networks import pretraining_method
from ssl_cli.stages.pretrain import pretrain

METHODS = ("gan", "bigan")


def made(method: str, *overrides: str):
    config = from_overrides(f"method={method}", "dataset=synthetic", "backbone.width=4", "method.width=4", *overrides)
    return pretraining_method(config, load(config.dataset))


def weights(method, *names: str) -> list[nn.Parameter]:
    return [parameter for name in names for parameter in getattr(method, name).parameters()]


def test_who_cannot_tell_pays_the_log_of_two():
    assert critic_loss(torch.zeros(5), torch.zeros(7)).item() == pytest.approx(math.log(2))
    assert generator_loss(torch.zeros(5)).item() == pytest.approx(math.log(2))
    assert critic_loss(torch.full((5,), 30.0), torch.full((5,), -30.0)) < 1e-6
    assert critic_accuracy(torch.tensor([1.0, -1.0]), torch.tensor([-1.0, -2.0])) == 0.75


def test_deceiving_has_a_gradient_where_the_critic_is_sure():
    logit = torch.tensor([-20.0], requires_grad=True)
    generator_loss(logit).backward()
    assert logit.grad.item() == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 9, 40), (3, 96, 96)])
@pytest.mark.parametrize("codes", [0, 5])
def test_a_critic_judges_inputs_of_any_shape(shape, codes):
    critic, inputs = Critic(shape, 2, codes), torch.rand(3, *shape)
    assert critic(inputs, *([torch.rand(3, codes)] if codes else [])).shape == (3,)


def test_a_critic_of_pairs_looks_at_both():
    critic, inputs, codes = Critic((1, 28, 28), 4, 6).eval(), torch.rand(2, 1, 28, 28), torch.randn(2, 6)
    answers = critic(inputs, codes)
    assert (critic(inputs, codes.flip(0)) != answers).all()
    assert (critic(inputs.flip(0), codes) != answers).all()


def test_few_latents_count_as_much_as_many_features():
    torch.manual_seed(0)
    critic, inputs, codes = Critic((3, 32, 32), 16, 64), torch.rand(128, 3, 32, 32), torch.randn(128, 64)
    answers = critic(inputs, codes)
    by_codes = (critic(inputs, codes.flip(0)) - answers).std()
    by_inputs = (critic(inputs.flip(0), codes) - answers).std()
    assert 0.8 < by_codes / by_inputs < 2


def test_inside_untaught_gradients_pass_and_none_stays():
    layer, inputs = nn.Linear(3, 1), torch.rand(2, 3, requires_grad=True)
    with frozen(layer):
        layer(inputs).sum().backward()
    assert layer.weight.grad is None
    assert inputs.grad.abs().sum() > 0
    assert layer.weight.requires_grad


def test_kept_statistics_stay_while_the_batchs_own_are_used():
    norm, inputs = nn.BatchNorm2d(2), 5 + torch.rand(4, 2, 3, 3)
    for training in (True, False):
        with keep_running_statistics(norm.train(training)):
            given = norm(inputs)
        assert norm.running_mean.tolist() == [0, 0]
        assert given.mean().abs() < 1e-5
        assert norm.training == training
    norm.train()(inputs)
    assert norm.running_mean.min() > 0.4


@pytest.mark.parametrize(("method", "makers"), [("gan", ["generator"]), ("bigan", ["generator", "encoder"])])
def test_neither_side_feels_the_others_loss(method, makers):
    trained, view = made(method), torch.rand(8, 1, 28, 28)
    trained.loss((view,), None, Draws(0, "test"))[0].backward()
    both = {parameter: parameter.grad for parameter in trained.parameters()}

    noise = Draws(0, "test").normal(8, 64)
    painted = trained.generator(noise).sigmoid()
    if method == "gan":
        judged = trained.critic(view)[:, 0], trained.critic(painted)[:, 0]
        deceived = generator_loss(judged[1])
    else:
        judged = trained.critic(view, trained.encoder(view)), trained.critic(painted, noise)
        deceived = critic_loss(judged[1], judged[0])
    for loss, parameters in ((critic_loss(*judged), weights(trained, "critic")), (deceived, weights(trained, *makers))):
        alone = torch.autograd.grad(loss, parameters, retain_graph=True)
        for parameter, gradient in zip(parameters, alone, strict=True):
            assert gradient.abs().max() > 0
            torch.testing.assert_close(both[parameter], gradient, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_critic_that_cannot_tell_teaches_nobody(method):
    untold = made(method)
    last = untold.critic[-1] if method == "gan" else untold.critic.classifier[-1]
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    loss, numbers = untold.loss((torch.rand(8, 1, 28, 28),), None, Draws(0, "test"))
    loss.backward()
    assert numbers["critic_loss"].item() == pytest.approx(math.log(2), abs=1e-6)
    assert numbers["generator_loss"].item() == pytest.approx(math.log(2), abs=1e-6)
    assert all(parameter.grad.abs().max() == 0 for parameter in weights(untold, "generator", "backbone"))


def test_codes_have_the_range_of_noise():
    codes = made("bigan").encoder(torch.rand(64, 1, 28, 28))
    torch.testing.assert_close(codes.mean(0), torch.zeros(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(codes.std(0), torch.ones(64), atol=0.05, rtol=0)


def test_the_backbone_remembers_real_inputs_alone():
    method = made("gan")
    alone = made("gan").backbone
    view = torch.rand(16, 1, 28, 28)
    method.loss((view,), None, Draws(0, "test"))
    alone(view)
    theirs = dict(alone.named_buffers())
    for name, buffer in method.backbone.named_buffers():
        if "running" in name:
            torch.testing.assert_close(buffer, theirs[name])


@pytest.mark.parametrize("method", METHODS)
def test_it_trains_logs_and_leaves_a_picture(smoke, method):
    config, run = smoke(f"method={method}", "stage=pretrain")
    pretrain(config, run)
    assert '"pretext_accuracy"' in (run.folder / "metrics.jsonl").read_text()
    assert (run.folder / "pretext.png").stat().st_size > 1000


@pytest.mark.parametrize("method", METHODS)
def test_what_is_made_has_the_range_of_the_inputs(method):
    shown = made(method, "augment.scale=255").pictures((255 * torch.rand(4, 1, 28, 28),), Draws(0, "test"))
    for name, images in shown.items():
        assert images.shape == (4, 1, 28, 28)
        assert images.min() >= 0
        assert 60 < images.max() <= 255, name
