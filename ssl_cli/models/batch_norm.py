"""Batches that must not enter batch norm's running statistics, and batches that several processes share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_cli import processes


@contextmanager
def keep_running_statistics(network: nn.Module) -> Iterator[None]:
    """Inside, batch norm normalises by the batch's own statistics, even in evaluation, and leaves its running ones unchanged."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.momentum, norm.training = 0.0, True
    yield
    for norm, (momentum, training) in zip(norms, before, strict=True):
        norm.momentum, norm.training = momentum, training


@contextmanager
def shared_batch_norm(network: nn.Module) -> Iterator[None]:
    """Inside, batch norm has the statistics of the whole batch in steps that several processes take together.

    Layers stay the same objects with the same weights, so that whatever refers to them still does. PyTorch's `SyncBatchNorm`
    does the same on GPUs alone.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and type(module) in SHARED]
    before = [type(norm) for norm in norms]
    for norm, kind in zip(norms, before, strict=True):
        norm.__class__ = SHARED[kind]
    try:
        yield
    finally:
        for norm, kind in zip(norms, before, strict=True):
            norm.__class__ = kind


def unshared_layers(network: nn.Module) -> list[str]:
    """The kinds of layers of a network that have a batch norm of their own, for which `shared_batch_norm` does nothing."""
    kinds = {type(module) for module in network.modules() if isinstance(module, _BatchNorm)}
    return sorted(kind.__name__ for kind in kinds if kind not in SHARED)


class _Shared(_BatchNorm):
    """Batch norm whose statistics are those of the batches of all processes, where there are several."""

    def forward(self, input: Tensor) -> Tensor:  # the name that PyTorch gave it
        """(B, C, …) → same shape."""
        if processes.count() == 1 or not (self.training or self.running_mean is None):
            return super().forward(input)
        self._check_input_dim(input)
        normalised, mean, variance, count = _NormaliseByAll.apply(input, self.weight, self.bias, self.eps)
        if self.training and self.running_mean is not None and self.running_var is not None:
            self._track(mean, variance * (count / (count - 1)))
        return normalised

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics, as PyTorch's own batch norm does."""
        share = self.momentum or 0.0
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, value in ((self.running_mean, mean), (self.running_var, variance)):
            running.mul_(1 - share).add_(value, alpha=share)  # pyright: ignore[reportOptionalMemberAccess, reportOptionalOperand]


class _Shared1d(_Shared, nn.BatchNorm1d):
    pass


class _Shared2d(_Shared, nn.BatchNorm2d):
    pass


class _Shared3d(_Shared, nn.BatchNorm3d):
    pass


SHARED: dict[type[_BatchNorm], type[_Shared]] = {
    nn.BatchNorm1d: _Shared1d,
    nn.BatchNorm2d: _Shared2d,
    nn.BatchNorm3d: _Shared3d,
}


class _NormaliseByAll(torch.autograd.Function):
    """Standardise each channel by the mean and variance over all processes (Ioffe and Szegedy, 2015, algorithm 1).

    (B, C, …), weight and bias (C,) or None → the same shape; mean, variance (C,) and the number of values of a channel.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        values = inputs.float()
        # `torch.var_mean` takes ten times as long on a processor: its loop is not vectorised over these dimensions.
        own_mean = values.mean(_others(inputs))
        own_variance = (values - _beside(own_mean, inputs)).square_().mean(_others(inputs))
        own_count = own_mean.new_tensor([values.numel() / len(own_mean)])
        mean, variance, count = _combined(torch.cat([own_mean, own_variance, own_count]), len(own_mean))
        ctx.save_for_backward(inputs, weight, mean, variance, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, count)
        return F.batch_norm(inputs, mean, variance, weight, bias, training=False, eps=eps), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, variance, count = ctx.saved_tensors
        scale = (variance + ctx.eps).rsqrt()
        # Sums over this process's values, of gradient × normalised input and of the gradient: one pass of PyTorch's kernel.
        _, along, sum_ = torch.ops.aten.native_batch_norm_backward(
            of_outputs[0], inputs, None, mean, variance, mean, scale, False, ctx.eps, [False, True, True]
        )
        of_weight = along if ctx.needs_input_grad[1] else None
        of_bias = sum_ if ctx.needs_input_grad[2] else None
        if not ctx.needs_input_grad[0]:
            return None, of_weight, of_bias, None
        mean_gradient, mean_along = (_everyones(torch.cat([sum_, along])).sum(0) / count).chunk(2)
        factor = scale if weight is None else scale * weight
        # factor * (gradient - mean_gradient - (inputs - mean) * scale * mean_along), in three passes over one float32 tensor
        of_each = -factor * scale * mean_along
        of_inputs = inputs * _beside(of_each, inputs)
        of_inputs.addcmul_(of_outputs[0].float(), _beside(factor, inputs))
        of_inputs.sub_(_beside(factor * mean_gradient + of_each * mean, inputs))
        return of_inputs.to(inputs.dtype), of_weight, of_bias, None


def _combined(own: Tensor, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and count over all processes, from those of each (Chan et al., 1979): own (2 C + 1,) → (C,), (C,), (1,)."""
    means, variances, counts = _everyones(own).split((channels, channels, 1), dim=1)
    shares = counts / counts.sum()
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0), counts.sum(0)


def _everyones(own: Tensor) -> Tensor:
    """The values of all processes: (N,) → (processes, N).

    A sum takes this way, too: for so few values the messages in turn take the time, and gloo's `all_reduce` has twice as many.
    """
    everyone = [torch.empty_like(own) for _ in range(processes.count())]
    dist.all_gather(everyone, own)
    return torch.stack(everyone)


def _others(inputs: Tensor) -> list[int]:
    """All dimensions but that of the channels."""
    return [dim for dim in range(inputs.ndim) if dim != 1]


def _beside(values: Tensor, inputs: Tensor) -> Tensor:
    """A value for each channel, in a shape that goes with the inputs: (C,) → (1, C, 1, …)."""
    return values.view(1, -1, *[1] * (inputs.ndim - 2))
