"""What mirrors show of a run: the values of a row of metrics.jsonl, and in the end values, tables and pictures."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

from lilawbench.support.plain import Tree

LISTS = ("per_class", "suspects")  # files of a run that are shown
MOST_ROWS = 200  # of each


class Values(NamedTuple):
    """A row of metrics.jsonl. Rows of kind "method" hold tables and have none."""

    values: dict[str, float]  # "step/train_loss" ... or "epoch/test_accuracy" ...
    axes: dict[str, int]  # "step", "epoch", those that it has


def values_of(row: dict[str, Tree]) -> Values:
    """What a mirror shows of a row."""
    kind = row.pop("kind")
    if kind == "method":
        return Values({}, {})
    axes: dict[str, int] = {axis: row.pop(axis) for axis in ("step", "epoch") if axis in row}
    return Values({f"{kind}/{key}": value for key, value in row.items() if value is not None}, axes)


class Table(NamedTuple):
    columns: list[str]
    rows: list[list[Tree]]


class Left(NamedTuple):
    """What a run leaves: values under result.json's names, tables, pictures."""

    values: dict[str, Tree]
    tables: dict[str, Table]
    pictures: dict[str, Path]


def left(folder: Path, summary: dict[str, Tree]) -> Left:
    """Sorts result.json by what can be shown of it, and adds the run's PNG files and the first rows of its lists."""
    flat, tables = dict[str, Tree](), dict[str, Table]()
    for key, value in summary.items():
        found = _table(key, value, summary.get("class_names") or [])
        if found is not None:
            tables[key] = found
        elif not any(isinstance(one, dict | list) for one in (value if isinstance(value, list) else [value])):
            flat[key] = value
    for name in LISTS:
        if (path := folder / f"{name}.csv").exists():
            with path.open(encoding="utf-8", newline="") as file:
                header, *rows = [line for line, _ in zip(csv.reader(file), range(MOST_ROWS + 1))] or [[]]
            tables[name] = Table(header, [[_number(cell) for cell in row] for row in rows])
    return Left(flat, tables, {one.stem: one for one in sorted(folder.glob("*.png"))})


def _table(key: str, value: Tree, class_names: list[str]) -> Table | None:
    """Confusion, reliability, and lists of rows such as those of groups; None: it is no table."""
    if key.endswith(".confusion"):
        names = [class_names[at] if at < len(class_names) else str(at) for at in range(len(value))]
        return Table(["clean", *names], [[name, *counts] for name, counts in zip(names, value)])
    if key.endswith(".reliability"):
        rows = [[when, *row] for when, diagram in value.items() for row in diagram]
        return Table(["when", "confidence", "accuracy", "rows"], rows)
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        columns = list(dict.fromkeys(name for one in value for name in one))
        return Table(columns, [[one.get(name) for name in columns] for one in value])
    return None


def _number(cell: str) -> str | float:
    try:
        return float(cell)
    except ValueError:
        return cell


def written(table: Table) -> str:
    """As CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.columns, *table.rows])
    return text.getvalue()
