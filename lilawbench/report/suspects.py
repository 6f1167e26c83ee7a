"""Lists of suspects of several runs as one, and the labels that follow from it."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.probes.suspects_list import ABOUT
from lilawbench.report.collect import collect
from lilawbench.support.atomic import write_atomic
from lilawbench.support.errors import DataError, closest, first_of

if TYPE_CHECKING:
    from pandas import DataFrame

FILE = "suspects.csv"
START, START_LABELS = "rank,row", "id,corrected"  # of the files that are written here
TEXTS = ("row", "given", "suggested")
CONFIDENCE = 0.95
SHOWN = 3  # runs that a message names


@dataclass(frozen=True)
class Run:
    """A finished run with its list."""

    folder: Path
    rows: "DataFrame"  # suspects.csv
    class_names: tuple[str, ...]
    ids: np.ndarray  # [N] str, names of all labelled rows, or their numbers from 0
    observed: np.ndarray  # [N] int64, their labels
    way: str  # how the number of wrong labels was estimated; "": it was not


@dataclass(frozen=True)
class Combined:
    """Rows by their mean rank, the most suspicious first.

    rows: rank, row, line (of a table), given, suggested (by most runs), suggested_prob and given_prob (means),
    mean_rank, runs (that trained on the row) and, where the number of wrong labels was estimated, agree (how many
    of these have it above the threshold) and probably_wrong (enough do).
    """

    rows: "DataFrame"
    estimated: Sequence[int]  # wrong labels, by run; empty: unknown
    trained: int  # rows that a run trains on, on average
    ways: Sequence[str]

    def told(self) -> str:
        """How many labels are probably wrong, with an interval over the runs, and which is the first."""
        first = self.rows.iloc[0]
        name = f"row {first['row']}" if first["row"].isdigit() else first["row"]
        found = f"first: {name}, given {first['given']}, rather {first['suggested']}"
        if not self.estimated:
            return found
        mean, size = float(np.mean(self.estimated)), len(self.estimated)
        about = f"about {mean:,.0f} of {self.trained:,} labels are probably wrong ({', '.join(self.ways)}"
        if len(set(self.estimated)) > 1:
            from scipy.special import stdtrit

            half = stdtrit(size - 1, 0.5 + CONFIDENCE / 2) * float(np.std(self.estimated, ddof=1)) / size**0.5
            low, high = max(0.0, mean - half), min(float(self.trained), mean + half)
            about += f"; {CONFIDENCE:.0%} interval over {size} runs: {low:,.0f} to {high:,.0f}"
        return f"{about}); {found}"

    def write(self, path: Path) -> None:
        """Raises: DiskError."""
        write_atomic(path, self.rows.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


@dataclass(frozen=True)
class Labels:
    """All labels by row, for noise=file."""

    ids: Sequence[str]
    names: Sequence[str]  # of the classes
    replaced: int
    kept: int  # rows that are probably wrong, whose given label is the likeliest yet
    unseen: int  # rows that no run trained on

    def told(self) -> str:
        kept = [f"above the line, yet the given label is the likeliest: {self.kept:,}"] if self.kept else []
        kept += [f"no run trained on the row: {self.unseen:,}"] if self.unseen else []
        as_were = f" (left as they were: {'; '.join(kept)})" if kept else ""
        return f"{self.replaced:,} of {len(self.ids):,} labels replaced{as_were}"

    def write(self, path: Path) -> None:
        """Writes columns `id` and `corrected`. Raises: DiskError."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("id", "corrected"), *zip(self.ids, self.names, strict=True)])
        write_atomic(path, text.getvalue())


def read_runs(folders: Sequence[str]) -> list[Run]:
    """The finished runs in or below these folders.

    Raises:
        DataError: there is none; one has no list, rows of one name, other classes, other rows or other labels than the
            first.
    """
    found = collect(folders)
    if found.empty:
        raise DataError(f"there is no finished run in or below {first_of(folders, SHOWN)}")
    places = [Path(folder) for folder in found["folder"]]
    if without := [place for place in places if not (place / FILE).is_file()]:
        raise DataError(f"{first_of(without, SHOWN)}: no {FILE}; of classes, a run with probe=suspects has one")
    ways = found["suspects_estimated_by"] if "suspects_estimated_by" in found else [""] * len(found)
    runs = [
        _read(place, names, way if isinstance(way, str) else "")
        for place, names, way in zip(places, found["class_names"], ways)
    ]
    for run in runs[1:]:
        _check_alike(runs[0], run)
    return runs


def _read(folder: Path, class_names: Sequence[str], way: str) -> Run:
    import pyarrow
    from pyarrow import csv as arrow_csv

    try:
        kinds = arrow_csv.ConvertOptions(column_types=dict.fromkeys(TEXTS, pyarrow.string()))
        rows = arrow_csv.read_csv(folder / FILE, convert_options=kinds).to_pandas()
        with np.load(folder / "labels.npz", allow_pickle=False) as labels:
            observed = labels["observed"]
            ids = labels["ids"] if "ids" in labels else np.arange(len(observed)).astype(str)
    except Exception as error:  # of Arrow, zip, zlib or NumPy, by where the damage is
        raise DataError(f"{folder}: its list or labels are damaged ({error}); do the run again") from error
    if lost := [name for name in ("rank", *TEXTS, "suggested_prob", "given_prob") if name not in rows]:
        raise DataError(f"{folder / FILE} has no column {lost[0]}; it is not as the run wrote it")
    if twice := rows["row"][rows["row"].duplicated()].tolist():
        raise DataError(
            f"{folder / FILE}: {len(set(twice))} names are shared by several rows, such as {twice[0]}; runs can be put "
            "together where each row has its own name (dataset.id, or ids)"
        )
    return Run(folder, rows, tuple(class_names), ids.astype(str), observed, way)


