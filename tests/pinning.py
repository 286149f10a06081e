"""Where the tests of pins keep what they compare with, and how they compare.

`pins.json` has two tables. `common` holds for any processor, within a tolerance. `exact` holds, number for number, where the
processor, its instruction sets and the version of PyTorch are those of one of its keys; a machine that is not among them is
compared with `common` alone.
"""

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import pytest
import torch

PINS = Path(__file__).parent / "pins.json"
WRITES = "SSL_CLI_WRITE_PINS"
HOW = f"pins are rewritten by {WRITES}=1 pytest tests/test_pins.py -n 0"


def machine_here() -> str:
    """All that decides in which order numbers are added up on one thread: processor, instruction sets, PyTorch."""
    found = {}
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
        found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = found.get("model name") or platform.processor() or platform.machine()
    numbers = "/".join(found[key] for key in ("cpu family", "model") if key in found)
    asked = [
        f"{key}={value}" for key, value in sorted(os.environ.items()) if key.startswith(("ONEDNN_", "DNNL_", "MKL_"))
    ]
    sets = torch.backends.cpu.get_cpu_capability()
    return ", ".join([f"{name} {numbers}".strip(), sets, f"PyTorch {torch.__version__}", *asked])


def pinned() -> dict[str, Any]:
    """Both tables."""
    return json.loads(PINS.read_text()) if PINS.exists() else {"common": {}, "exact": {}}


def check(case: str, found: dict[str, list[float]], rel: float = 0.0, abs: float = 0.0) -> list[str]:
    """A sentence for each list of numbers that is not as pinned, or is not pinned, or is pinned and not found any more."""
    pins, here = pinned(), machine_here()
    if case not in pins["common"]:
        return [f"{case}: has no pin in tests/{PINS.name}; {HOW}"]
    exact = pins["exact"].get(here, {}).get(case)
    wrong = _differences(case, found, exact, 0.0, 0.0, "exactly, as on this very machine") if exact else []
    return wrong or _differences(case, found, pins["common"][case], rel, abs, f"within {rel or abs:g}, on any machine")


def _differences(
    case: str, found: dict[str, list[float]], wanted: dict[str, list[float]], rel: float, abs: float, how: str
) -> list[str]:
    said = [f"{case}: {part} is pinned and was not found" for part in wanted if part not in found]
    said += [f"{case}: {part} was found and has no pin; {HOW}" for part in found if part not in wanted]
    for part in (part for part in wanted if part in found):
        ours, theirs = found[part], wanted[part]
        if len(ours) != len(theirs):
            said.append(f"{case}: {part} has {len(ours)} numbers, and {len(theirs)} are pinned")
            continue
        off = [n for n, (one, other) in enumerate(zip(ours, theirs, strict=True)) if not _near(one, other, rel, abs)]
        if off:
            first = off[0]
            worst = max(_apart(one, other) for one, other in zip(ours, theirs, strict=True))
            said.append(
                f"{case}: {part} differs in {len(off)} of {len(theirs)} numbers, first in number {first + 1}: {ours[first]!r} "
                f"and not {theirs[first]!r}, by up to {worst:.1e} of it{', where it should agree ' + how if how else ''}; {HOW}"
            )
    return said


def _near(one: float, other: float, rel: float, abs: float) -> bool:
    return one == pytest.approx(other, rel=rel, abs=abs) if rel or abs else one == other


def _apart(one: float, other: float) -> float:
    return 0.0 if one == other else abs(one - other) / max(abs(one), abs(other))


def rewrite(case: str, found: dict[str, list[float]], rel: float = 0.0, abs: float = 0.0) -> list[str]:
    """Write down what was found; a line for each change.

    What holds on any machine stays as long as it agrees with what was found, so that a second machine only adds its own
    numbers. Where a machine's own numbers change the program has changed, and those of other machines are struck out.
    """
    pins, here = pinned(), machine_here()
    said = []
    own = pins["exact"].setdefault(here, {})
    agreed = case in pins["common"] and not _differences(case, found, pins["common"][case], rel, abs, "")
    if own.get(case) != found:
        said += (
            [f"new on this machine: {case}"]
            if case not in own
            else _differences(case, found, own[case], 0, 0, "exactly")
        )
        if case in own or not agreed:
            for machine in [machine for machine in pins["exact"] if machine != here]:
                if pins["exact"][machine].pop(case, None):
                    said.append(f"{case}: struck out what it was on {machine}")
        own[case] = found
    if not agreed:
        said.append(f"{'changed' if case in pins['common'] else 'new'} for any machine: {case}")
        pins["common"][case] = found
    _save(pins)
    return said


def strike_out(cases: set[str]) -> list[str]:
    """Forget pins that no test has; a line for each."""
    pins = pinned()
    for table in (pins["common"], *pins["exact"].values()):
        for case in cases & set(table):
            del table[case]
    _save(pins)
    return [f"struck out, since no test has it: {case}" for case in sorted(cases)]


def _save(pins: dict[str, Any]) -> None:
    pins["exact"] = {machine: table for machine, table in sorted(pins["exact"].items()) if table}
    text = json.dumps({key: pins[key] for key in ("common", "exact")}, indent=1, sort_keys=True, ensure_ascii=False)
    one_line = re.sub(r"\[[^\[\]{}]*\]", lambda numbers: " ".join(numbers[0].split()), text)
    PINS.write_text(one_line.replace("[ ", "[").replace(" ]", "]") + "\n")
