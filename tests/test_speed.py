import runpy
from pathlib import Path

import pytest

STEPS = Path(__file__).parent.parent / "benchmarks" / "steps.py"


@pytest.mark.slow  # a minute, and the machine should be idle
def test_a_whole_step_costs_little_more_than_its_forward_and_backward_pass():
    steps = runpy.run_path(str(STEPS))
    case = next(case for case in steps["CASES"] if case.name == "warfield")
    rows = steps["measured"](case, rounds=5, arms=("ssl_cli", "floor"))
    seconds = {row["arm"]: row["seconds_per_step"] for row in rows}
    assert seconds["ssl_cli"] <= 1.6 * seconds["floor"]
