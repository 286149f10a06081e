"""What can go wrong that is not a fault of this program."""


class ConfigError(Exception):
    """Settings that cannot work; each problem is one sentence that names the key, the value and what is allowed."""

    def __init__(self, *problems: str):
        self.problems = tuple(dict.fromkeys(problems))  # a mistake that is found twice is said once
        super().__init__("\n".join(self.problems))


class Interrupted(BaseException):
    """The run was asked to stop (Ctrl-C, SIGTERM). Not an Exception, so that nothing swallows it on the way out."""

    def __init__(self, signal_number: int):
        self.signal_number = signal_number
        super().__init__(f"stopped by signal {signal_number}")


class TrainingError(Exception):
    """A training that cannot go on, in one sentence that says what to try."""


class ProcessLostError(TrainingError):
    """Another process of the same training is gone; the training can go on from its checkpoint."""
