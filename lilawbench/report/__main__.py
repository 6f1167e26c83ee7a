"""The report of finished runs, a page to open: `python -m lilawbench.report FOLDER ...`.

It writes FOLDER/report/report.html, which stands by itself, the tables as Markdown, CSV and LaTeX, and every figure.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lilawbench.report.options import add_options, exit_code, report_folders
from lilawbench.support.reader import ending_quietly

ROOT = Path("outputs")  # where runs are unless paths.output_dir says otherwise


@ending_quietly()
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables and the files. Returns the exit code: 0; 2: there is nothing to report, or no way to write."""
    parser = argparse.ArgumentParser(prog="python -m lilawbench.report", description=__doc__.splitlines()[0])
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER", type=Path, help=f"of runs, or above them (default: {ROOT})"
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    return exit_code(lambda: print(report_folders(options.folders or [ROOT], options)), "lilawbench")


if __name__ == "__main__":
    sys.exit(main())
