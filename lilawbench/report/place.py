"""Where a report is written, so that no part of a folder's runs replaces the report of all."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

PAGE = "report.html"  # of a folder's report, for a browser
LONGEST = 100  # characters of a folder's name


def place(folder: Path, parts: Iterable[str]) -> Path:
    """`folder`/report for the report of all its runs; for another one a folder below, named by what it shows.

    Args:
        parts: what makes it another, such as "noise.rate=0.2", "select=last5"; none: it is of all runs.
    """
    name = re.sub(r"[^\w.=,+-]+", "_", " ".join(parts)).strip("._")
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return folder / "report" / name if name else folder / "report"


def chosen(**options: str | float | None) -> list[str]:
    """Options that are set, as parts of a name."""
    return [f"{name}={value}" for name, value in options.items() if value is not None]
