import math

import numpy as np
import pytest
from PIL import Image, ImageColor

from ssl_cli.report import arms
from ssl_cli.report.intervals import Interval
from ssl_cli.report.label_curve import Curve, LabelsSaved, labels_saved
from ssl_cli.report.label_curve_plot import save_label_curve
from ssl_cli.report.label_curve_table import (
    HEADINGS,
    cells,
    compare_arms,
    notes,
    saved_sentence,
)

BUDGETS = (20, 100, 500)
RIVAL, ARM = "labels only, with augmentation", "pre-trained, same head"


def curve(arm, more=0.0, seeds=6):
    """Straight in log labels, with noise that is the arm's own."""
    noise = np.random.default_rng(len(arm)).normal(0, 0.01, (seeds, len(BUDGETS)))
    return Curve(
        arm,
        {
            n: {seed: 0.5 + 0.03 * math.log(n / 20) + more + noise[seed, i] for seed in range(seeds)}
            for i, n in enumerate(BUDGETS)
        },
    )


def saved(estimate, interval, labels=200):
    ends = None if interval is None else Interval(*interval)
    return LabelsSaved("A", labels, estimate, ends, "B", 0.9, (0, 1, 2), (), (20, 1000))


INF = math.inf


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (saved(131.4, (89.7, 211)), "is worth 130 more (95 % interval 90–210)."),
        (saved(-60, (-90, -30)), "costs 60 (95 % interval 30–90)."),
        (saved(30, (-20, 90)), "is worth 30 more (95 % interval: from costing 20 to saving 90)."),
        (saved(0.2, (-20, 90)), "is worth as many labels of “B” (95 % interval: from costing 20 to saving 90)."),
        (saved(0, (0, 0)), "is worth as many labels of “B” (95 % interval: 0)."),
        (saved(300, (90, INF)), "is worth 300 more (95 % interval: from saving 90 to saving more than 800)."),
        (
            saved(INF, (300, INF)),
            "is worth more than 800 more (95 % interval: from saving 300 to saving more than 800): "
            "“B” does not reach its accuracy with 1,000, the most that were tried.",
        ),
        (
            saved(-INF, (-INF, -150)),
            "costs more than 180 (95 % interval: from costing more than 180 to costing 150): "
            "“B” is better with 20, the fewest that were tried.",
        ),
        (saved(10, (-INF, 50), 20), "is worth 10 more (95 % interval: from costing an unknown number to saving 50)."),
        (saved(130, None), "is worth 130 more. This is one seed, which says nothing about other labels."),
    ],
)
def test_labels_saved_in_words(found, said):
    assert saved_sentence(found) == f"With {found.labels} labels, “A” {said}"


def test_too_few_seeds_to_show_a_difference_are_said():
    said = " ".join(notes(compare_arms([curve(ARM, 0.1, seeds=5)], [curve(RIVAL, seeds=5)]), [curve(RIVAL, seeds=5)]))
    assert "With 5 seeds no difference can be sure: even if all of them agree, p is 0.062" in said


def test_the_table_has_every_arm_with_every_number_of_labels():
    rows = compare_arms([curve(ARM, 0.1)], [curve(RIVAL), curve("labels only", -0.05)])
    assert [(row.labels, row.arm) for row in rows] == [(n, arm) for n in BUDGETS for arm in ("labels only", RIVAL, ARM)]
    first = rows[:3]
    assert [row.difference is None for row in first] == [False, True, False]  # from the first rival
    assert [row.saved is None for row in first] == [True, True, False]
    assert rows[2].saved == labels_saved(curve(ARM, 0.1), [curve(RIVAL), curve("labels only", -0.05)], 20)
    tested = [row for row in rows if row.difference]
    assert [row.p_holm for row in tested] == [pytest.approx(6 / 32)] * 6  # six differences, all seeds agree in each
    shown = cells(rows)
    assert all(len(line) == len(HEADINGS) for line in shown)
    assert shown[1][:3] == (RIVAL, "20", "6")
    assert shown[1][4:] == ("", "", "", "")
    assert shown[2][5:7] == ("0.0312", "0.188")
    assert shown[2][4].startswith("+")
    assert "to" in shown[2][7]
    assert "With 6 differences at once, “p, Holm” gets below 0.05 with 8 seeds or more." in notes(rows, [curve(RIVAL)])


