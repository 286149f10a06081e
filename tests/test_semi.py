import copy
import json
import signal

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from test_command import TINY, assert_same_bytes, start, wait_for_lines
from torch import nn

from ssl_cli.config.build import build
from ssl_cli.data.budget import choose
from ssl_cli.data.dataset import load
from ssl_cli.data.types import UNKNOWN
from ssl_cli.methods.fixmatch import FixMatch, consistency
from ssl_cli.methods.pseudo_label import PseudoLabel, ramp
from ssl_cli.randomness import Draws
from ssl_cli.stages.networks import classifier_of, plain_of
from ssl_cli.stages.semi import WeakAndStrong, mixed_batches, semi
from ssl_cli.training.device import machine
from ssl_cli.training.evaluate import class_accuracy


def network() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Flatten(), nn.Linear(12, 4)


def fixmatch(body: nn.Module, head: nn.Module, pseudo_labels_from: str = "student", **settings: float) -> FixMatch:
    return FixMatch(body, head, pseudo_labels_from, temperature=0.0, **settings)


def inputs(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 2, 2, generator=torch.Generator().manual_seed(count))


def logits_of(*probabilities: list[float]) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def test_a_strong_view_learns_the_first_choice_of_the_weak_one_if_that_is_sure_enough():
    weak = logits_of([0.96, 0.04], [0.94, 0.06], [0.01, 0.99], [0.5, 0.5])
    strong = logits_of([0.3, 0.7], [0.1, 0.9], [0.8, 0.2], [0.5, 0.5])
    loss, confident = consistency(weak, strong, 0.95, 0.0)
    expected = -(torch.tensor(0.3).log() + torch.tensor(0.2).log()) / 4  # the mean counts those that were left out
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert confident == 0.5


def test_above_a_temperature_of_0_the_whole_answer_is_learnt_sharpened():
    weak, strong = torch.randn(6, 3), torch.randn(6, 3)
    loss, confident = consistency(weak, strong, 0.0, 0.5)
    sharp = weak.softmax(1) ** 2
    sharp /= sharp.sum(1, keepdim=True)
    assert loss.item() == pytest.approx(-(sharp * strong.log_softmax(1)).sum(1).mean().item(), abs=1e-6)
    assert confident == 1
    coldest, hard = (consistency(weak, strong, 0.0, value)[0].item() for value in (1e-4, 0.0))
    assert coldest == pytest.approx(hard, abs=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_no_gradient_passes_the_labels_that_a_network_gives_itself(temperature):
    weak, strong = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3, requires_grad=True)
    loss, _ = consistency(weak * 5, strong, 0.5, temperature)
    loss.backward()
    assert weak.grad is None or not weak.grad.any()
    assert strong.grad.any()


def test_where_nothing_is_sure_fixmatch_is_cross_entropy_of_the_labels():
    method = fixmatch(*network(), threshold=1.01, unlabelled_weight=1.0, momentum=0.9)
    weak, strong, labels = inputs(5), inputs(3), torch.tensor([1, 3, UNKNOWN, UNKNOWN, UNKNOWN])
    loss, numbers = method.loss((weak, strong), labels, Draws(0, "test"))
    expected = F.cross_entropy(method.head(weak[:2].flatten(1)), labels[:2])
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert numbers["confident_fraction"] == 0


def test_fixmatch_adds_the_strong_views_of_the_unlabelled_inputs():
    method = fixmatch(*network(), threshold=0.0, unlabelled_weight=2.0, momentum=0.9)
    weak, strong, labels = inputs(5), inputs(3), torch.tensor([1, 3, UNKNOWN, UNKNOWN, UNKNOWN])
    answers = method.head(weak.flatten(1))
    own = F.cross_entropy(method.head(strong.flatten(1)), answers[2:].argmax(1))
    expected = F.cross_entropy(answers[:2], labels[:2]) + 2 * own
    assert method.loss((weak, strong), labels, Draws(0, "test"))[0].item() == pytest.approx(expected.item(), abs=1e-5)


def test_fixmatch_predicts_with_an_ema_of_weights_and_batch_norm_statistics():
    body, head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12)), nn.Linear(12, 4)
    method = fixmatch(body, head, threshold=0.5, unlabelled_weight=1.0, momentum=0.75)
    expected = {key: value.clone() for key, value in method.teacher.state_dict().items()}
    for step in range(3):
        with torch.no_grad():
            head.weight.add_(1.0)
        body(inputs(8) + 3)
        method.after_step(step, 3)
        ours = {**body.state_dict(prefix="backbone."), **head.state_dict(prefix="head.")}
        for key, value in ours.items():
            whole = not value.is_floating_point()
            expected[key] = value.clone() if whole else 0.75 * expected[key] + 0.25 * value
    assert all(torch.allclose(value, expected[key]) for key, value in method.teacher.state_dict().items())
    method.eval()
    assert torch.equal(method(inputs(2)), method.teacher(inputs(2)))
    assert not torch.allclose(method(inputs(2)), head(body(inputs(2))))
    assert not any(parameter.requires_grad for parameter in method.teacher.parameters())