def _check_alike(first: Run, other: Run) -> None:
    """Raises: DataError."""
    alone = "name runs of one data set and one set of labels alone"
    both = f"{first.folder} and {other.folder}"
    if first.class_names != other.class_names:
        lists = " | ".join(first_of(names, 5) for names in (first.class_names, other.class_names))
        raise DataError(f"{both} have different classes: {lists}; {alone}")
    if not np.array_equal(first.ids, other.ids):
        counts = f"{len(first.ids):,} and {len(other.ids):,} rows with labels"
        raise DataError(f"{both} are of different rows ({counts}); {alone}")
    given = first.rows[["row", "given"]].merge(other.rows[["row", "given"]], on="row", suffixes=("", "_other"))
    differ = given[given["given"] != given["given_other"]]
    if len(differ):
        row = differ.iloc[0]
        raise DataError(
            f"{both} have different labels: row {row['row']} is given {row['given']} and {row['given_other']} "
            f"({len(differ):,} such row{'s' * (len(differ) > 1)}); {alone}"
        )


def combined(runs: Sequence[Run], score: str | None = None, agree: int | None = None) -> Combined:
    """One list of the rows of all runs.

    Args:
        score: a column of the lists to rank by; None: as each run did.
        agree: how many runs must have a row above their thresholds; None: more than half of those that trained on it.
    Raises:
        DataError: a run has no such score, or agree is more than there are runs.
    """
    import pandas as pd

    if agree is not None and agree > len(runs):
        raise DataError(f"--agree {agree}: there are {len(runs)} runs")
    tables = [_ranked(run, score) for run in runs]
    together = pd.concat(tables, ignore_index=True)
    by_row = together.groupby("row", sort=False)
    means = {"mean_rank": ("rank", "mean"), "runs": ("rank", "size")}
    estimated = all("probably_wrong" in table for table in tables)
    means |= {"agree": ("probably_wrong", "sum")} if estimated else {}
    means |= {"given_prob": ("given_prob", "mean")}
    about = by_row.agg(share=("share", "mean"), given=("given", "first"), **means)
    if "line" in together:
        about["line"] = by_row["line"].first()
    votes = together.groupby(["row", "suggested"], sort=False)["suggested_prob"].agg(["size", "mean"]).reset_index()
    votes = votes.sort_values(["size", "mean"], ascending=False, kind="stable").drop_duplicates("row").set_index("row")
    about["suggested"], about["suggested_prob"] = votes["suggested"], votes["mean"]
    rows = about.sort_values("share", kind="stable").reset_index()
    rows.insert(0, "rank", np.arange(1, len(rows) + 1))
    if estimated:
        enough = rows["agree"] > rows["runs"] / 2 if agree is None else rows["agree"] >= agree
        rows["probably_wrong"] = enough.astype(int)
    order = ("rank", "row", "line", "given", "suggested", "suggested_prob", "given_prob", *means, "probably_wrong")
    return Combined(
        rows[[name for name in dict.fromkeys(order) if name in rows]],
        [int(table["probably_wrong"].sum()) for table in tables] if estimated else [],
        round(float(np.mean([len(table) for table in tables]))),
        list(dict.fromkeys(run.way for run in runs if run.way)),
    )


def _ranked(run: Run, score: str | None) -> "DataFrame":
    """A run's rows by a score, with the share of the rows that is ranked before each."""
    rows = run.rows
    if score is not None:
        scores = [name for name in rows if name not in ABOUT]
        if score not in scores:
            raise DataError(f"{run.folder / FILE} has no score {score}; {closest(score, scores)}")
        rows = rows.sort_values(score, ascending=False, kind="stable", na_position="last", ignore_index=True)
        rows["rank"] = np.arange(1, len(rows) + 1)
        if "probably_wrong" in rows:
            rows["probably_wrong"] = (rows["rank"] <= run.rows["probably_wrong"].sum()).astype(int)
    return rows.assign(share=(rows["rank"] - 1) / len(rows))


def corrected(runs: Sequence[Run], found: Combined) -> Labels:
    """All labels, with the suggested ones for rows that are probably wrong and whose given label is less likely.

    Raises:
        DataError: nobody has estimated how many are wrong.
    """
    if "probably_wrong" not in found.rows:
        raise DataError("how many labels are wrong was not estimated in all of these runs: do them again")
    first = runs[0]
    labels = np.array(first.class_names, dtype=object)[first.observed]
    place = {name: number for number, name in enumerate(first.ids.tolist())}
    above = found.rows[found.rows["probably_wrong"] == 1]
    wrong = above[above["suggested_prob"] > above["given_prob"]]
    for row, suggested in zip(wrong["row"], wrong["suggested"]):
        labels[place[row]] = suggested
    return Labels(
        first.ids.tolist(), labels.tolist(), len(wrong), len(above) - len(wrong), len(first.ids) - len(found.rows)
    )