def test_one_seed_has_the_interval_of_test_inputs_and_says_what_it_lacks():
    rows = compare_arms([curve(ARM, 0.1, seeds=1)], [curve(RIVAL, seeds=1)], test_inputs=1000)
    assert rows[0].interval.high - rows[0].interval.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 1000), rel=0.05)
    assert "One seed says nothing about other labels" in " ".join(notes(rows, [curve(RIVAL)]))
    unknown = compare_arms([curve(ARM, 0.1, seeds=1)], [curve(RIVAL, seeds=1)])
    assert unknown[0].interval is None
    assert "interval is that of new test inputs" not in " ".join(notes(unknown, [curve(RIVAL)]))


def test_what_was_not_tried_is_marked_in_the_table():
    rows = compare_arms([curve(ARM, 0.35), curve("random weights, frozen", -0.35)], [curve(RIVAL)])
    found = {(row.arm, row.labels): line[7] for row, line in zip(rows, cells(rows), strict=True)}
    assert found[ARM, 100] == "> +400 (> +400)"
    assert found["random weights, frozen", 100] == "< −80 (< −80)"


def test_seeds_that_are_left_out_are_named():
    full, part = curve(ARM, 0.1), {n: dict(found) for n, found in curve(RIVAL).accuracies.items()}
    del part[500][4]
    rows = compare_arms([full], [Curve(RIVAL, part)])
    assert "lack a number of labels in some arm: 4." in notes(rows, [curve(RIVAL)])[-1]


def test_arms_of_the_same_name_are_refused():
    with pytest.raises(ValueError, match="must have different names"):
        compare_arms([curve(RIVAL)], [curve(RIVAL)])


def test_an_arm_has_its_colour_and_its_place_whatever_else_is_shown():
    few, many = arms.colours([ARM, RIVAL]), arms.colours([*reversed(arms.KNOWN), "mine", f"{ARM}, seen twice"])
    assert {arm: many[arm] for arm in few} == few
    assert list(many)[: len(arms.KNOWN)][::-1] != list(many)[: len(arms.KNOWN)]
    assert list(few) == [RIVAL, ARM]
    assert list(many)[-1] == "mine"
    assert len(set(many.values())) == len(many)


def test_the_picture_shows_every_arm_and_an_arrow(tmp_path):
    curves = [curve(ARM, 0.03), curve(RIVAL)]
    found = labels_saved(curves[0], curves[1:], 100)
    assert math.isfinite(found.estimate)
    pixels = {}
    for name, shown in (("without", []), ("with", [found])):
        save_label_curve(curves, tmp_path / f"{name}.png", shown)
        with Image.open(tmp_path / f"{name}.png") as image:
            picture = np.asarray(image.convert("RGB")).reshape(-1, 3)
        pixels[name] = {
            arm: int((picture == ImageColor.getrgb(colour)).all(1).sum())
            for arm, colour in arms.colours([ARM, RIVAL]).items()
        }
    assert min(pixels["without"].values()) > 300
    assert pixels["with"][ARM] > pixels["without"][ARM] + 50


@pytest.mark.parametrize("more", [0.35, -0.35, 0.0])
def test_the_picture_of_curves_that_do_not_cross(tmp_path, more):
    curves = [curve("$x$", more, seeds=1), curve(RIVAL, seeds=3)]
    save_label_curve(curves, tmp_path / "a.png", [labels_saved(curves[0], curves[1:], n) for n in BUDGETS])
    assert (tmp_path / "a.png").stat().st_size > 5000
