"""One whole pre-training step, up to five ways, interleaved in one run: `make bench`, or `python benchmarks/steps.py`.

ssl_cli   this project's step: batch, views, forward, loss, backward, optimiser, as `runtime=auto` decides
article   the article's step as it is written there: one draw for the whole batch, convolution–ReLU–pooling in float32, two
          forward passes, similarities by broadcasting, and two more passes to watch the loss
lightly   the usual pipeline: a DataLoader with a worker a core, torchvision's transforms for each sample, lightly's
          MultiViewTransform and NTXentLoss (needs `pip install '.[bench]'`)
floor     forward and backward of the same backbone on tensors that are ready, in the same precision and layout
matmul    as many operations as the floor's, all of them in large matrix products, in the same precision

Each arm has a process of its own, which sleeps while the others take steps; `article` and `lightly` keep the usual allocator.
Each number is the median over the rounds of the mean seconds of a step.
"""

import argparse
import contextlib
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models
from torchvision.transforms import v2

from ssl_cli.config.compose import from_overrides
from ssl_cli.config.schema import Config
from ssl_cli.data.batches import Batches
from ssl_cli.data.dataset import load
from ssl_cli.methods.base import Method
from ssl_cli.stages.networks import pretraining_method, views_of
from ssl_cli.training import device
from ssl_cli.training.device import Machine
from ssl_cli.training.optim import optimiser
from ssl_cli.training.step import prepare, take_step

RESULTS = Path(__file__).parent / "results.json"
Steps = Callable[[int], None]  # takes so many steps


@dataclass(frozen=True)
class Case:
    """A backbone with its data and its views; the arms that make sense for it; the ratios asked for."""

    name: str
    overrides: tuple[str, ...]
    per_sample: Callable[[], v2.Transform]
    arms: tuple[str, ...] = ("ssl_cli", "lightly", "floor")
    steps: int = 4
    targets: tuple[tuple[str, float], ...] = ()


