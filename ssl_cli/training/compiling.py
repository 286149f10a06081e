"""`torch.compile` of a backbone, where it pays: a trial decides once a run, and its numbers are printed and saved."""

import copy
import json
import logging
import statistics
import time
from collections.abc import Callable
from typing import Any

from torch import nn

from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.types import View
from ssl_cli.runs.files import write
from ssl_cli.runs.own import own_object
from ssl_cli.runs.run import Run
from ssl_cli.training.device import Machine

log = logging.getLogger("ssl_cli")

WORTH_A_TRIAL = 600.0  # seconds of training; compiling takes up to a minute
GAIN = 0.95  # a compiled step must take at most this share of the other
REPEATS = 5


def compile_if_faster(
    backbone: nn.Module, inputs: Callable[[], View], steps: int, run: Run, machine: Machine
) -> dict[str, Any]:
    """Compile a backbone in place as `runtime.compile` says; what was decided, and why.

    Args:
        backbone: on its device.
        inputs: makes one step's, as the backbone gets them; called for a trial only.
        steps: that the training takes.
        run: keeps the decision, so that a resumed run computes as before.
        machine: device and precision.
    """
    if machine.processes > 1:
        return {"compiled": False, "reason": "several processes train together"}
    kept = run.folder / "compile.json"
    decision = own_object(kept, {"compiled": bool})
    if decision is None:
        decision = _decided(backbone, inputs, steps, machine.compile, machine)
        write(kept, json.dumps(decision, indent=1) + "\n")
    if decision["compiled"]:
        backbone.compile()
    return decision


def _decided(
    backbone: nn.Module, inputs: Callable[[], View], steps: int, setting: bool | str, machine: Machine
) -> dict[str, Any]:
    if setting != "auto":
        return {"compiled": setting, "reason": f"runtime.compile={str(setting).lower()}"}
    if not any(parameter.requires_grad for parameter in backbone.parameters()):
        return {"compiled": False, "reason": "nothing in it is trained"}
    if steps < 100:
        return {"compiled": False, "reason": "a training this short makes no trial"}
    sample = inputs()
    if isinstance(sample, TokenBatch):
        return {"compiled": False, "reason": "a batch of texts has another size each time"}
    trial = copy.deepcopy(backbone)  # batch norm's running means must not know of it
    eager = _seconds(trial, sample, 1, machine)
    if eager * steps < WORTH_A_TRIAL:
        return {"compiled": False, "reason": "a training this short makes no trial", "eager_seconds": eager}
    log.info("Trying torch.compile, for up to a minute.")
    eager = _seconds(trial, sample, REPEATS, machine)
    try:
        trial.compile()
        compiled = _seconds(trial, sample, REPEATS, machine)
    except Exception as error:  # no compiler, an operator it does not know: whatever it is, the run goes on without
        reason = f"it does not compile here: {type(error).__name__}"
        log.info("torch.compile is off: %s.", reason)
        return {"compiled": False, "reason": reason, "eager_seconds": eager}
    gains = compiled < GAIN * eager
    log.info(
        "torch.compile is %s: forward and backward take %.1f ms with it, %.1f ms without.",
        "on" if gains else "off", 1e3 * compiled, 1e3 * eager,
    )  # fmt: skip
    reason = "faster in a trial" if gains else "not faster in a trial"
    return {"compiled": gains, "reason": reason, "eager_seconds": eager, "compiled_seconds": compiled}


def _seconds(backbone: nn.Module, inputs: View, repeats: int, machine: Machine) -> float:
    """The median time of forward and backward, after one that warms up."""
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        with machine.autocast():
            features = backbone(inputs)
        features.float().square().mean().backward()
        machine.wait()
        taken.append(time.perf_counter() - began)
    return round(statistics.median(taken[1:]), 6)
