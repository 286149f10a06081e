"""Sweeps whose jobs run in other processes: the real launchers, each where it is installed."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ssl_cli.cli.sweeps.jobs import Jobs
from ssl_cli.cli.sweeps.launchers import check_launcher, launcher_of
from ssl_cli.config import plugins
from ssl_cli.config.compose import precheck
from ssl_cli.config.overrides import parsed_override, reading
from ssl_cli.errors import ConfigError
from ssl_cli.runs.claim import holder_of
from ssl_cli.training.threads import own_threads

SMALL = (
    "dataset=synthetic",
    "schedule=smoke",
    "backbone.width=4",
    "runtime.compile=false",
    "runtime.precision=float32",
)
QUICK = ("classical", "dataset=synthetic", "hydra.sweep.dir=sweep")


def needs(choice: str):
    """Skips a test where a launcher or a sweeper is not installed."""
    extra, module = plugins.EXTRAS["hydra/sweeper" if choice == "optuna" else "hydra/launcher", choice]
    return pytest.mark.skipif(not plugins.is_there(module), reason=f"needs pip install 'ssl-cli[{extra}]'")


def hidden(folder: Path) -> list[str]:
    """What a sweep left behind that is not for people."""
    return [path.name for path in folder.rglob(".ssl_cli*")]


@needs("joblib")
@pytest.mark.slow
def test_jobs_in_two_processes_pretrain_once_share_the_cores_and_end_in_one_table(cli, tmp_path):
    done = cli("-m", "finetune", *SMALL, "budget.labels=20,40", "hydra/launcher=joblib", "hydra.sweep.dir=sweep",
               "hydra.launcher.n_jobs=2", OMP_NUM_THREADS="")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("pretrain/config.yaml"))) == 1
    assert "for a pre-training with these settings" in done.stdout or "Pre-trained already" in done.stdout
    assert done.stdout.index("Job 1 (budget.labels=40): finished") < done.stdout.index("all runs of the sweep")
    assert done.stdout.index("Job 0 (budget.labels=20): finished") < done.stdout.index("all runs of the sweep")
    cores = len(os.sched_getaffinity(0))
    threads = [json.loads((tmp_path / f"sweep/{job}/machine.json").read_text())["threads"] for job in (0, 1)]
    assert threads == [max(1, cores // 2)] * 2
    assert "%|" not in done.stderr  # no bar of a job
    assert hidden(tmp_path) == []


@needs("joblib")
def test_jobs_that_fail_or_are_refused_are_named_and_end_no_other(cli, tmp_path):
    sweep = ("-m", "pretrain", *SMALL, "schedule.pretrain.optimiser.name=sgd", "runtime.device=cpu,cuda:77",
             "schedule.pretrain.optimiser.lr=0.1,1e9")  # fmt: skip
    done = cli(*sweep, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    finished = [path.parent.name for path in tmp_path.glob("sweep/*/result.json")]
    assert finished == ["0"]
    complaints = done.stderr.strip().splitlines()[-2:]
    assert [line.partition("): ")[0].partition(") and")[0] for line in complaints] == [
        "ssl-cli: Job 1 (runtime.device=cpu schedule.pretrain.optimiser.lr=1000000000.0",
        r"Job 2 (runtime.device=cuda\:77 schedule.pretrain.optimiser.lr=0.1",
    ]
    assert " and 1 more: " in complaints[1]
    assert "lower schedule's optimiser.lr" in complaints[0]
    assert "runtime.device=cuda:77: is not on this machine" in complaints[1]
    assert hidden(tmp_path) == []


@needs("joblib")
@pytest.mark.slow
def test_ctrl_c_ends_all_jobs_and_resume_has_the_launcher_again(cli, tmp_path):
    words = (
        "-m", "pretrain", *SMALL, "schedule.pretrain.max_steps=null", "schedule.pretrain.epochs=2000", "seed=0,1",
        "schedule.pretrain.evaluate_every=0", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep",
    )  # fmt: skip
    sweep = subprocess.Popen(
        [sys.executable, "-m", "ssl_cli", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        jobs = [tmp_path / "sweep/0", tmp_path / "sweep/1"]
        deadline = time.monotonic() + 200
        while not all((job / "metrics.jsonl").exists() for job in jobs):
            assert sweep.poll() is None, sweep.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "2 running" in cli("status", "sweep").stdout
        sweep.send_signal(signal.SIGINT)
        said, complained = sweep.communicate(timeout=100)
    finally:
        sweep.kill()
        sweep.communicate()
    assert sweep.returncode == 128 + signal.SIGINT, complained
    assert "Traceback" not in complained
    assert said.rstrip().endswith("Go on with: ssl-cli resume=sweep")
    assert [holder_of(job) for job in jobs] == [None, None]
    assert all((job / "checkpoint.pt").exists() for job in jobs)
    assert "2 interrupted" in cli("status", "sweep").stdout
    assert hidden(tmp_path) == []
    (jobs[0] / "config.yaml").write_text("seed: other")  # so that it is refused before it trains again
    (jobs[1] / "config.yaml").write_text("seed: other")
    resumed = cli("resume=sweep")
    assert resumed.returncode == 2
    assert "Joblib.Parallel(n_jobs=2" in resumed.stdout
    assert "Job 1 (seed=1): hydra.run.dir" in resumed.stderr


@needs("submitit_local")
@pytest.mark.slow
def test_submitit_runs_jobs_on_this_machine(cli, tmp_path):
    done = cli("-m", *QUICK, "budget.labels=20,40", "hydra/launcher=submitit_local")
    check_quick(done, tmp_path)


def slurm_problem() -> str | None:
    if shutil.which("sinfo") is None:
        return "needs a Slurm (tests/one_node_slurm.sh starts one of one node)"
    said = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, timeout=30, check=False)
    return (
        None
        if said.returncode == 0 and "up" in said.stdout
        else "no Slurm runs here (tests/one_node_slurm.sh starts one)"
    )


@needs("submitit_slurm")
@pytest.mark.slow
def test_slurm_runs_jobs_and_says_how_many_cores_each_gets(cli, tmp_path):
    if problem := slurm_problem():
        pytest.skip(problem)
    words = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=10")
    check_quick(cli("-m", *QUICK, "budget.labels=20,40", *words), tmp_path)
    assert json.loads((tmp_path / "sweep/0/machine.json").read_text())["threads"] == 1


@needs("ray")
@pytest.mark.slow
def test_ray_runs_jobs_on_a_cluster_of_this_machine(cli, tmp_path):
    check_quick(cli("-m", *QUICK, "budget.labels=20,40", "hydra/launcher=ray"), tmp_path)


def check_quick(done: subprocess.CompletedProcess, folder: Path) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "0 │ Test accuracy",
        "1 │ Test accuracy",
        "Job 1 (budget.labels=40): finished",
        "all runs of the sweep",
    ):
        assert line in done.stdout
    assert "budget.labels=20,40" in json.loads((folder / "sweep/0/run.json").read_text())["command"]
    assert hidden(folder) == []


def test_a_plugin_that_is_not_installed_is_one_sentence_with_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for (group, choice), (extra, _) in plugins.EXTRAS.items():
        with pytest.raises(ConfigError) as refused:
            precheck([f"{group}={choice}", "seed=0,1"], multirun=True)
        assert refused.value.problems == (f"{group}={choice}: is not installed; pip install 'ssl-cli[{extra}]'",)


@pytest.mark.parametrize(
    ("word", "trusted"),
    [
        ("hydra/launcher=joblib", True),
        ("hydra/launcher=submitit_slurm", True),
        ("hydra/sweeper=optuna", True),
        ("hydra.launcher.n_jobs=2", True),
        ("hydra.launcher.partition=gpu-a100", True),
        ("+hydra.launcher.ray.init.log_to_driver=false", True),
        ("hydra.sweeper.direction=maximize", True),
        ("hydra/launcher=mine", False),
        ("hydra/launcher=ray_aws", False),
        ("hydra.launcher._target_=os.system", False),
        ("hydra.launcher.setup=[rm]", False),
        ("hydra.launcher.partition='a;b'", False),
        ("hydra.sweeper.custom_search_space=os.system", False),
        ("hydra.searchpath=[file:///tmp]", False),
        ("hydra.callbacks.mine=1", False),
    ],
)
def test_what_a_recorded_sweep_may_say_of_hydra_without_trust(word, trusted):
    with reading(None):
        override = parsed_override(word, [])
    assert override is not None
    assert plugins.runs_no_code(override) == trusted


@pytest.mark.parametrize(
    ("said", "threads"),
    [({}, 4), ({"OMP_NUM_THREADS": "2"}, 2), ({"OMP_NUM_THREADS": "64"}, 4), ({"SLURM_CPUS_PER_TASK": "3"}, 3),
                          ({"SLURM_CPUS_ON_NODE": "2", "OMP_NUM_THREADS": "4"}, 2), ({"OMP_NUM_THREADS": "4,2"}, 4)],
)  # fmt: skip
def test_open_threads_are_what_the_machine_and_the_launcher_leave(monkeypatch, said, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert own_threads() == threads


@pytest.mark.parametrize(
    ("launcher", "problem"),
    [({"_target_": "a.JoblibLauncher", "n_jobs": 0}, "hydra.launcher.n_jobs=0: must be 1 or more, or -1 for all cores"),
     ({"_target_": "a.JoblibLauncher", "n_jobs": -1}, None),
     ({"_target_": "a.SlurmLauncher", "cpus_per_task": 0}, "hydra.launcher.cpus_per_task=0: must be 1 or more"),
     ({"_target_": "a.SlurmLauncher", "cpus_per_task": None}, None),
     ({"_target_": "a.Mine", "n_jobs": 0}, None)],
)  # fmt: skip
def test_a_launcher_is_asked_for_one_job_at_least(launcher, problem):
    if problem is None:
        check_launcher(launcher)
    else:
        with pytest.raises(ConfigError) as refused:
            check_launcher(launcher)
        assert refused.value.problems == (problem,)


@pytest.mark.parametrize(
    ("settings", "jobs", "at_once"),
    [({"_target_": "a.JoblibLauncher", "n_jobs": 8}, 3, 3), ({"_target_": "a.JoblibLauncher", "n_jobs": 2}, 3, 2),
     ({"_target_": "a.JoblibLauncher", "n_jobs": -1}, 30, 4), ({"_target_": "a.JoblibLauncher", "n_jobs": -2}, 30, 3),
     ({"_target_": "a.LocalLauncher"}, 3, 3), ({"_target_": "a.SlurmLauncher"}, 3, None),
     ({"_target_": "a.RayLauncher", "ray": {"init": {}, "remote": {}}}, 30, 4),
     ({"_target_": "a.RayLauncher", "ray": {"init": {"num_cpus": 8}, "remote": {"num_cpus": 4}}}, 30, 2)],
)  # fmt: skip
def test_how_many_jobs_share_the_cores(monkeypatch, settings, jobs, at_once):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    settings = OmegaConf.create(settings)
    launcher = launcher_of(settings)
    assert launcher is not None
    assert launcher.at_once(settings, jobs) == at_once


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_a_launcher_runs_in_this_process_ends_on_ctrl_c(tmp_path, number):
    asked = []

    def job(_: object) -> Path:
        os.kill(os.getpid(), number)
        return tmp_path

    before = signal.signal(number, lambda *_: asked.append(number))  # as while jobs in other processes are watched
    try:
        with pytest.raises(SystemExit) as ended:
            Jobs(job, reports=tmp_path)(None)
        assert ended.value.code == 128 + number
        os.kill(os.getpid(), number)
        assert asked == [number]
    finally:
        signal.signal(number, before)


def test_an_interval_without_a_search_is_refused():
    with pytest.raises(ConfigError, match="an interval is for a search; add hydra/sweeper=optuna, or list the values"):
        precheck(["method.temperature=interval(0.1,1.0)"], multirun=True)


def test_a_launcher_of_ones_own_is_taken_to_run_jobs_elsewhere():
    assert launcher_of({"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}) is None
    own = launcher_of({"_target_": "mine.CloudLauncher"})
    assert own is not None
    assert own.at_once({}, 8) is None
