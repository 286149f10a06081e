"""Several processes compute what one would: the same losses and gradients, method by method, and the same runs."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import SMALLEST
from test_pins import ALWAYS, CASES, ENTRANTS, PRETRAININGS, TEXTS, carried_out, losses, write_texts
from torch import nn

from ssl_cli import processes
from ssl_cli.data.batches import Batches
from ssl_cli.data.dataset import load
from ssl_cli.errors import ConfigError, ProcessLostError
from ssl_cli.randomness import Draws
from ssl_cli.runs.run import Run
from ssl_cli.stages.pretrain import material
from ssl_cli.training.device import machine
from ssl_cli.training.distributed import end_started, taken_together
from ssl_cli.training.loop import fit
from ssl_cli.training.parcel import Parcel, packed, unpacked
from ssl_cli.training.progress import Clock
from ssl_cli.training.step import Recipe, Steps

# Of each way in which a loss depends on other inputs of the batch, one: the others are slow tests.
CORE = (
    "barlow_twins",
    "dino",
    "gan",
    "masked_lm, next sentence",
    "moco",
    "nnclr",
    "patch_location",
    "swav",
    "word2vec",
)
OF_LABELS = (
    "baseline", "finetune, new head", "finetune, language model", "distill, from pre-trained weights", "semi, fixmatch",
    "semi, fixmatch of averages", "semi, pseudo_label", "probe", "compare", "simclr_v2", "benchmark",
)  # fmt: skip
FOLDS = "baseline, in folds"


@pytest.fixture(scope="module", autouse=True)
def _no_process_is_left():
    yield
    end_started()


@pytest.fixture
def prepared(smoke, tmp_path):
    """A case of the pins: its config, and its run in a new folder."""

    def prepare(case: str, *more: str, folder: str = "run"):
        words = {**CASES, FOLDS: ("stage=baseline", "stage.folds=2")}[case]
        if any(TEXTS in word for word in words):
            pytest.importorskip("tokenizers")
            write_texts(tmp_path)
            words = tuple(word.replace(TEXTS, str(tmp_path)) for word in words)
        config, run = smoke(*ALWAYS, *words, *more, folder=folder)
        if case != "benchmark":
            return config, run
        methods = {name: config.stage.methods[name] for name in ENTRANTS}
        fewer = replace(config, stage=replace(config.stage, methods=methods))
        return fewer, Run(tmp_path / f"{folder}_of_{len(methods)}", fewer)

    return prepare


def smooth(network: nn.Module) -> None:
    """Put tanh in the place of ReLU: rounding may take a value over the bend of a ReLU, and then a gradient is another one."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ReLU | nn.LeakyReLU):
                setattr(module, name, nn.Tanh())


def two_steps(config, run: Run) -> list[dict[str, dict[str, torch.Tensor]]]:
    """Of each of the first two steps of a pre-training: its numbers, the gradients, and what else the method remembers."""
    here = machine(config.runtime)
    method, batches, views = material(config, load(config.dataset), run, here)
    smooth(method)
    steps = Steps(Recipe(method, batches, views, config.schedule.pretrain, here, config.seed), Clock({}))
    method.train()
    found = []
    with taken_together(steps) as take:
        for step in range(2):
            numbers = take(step)
            gradients = {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}
            buffers = {name: value.clone() for name, value in method.named_buffers()}
            found.append({"numbers": numbers, "gradients": gradients, "buffers": buffers})
    return found


def _one_vector(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.double().flatten() for tensor in tensors.values()])