def test_the_weight_of_pseudo_labels_is_nothing_then_grows_then_stays():
    done = torch.tensor([0.0, 0.1, 0.35, 0.6, 1.0])
    assert ramp(done, 0.1, 0.6).tolist() == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-6)


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (5, 0.5), (9, 1.0)])
def test_pseudo_labels_weigh_what_the_step_says(step, share):
    method = PseudoLabel(*network(), unlabelled_weight=3.0, ramp_start=0.2, ramp_end=1.0)
    view, labels = inputs(5), torch.tensor([1, 3, UNKNOWN, UNKNOWN, UNKNOWN])
    method.after_step(step, 10)
    answers = method(view)
    own = F.cross_entropy(answers[2:], answers[2:].argmax(1))
    expected = F.cross_entropy(answers[:2], labels[:2]) + 3 * share * own
    loss, numbers = method.loss((view,), labels, Draws(0, "test"))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert numbers["unlabelled_weight"].item() == pytest.approx(3 * share, abs=1e-6)
    assert numbers["accuracy"] == (answers[:2].argmax(1) == labels[:2]).float().mean()


def test_pseudo_labels_can_come_from_the_ema_teacher():
    method = fixmatch(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12)), nn.Linear(12, 4), "ema_teacher",
                      threshold=0.0, unlabelled_weight=2.0, momentum=0.9)  # fmt: skip
    with torch.no_grad():
        method.teacher.head.weight.normal_()
    weak, strong, labels = inputs(5), inputs(3), torch.tensor([1, 3, UNKNOWN, UNKNOWN, UNKNOWN])
    targets = copy.deepcopy(method.teacher).eval()(weak[2:]).argmax(1)
    answers = copy.deepcopy(method.head)(copy.deepcopy(method.backbone)(torch.cat([weak[:2], strong])))
    expected = F.cross_entropy(answers[:2], labels[:2]) + 2 * F.cross_entropy(answers[2:], targets)
    loss, _ = method.loss((weak, strong), labels, Draws(0, "test"))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    loss.backward()
    assert all(weight.grad is None for weight in method.teacher.parameters())


def test_pseudo_labels_can_be_predicted_without_augmentation(smoke):
    config, _ = smoke("stage=semi", "stage.fixmatch.teacher_input=image")
    given = load(config.dataset).train.inputs[:6]
    weak, strong = (build(part, scale=1.0) for part in (config.augment.supervised, config.augment.pretrain))
    draws = Draws(0, "v")
    seen, _ = WeakAndStrong(weak, strong, 2, "image")(given, 2, draws)
    assert torch.allclose(seen[2:], given[2:] / 255)
    assert not torch.allclose(seen[:2], given[:2] / 255)


def test_pseudo_labels_of_images_without_augmentation_go_with_small_views(smoke):
    config, run = smoke("stage=semi", "stage.init=random", "stage.fixmatch.teacher_input=image", "budget.labels=20",
                        "augment.supervised.resolution=0.5", "schedule.semi.max_steps=1")  # fmt: skip
    result = semi(config, run)
    assert 0 <= result["test_accuracy"] <= 1
    (said,) = [caveat for caveat in result["caveats"] if "augment.supervised" in caveat]
    assert said.startswith("things are on average 0.5")


def test_it_can_begin_from_a_fine_tuning(smoke):
    config, run = smoke("stage=semi", "stage.init=finetuned", "budget.labels=20", "head.keep=1", "schedule.semi.max_steps=1",
                        "stage.fixmatch.momentum=0.999")  # fmt: skip
    result = semi(config, run)
    assert result["arm"] == "FixMatch, from fine-tuning"
    assert result["pretraining"]["folder"].endswith("pretrain")
    begun = load_file(run.folder / "finetune/classifier.safetensors")
    ended = load_file(run.folder / "classifier.safetensors")
    assert all(
        torch.allclose(value, ended[name], atol=1e-3) for name, value in begun.items() if value.is_floating_point()
    )


