"""Several processes that take the steps of a training together, on one machine or on many.

One leads: it carries out the stage as it does alone, evaluates, and writes all files. The others only take steps: `follow.py`
is their program. They get the training's parts before its first step, and then the number of each step that they are to take;
while the leader does something else they wait for the next one. So all end together, whatever makes the leader end: the last
step, a signal, an error.

The leader starts the others itself (`runtime.processes`), with the first training, or `torchrun` or `srun` has started all of
them; then they meet before anything else, so that whoever is missing is noticed at once.
"""

import atexit
import contextlib
import signal
from collections.abc import Callable, Generator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ssl_cli import processes
from ssl_cli.config.sharing import uneven
from ssl_cli.data.batches import MixedBatches
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.errors import ConfigError
from ssl_cli.methods.base import Method
from ssl_cli.models.batch_norm import shared_batch_norm
from ssl_cli.randomness import Draws
from ssl_cli.training import launch
from ssl_cli.training.device import Machine
from ssl_cli.training.interruption import handled
from ssl_cli.training.messages import meet
from ssl_cli.training.parcel import Parcel, packed
from ssl_cli.training.step import AnyBatches, Steps
from ssl_cli.training.team import Team

TakeStep = Callable[[int], dict[str, Tensor]]

_team: Team | None = None


@contextlib.contextmanager
def taken_together(steps: Steps) -> Generator[TakeStep]:
    """A function that takes a step of a training in all processes; inside, they wait for it.

    Args:
        steps: of the training, in this process, which leads.

    Raises:
        ConfigError: the batch cannot be shared out evenly, or the training cannot be sent to the others.
        ProcessLostError: another process failed.
    """
    recipe, count = steps.recipe, steps.recipe.machine.processes
    if count == 1:
        yield steps.take
        return
    if problems := [problem for size in _sizes(recipe.batches) if (problem := uneven(size, count))]:
        raise ConfigError(*problems)
    content = packed(Parcel(recipe, steps.optimiser.state_dict(), steps.scaler.state_dict()))
    with shared_batch_norm(recipe.method):
        team = _team_of(recipe.machine)
        with team.training(content), shared(steps):
            yield lambda step: team.take(steps, step)


@contextlib.contextmanager
def shared(steps: Steps) -> Generator[None]:
    """Inside, the gradients of a training are averaged over all processes, each of which enters here."""
    with processes.together(dist.get_rank(), dist.get_world_size()):
        # Without `find_unused_parameters`, every parameter must have a gradient in each step; with it, sums over processes also
        # stay in the order of the first step, so that a resumed run computes the same bytes.
        steps.shared = DistributedDataParallel(
            _Loss(steps.recipe.method), find_unused_parameters=True, gradient_as_bucket_view=True
        )
    try:
        yield
    finally:
        steps.shared = None


def _sizes(batches: AnyBatches) -> tuple[int, ...]:
    """How many inputs a batch has, of each kind of which every process has as many."""
    return (batches.labelled.size, batches.unlabelled.size) if isinstance(batches, MixedBatches) else (batches.size,)


class _Loss(nn.Module):
    """The loss of a method as a forward pass, and what is trained of it, as DistributedDataParallel wants them.

    Buffers are left out: every process computes the same ones, so that none need be sent.
    """

    def __init__(self, method: Method):
        super().__init__()
        self._method = (method,)  # in a tuple, so that it is no submodule
        self.trained = nn.ParameterList(parameter for parameter in method.parameters() if parameter.requires_grad)
        self.unused = nn.Parameter(torch.zeros((), device=self.trained[0].device))  # where all are used, PyTorch warns

    def forward(
        self, views: tuple[Tensor | TokenBatch, ...], labels: Tensor | None, draws: Draws
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self._method[0].loss(views, labels, draws)


def _team_of(machine: Machine) -> Team:
    global _team
    if _team is not None and not _team.ended and _team.count != machine.processes:
        _team.end()
    if _team is None or _team.ended:
        _team = Team(machine.processes, machine.device)
        atexit.register(end_started)
    return _team


def end_started() -> None:
    """Let the processes end that this one has started for trainings; the next training starts new ones."""
    if _team is not None and not _team.ended and not launch.launched():
        _team.end()


@contextlib.contextmanager
def leading_launched() -> Generator[None]:
    """Inside, those that were launched with this process, which leads, wait for trainings; they end with it.

    Raises:
        ConfigError: they do not find each other.
    """
    # PyTorch waits outside of Python, where no other handler would be called before the others have come.
    with handled(signal.SIG_DFL, signal.SIGINT, signal.SIGTERM):
        meet()
    try:
        yield
    finally:
        if _team is None or not _team.ended:
            (_team or Team(launch.launched(), torch.device("cpu"))).end()
