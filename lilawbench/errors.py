"""Errors that a user can mend: shown as one clear message, never as a traceback."""


class UserError(Exception):
    """Says what is wrong, where, and what to do. `exit_code` is the process's."""

    exit_code = 2


class ConfigError(UserError):
    """The composed config cannot run. Carries every problem found, not only the first."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        head = (
            "the configuration cannot run:"
            if len(problems) == 1
            else f"the configuration has {len(problems)} problems:"
        )
        super().__init__("\n  - ".join([head, *problems]))


class DataError(UserError):
    """A data file is missing, damaged or not what its loader expects."""


class RunBusy(UserError):
    """Another process is writing this very run."""

    exit_code = 1


class RunFailed(UserError):
    """Training stopped by itself (for example a loss that is not finite); the run is marked failed."""

    exit_code = 1
