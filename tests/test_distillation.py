import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from ssl_cli.data.dataset import load
from ssl_cli.errors import ConfigError
from ssl_cli.methods.distillation import Distillation
from ssl_cli.randomness import Draws
from ssl_cli.stages.distill import distill
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.networks import classifier_of, plain_of
from ssl_cli.stages.simclr_v2 import simclr_v2
from ssl_cli.training.device import machine
from ssl_cli.training.evaluate import outputs


def distilled(alpha: float = 1.0, temperature: float = 1.0, same: bool = True) -> Distillation:
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    if not same:
        torch.manual_seed(1)
    student = nn.Linear(12, 4)
    student.load_state_dict(teacher[1].state_dict()) if same else None
    return Distillation(nn.Flatten(), student, teacher, temperature, alpha)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
def test_a_student_that_is_its_teacher_has_the_teachers_entropy_and_no_gradient(temperature):
    method = distilled(temperature=temperature)
    views = (torch.randn(5, 3, 2, 2),)
    loss, numbers = method.loss(views, None, Draws(0, "test"))
    loss.backward()
    p = F.softmax(method(views[0]) / temperature, dim=1)
    assert loss.item() == pytest.approx(-(p * p.clamp_min(1e-30).log()).sum(1).mean().item(), abs=1e-5)
    assert method.head.weight.grad.abs().max() < 1e-6 / temperature
    assert numbers["agreement"] == 1


def test_without_weight_on_the_teacher_it_is_cross_entropy_of_the_known_labels():
    method = distilled(alpha=0.0, same=False)
    view, labels = torch.randn(6, 3, 2, 2), torch.tensor([0, -1, 3, 2, -1, 1])
    known = labels >= 0
    expected = F.cross_entropy(method(view)[known], labels[known], reduction="sum") / 6
    assert method.loss((view,), labels, Draws(0, "test"))[0].item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_teacher_may_see_the_input_while_the_student_sees_a_view():
    method, view, whole = distilled(same=False), torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)
    expected = F.cross_entropy(method(view), F.softmax(distilled()(whole), dim=1))
    assert method.loss((view, whole), None, Draws(0, "test"))[0].item() == pytest.approx(expected.item(), abs=1e-6)


def test_both_terms_are_weighed_by_alpha():
    view, labels = torch.randn(6, 3, 2, 2), torch.tensor([0, -1, 3, 2, -1, 1])
    ends = [
        distilled(alpha=alpha, same=False).loss((view,), labels, Draws(0, "test"))[0].item() for alpha in (0.0, 1.0)
    ]
    middle = distilled(alpha=0.3, same=False).loss((view,), labels, Draws(0, "test"))[0].item()
    assert middle == pytest.approx(0.7 * ends[0] + 0.3 * ends[1], abs=1e-6)


def test_the_teacher_is_no_part_of_what_trains_or_is_saved():
    method = distilled(same=False)
    assert set(method.state_dict()) == {"head.weight", "head.bias"}
    assert len(list(method.parameters())) == 2


@pytest.mark.parametrize("overrides", [(), ("stage.train=head",), ("head=mlp", "head.keep=1")])
def test_a_read_classifier_answers_as_the_run_did(smoke, overrides):
    config, run = smoke("stage=finetune", "budget.labels=20", *overrides)
    result = finetune(config, run)
    dataset = load(config.dataset)
    answers = outputs(
        classifier_of(run.folder, config, dataset),
        dataset.test.inputs,
        plain_of(config, dataset),
        machine(config.runtime),
    )
    right = (answers.argmax(1) == dataset.test.labels).float().mean().item()
    assert right == pytest.approx(result["test_accuracy"], abs=1e-6)


