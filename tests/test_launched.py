"""Processes that torchrun, Slurm or Ray have launched together: how they find each other, and that they go on after a requeue."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import SMALLEST
from test_launchers import needs, slurm_problem

from ssl_cli.cli.sweeps.launchers import check_launcher
from ssl_cli.cli.sweeps.worker import follows
from ssl_cli.errors import ConfigError
from ssl_cli.training import launch, slurm

STEP = {"SLURM_STEP_NUM_TASKS": "5", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_JOB_ID": "81",
        "SLURM_STEP_ID": "2", "SLURM_STEP_NUM_NODES": "3", "SLURM_STEP_NODELIST": "gpu[017-018,21]",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2),1", "SLURM_CPUS_ON_NODE": "8"}  # fmt: skip
TOGETHER = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
LONG = (*SMALLEST, "schedule.pretrain.max_steps=200", "schedule.pretrain.epochs=1000", "schedule.pretrain.evaluate_every=0",
        "runtime.compile=false")  # fmt: skip


@pytest.fixture
def told():
    """Let this process have been told so much of those it was launched with; what it tells itself ends with the test, too."""
    before = dict(os.environ)

    def tell(said: dict[str, str]) -> None:
        for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", *launch.NEEDED, launch.PATIENCE):
            os.environ.pop(name, None)
        os.environ.update(said)

    yield tell
    os.environ.clear()
    os.environ.update(before)


def test_a_task_of_srun_is_told_what_torchrun_would_say(told):
    told(slurm.as_torchrun(STEP))
    assert (launch.launched(), launch.rank(), launch.local_rank(), launch.processes_here(5)) == (5, 3, 1, 2)
    assert (os.environ["MASTER_ADDR"], os.environ["OMP_NUM_THREADS"]) == ("gpu017", "4")
    assert slurm.as_torchrun({**STEP, "SLURM_NODEID": "2"})["LOCAL_WORLD_SIZE"] == "1"


def test_what_a_person_has_set_and_what_slurm_allocated_stays():
    said = slurm.as_torchrun({**STEP, "MASTER_ADDR": "here", "MASTER_PORT": "7", "SLURM_CPUS_PER_TASK": "3"})
    assert said.keys() == {"WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"}


def test_on_one_machine_tasks_meet_without_its_name():
    said = slurm.as_torchrun({**STEP, "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_TASKS_PER_NODE": "5"})
    assert (said["MASTER_ADDR"], said["GLOO_SOCKET_IFNAME"]) == ("127.0.0.1", "lo")


@pytest.mark.parametrize("without", ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID"])
def test_a_batch_script_is_one_process(without):
    said = {name: value for name, value in STEP.items() if name != without}
    assert slurm.as_torchrun({**said, "SLURM_NTASKS": "5"}) == {}
    assert slurm.as_torchrun({**STEP, "SLURM_STEP_NUM_TASKS": "1"}) == {}


def test_a_batch_script_that_a_task_has_submitted_is_one_process():
    inherited = {**STEP, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    assert slurm.as_torchrun({**inherited, "SLURM_GTIDS": "0"}) == {}
    assert slurm.as_torchrun({**inherited, "SLURM_GTIDS": "0,1"})["WORLD_SIZE"] == "5"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes above are looked up in /proc")
@pytest.mark.parametrize(
    ("above", "count"), [("slurmstepd: [81.batch]", "1"), ("slurmstepd: [81.0]", "5"), ("bash", "5")]
)
def test_below_what_has_started_a_batch_script_there_is_one_process(above, count):
    say = "from ssl_cli.training import launch; launch.listen_to_slurm(); print(os.getenv('WORLD_SIZE', '1'))"
    script = f'sh -c "\'{sys.executable}\' -c \\"import os; {say}\\"; true"; true'
    told = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"} | STEP
    said = subprocess.run(
        [above, "-c", script],
        executable="/bin/sh",
        env=told,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == count, said.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
@pytest.mark.parametrize(("task", "count"), [("shell", "1"), ("command", "5")])
def test_a_command_typed_into_a_shell_that_is_a_task_is_one_process(task, count):
    say = "from ssl_cli.training import launch; launch.listen_to_slurm(); print(os.getenv('WORLD_SIZE', '1'))"
    itself = "os.getpid()" if task == "command" else "os.getppid()"
    script = f"import os; os.environ['SLURM_TASK_PID'] = str({itself}); {say}"
    terminal, end = os.openpty()
    with os.fdopen(terminal), os.fdopen(end) as stdin:
        told = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"} | STEP
        done = subprocess.run(
            [sys.executable, "-c", script], stdin=stdin, capture_output=True, text=True, env=told, check=True
        )
    assert done.stdout.strip() == count


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("vm", "vm"), ("a,b", "a"), ("gpu[017-019,21],login", "gpu017"), ("r[1-2]n[07-8]-ib,x", "r1n07-ib"), ("", "")],
)
def test_the_first_host_of_a_list(nodes, first):
    assert slurm.first_host(nodes) == first


def test_steps_beside_each_other_have_ports_of_their_own():
    ports = {slurm.port(str(job), str(step)) for job in range(100, 200) for step in range(slurm.STEPS)}
    assert len(ports) == 100 * slurm.STEPS
    assert all(1024 < port < 32_768 for port in ports)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two: must be a whole number, 1 or more"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2: RANK and MASTER_ADDR and MASTER_PORT must be set too"),
        ({**TOGETHER, "MASTER_ADDR": ""}, "WORLD_SIZE=2: MASTER_ADDR must be set too"),
        ({**TOGETHER, "RANK": "2"}, "RANK=2: must be less than WORLD_SIZE=2"),
        ({**TOGETHER, "RANK": "-1"}, "RANK=-1: must be a whole number, 0 or more"),
        ({**TOGETHER, "MASTER_PORT": "70000"}, "MASTER_PORT=70000: must be 65535 or less"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(told, said, sentence):
    told(said)
    with pytest.raises(ConfigError, match=sentence):
        launch.launched()


def test_one_process_is_none_that_was_launched_with_others(told):
    told({"WORLD_SIZE": "1", "RANK": "7"})
    assert (launch.launched(), launch.rank()) == (0, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_who_cannot_reach_the_first_process_says_so_in_the_time_given(told, host):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        told({**TOGETHER, "MASTER_ADDR": host, "MASTER_PORT": str(free.getsockname()[1]), launch.PATIENCE: "1"})
        with pytest.raises(
            ConfigError, match=f"MASTER_ADDR={host} .* process 2 of 2 did not meet the others there within 1 s"
        ):
            launch.reach_first()


def test_who_comes_late_is_waited_for(told):
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))
        told({**TOGETHER, "MASTER_PORT": str(late.getsockname()[1])})
        late.listen()
        launch.reach_first()


def test_the_first_process_does_not_wait_for_ever_and_makes_no_run(cli, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    alone = cli(
        "pretrain",
        *SMALLEST,
        "hydra.run.dir=run",
        **{**TOGETHER, "RANK": "0", "MASTER_PORT": port, launch.PATIENCE: "1"},
    )
    assert (alone.returncode, alone.stderr.count("\n")) == (2, 1), alone.stderr
    assert "process 1 of 2 did not meet the others there within 1 s" in alone.stderr
    assert not (tmp_path / "run").exists()


def test_processes_launched_together_with_other_words_are_refused(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "ssl_cli", "pretrain", *SMALLEST, f"seed={rank}"],
            cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **TOGETHER, "RANK": str(rank), "MASTER_PORT": port},
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 2
        assert (
            f"process 1 of those launched together was given other words (pretrain {' '.join(SMALLEST)} seed=1)" in said
        )
    assert not (tmp_path / "outputs").exists()


def test_a_launcher_beside_processes_that_were_launched_together_is_refused(told):
    told(TOGETHER)
    with pytest.raises(ConfigError, match="hydra/launcher=JoblibLauncher: 2 processes were launched together"):
        check_launcher({"_target_": "a.JoblibLauncher", "n_jobs": 2})


def test_the_first_process_ends_at_once_while_it_waits_for_the_others(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = free.getsockname()
    told = {**TOGETHER, "RANK": "0", "MASTER_PORT": str(place[1])}
    command = [sys.executable, "-m", "ssl_cli", "pretrain", *SMALLEST]
    alone = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **told}, stderr=subprocess.PIPE, text=True)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(place):
                break
            assert alone.poll() is None
            time.sleep(0.05)
        alone.send_signal(signal.SIGTERM)
        assert alone.wait(60) == -signal.SIGTERM  # of the 600 seconds that it waits
        assert alone.stderr
        assert alone.stderr.read() == ""
    finally:
        alone.kill()
        alone.communicate()


@pytest.mark.parametrize("job", [{}, {"SUBMITIT_EXECUTOR": "slurm"}])
def test_jobs_of_workers_that_srun_has_started_are_told_by_their_launcher_alone(job, told, monkeypatch, tmp_path):
    told({})
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    for name, value in {**STEP, **job, "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    for name in ("GLOO_SOCKET_IFNAME", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # so that it is what it was afterwards
    assert not follows(tmp_path)
    assert launch.launched() == (5 if job else 0)


@pytest.mark.parametrize(("seen", "own"), [(1, 0), (8, 1)])
def test_a_task_takes_its_own_gpu(told, seen, own):
    told({**TOGETHER, "LOCAL_RANK": "1"})
    assert launch.gpu(seen) == own


def test_a_task_that_sees_the_gpus_of_its_socket_takes_one_of_these(told):
    told({**TOGETHER, "LOCAL_RANK": "5"})
    assert launch.gpu(4) == 1


# Slurm's word for a job, its restarts, those that it was told of, and whether that is its end. The first two are what 22.05 says.
@pytest.mark.parametrize(
    ("state", "restarts", "told_of", "is_over"),
    [("COMPLETING", 0, None, True), ("COMPLETING", 1, None, False), ("RUNNING", 0, None, False), ("CANCELLED", 2, "2", True),
     ("COMPLETING", 3, "2", False), ("TIMEOUT", 1, "1", True), ("PREEMPTED", 0, None, True), ("PENDING", 1, None, False)],
)  # fmt: skip
def test_a_job_that_is_cancelled_is_told_from_one_that_is_started_again(
    tmp_path, monkeypatch, state, restarts, told_of, is_over
):
    others = "JobId=8 ArrayJobId=7 JobState=RUNNING Requeue=1 Restarts=9"
    own = f"JobId=7 ArrayJobId=7 JobName=a JobState={state} Reason=None Requeue=1 Restarts={restarts} BatchFlag=1"
    (tmp_path / "scontrol").write_text(
        f"#!/bin/sh\ntest \"$*\" = '--oneliner show job 7' && printf '{others}\\n{own}\\n'\n"
    )
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    said = {"SLURM_JOB_ID": "7"} | ({} if told_of is None else {"SLURM_RESTART_COUNT": told_of})
    assert slurm.is_ended_for_good(said) == is_over


def test_where_slurm_cannot_be_asked_a_job_may_be_started_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not slurm.is_ended_for_good({"SLURM_JOB_ID": "7"})


# On the real thing


@pytest.fixture
def _slurm():
    if problem := slurm_problem():
        pytest.skip(problem)


def slurm_says(*words: str, folder: Path) -> str:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True, timeout=200).stdout.strip()


def weights(folder: Path) -> dict[str, bytes]:
    """The bytes of what was trained and of how it went."""
    names = ("backbone.safetensors", "head.safetensors", "metrics.jsonl")
    return {name: (folder / name).read_bytes() for name in names}


def processes_of(folder: Path) -> int:
    return json.loads((folder / "result.json").read_text())["environment"]["processes"]


def wait_for_steps(folder: Path) -> None:
    """Until a training in a folder has written down its first steps."""
    deadline = time.monotonic() + 200
    while not (folder / "metrics.jsonl").exists() or not (folder / "metrics.jsonl").stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def requeue(job: str, folder: Path) -> None:
    """Have Slurm end a job and start it again, without the two minutes that it waits otherwise."""
    slurm_says("scontrol", "requeue", job, folder=folder)
    deadline = time.monotonic() + 60
    while slurm_says("squeue", "-h", "-j", job, "-o", "%T", folder=folder) != "PENDING":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    slurm_says("scontrol", "update", f"JobId={job}", "StartTime=now", folder=folder)


@needs("submitit_slurm")
@pytest.mark.slow
@pytest.mark.usefixtures("_slurm")
def test_a_job_of_a_sweep_that_is_cancelled_ends_with_a_sentence_and_ends_no_other(tmp_path):
    words = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.array_parallelism=1")
    command = [sys.executable, "-m", "ssl_cli", "-m", "pretrain", *LONG, "seed=0,1", *words, "hydra.sweep.dir=sweep"]
    with (tmp_path / "said").open("w") as output:
        sweep = subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output)
        try:
            wait_for_steps(tmp_path / "sweep" / "0")
            slurm_says("scancel", next((tmp_path / "sweep" / ".submitit").glob("*_0")).name, folder=tmp_path)
            code = sweep.wait(250)
        finally:
            sweep.kill()
            sweep.wait()
    said = (tmp_path / "said").read_text()
    assert (code, "Traceback" in said) == (1, False), said
    assert "Job 0: Slurm has ended it for good, as scancel does; go on with: ssl-cli resume=sweep" in said
    assert (tmp_path / "sweep/0/checkpoint.pt").exists()
    assert (tmp_path / "sweep/1/result.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("_slurm")
def test_a_job_of_two_tasks_that_is_requeued_goes_on_by_itself_to_the_same_bytes(cli, tmp_path):
    command = " ".join([sys.executable, "-m", "ssl_cli", "pretrain", *LONG])
    (tmp_path / "job.sh").write_text(f"#!/bin/sh\nsrun {command} hydra.run.dir=run-$SLURM_JOB_ID\n")
    words = ("--ntasks=2", "--cpus-per-task=1", "--requeue", "--open-mode=append", "--output=said", "job.sh")
    job = slurm_says("sbatch", "--parsable", *words, folder=tmp_path)
    run = tmp_path / f"run-{job}"
    wait_for_steps(run)
    requeue(job, tmp_path)
    assert not (run / "result.json").exists()
    deadline = time.monotonic() + 200
    while slurm_says("squeue", "-h", "-j", job, "-o", "%T", folder=tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "Going on after step" in (tmp_path / "said").read_text()
    assert processes_of(run) == 2
    assert cli("pretrain", *LONG, "runtime.processes=2", "hydra.run.dir=whole").returncode == 0
    assert weights(run) == weights(tmp_path / "whole")


@needs("submitit_slurm")
@pytest.mark.slow
@pytest.mark.usefixtures("_slurm")
def test_a_sweep_whose_job_of_two_tasks_is_requeued_ends_as_if_it_was_not(cli, tmp_path):
    words = ("hydra/launcher=submitit_slurm", "hydra.launcher.tasks_per_node=2", "hydra.launcher.cpus_per_task=1")
    command = [sys.executable, "-m", "ssl_cli", "-m", "pretrain", *LONG, "seed=0,1", *words, "hydra.sweep.dir=sweep"]
    with (tmp_path / "said").open("w") as said:
        sweep = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said)
        try:
            wait_for_steps(tmp_path / "sweep" / "0")
            submitted = next((tmp_path / "sweep" / ".submitit").glob("*_0")).name
            requeue(submitted, tmp_path)
            assert sweep.wait(250) == 0, (tmp_path / "said").read_text()
        finally:
            sweep.kill()
            sweep.wait()
    assert "0 │ Going on after step" in (tmp_path / "said").read_text()
    assert [processes_of(tmp_path / "sweep" / job) for job in "01"] == [2, 2]
    alone = ("runtime.processes=2", "reuse=false", "seed=0", "hydra.run.dir=whole")
    assert cli("pretrain", *LONG, *alone).returncode == 0
    assert weights(tmp_path / "sweep" / "0") == weights(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.usefixtures("_slurm")
def test_a_batch_script_that_has_inherited_a_step_is_one_process(tmp_path):
    say = "from ssl_cli.training import launch; launch.listen_to_slurm(); print(launch.launched())"
    (tmp_path / "job.sh").write_text(f'#!/bin/sh\n"{sys.executable}" -c "{say}"\nsrun "{sys.executable}" -c "{say}"\n')
    step = {
        **os.environ,
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    }
    words = ["sbatch", "--wait", "--ntasks=2", "--output=said", "job.sh"]
    subprocess.run(words, cwd=tmp_path, env=step, check=True, timeout=200, capture_output=True)
    assert (tmp_path / "said").read_text().split() == ["0", "2", "2"]


@pytest.mark.parametrize("words", [(), ("2",), ("two", "pretrain"), ("0", "pretrain")])
def test_what_starts_workers_of_ray_says_how_it_is_used(words):
    script = Path(__file__).parents[1] / "docs" / "ray_workers.py"
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("usage: ")


@needs("ray")
@pytest.mark.slow
@pytest.mark.parametrize("launcher", [True, False])
def test_two_workers_of_ray_share_a_training(cli, tmp_path, launcher):
    small = ("pretrain", *SMALLEST, "runtime.compile=false")
    if launcher:
        words = ("hydra/launcher=ray", "runtime.processes=2", "hydra.sweep.dir=sweep", "seed=0,1")
        done, run = cli("-m", *small, *words), tmp_path / "sweep" / "0"
    else:
        script = Path(__file__).parents[1] / "docs" / "ray_workers.py"
        command = [sys.executable, str(script), "2", *small, "hydra.run.dir=run"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        run = tmp_path / "run"
    assert done.returncode == 0, done.stdout + done.stderr
    assert processes_of(run) == 2
    whole = (*small, "runtime.processes=2", "seed=0", "hydra.run.dir=whole")
    assert cli(*whole).returncode == 0
    assert weights(run) == weights(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.usefixtures("_slurm")
def test_a_mistake_under_srun_is_said_once_and_ends_both_tasks(tmp_path):
    command = ["srun", "-n", "2", sys.executable, "-m", "ssl_cli", "pretrain", "backbone.width=-4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("ssl-cli: backbone.width=-4") == 1
