"""The report on finished runs: what it says first, what it counts, and what it makes of damaged folders and a stranger's."""

import csv
import html.parser
import itertools
import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from written_runs import LABELS_ONLY, PRETRAINED, write_run, write_sweep

from ssl_cli.config.compose import precheck
from ssl_cli.data.intervals import wilson_interval
from ssl_cli.report import arms, plots
from ssl_cli.report.found_runs import read_runs
from ssl_cli.report.label_curve_plot import save_label_curve
from ssl_cli.report.report import write_report
from ssl_cli.report.results_table import shown_cells
from ssl_cli.report.section_part import report_on
from ssl_cli.report.sections import sections_of
from ssl_cli.report.verdict import section_curves
from ssl_cli.runs.claim import claimed
from ssl_cli.runs.referred import refer

HOSTILE = "<script>alert(1)</script> & $x_$ \x1b[31m"


class Elements(html.parser.HTMLParser):
    """The elements of a page, where its attributes lead, and the text of its paragraphs and cells."""

    def __init__(self, text: str):
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.paragraphs: list[str] = []
        self.headings: list[str] = []
        self.cells: list[str] = []
        self.into: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        places = {"p": self.paragraphs, "td": self.cells, "th": self.cells, "h1": self.headings, "h2": self.headings}
        if tag in places:
            self.into = places[tag]
            self.into.append("")

    def handle_endtag(self, tag):
        if tag in ("p", "td", "th", "h1", "h2"):
            self.into = None

    def handle_data(self, data):
        if self.into is not None:
            self.into[-1] += data