def digits_of_a_sample() -> v2.Transform:
    """What `augment=warfield` does, by torchvision's transforms."""
    return v2.Compose(
        [
            v2.RandomAffine(50, translate=(0.1, 0.1), scale=(0.5, 1.5), shear=0.2),
            *(v2.RandomPerspective(distortion, p=0.5) for distortion in (0.4, 0.2, 0.2)),
            *(v2.RandomApply([v2.GaussianBlur(3)], p=0.25) for _ in range(2)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


def colours_of_a_sample() -> v2.Transform:
    """What `augment=natural` does, by torchvision's transforms."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(32, scale=(0.08, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


ARTICLE = ("augment=warfield", "augment.pretrain.draw=sample", "head=warfield", "method.temperature=0.5")
CASES = (
    Case(
        "warfield",
        ("dataset=mnist5k", "backbone=warfield", "schedule=warfield", "schedule.pretrain.steps_per_epoch=null", *ARTICLE),
        digits_of_a_sample,
        ("ssl_cli", "article", "lightly", "floor"),
        targets=(("article", 1 / 15), ("lightly", 1 / 20), ("floor", 1.25)),
    ),
    Case(
        "small",
        ("dataset=mnist5k", "backbone=small", "schedule=standard", "schedule.pretrain.batch_size=256", *ARTICLE),
        digits_of_a_sample,
    ),
    Case(
        "vit",
        (
            "dataset=synthetic", "dataset.facts.shape=[3,32,32]", "dataset.facts.inputs=2048", "backbone=vit",
            "augment=natural", "head=simclr", "schedule=standard", "schedule.pretrain.batch_size=128",
        ),
        colours_of_a_sample,
        ("ssl_cli", "floor", "matmul"),
        steps=2,
    ),
    Case(
        "resnet18",
        (
            "dataset=synthetic", "dataset.facts.shape=[3,32,32]", "dataset.facts.inputs=2048", "backbone=resnet18",
            "augment=natural", "head=simclr", "schedule=standard", "schedule.pretrain.batch_size=128",
        ),
        colours_of_a_sample,
        steps=2,
        targets=(("lightly", 1 / 2), ("floor", 1.1)),
    ),
)  # fmt: skip


# The arms


def ours(config: Config, here: Machine, method: Method | None = None) -> Steps:
    dataset = load(config.dataset)
    phase = config.schedule.pretrain
    method = here.place(method or pretraining_method(config, dataset)).train()
    views = views_of(config, dataset, "pretrain")
    batches = Batches(dataset.train.inputs, None, None, phase.batch_size, "shuffle", 0)
    optimise, scaler = optimiser(method.parameter_groups(), phase.optimiser), here.scaler()
    done = 0

    def steps(count: int) -> None:
        nonlocal done
        for step in range(done, done + count):
            take_step(method, optimise, scaler, [prepare(batches, views, method, step, 0, here)], here)
        done += count
        here.wait()

    return steps


def floor(config: Config, here: Machine) -> Steps:
    dataset = load(config.dataset)
    count = 2 * config.schedule.pretrain.batch_size
    backbone = here.place(pretraining_method(config, dataset).backbone).train()
    inputs = here.layout(torch.rand(count, *dataset.shape, device=here.device))

    def steps(count: int) -> None:
        for _ in range(count):
            backbone.zero_grad(set_to_none=True)
            with here.autocast():
                features = backbone(inputs)
            features.float().sum().backward()
        here.wait()

    return steps


def matmul(config: Config, here: Machine) -> Steps:
    with FlopCounterMode(display=False) as counter:
        floor(config, here)(1)
    side = 2048
    with here.autocast():
        matrix = torch.rand(side, side, device=here.device)
        matrix = matrix.to((matrix[:1] @ matrix).dtype)

    def steps(count: int) -> None:
        with torch.no_grad():
            for _ in range(max(1, round(count * counter.get_total_flops() / (2 * side**3)))):
                matrix @ matrix
        here.wait()

    return steps


def article(config: Config, here: Machine) -> Steps:
    dataset = load(config.dataset)
    size = config.schedule.pretrain.batch_size
    images = dataset.train.inputs.to(here.device)
    network = nn.Sequential(
        *(
            layer
            for i, o in ((1, 16), (16, 16), (16, 32))
            for layer in (nn.Conv2d(i, o, 3), nn.ReLU(), nn.MaxPool2d(2))
        ),
        nn.Flatten(),
        *(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10), nn.Softmax(1)),
    ).to(here.device)
    optimise = torch.optim.Adam(network.parameters(), 1e-3)
    transform = digits_of_a_sample()  # of a whole batch: torchvision then draws once
    at = 0

    def loss(first: Tensor, second: Tensor) -> Tensor:
        z = torch.cat([network(first), network(second)])
        similarity = F.cosine_similarity(z[:, None], z[None], dim=2) / 0.5
        similarity = similarity.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
        partner = torch.arange(len(z), device=z.device).roll(len(first))
        return F.cross_entropy(similarity, partner)

    def steps(count: int) -> None:
        nonlocal at
        for _ in range(count):
            batch = images[at : at + size]
            at = (at + size) % (len(images) - size)
            first, second = transform(batch) * 255, transform(batch) * 255
            optimise.zero_grad()
            loss(first, second).backward()
            optimise.step()
            with torch.no_grad():
                loss(first, second).item()
        here.wait()

    return steps


def lightly(config: Config, here: Machine, per_sample: v2.Transform) -> Steps:
    from lightly.loss import NTXentLoss
    from lightly.transforms.multi_view_transform import MultiViewTransform

    dataset = load(config.dataset)
    size = config.schedule.pretrain.batch_size
    pictures = [v2.functional.to_pil_image(image) for image in dataset.train.inputs]
    transform = MultiViewTransform([per_sample, per_sample])

    class Pictures(torch.utils.data.Dataset):
        count = 0

        def __len__(self) -> int:
            return self.count

        def __getitem__(self, item: int) -> list[Tensor]:
            return transform(pictures[item % len(pictures)])

    if config.backbone.name == "resnet18":
        backbone = models.resnet18()
        backbone.conv1, backbone.maxpool, backbone.fc = (
            nn.Conv2d(3, 64, 3, 1, 1, bias=False),
            nn.Identity(),
            nn.Identity(),
        )
        method = nn.Sequential(backbone, pretraining_method(config, dataset).head)
    else:
        method = pretraining_method(config, dataset)
        method = nn.Sequential(method.backbone, method.head)
    method.to(here.device).train()
    optimise, criterion = torch.optim.Adam(method.parameters(), 1e-3), NTXentLoss(temperature=0.5)

    def steps(count: int) -> None:
        Pictures.count = count * size  # the workers have nothing to do before and after: the other arms are alone
        for first, second in torch.utils.data.DataLoader(
            Pictures(),
            size,
            shuffle=True,
            num_workers=torch.get_num_threads(),
            drop_last=True,
            multiprocessing_context="fork",
        ):
            optimise.zero_grad()
            scale = config.augment.scale
            first, second = first.to(here.device) * scale, second.to(here.device) * scale
            criterion(method(first), method(second)).backward()
            optimise.step()
        here.wait()

    return steps


# The run


def measured(case: Case, rounds: int, arms: tuple[str, ...]) -> list[dict[str, object]]:
    config = from_overrides("stage=pretrain", *case.overrides)
    with contextlib.ExitStack() as alive:
        workers = {arm: alive.enter_context(_Worker(case, arm)) for arm in case.arms if arm in arms}
        machines = {arm: worker.take(2)[1] for arm, worker in workers.items()}
        seconds: dict[str, list[float]] = {arm: [] for arm in workers}
        for _ in range(rounds):
            for arm, worker in workers.items():
                count = 3 * case.steps if arm in ("ssl_cli", "floor", "matmul") else case.steps
                seconds[arm].append(worker.take(count)[0] / count)
    return [
        {
            "backbone": case.name,
            "arm": arm,
            "seconds_per_step": round(statistics.median(taken), 6),
            "lowest": round(min(taken), 6),
            "highest": round(max(taken), 6),
            "rounds": rounds,
            "inputs": list(load(config.dataset).shape),
            "batch_size": config.schedule.pretrain.batch_size,
            **({"machine": machines[arm]} if arm == "ssl_cli" else {}),
        }
        for arm, taken in seconds.items()
    ]


class _Worker:
    """An arm in a process of its own, with an allocator of its own; it sleeps while the others take steps."""

    def __init__(self, case: Case, arm: str):
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_work, args=(case.name, arm, there))

    def __enter__(self) -> "_Worker":
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has failed
            self._here.send(0)
        self._process.join()

    def take(self, steps: int) -> tuple[float, dict[str, object]]:
        """The seconds that so many steps take, and the machine as the arm sees it."""
        self._here.send(steps)
        while not self._here.poll(1):
            if not self._process.is_alive():
                raise RuntimeError("an arm's process has ended; its error stands above")
        return self._here.recv()


def _work(name: str, arm: str, pipe: Connection) -> None:
    case = next(case for case in CASES if case.name == name)
    if arm in ("article", "lightly"):
        device.keep_freed_memory = lambda: None  # theirs is glibc's allocator as it comes
    config = from_overrides("stage=pretrain", *case.overrides)
    here = device.machine(config.runtime)
    makers = {
        "ssl_cli": ours,
        "article": article,
        "floor": floor,
        "matmul": matmul,
        "lightly": lambda *a: lightly(*a, case.per_sample()),
    }
    runner = makers[arm](config, here)
    while count := pipe.recv():
        began = time.perf_counter()
        runner(count)
        pipe.send((time.perf_counter() - began, here.environment()))


def show(rows: list[dict[str, object]]) -> None:
    table = Table("backbone", "arm", "ms a step", "lowest–highest", "ssl_cli ÷ arm", "asked")
    for case in CASES:
        own = {row["arm"]: row for row in rows if row["backbone"] == case.name}
        for arm, row in own.items():
            low, middle, high = (f"{1e3 * row[key]:.1f}" for key in ("lowest", "seconds_per_step", "highest"))
            ratio = f"{own['ssl_cli']['seconds_per_step'] / row['seconds_per_step']:.3f}" if "ssl_cli" in own else ""
            asked = dict(case.targets).get(arm)
            table.add_row(case.name, arm, middle, f"{low}–{high}", ratio, f"≤ {asked:.3f}" if asked else "")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--backbone", choices=[case.name for case in CASES], nargs="+")
    parser.add_argument("--arm", choices=["ssl_cli", "article", "lightly", "floor", "matmul"], nargs="+")
    asked = parser.parse_args()
    arms = tuple(asked.arm or ("ssl_cli", "article", "lightly", "floor", "matmul"))
    rows = [
        row
        for case in CASES
        if not asked.backbone or case.name in asked.backbone
        for row in measured(case, asked.rounds, arms)
    ]
    show(rows)
    if not asked.backbone and not asked.arm:
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
