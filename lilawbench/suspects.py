"""One list of suspects from several runs: `python -m lilawbench.suspects RUN... --labels corrected.csv`.

Runs of one data set with the same labels, whatever their seeds and methods: each row's rank is averaged over the runs
that trained on it. What `--labels` writes is what `noise=file noise.path=corrected.csv` trains on. Without torch.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.suspects import START, START_LABELS, combined, corrected, read_runs
from lilawbench.support.atomic import check_place
from lilawbench.support.errors import ConfigError, UserError

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN = 20
WIDEST = 40  # characters of a value that is printed


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the estimate and the first rows, and writes what is asked for. Returns the exit code: 0; 2: the input is
    at fault, and nothing was written."""
    parser = argparse.ArgumentParser(prog="python -m lilawbench.suspects", description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN", nargs="+", help="a run's folder, or a folder of runs")
    parser.add_argument("--score", metavar="NAME", help="the score that ranks; default: the one that each run chose")
    parser.add_argument("--top", metavar="N", type=_count, default=SHOWN, help=f"rows to print; default: {SHOWN}")
    parser.add_argument("--out", metavar="FILE.csv", type=Path, help="writes the whole list")
    parser.add_argument("--labels", metavar="FILE.csv", type=Path,
                        help="writes all labels, with the suggested ones for rows that are probably wrong")  # fmt: skip
    parser.add_argument("--agree", metavar="N", type=_count,
                        help="how many runs must say that a row is probably wrong for its label to be replaced; "
                        "default: more than half of those that trained on it")  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        _check_places(options.out, options.labels)
        runs = read_runs(options.runs)
        found = combined(runs, options.score, options.agree)
        labels = corrected(runs, found) if options.labels else None
        print(f"{found.told()}\n\n{_table(found.rows.head(options.top))}")
        if options.out:
            found.write(options.out)
            print(f"\n{len(found.rows):,} rows: {options.out}")
        if labels is not None:
            labels.write(options.labels)
            print(f"\n{labels.told()}: {options.labels}\n"
                  f"To train on them: the command of the runs with noise=file noise.path={options.labels}")  # fmt: skip
    except UserError as error:
        print(f"lilawbench: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _check_places(out: Path | None, labels: Path | None) -> None:
    """Raises: ConfigError, DiskError."""
    if labels is not None and labels.suffix != ".csv":
        raise ConfigError([f"--labels {labels} must end in .csv, or noise=file could not read it"])
    if out is not None and labels is not None and out.absolute() == labels.absolute():
        raise ConfigError([f"--out and --labels are both {out}; give each a file of its own"])
    for path, start in ((out, START), (labels, START_LABELS)):
        if path is not None:
            check_place(path, start)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number >= 1")
    return int(text)


def _table(rows: "DataFrame") -> str:
    """The rows in columns as wide as they need to be."""
    lines = [list(map(str, rows.columns)), *([_shown(value) for value in row] for row in rows.itertuples(index=False))]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)


def _shown(value: object) -> str:
    text = f"{value:.3g}" if isinstance(value, float) and value != int(value) else str(value).removesuffix(".0")
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


if __name__ == "__main__":
    sys.exit(main())
