"""Errors that a user can fix: shown as one clear message, never as a traceback."""

import difflib
from collections.abc import Iterable, Sequence

MOST = 40  # choices that a message lists


def closest(name: str, choices: Iterable[str]) -> str:
    """ "did you mean a or b?" of the choices that look like a name, else all of them, or the first of very many."""
    choices = sorted(choices)
    if alike := difflib.get_close_matches(name, choices, n=3, cutoff=0.6):
        return f"did you mean {' or '.join(alike)}?"
    if len(choices) > MOST:
        return f"there are {len(choices)}: {', '.join(choices[:3])}, ..."
    return f"there are {', '.join(choices)}"


def first_of(names: Sequence[object], most: int = 10, between: str = ", ") -> str:
    """ "a, b and 3 more"; `between` parts names that have commas of their own."""
    more = len(names) - most
    return between.join(map(str, names[:most])) + (f" and {more} more" if more > 0 else "")


def unknown_option(dotted: str, of: str, valid: Iterable[str]) -> str:
    """ "noise.rat is not an option of symmetric; did you mean rate?", or with all that are. `of`: "" of no part."""
    valid = list(valid)
    alike = difflib.get_close_matches(dotted.rpartition(".")[2], valid, n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(alike)}?" if alike else f" (valid: {', '.join(valid) or 'none'})"
    return f"{dotted} is not an option{f' of {of}' if of else ''}{hint}"


def first_line(error: str) -> str:
    """The first line of a message, with the one below it where it only introduces that."""
    lines = [line.strip() for line in error.strip().splitlines()] or [""]
    return f"{lines[0]} {lines[1].removeprefix('- ')}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]


class UserError(Exception):
    """Says what is wrong, where, and what to do. `exit_code` is the process's."""

    exit_code = 2


class ConfigError(UserError):
    """The composed config cannot run. Lists every problem found, not only the first."""

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


class PartError(UserError):
    """The code of a method or probe does not keep to its contract."""


class RunBusy(UserError):
    """Another process is writing this run."""

    exit_code = 1


class DiskError(UserError):
    """A file cannot be written: the disk is full, read-only or not writable for us. Finished work stays as it is."""

    exit_code = 1


class RunFailed(UserError):
    """Training stopped on its own (for example, the loss is not finite); the run is marked as failed."""

    exit_code = 1
