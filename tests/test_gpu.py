"""What only a GPU can show: a step of each kind of network in bfloat16, going on elsewhere, and one process for each GPU."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from conftest import SMALLEST
from test_pins import ALWAYS, CASES, TEXTS, losses, write_texts

from ssl_cli.data.dataset import load
from ssl_cli.stages.pretrain import material
from ssl_cli.training.device import machine
from ssl_cli.training.loop import fit
from ssl_cli.training.progress import Clock
from ssl_cli.training.step import Recipe, Steps, prepare

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch sees"),
]
CPU_AND_GPU = 0.02  # by how much losses of the first steps in float32 may differ, since a GPU has other kernels


@pytest.mark.parametrize(
    "words",
    [
        ("stage=pretrain", "backbone=small"),
        ("stage=pretrain", "backbone=resnet18"),
        CASES["masked_lm"],
    ],
    ids=["small", "resnet18", "transformer"],
)
def test_a_step_in_bfloat16_computes_on_the_gpu_what_a_processor_does(words, smoke, tmp_path):
    if any(TEXTS in word for word in words):
        pytest.importorskip("tokenizers")
        write_texts(tmp_path)
        words = tuple(word.replace(TEXTS, str(tmp_path)) for word in words)
    found = {}
    for device in ("cpu", DEVICE):
        choices = (word for word in ALWAYS if not word.startswith("runtime.device"))
        words_here = (*choices, *words, f"runtime.device={device}", "runtime.precision=bfloat16")
        config, run = smoke(*words_here, folder=device)
        here = machine(config.runtime)
        method, batches, views = material(config, load(config.dataset), run, here)
        assert {parameter.device.type for parameter in method.parameters()} == {device}
        prepared = prepare(batches, views, method, 0, config.seed, here)
        tensors = [view for view in prepared.views if isinstance(view, torch.Tensor)]
        assert all(view.device.type == device for view in tensors)
        steps = Steps(Recipe(method, batches, views, config.schedule.pretrain, here, config.seed), Clock({}))
        method.train()
        found[device] = float(steps.take(0)["loss"])
        assert all(torch.isfinite(parameter).all() for parameter in method.parameters())
    assert found[DEVICE] == pytest.approx(found["cpu"], rel=0.1)


@pytest.mark.parametrize("then", ["cpu", DEVICE])
def test_a_checkpoint_goes_on_on_another_device(then, smoke):
    first = DEVICE if then == "cpu" else "cpu"
    found = {}
    for name, devices in (("alone", ("cpu", "cpu")), ("moved", (first, then))):
        for device, steps in zip(devices, (3, 6), strict=True):
            choices = (word for word in ALWAYS if not word.startswith("runtime.device"))
            config, run = smoke(*choices, *CASES["moco"], folder=f"{name}-{then}")
            here = machine(replace(config.runtime, device=device))
            method, batches, views = material(config, load(config.dataset), run, here)
            phase = config.schedule.pretrain
            phase = replace(phase, max_steps=steps, epochs=9, rate=replace(phase.rate, warmup=0.0, decay="constant"))
            fit(method, batches, views, phase, run, here, config.seed)
        found[name] = losses(run.folder)["the run itself"]
    assert len(found["moved"]) == 6
    assert found["moved"] == pytest.approx(found["alone"], rel=CPU_AND_GPU)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("launcher", [(), ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")])
def test_one_process_for_each_gpu(launcher, tmp_path):
    words = (*SMALLEST, "runtime.device=cuda", "runtime.compile=false", "hydra.run.dir=run")
    count = 2 if launcher else torch.cuda.device_count()
    words = (*words, f"schedule.pretrain.batch_size={8 * count}", "runtime.processes=auto")
    command = [sys.executable, *launcher, "-m", "ssl_cli", "pretrain", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["environment"]["processes"] == count
