"""How a training is going: inputs a second, and one bar."""

import sys
import time

from tqdm import tqdm

from ssl_cli.runs.run import Run


class Clock:
    """Inputs a second, and the share of time that goes into batches and views.

    Args:
        before: the numbers of earlier sessions, as `Run.progress` gives them.
    """

    def __init__(self, before: dict[str, float]):
        self.inputs = int(before.get("inputs", 0))
        self.seconds = before.get("training_seconds", 0.0)
        self._data = self._here = 0.0
        self._inputs_here = 0
        self._saved = time.perf_counter()

    def prepared(self, seconds: float) -> None:
        """A batch and its views are ready after these seconds."""
        self._data += seconds

    def count(self, inputs: int, whole: float) -> None:
        """One step: its inputs, and all its seconds."""
        self.inputs += inputs
        self._inputs_here += inputs
        self.seconds += whole
        self._here += whole

    def rate(self) -> float:
        """Inputs a second, over all sessions."""
        return self.inputs / max(self.seconds, 1e-9)

    def since_save(self) -> float:
        """Seconds since the last checkpoint."""
        return time.perf_counter() - self._saved

    def saved(self) -> None:
        """A checkpoint was written."""
        self._saved = time.perf_counter()

    def described(self, numbers: dict[str, float]) -> str:
        """For the bar."""
        rate, share = self._inputs_here / self._here, self._data / self._here
        return f"loss {numbers['loss']:.3f}, {rate:,.0f} inputs/s, {share:.0%} on data and views"


def bar(run: Run, steps: int, done: int) -> tqdm:
    """The bar of a training of `steps`, of which some are done."""
    terminal = sys.stderr.isatty()
    return tqdm(
        total=steps,
        initial=done,
        desc=run.stage,
        unit="step",
        mininterval=0.2 if terminal else 30.0,  # a log file needs fewer lines,
        delay=0 if terminal else 30.0,  # and none of a short training
        leave=False,
        dynamic_ncols=True,
    )
