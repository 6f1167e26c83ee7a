"""Tables and figures of finished runs.

python scripts/make_tables.py                         # everything below outputs/
python scripts/make_tables.py outputs/digits --select best_val --baseline ce --out tables/
"""

import argparse
import os
import sys
from pathlib import Path

from lilawbench.errors import UserError
from lilawbench.results.report import LEADING, report
from lilawbench.results.tables import SELECTIONS


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Tables and figures of all finished runs below the folders: mean +- std over seeds, paired tests."
    )
    parser.add_argument("folders", nargs="*", metavar="FOLDER", type=Path, help="of runs, or above them (outputs/)")
    parser.add_argument("--select", choices=SELECTIONS, help="the epoch a run reports (default: best_val, then last)")
    parser.add_argument("--baseline", metavar="METHOD", help="to compare with; loss: plain training on the same loss")
    parser.add_argument("--metric", help="such as test_attacked_0.1_accuracy (default: accuracy, mAP or RMSE)")
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out results that are damaged or of another version"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="for the files (default: report/ in the common folder)")
    options = parser.parse_args(arguments)
    folders = options.folders or [Path("outputs")]
    try:
        common = folders[0] if len(folders) == 1 else Path(os.path.commonpath([f.absolute() for f in folders]))
        selections = (options.select,) if options.select else LEADING
        out, skip = options.out or common / "report", options.skip_unreadable
        print(report(folders, out, options.baseline, selections, options.metric, skip))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: cannot write the report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