@pytest.mark.parametrize(
    "case", [case if case in CORE else pytest.param(case, marks=pytest.mark.slow) for case in PRETRAININGS]
)
def test_two_processes_compute_what_one_would(case, prepared):
    one, two = (two_steps(*prepared(case, f"runtime.processes={n}", folder=str(n))) for n in (1, 2))
    for ours, theirs in zip(two, one, strict=True):
        for part in theirs:
            assert ours[part].keys() == theirs[part].keys()
        for name, value in theirs["numbers"].items():
            assert float(ours["numbers"][name]) == pytest.approx(float(value), rel=1e-5, abs=1e-5), name
        for name, value in theirs["buffers"].items():
            torch.testing.assert_close(ours["buffers"][name], value, rtol=1e-5, atol=1e-5)
        gradient, wanted = _one_vector(ours["gradients"]), _one_vector(theirs["gradients"])
        assert (gradient - wanted).norm() <= 4e-5 * wanted.norm()  # of sums in float32, in another order


@pytest.mark.slow  # each trains three times, some with a pre-training before
@pytest.mark.parametrize("case", [*OF_LABELS, FOLDS])
def test_stages_on_labels_train_as_in_one_process(case, prepared, tmp_path):
    def run(count: int, name: str) -> Path:
        apart = f"outputs={tmp_path / name / 'outputs'}"  # or one would find the other's pre-training
        return carried_out(*prepared(case, f"runtime.processes={count}", apart, folder=f"{name}/of/its_own/run"))

    folders = [run(1, "one"), run(2, "two"), run(2, "again")]
    one, two, _ = (losses(folder) for folder in folders)
    assert one
    assert two.keys() == one.keys()
    for part, values in one.items():
        assert two[part][:5] == pytest.approx(values[:5], rel=1e-5)
        assert two[part] == pytest.approx(values, rel=2e-4)  # rounding grows from step to step
    written = sorted(p for kind in ("*.safetensors", "metrics.jsonl") for p in folders[1].rglob(kind))
    for path in written:
        assert path.read_bytes() == (folders[2] / path.relative_to(folders[1])).read_bytes(), path


def trained(config, run: Run, count: int, steps: int) -> dict[str, torch.Tensor]:
    """Go on with a pre-training at a constant rate, in `count` processes, up to so many steps; its weights."""
    here = replace(machine(config.runtime), processes=count)
    method, batches, views = material(config, load(config.dataset), run, here)
    phase = config.schedule.pretrain
    phase = replace(phase, max_steps=steps, epochs=9, rate=replace(phase.rate, warmup=0.0, decay="constant"))
    fit(method, batches, views, phase, run, here, config.seed)
    return method.state_dict()


@pytest.mark.parametrize("counts", [(1, 2), (2, 1)])
def test_a_checkpoint_goes_on_in_another_number_of_processes(counts, prepared):
    found = {}
    for first, then in ((1, 1), counts):
        config, run = prepared("moco", "schedule.pretrain.optimiser.lr=0.01", folder=f"{first}{then}")
        trained(config, run, first, 3)
        found[first, then] = trained(config, run, then, 6), losses(run.folder)["the run itself"]
    weights, numbers = found[1, 1]
    assert found[counts][1] == pytest.approx(numbers, rel=1e-5)
    assert len(numbers) == 6
    difference = _one_vector(found[counts][0]) - _one_vector(weights)
    assert difference.norm() <= 1e-5 * _one_vector(weights).norm()


def test_two_runs_of_two_processes_are_the_same_bytes(prepared):
    runs = [carried_out(*prepared("barlow_twins", "runtime.processes=2", folder=name)) for name in ("a", "b")]
    for name in ("backbone.safetensors", "head.safetensors", "metrics.jsonl", "checkpoint.pt"):
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes()


@pytest.mark.parametrize("words", [("schedule.pretrain.gradient_accumulation=3", "schedule.pretrain.gradient_clipping=0.1"),
                                   ("schedule.pretrain.ema=0.5",)])  # fmt: skip