@pytest.fixture
def reported(tmp_path, monkeypatch):
    """The page of the runs below `runs`, read as elements, and the parts of the report; commands are not checked once more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ssl_cli.report.advice._would_run", lambda command: True)

    def report(*folders: str):
        folder = tmp_path / "report"
        folder.mkdir(exist_ok=True)
        parts = write_report(read_runs([tmp_path / one for one in folders or ("runs",)]), folder, "Report")
        return Elements((folder / "report.html").read_text()), parts

    return report


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "report/results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_first_three_lines_are_what_was_found_how_sure_it_is_and_what_to_do_next(reported, tmp_path):
    write_sweep(tmp_path / "runs")
    page, _ = reported()
    found, sure, then = page.paragraphs[:3]
    assert found == f"With 40 labels, “{PRETRAINED}” is worth 18 more (95 % interval 17–20)."  # 40 · (2^0.54 − 1)
    assert "6 seeds; the difference" in sure
    assert (
        "p = 0.031: a difference is shown, if it is the one that was asked about (p = 0.094 for all of the table)"
        in sure
    )
    assert f"from 80 to 160, buys “{PRETRAINED}” at most about +10.0 points" in then


def test_fewer_than_six_seeds_cannot_show_a_difference_and_the_command_has_the_missing_ones(reported, tmp_path):
    write_sweep(tmp_path / "runs", seeds=2)
    page, (part,) = reported()
    assert "Fewer than 6 seeds cannot show a difference" in page.paragraphs[1]
    assert "seed=2,3,4,5" in dict(part.verdict.steps)["4 more seeds, since 6 can show a difference"]


def test_without_a_curve_the_best_arm_is_set_beside_the_best_with_labels_only(reported, tmp_path):
    for name, arm, accuracy in (
        ("0", "labels only", 0.6), ("1", LABELS_ONLY, 0.7), ("2", "pre-trained, frozen", 0.75), ("3", PRETRAINED, 0.8),
        ("4", "random weights, frozen", 0.72),
    ):  # fmt: skip
        write_run(tmp_path / "runs" / name, accuracy, arm, inputs=1000)
    page, _ = reported()
    assert page.paragraphs[0] == (
        f"With 20 labels, “{PRETRAINED}” reaches 80.0 % test accuracy, 8.0 points more than the best arm with labels only, "
        "“random weights, frozen” (72.0 %)."
    )
    low, high = wilson_interval(0.8, 1000)
    assert "one seed, which says nothing about other labels" in page.paragraphs[1]
    assert f"“{PRETRAINED}” is at {100 * low:.1f}–{100 * high:.1f} %" in page.paragraphs[1]
    assert f"{100 * low:.1f}–{100 * high:.1f} %" in page.cells


@pytest.mark.parametrize("seeds", [1, 5])
def test_every_command_would_be_accepted(reported, tmp_path, seeds):
    write_sweep(tmp_path / "runs", budgets=(40, 80), seeds=seeds)
    write_run(tmp_path / "one/0", 0.4, words=("backbone.width=4",), labels=40)
    commands = []
    for folder in ("runs", "one"):
        _, (part,) = reported(folder)
        commands += [command for _, command in part.verdict.steps]
    assert any("ssl-cli select " in command for command in commands)
    assert any("schedule.pretrain.epochs=4" in command for command in commands)
    assert any("budget.labels=160" in command for command in commands)
    for command in dict.fromkeys(commands):
        words = [word if "=" in word else f"stage={word}" for word in shlex.split(command)[1:] if word != "-m"]
        *_, last = precheck(words, multirun=True)
        assert last.stage.name in ("baseline", "compare", "finetune", "select")


def test_the_jobs_of_a_sweep_are_asked_for_again_with_their_own_values(reported, tmp_path):
    typed = ["stage=baseline,finetune", "dataset=synthetic", "budget.labels=20,40", "hydra.launcher.n_jobs=2"]
    record = {
        "overrides": {"task": [word for word in typed if "hydra" not in word]},
        "sweep": {"subdir": "${hydra.job.num}"},
        "sweeper": {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "params": None},
    }
    arms_of = {"baseline": LABELS_ONLY, "finetune": PRETRAINED}
    for job, (stage, labels) in enumerate(itertools.product(arms_of, (20, 40))):
        folder = write_run(tmp_path / f"runs/{job}", 0.5 + job / 10, arms_of[stage], labels, stage=stage)
        born = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**born, "command": ["-m", *typed]}))
    (tmp_path / "runs/multirun.yaml").write_text(yaml.safe_dump({"hydra": record}))
    _, (part,) = reported()
    commands = dict(part.verdict.steps)
    assert commands["5 more seeds, since 6 can show a difference"] == (
        "ssl-cli -m seed=1,2,3,4,5 dataset=synthetic stage=baseline,finetune budget.labels=20,40"
    )
    assert commands["pre-training for twice as long"] == (
        "ssl-cli schedule.pretrain.epochs=4 dataset=synthetic stage=finetune budget.labels=20"
    )


@pytest.mark.parametrize(
    "word", ["method._target_=os.system", "--config-dir=evil", "seed=${oc.env:HOME}", "x=\x1b[31m"]
)
def test_no_command_repeats_what_a_stranger_might_want_to_have_run(reported, tmp_path, word):
    write_run(tmp_path / "runs/0", words=(word,))
    _, (part,) = reported()
    assert part.verdict.steps == []


def test_commands_are_for_the_folder_that_the_runs_were_made_in(reported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    folder = write_run(tmp_path / "runs/0")
    steps = []
    for place in (tmp_path, tmp_path / "elsewhere", Path("/no/such/place")):
        born = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**born, "folder": str(place)}))
        _, (part,) = reported()
        (command,) = [command for _, command in part.verdict.steps if "select" in command]
        steps.append((part.verdict.place, re.findall(r"stage.labels=(\S+)", command)[0]))
    assert steps == [
        ("", "runs/0/labels.csv"),
        (str(tmp_path / "elsewhere"), str(folder / "labels.csv")),
        ("", "runs/0/labels.csv"),
    ]


def test_an_arm_alone_is_told_to_be_compared(reported, tmp_path):
    write_run(tmp_path / "runs/0", 0.9, PRETRAINED, stage="finetune")
    page, (part,) = reported()
    assert page.paragraphs[0].endswith("no arm with labels only is here to compare it with.")
    assert part.verdict.steps[0][1] == (
        "ssl-cli stage=compare stage.seeds=6 dataset=synthetic schedule=smoke budget.labels=20 seed=0"
    )


def test_a_command_that_would_be_refused_is_not_shown(tmp_path):
    write_run(tmp_path / "0", words=("no_such_key=1",))
    (section,) = sections_of(read_runs([tmp_path]).runs)
    assert report_on(section).verdict.steps == []


def test_an_experiment_that_is_a_sweep_is_proposed_as_one_alone(tmp_path):
    write_run(tmp_path / "0", words=("experiment=label_curve",))
    (section,) = sections_of(read_runs([tmp_path]).runs)
    commands = [command for _, command in report_on(section).verdict.steps]
    assert commands
    assert all(command.startswith("ssl-cli -m ") for command in commands)


def test_runs_of_other_data_or_another_test_are_not_averaged(reported, tmp_path):
    write_run(tmp_path / "runs/0", 0.2, inputs=100)
    write_run(tmp_path / "runs/1", 0.4, inputs=60, seed=1)
    write_run(tmp_path / "runs/2", 0.6, dataset="letters", seed=2)
    own = {"dataset": {"name": "folder", "root": "/a", "facts": {"inputs": None}}}
    write_run(tmp_path / "runs/3", 0.7, dataset="folder", settings=own)
    write_run(
        tmp_path / "runs/4", 0.8, dataset="folder", settings={"dataset": {**own["dataset"], "root": "/b"}}, seed=1
    )
    page, parts = reported()
    assert [(part.section.title, part.section.rows[0]["accuracies"]) for part in parts] == [
        ("synthetic, 100 test inputs", [0.2]), ("synthetic, 60 test inputs", [0.4]), ("letters, 100 test inputs", [0.6]),
        ("folder in /a, 100 test inputs", [0.7]), ("folder in /b, 100 test inputs", [0.8]),
    ]  # fmt: skip
    assert [part.section.title for part in parts] == page.headings[1:]
    assert any("are not averaged" in said for said in page.paragraphs)


def test_an_arm_that_does_not_say_how_many_inputs_it_was_tested_on_is_with_the_others(tmp_path):
    write_run(tmp_path / "runs/0", 0.2)
    write_run(tmp_path / "runs/1", 0.4, arm="TF-IDF and logistic regression", per_class=None)
    (section,) = sections_of(read_runs([tmp_path]).runs)
    assert len(section.rows) == 2


def test_settings_that_differ_tell_arms_apart(tmp_path):
    for job, (width, seed) in enumerate([(4, 0), (4, 1), (8, 0)]):
        write_run(tmp_path / f"runs/{job}", seed=seed, settings={"backbone": {"name": "small", "width": width}})
    (section,) = sections_of(read_runs([tmp_path]).runs)
    assert {row["arm"]: row["seeds"] for row in section.rows} == {
        f"{LABELS_ONLY}, backbone.width=4": [0, 1], f"{LABELS_ONLY}, backbone.width=8": [0]
    }  # fmt: skip


def test_a_comparison_beside_single_runs_is_told_apart_by_the_settings_of_its_arms(tmp_path):
    whole = write_run(tmp_path / "runs/compared", arm="compare", stage="compare", ends_in="comparison",
                      settings={"head": {"keep": "all"}})  # fmt: skip
    write_run(whole / "seed0/new-head", 0.6, PRETRAINED, settings={"head": {"keep": 0}})
    write_run(tmp_path / "runs/single", 0.7, PRETRAINED, seed=1, settings={"head": {"keep": 0}})
    (section,) = sections_of(read_runs([tmp_path]).runs)
    assert [(row["arm"], row["accuracies"]) for row in section.rows] == [(PRETRAINED, [0.6, 0.7])]


def test_of_runs_that_were_made_twice_the_later_one_counts(reported, tmp_path):
    write_run(tmp_path / "runs/0", 0.7, finished="2026-01-02T00:00:00+00:00")
    write_run(tmp_path / "runs/1", 0.2, finished="2026-01-01T00:00:00+00:00")
    page, (part,) = reported()
    assert part.section.rows[0]["accuracies"] == [0.7]
    assert any("1 run does not count" in said for said in page.paragraphs)
    assert len(table_of(tmp_path)) == 2


def test_folders_inside_each_other_have_each_run_once(reported, tmp_path):
    write_sweep(tmp_path / "runs", budgets=(20,), seeds=1)
    reported("runs", "runs/baseline-20-0", ".")
    assert len(table_of(tmp_path)) == 2


def test_runs_elsewhere_that_answer_jobs_of_a_sweep_are_read_once(reported, tmp_path):
    write_sweep(tmp_path / "runs", budgets=(20,), seeds=1)
    for job, run in enumerate(("baseline-20-0", "finetune-20-0", "baseline-20-0")):
        refer(tmp_path / "later" / str(job), tmp_path / "runs" / run, {})
    reported("later")
    assert len(table_of(tmp_path)) == 2


DAMAGES = {
    "no JSON": ("result.json", "{"),
    "test_accuracy in its result.json is not a share": ("result.json", {"test_accuracy": 3.0}),
    "arm in its result.json is not a name": ("result.json", {"arm": {"a": 1}}),
    "seed in its result.json is not a whole number": ("result.json", {"seed": True}),
    "seconds in its result.json is not a number": ("result.json", {"seconds": math.nan}),
    "per_class in its result.json is not a table of classes": ("result.json", {"per_class": [{"class": 3}]}),
    "pretraining in its result.json is not what": ("result.json", {"pretraining": "x"}),
    "languages in its result.json is not a table": ("result.json", {"languages": {"de": {"inputs": -1}}}),
    "another version": ("result.json", {"format": 1}),
    "no plain YAML": ("config.yaml", "a: !!python/object/apply:os.system [touch trapped]"),
}


@pytest.mark.parametrize("said", DAMAGES)
def test_a_damaged_run_is_named_and_left_out(reported, tmp_path, said):
    write_run(tmp_path / "runs/sound", 0.5)
    bad = write_run(tmp_path / "runs/bad", 0.9, seed=1)
    name, content = DAMAGES[said]
    if isinstance(content, dict):
        content = json.dumps({**json.loads((bad / name).read_text()), **content})
    (bad / name).write_text(content)
    page, (part,) = reported()
    assert [one for one in page.paragraphs if "runs/bad is left out" in one and said in one]
    assert part.section.rows[0]["accuracies"] == [0.5]
    assert not (tmp_path / "trapped").exists()


def test_runs_that_are_not_finished_are_counted_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "abcd":
        (write_run(tmp_path / "runs" / name) / "result.json").unlink()
    assert read_runs([tmp_path / "runs"]).left_out == (
        "4 runs are not finished and left out: runs/a, runs/b, runs/c, ….",
    )
    with claimed(tmp_path / "runs/a"):
        found = read_runs([tmp_path / "runs"])
    assert found.is_worked_on
    assert found.left_out == (
        "3 runs are not finished and left out: runs/b, runs/c, runs/d.",
        "1 run is being worked on by another process and left out: runs/a.",
    )


def test_names_are_text_on_the_page_and_nothing_is_fetched(reported, tmp_path):
    for seed, arm in enumerate((LABELS_ONLY, HOSTILE)):
        write_run(tmp_path / "runs" / f"<img src=x onerror=alert({seed})>", arm=arm, classes=(HOSTILE, "b"))
    (tmp_path / "runs" / "<img src=x onerror=alert(1)>" / "confusion.png").unlink()
    (tmp_path / "runs" / "<img src=x onerror=alert(1)>" / "confusion.png").symlink_to("/etc/hostname")
    page, _ = reported()
    assert page.names.count("script") == 1
    addresses = [value for _, name, value in page.attributes if name in ("src", "href", "action", "style")]
    assert len(addresses) >= 3
    assert all(value.startswith("data:image/png;base64,") for value in addresses)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert HOSTILE.replace("\x1b", "\\x1b") in page.cells or HOSTILE in page.cells


def test_a_picture_that_is_no_png_is_left_out(reported, tmp_path):
    folder = write_run(tmp_path / "runs/0")
    (folder / "confusion.png").write_text("<svg onload=alert(1)>")
    reported()
    text = (tmp_path / "report/report.html").read_text()
    assert "On the test set" not in text
    assert "Test inputs that are wrong" in text


def test_every_run_has_a_line_in_the_table_with_settings_and_numbers(reported, tmp_path):
    for job, width in enumerate((4, 8)):
        settings = {"backbone": {"name": "small", "width": width}}
        write_run(tmp_path / f"runs/{job}", 0.5 + job / 4, settings=settings, folds={"accuracy": 0.25, "folds": 5})
    (tmp_path / "runs/1/pretrain").mkdir()
    reported()
    first, second = table_of(tmp_path)
    assert list(first)[:7] == ["folder", "stage", "arm", "dataset", "labels", "seed", "backbone.width"]
    assert (first["folder"], first["labels"], first["test_accuracy"], first["seconds"], first["folds.accuracy"]) == (
        "runs/0", "20", "0.5", "12.5", "0.25"
    )  # fmt: skip
    assert [row["backbone.width"] for row in (first, second)] == ["4", "8"]


def test_no_cell_is_one_that_a_spreadsheet_would_compute():
    cells = ["=1+1", "+1", "-1", "@x", " =1", "＝1", -1, -0.5, "a=b", None, True, "", "\tx"]
    assert shown_cells(cells) == ["'=1+1", "'+1", "'-1", "'@x", "' =1", "'＝1", -1, -0.5, "a=b", "", "true", "", "\\tx"]


def test_a_hostile_arm_is_no_formula_in_the_table(reported, tmp_path):
    write_run(tmp_path / "runs/0", arm='=HYPERLINK("http://x")')
    reported()
    assert table_of(tmp_path)[0]["arm"].startswith("'=")


def test_pre_trainings_alone_are_compared_by_their_neighbours(reported, tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"runs/{seed}", None, "pretrain", 0, seed, "pretrain", ends_in="pre-training", method="simclr",
                  knn_accuracy=0.5 + 0.2 * seed, per_class=None)  # fmt: skip
    page, (part,) = reported()
    assert page.paragraphs[0].startswith("“simclr” reaches 60.0 % kNN accuracy")
    assert [command for _, command in part.verdict.steps if "stage=finetune checkpoint=runs/" in command]


def test_nothing_to_compare_is_a_page_too(reported, tmp_path):
    write_run(tmp_path / "runs/0", None, "export", stage="export", ends_in="table")
    page, parts = reported()
    assert parts == []
    assert "No run here has an accuracy to compare." in page.paragraphs
    assert len(table_of(tmp_path)) == 1


def test_a_collapsed_pre_training_is_counted_apart(reported, tmp_path):
    write_run(tmp_path / "runs/0", 0.1, PRETRAINED, pretraining={"collapsed": True})
    page, (part,) = reported()
    assert page.paragraphs[0] == "Every pre-training collapsed: there is nothing to compare."
    assert part.section.rows[0]["arm"].endswith(arms.COLLAPSED)


# Pictures


@pytest.fixture
def drawn(monkeypatch):
    """The figure that a function of charts would have saved."""
    figures = []
    monkeypatch.setattr("ssl_cli.report.plots.save_figure", lambda figure, path: figures.append(figure))
    monkeypatch.setattr("ssl_cli.report.label_curve_plot.save_figure", lambda figure, path: figures.append(figure))
    return figures


def test_an_arm_has_one_colour_and_one_place_in_every_picture(tmp_path, drawn):
    names = [PRETRAINED, "pre-trained, frozen", LABELS_ONLY, f"{PRETRAINED}, method=byol"]
    for job, arm in enumerate(names):
        for labels in (20, 40):
            write_run(tmp_path / f"{job}-{labels}", 0.5, arm, labels)
    (section,) = sections_of(read_runs([tmp_path]).runs)
    curves = list(section_curves(section).values())
    save_label_curve(curves, tmp_path / "a.png", colours=section.colours)
    plots.save_lines(section.rows, "labels", tmp_path / "b.png", "test accuracy")
    plots.save_arms(section.rows, tmp_path / "c.png")
    legends = [[text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()] for figure in drawn[:2]]
    assert legends[0] == legends[1] == list(section.colours)
    lines = [
        dict(zip(legends[0], [h.get_color() for h in figure.legends[0].get_lines()], strict=True))
        for figure in drawn[:2]
    ]
    assert lines[0] == lines[1] == section.colours


def test_nothing_of_a_chart_is_cut_off(tmp_path, drawn):
    arm = ", ".join([PRETRAINED, *(f"schedule.pretrain.setting{n}={n}$" for n in range(12))])
    write_run(tmp_path / "0", 1.0, arm)
    write_run(tmp_path / "1", 0.31, LABELS_ONLY)
    (section,) = sections_of(read_runs([tmp_path]).runs)
    plots.save_arms(section.rows, tmp_path / "a.png", test_inputs=40)
    (figure,) = drawn
    axis = figure.axes[0]
    low, _ = wilson_interval(0.31, 40)
    assert axis.get_xlim()[0] <= 100 * low
    figure.canvas.draw()
    box = axis.get_window_extent()
    assert box.width > figure.bbox.width / 3
    assert all(
        len(line) <= 36 for tick in axis.get_yticklabels() for line in tick.get_text().replace("\\", "").split("\n")
    )


# The command


def test_the_command_needs_no_data_and_no_pytorch(tmp_path):
    write_sweep(tmp_path / "one/sweep", seeds=2)
    write_run(tmp_path / "two/single", 0.4, seed=7)
    words = ["report", "stage.runs=[../one/*,../two]", "hydra.run.dir=said"]
    code = (
        f"import sys; sys.argv = ['ssl-cli', *{words!r}]\n"
        "from ssl_cli.cli.main import main\n"
        "main()\n"
        "assert 'torch' not in sys.modules"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=elsewhere, env=dict(os.environ), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr + done.stdout
    folder = elsewhere / "said"
    result = json.loads((folder / "result.json").read_text())
    assert (result["runs"], len(result["parts"]), len(result["parts"][0]["verdict"])) == (13, 1, 3)
    assert {path.name for path in folder.iterdir()} >= {"report.html", "results.csv", "label_curve.png"}
    assert "is worth" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "stage.runs=null: must be the folder of a sweep or a run"),
        (("stage.runs=nowhere",), "stage.runs=nowhere: there is no such folder"),
        (("stage.runs=no*",), "stage.runs=no*: no folder is called so"),
        (("stage.runs=[]",), "stage.runs=[]: must be"),
        (("stage.runs=3",), "stage.runs=3: must be"),
        (("stage.runs=empty",), "stage.runs=empty: has no finished run below it"),
        (
            ("stage.runs=empty", "seed=3"),
            "seed=3: stage=report only looks at the finished runs in stage.runs; leave it out",
        ),
    ],
)
def test_what_cannot_be_reported_is_said_and_leaves_nothing(cli, tmp_path, words, said):
    (tmp_path / "empty").mkdir()
    done = cli("report", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(tmp_path.glob("outputs/report/*/*"))


def test_a_report_does_not_report_reports(tmp_path, monkeypatch):
    from ssl_cli.config.compose import from_overrides
    from ssl_cli.runs.run import Run
    from ssl_cli.stages.report import report

    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "outputs/0")
    config = from_overrides("stage=report", "stage.runs=outputs")
    found = [report(config, Run(tmp_path / "outputs" / name, config)) for name in ("first", "second")]
    assert [(one["runs"], one["left_out"]) for one in found] == [(1, []), (1, [])]


def test_what_a_report_says_is_the_same_for_the_page_and_for_programs(reported, tmp_path):
    write_sweep(tmp_path / "runs", seeds=2)
    page, (part,) = reported()
    again = report_on(part.section).verdict
    assert page.paragraphs[0] == again.answer
    assert page.paragraphs[1] == f"How sure: {again.sureness}"


@pytest.mark.slow  # six trainings, which take seconds on an idle machine
def test_the_commands_of_the_page_on_reports_follow_each_other(cli, tmp_path):
    page = (Path(__file__).parent.parent / "docs" / "report.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    for line in block.splitlines():
        done = cli(*shlex.split(line)[1:])
        assert done.returncode == 0, done.stderr
    for folder in (tmp_path / "outputs/sweep", tmp_path / "outputs/all"):
        assert (folder / "report.html").exists()
