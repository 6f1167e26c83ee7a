"""The labels that are probably wrong, as a page shows them: the first of each list, with its picture."""

import csv
import itertools
from collections.abc import Iterator
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.record.marks import REPAIR
from lilawbench.report.document import Picture, Section, Table
from lilawbench.report.measured import column
from lilawbench.report.names import natural

if TYPE_CHECKING:
    from pandas import DataFrame, Series

FIRST = 50  # rows of a list
MOST = 3  # lists
WIDEST = 60  # characters of a value
SCORE = "score"  # the last column that is shown; what follows are the other scores


def suspected(runs: "DataFrame") -> Section | None:
    """One list for each of the first settings whose runs have some: that of its first run. None: no run has a list.

    Args:
        runs: named, from `with_unique_names`.
    """
    tables, pictures, lines = [], [], []
    found = list(itertools.islice(_lists(runs), MOST))
    for name, run in found:
        folder = Path(run["folder"])
        try:
            header, rows = _read(folder / "suspects.csv")
        except (OSError, ValueError, csv.Error):
            lines.append(f"{name}: {folder / 'suspects.csv'} cannot be read. {REPAIR}")
            continue
        estimated, count = run.get("suspects_estimated"), run.get("suspects_rows")
        if _known(estimated, count):
            way = f"estimated by {run['suspects_estimated_by']}"
            lines.append(f"{name}: about {estimated:,.0f} of {count:,.0f} labels are probably wrong, {way}.")
        numbers = len(header) - header.index("suggested") - 1 if "suggested" in header else 1
        caption = f"{name}: the first {len(rows)} rows of {folder.name}/suspects.csv, the most suspicious first."
        tables.append(Table(caption, header, rows, numbers))
        if _whole(picture := folder / "suspects.png"):
            pictures.append(Picture(picture, f"Most suspicious of {name}", "Given label, and the suggested one."))
    if not tables and not lines:
        return None
    if len(runs) > 1:
        lines.append("One list from several runs: python -m lilawbench.suspects RUN...")
    return Section("Labels that are probably wrong", tables, pictures=pictures, lines=lines)


def _lists(runs: "DataFrame") -> "Iterator[tuple[str, Series]]":
    """Name and record of the first run of each setting that has a list."""
    for scene in sorted(runs["scene"].unique(), key=natural):
        here = runs[runs["scene"] == scene].sort_values(["config.seed", "method"])
        for at, folder in enumerate(column(here, "folder")):
            if Path(folder, "suspects.csv").exists():
                run = here.iloc[at]
                yield f"{scene}, {run['method']}, seed {run['config.seed']}", run
                break


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and first rows, without the scores that did not rank. Raises: OSError, ValueError or csv.Error."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = itertools.islice(csv.reader(file), FIRST + 1)
    if not {"rank", "given", "suggested"} <= set(header) or any(len(row) != len(header) for row in rows):
        raise ValueError("no list of suspects")
    last = header.index(SCORE) + 1 if SCORE in header else len(header)
    shown = [[value if len(value) <= WIDEST else value[: WIDEST - 1] + "…" for value in row[:last]] for row in rows]
    return header[:last], shown


def _whole(picture: Path) -> bool:
    """Whether a PNG is there from its signature to its end."""
    try:
        content = picture.read_bytes()
    except OSError:
        return False
    return content.startswith(b"\x89PNG") and b"IEND" in content[-12:]


def _known(*values: object) -> bool:
    return all(isinstance(value, Real) and value == value for value in values)
