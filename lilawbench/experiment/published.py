"""The papers' published results, copied from their tables: paper/lilaw.csv, rrm.csv and dynamic_loss.csv."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from lilawbench.support.errors import DataError, UserError, closest

FOLDER = Path(__file__).parent / "paper"
HEADER = ["table", "row", "column", "metric", "mean", "std", "unit"]
TITLES = {"lilaw": "LiLAW", "rrm": "RRM", "dynamic_loss": "Dynamic Loss"}


class PublishedResult(NamedTuple):
    """One published number. `mean` and `std` are in `unit`: "%", "1" (a fraction or a plain number), "rows" ..."""

    row: str
    column: str
    metric: str
    mean: float
    std: float | None  # None: the paper prints none
    unit: str


def published(paper: str, number: str, folder: Path = FOLDER) -> list[PublishedResult]:
    """The results of one table, in the order of the file.

    Args:
        paper: name of a file in `folder`. number: of the table, as text; "2/14" is Tables 2 and 14.
    Raises:
        UserError: no such paper or table. DataError: the file is damaged or has a result twice.
    """
    path = folder / f"{paper}.csv"
    if not path.is_file():
        raise UserError(f"no published results of {paper!r}; {closest(paper, [p.stem for p in folder.glob('*.csv')])}")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            if (header := next(reader, [])) != HEADER:
                raise DataError(f"{path}: its first line is {','.join(header)}; expected {','.join(HEADER)}")
            lines = [(reader.line_num, line) for line in reader if line]
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from None
    results: dict[tuple[str, ...], PublishedResult] = {}
    for at, line in lines:
        where = f"{path}, line {at}"
        if len(line) != len(HEADER):
            raise DataError(f"{where}: {len(line)} values; expected {len(HEADER)}")
        row, column, metric, mean, std, unit = line[1:]
        result = PublishedResult(row, column, metric, _number(mean, where), _number(std, where) if std else None, unit)
        if tuple(line[:4]) in results:
            raise DataError(f"{where}: {', '.join(line[:4])} appears twice")
        results[tuple(line[:4])] = result
    wanted = str(number).split("/")
    if missing := set(wanted) - {key[0] for key in results}:
        tables = ", ".join(dict.fromkeys(key[0] for key in results))
        raise UserError(f"{path} has no table {sorted(missing)[0]}; it has {tables}")
    return [result for key, result in results.items() if key[0] in wanted]


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {text!r} is not a number")
    return value