def test_gradients_are_accumulated_clipped_and_averaged_as_in_one_process(words, prepared):
    one, two = (carried_out(*prepared("simclr", *words, f"runtime.processes={n}", folder=str(n))) for n in (1, 2))
    read = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
    for ours, theirs in zip(*read, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def views_that_fail(inputs, count: int, draws: Draws):
    """Views that another process than the first one cannot make."""
    if draws.rank:
        raise ValueError("no views here")
    return (inputs.float() / 255,) * count


def test_what_fails_in_another_process_is_said_in_a_sentence(prepared):
    config, run = prepared("simclr", "runtime.processes=2")
    here = machine(config.runtime)
    method, batches, _ = material(config, load(config.dataset), run, here)
    with pytest.raises(ProcessLostError, match="process 2 of 2 failed: ValueError: no views here"):
        fit(method, batches, views_that_fail, config.schedule.pretrain, run, here, config.seed)
    assert trained(*prepared("simclr", folder="next"), 2, 2)  # by new processes


def test_what_cannot_be_sent_is_refused(prepared):
    config, run = prepared("simclr", "runtime.processes=2")
    here = machine(config.runtime)
    method, batches, views = material(config, load(config.dataset), run, here)
    with pytest.raises(ConfigError, match=r"runtime.processes=2: the training cannot be sent to others .*; take 1"):
        fit(method, batches, lambda *given: views(*given), config.schedule.pretrain, run, here, config.seed)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("runtime.processes=3",), r"schedule.pretrain.batch_size=16: runtime.processes=3: 16 inputs of a batch cannot be"),
        (("runtime.processes=0",), r"runtime.processes=0"),
        (("stage=baseline", "runtime.processes=2", "budget.labels=15"),
         r"schedule.supervised.batch_size=16: there are 15 inputs .* runtime.processes=2: 15 inputs of a batch"),
        (("stage=semi", "stage.labelled_batch_size=15", "runtime.processes=2"), r"stage.labelled_batch_size=15: runtime"),
        (("runtime.processes=2", "runtime.device=mps"), r"runtime.processes=2: runtime.device=mps"),
    ],
)  # fmt: skip
def test_batches_that_cannot_be_shared_are_refused_before_anything_begins(fitting, words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        fitting(*SMALLEST, "stage=pretrain", "schedule.pretrain.batch_size=16", *words)


def test_each_process_has_its_share_of_a_batch():
    batches = Batches(torch.arange(40), torch.arange(40) * 2, None, 12, "shuffle", 0)
    whole, shares = batches.at(1), []
    for rank in range(3):
        with processes.together(rank, 3):
            shares.append(batches.at(1))
    assert torch.equal(torch.stack([share.inputs for share in shares], dim=1).flatten(), whole.inputs)
    assert torch.equal(torch.stack([share.labels for share in shares], dim=1).flatten(), whole.labels)


def test_alone_nothing_is_shared():
    values = torch.arange(6.0, requires_grad=True)
    assert (
        processes.gather(values)
        is processes.own(values)
        is processes.average(values)
        is processes.total(values)
        is values
    )
    assert processes.weight(7) == 1


def test_inputs_that_settings_name_are_not_sent(prepared):
    config, run = prepared("simclr", "dataset.facts.inputs=4096")
    here, dataset = machine(config.runtime), load(config.dataset)
    method, batches, views = material(config, dataset, run, here)
    steps = Steps(Recipe(method, batches, views, config.schedule.pretrain, here, config.seed), Clock({}))
    content = packed(Parcel(steps.recipe, steps.optimiser.state_dict(), {}))
    assert len(content) < dataset.train.inputs.numel() / 4
    recipe = unpacked(content).recipe
    assert torch.equal(recipe.batches.at(1).inputs, batches.at(1).inputs)
    assert all(torch.equal(a, b) for a, b in zip(recipe.method.parameters(), method.parameters(), strict=True))


LONG = (*SMALLEST, "schedule.pretrain.max_steps=60", "schedule.pretrain.epochs=1000", "schedule.pretrain.evaluate_every=0",
        "runtime.checkpoint_seconds=0", "runtime.compile=false")  # fmt: skip


def begun(folder: Path, *words: str, by: tuple[str, ...] = (sys.executable,)) -> subprocess.Popen:
    """A pre-training in two processes, as a person types it, some steps after its beginning."""
    command = [*by, "-m", "ssl_cli", "pretrain", *LONG, f"hydra.run.dir={folder}", *words]
    process = subprocess.Popen(command, cwd=folder.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 200
    while not (folder / "checkpoint.previous.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc")
def test_the_death_of_one_ends_all_with_a_sentence_and_the_run_goes_on(cli, tmp_path):
    killed = begun(tmp_path / "killed", "runtime.processes=2")
    (other,) = children(killed.pid)
    os.kill(other, signal.SIGKILL)
    said, _ = killed.communicate(timeout=60)
    assert killed.returncode == 1, said
    assert "process 2 of 2 ended by signal 9 (SIGKILL)" in said
    assert "Go on with: ssl-cli resume=killed" in said
    assert "Traceback" not in said
    assert cli("resume=killed").returncode == 0
    assert (tmp_path / "killed" / "result.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc")
def test_after_the_death_of_one_a_run_goes_on_to_the_same_bytes(cli, tmp_path):
    killed = begun(tmp_path / "killed", "runtime.processes=2")
    os.kill(*children(killed.pid), signal.SIGKILL)
    killed.communicate(timeout=60)
    assert not (tmp_path / "killed" / "result.json").exists()
    assert cli("resume=killed").returncode == 0
    assert cli("pretrain", *LONG, "runtime.processes=2", "hydra.run.dir=whole").returncode == 0
    for name in ("backbone.safetensors", "metrics.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_signal_to_the_first_ends_all(number, code, tmp_path):
    process = begun(tmp_path / "run", "runtime.processes=2")
    (other,) = children(process.pid)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert number == signal.SIGKILL or "Go on with: ssl-cli resume=run" in said
    deadline = time.monotonic() + 20
    while Path(f"/proc/{other}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{other}").exists()


@pytest.mark.slow
def test_a_sweep_trains_each_job_in_two_processes(cli, tmp_path):
    words = (*SMALLEST, "runtime.processes=2", "hydra.sweep.dir=sweep")
    done = cli("-m", "pretrain", *words, "seed=0,1")
    assert done.returncode == 0, done.stdout + done.stderr
    for job in "01":
        assert json.loads((tmp_path / "sweep" / job / "result.json").read_text())["environment"]["processes"] == 2


@pytest.mark.slow
def test_torchrun_launches_what_goes_on_alone(cli, tmp_path):
    torchrun = (str(Path(sys.executable).parent / "torchrun"), "--standalone", "--nproc-per-node=2")
    launched = begun(tmp_path / "run", by=torchrun)
    launched.terminate()
    said, _ = launched.communicate(timeout=120)
    assert (tmp_path / "run" / "checkpoint.pt").exists(), said
    assert not (tmp_path / "run" / "result.json").exists()
    assert cli("resume=run").returncode == 0
    alone = cli("pretrain", *LONG, "hydra.run.dir=alone")
    assert alone.returncode == 0
    one, other = (losses(tmp_path / name)["the run itself"] for name in ("run", "alone"))
    assert one[:5] == pytest.approx(other[:5], rel=1e-5)
    short = [*torchrun, "-m", "ssl_cli", "pretrain", *SMALLEST, "hydra.run.dir=short"]
    for _ in range(2):  # the second time nothing is trained, and the other process is let go all the same
        done = subprocess.run(short, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "short" / "result.json").read_text())["environment"]["processes"] == 2


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_compute_what_one_would(prepared):
    one, two = (
        two_steps(*prepared("moco", f"runtime.processes={n}", "runtime.device=cuda", folder=str(n))) for n in (1, 2)
    )
    for ours, theirs in zip(two, one, strict=True):
        for name, value in theirs["numbers"].items():
            assert float(ours["numbers"][name]) == pytest.approx(float(value), rel=1e-3), name