def test_every_batch_has_labels_of_the_budget_and_other_inputs_without_theirs(smoke):
    config, _ = smoke("stage=semi", "budget.labels=40", "budget.validation=0.25", "stage.labelled_batch_size=8")
    dataset = load(config.dataset)
    chosen = choose(dataset, config.budget, config.seed)
    batches = mixed_batches(config, dataset, chosen)
    assert (batches.size, batches.steps_per_epoch) == (8 + 16, 256 // 16)
    position = {input.numpy().tobytes(): item for item, input in enumerate(dataset.train.inputs)}
    seen = []
    for step in range(batches.steps_per_epoch):
        batch = batches.at(step)
        items = [position[input.numpy().tobytes()] for input in batch.inputs]
        assert set(items[:8]) <= set(chosen.train.tolist())
        assert batch.labels[:8].tolist() == dataset.train.labels[items[:8]].tolist()
        assert (batch.labels[8:] == UNKNOWN).all()
        seen += items[8:]
    assert sorted(seen) == list(range(256))
    assert torch.equal(batches.at(5).inputs, mixed_batches(config, dataset, chosen).at(5).inputs)


@pytest.mark.parametrize("method", ["fixmatch", "pseudo_label"])
def test_labels_and_unlabelled_inputs_train_a_classifier_that_can_be_read_back(smoke, method):
    config, run = smoke(
        "stage=semi", f"stage.method={method}", "budget.labels=20", "schedule.semi.max_steps=150",
        "schedule.semi.epochs=20", "augment=none", "stage.fixmatch.threshold=0.6", "stage.fixmatch.momentum=0.9",
        "stage.pseudo_label.ramp_start=0.5", "stage.pseudo_label.ramp_end=1.0",
    )  # fmt: skip
    result = semi(config, run)
    assert result["test_accuracy"] > 0.5  # ten classes
    assert (result["labels"], result["inputs"], result["pretraining"]) == (20, 256, None)
    assert result["arm"] == {"fixmatch": "FixMatch", "pseudo_label": "pseudo-labels"}[method]
    dataset = load(config.dataset)
    read = classifier_of(run.folder, config, dataset)
    again = class_accuracy(read, dataset.test, plain_of(config, dataset), machine(config.runtime))
    assert again == pytest.approx(result["test_accuracy"], abs=1e-6)


def test_the_ema_teacher_is_what_is_saved(smoke):
    config, run = smoke("stage=semi", "budget.labels=20")
    assert "moving average" in semi(config, run)["protocol"]
    kept = torch.load(run.folder / "checkpoint.pt", weights_only=True)["method"]
    saved = load_file(run.folder / "classifier.safetensors")
    assert all(torch.equal(value, kept[f"teacher.head.{key}"]) for key, value in saved.items())
    assert not all(torch.equal(value, kept[f"head.{key}"]) for key, value in saved.items())


def test_it_can_begin_from_a_pretraining_and_teach_a_student(smoke):
    from ssl_cli.stages.distill import distill

    config, run = smoke("stage=semi", "stage.init=pretrained", "budget.labels=20", "head.keep=1", folder="teacher")
    result = semi(config, run)
    assert result["arm"] == "FixMatch, from pre-trained weights"
    assert result["pretraining"]["folder"].endswith("pretrain")
    settings, student = smoke("stage=distill", f"stage.teacher={run.folder}", "budget.labels=20", folder="student")
    assert distill(settings, student)["teacher"]["run_id"] == run.id


@pytest.mark.parametrize("method", ["fixmatch", "pseudo_label"])
def test_a_killed_training_goes_on_to_the_same_bytes(cli, tmp_path, method):
    words = ["semi", *TINY, f"stage.method={method}", "schedule.semi.max_steps=60", "schedule.semi.epochs=9"]
    assert cli(*words, "hydra.run.dir=whole").returncode == 0
    process = start(tmp_path, *words, "hydra.run.dir=killed")
    wait_for_lines(tmp_path / "killed/metrics.jsonl", 20, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed/result.json").exists()
    done = cli("resume=killed")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Going on after step" in done.stdout
    assert_same_bytes(tmp_path / "killed", tmp_path / "whole")


def test_a_sweep_over_its_settings_ends_in_a_table(smoke, tmp_path):
    from ssl_cli.cli.sweep_table import summarise

    for job, method in enumerate(("fixmatch", "pseudo_label")):
        semi(*smoke("stage=semi", f"stage.method={method}", "budget.labels=20", folder=f"sweep/{job}"))
    summarise(tmp_path / "sweep")
    arms = [row["arm"] for row in json.loads((tmp_path / "sweep/sweep.json").read_text())]
    assert arms == ["FixMatch, stage.method=fixmatch", "pseudo-labels, stage.method=pseudo_label"]