def test_a_student_learns_from_a_run_that_stays_as_it_is(smoke):
    config, run = smoke("stage=finetune", "budget.labels=20", folder="teacher")
    finetune(config, run)
    before = {path.name: path.read_bytes() for path in run.folder.glob("*.safetensors")}
    settings, student = smoke(
        "stage=distill", f"stage.teacher={run.folder}", "backbone.width=3", "budget.labels=20",
        "schedule.distill.max_steps=150", "schedule.distill.epochs=20", "schedule.distill.batch_size=64", folder="student",
    )  # fmt: skip
    result = distill(settings, student)
    assert {path.name: path.read_bytes() for path in run.folder.glob("*.safetensors")} == before
    assert result["agreement"] > 0.6
    assert result["teacher"]["run_id"] == run.id
    assert result["labels"] == 20
    assert result["arm"] == "distilled"
    assert load_file(student.folder / "backbone.safetensors")["stages.0.0.weight"].shape[0] == 3


@pytest.mark.parametrize("teacher_input", ["view", "image"])
def test_auto_fine_tunes_the_teacher_first(smoke, teacher_input):
    config, run = smoke(
        "stage=distill", "stage.init=pretrained", f"stage.teacher_input={teacher_input}", "budget.labels=20"
    )
    result = distill(config, run)
    assert (run.folder / "teacher" / "classifier.safetensors").exists()
    assert result["pretraining"]["folder"].endswith("pretrain")
    assert "from pre-trained weights" in result["arm"]


def test_the_teacher_may_see_more_pixels_than_the_student(smoke):
    words = ("stage=distill", "stage.teacher_input=image", "augment=natural", "augment.supervised.resolution=0.8")
    longer = (
        "schedule.distill.epochs=100",
        "schedule.distill.max_steps=100",
    )  # from which on a compiled network is thought of
    config, run = smoke(*words, *longer, "budget.labels=20", "dataset.facts.inputs=64", "dataset.facts.shape=[3,10,10]")
    assert 0 <= distill(config, run)["test_accuracy"] <= 1


def test_a_teacher_that_saw_other_labels_or_pixels_is_refused(smoke):
    config, run = smoke("stage=baseline", "budget.labels=20", folder="teacher")
    finetune(config, run)
    settings, student = smoke(
        "stage=distill", f"stage.teacher={run.folder}", "budget.labels=30", "augment.scale=2", folder="s"
    )
    with pytest.raises(ConfigError) as caught:
        distill(settings, student)
    text = "\n".join(caught.value.problems)
    assert "saw 20 labels drawn with seed=0, other ones than the 30 of this run" in text
    assert "augment.scale=2" in text
    other = replace(settings, stage=replace(settings.stage, teacher=student.folder))
    with pytest.raises(ConfigError, match="is not finished"):
        distill(other, student)


def test_the_three_steps_end_in_one_table(smoke):
    config, run = smoke(
        "stage=simclr_v2",
        "head=simclr_v2",
        "budget.labels=20",
        "stage.student.width=2",
        "stage.seeds=2",
        folder="whole",
    )
    result = simclr_v2(config, run)
    arms = [row["arm"] for row in result["rows"]]
    assert arms == [
        "small: labels only, with augmentation", "big: labels only, with augmentation", "big: pre-trained, frozen",
        "big: pre-trained, new head", "big: pre-trained, same head", "big: pre-trained, 1 of 3 head layers kept",
        "big: distilled, from pre-trained weights", "small: distilled",
    ]  # fmt: skip
    assert all(row["seeds"] == [0, 1] for row in result["rows"])
    sizes = {row["arm"].split(":")[0]: row["backbone_parameters"] for row in result["rows"]}
    assert sizes["small"] < sizes["big"]
    assert result["test_accuracy"] == result["rows"][-1]["mean"]
    folders = [run.folder / "seed1" / arm for arm in ("big-middle", "big-distilled", "small-distilled")]
    chain = [json.loads((folder / "result.json").read_text()) for folder in folders]
    assert chain[1]["teacher"]["run_id"] == chain[0]["run_id"]
    assert chain[2]["teacher"]["run_id"] == chain[1]["run_id"]
    assert len({run_result["labels_hash"] for run_result in chain}) == 1
    assert "parameters" in (run.folder / "report.html").read_text()
