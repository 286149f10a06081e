import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.slow  # a minute, and the machine should be idle
def test_a_whole_step_costs_little_more_than_its_forward_and_backward_pass(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))  # where the arms' processes find it, too
    steps = importlib.import_module("steps")
    case = next(case for case in steps.CASES if case.name == "warfield")
    rows = steps.measured(case, rounds=5, arms=("ssl_cli", "floor"))
    seconds = {row["arm"]: row["seconds_per_step"] for row in rows}
    assert seconds["ssl_cli"] <= 1.6 * seconds["floor"]
