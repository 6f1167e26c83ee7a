"""Tables and figures of finished runs.

python scripts/make_tables.py lilaw_table5            # a paper's table: ours, the paper's, the difference
python scripts/make_tables.py --list                  # all tables: done, runnable here, what is missing
python scripts/make_tables.py                         # everything below outputs/
python scripts/make_tables.py outputs/digits --select best_val --baseline ce --out tables/
python scripts/make_tables.py my_table --config-dir FOLDER      # or hydra.searchpath=[FOLDER], as for runs
"""

import argparse
import math
import os
import sys
from pathlib import Path

from lilawbench.report.measured import SELECTIONS
from lilawbench.report.named import neither
from lilawbench.report.place import chosen, place
from lilawbench.report.report import LEADING, paper_report, report
from lilawbench.support import searchpath
from lilawbench.support.errors import UserError
from lilawbench.support.reader import ending_quietly


@ending_quietly()
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Tables and figures of finished runs: mean +- std over seeds, paired tests. Of a folder: methods "
        "within settings. Of an experiment with a table: that table, with the published results."
    )
    parser.add_argument("names", nargs="*", metavar="FOLDER|EXPERIMENT|KEY=VALUE",
                        help="folders of runs or above them; experiments, narrowed by overrides")  # fmt: skip
    parser.add_argument(
        "--list", action="store_true", help="all experiments with a table (or those named), and their state"
    )
    parser.add_argument("--root", metavar="DIR", type=Path, default=Path("outputs"),
                        help="folder of the experiments (default: outputs)")  # fmt: skip
    parser.add_argument("--select", choices=SELECTIONS, help="which epoch to report (default: best_val, then last)")
    parser.add_argument("--baseline", metavar="METHOD", help="to compare with; loss: plain training with the same loss")
    parser.add_argument("--metric", help="such as test_attacked_0.1_accuracy (default: accuracy, mAP or RMSE)")
    parser.add_argument(
        "--pick",
        metavar="KEY",
        action="append",
        default=[],
        help="show only the best value on validation of method.lr ...",
    )
    parser.add_argument("--rope", metavar="DIFFERENCE", type=size,
                        help="add how probable a larger difference is; 0.5: half a percentage point")  # fmt: skip
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="for the files (default: report/ in the folder, or below it if options or overrides show a part)",
    )
    parser.add_argument("--config-dir", metavar="DIR", help="your own folder of YAML files, as for runs")
    options = parser.parse_intermixed_args(arguments)
    try:
        further, names = searchpath.folders_of(options.config_dir, options.names)
        searchpath.warn_of_hidden(further)
        folders, experiments, overrides = sorted_out(names, further, options.root)
        overrides = [*searchpath.override_of(further), *overrides]
        if options.list:
            list_tables(options.root, further, experiments)
            return 0
        if folders or not experiments:
            report_folders(folders or [options.root], options)
        for name in experiments:
            report_experiment(name, overrides, options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"error: cannot write the report: {error}", file=sys.stderr)
        return 2
    return 0


def size(text: str) -> float:
    """A difference as an argument. Raises: argparse.ArgumentTypeError, it is not a finite number of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give a number of 0 or more, such as 0.5")
    return value


def sorted_out(names: list[str], further: list[Path], root: Path) -> tuple[list[Path], list[str], list[str]]:
    """Tells folders of runs, experiments and overrides apart.

    Args:
        further: the user's folders of YAML files. root: of the experiments' runs.
    """
    folders, experiments, overrides = [], [], []
    for name in names:
        if Path(name).is_dir() or os.sep in name.split("=")[0]:
            folders.append(Path(name))
        elif "=" in name:
            overrides.append(name)
        else:
            from lilawbench.report import listing

            known = listing.experiments(further)
            if name not in known:
                raise UserError(neither(name, known, root))
            experiments.append(name)
    if overrides and not experiments:
        raise UserError(f"{' '.join(overrides)} needs an experiment: name one")
    return folders, experiments, overrides


def report_folders(folders: list[Path], options: argparse.Namespace) -> None:
    common = folders[0] if len(folders) == 1 else Path(os.path.commonpath([f.absolute() for f in folders]))
    selections = (options.select,) if options.select else LEADING
    parts = [folder.name for folder in folders] if len(folders) > 1 else []
    parts += chosen(select=options.select, metric=options.metric, baseline=options.baseline, rope=options.rope)
    parts += [f"pick={key}" for key in options.pick]
    out = options.out or place(common, parts)
    print(report(folders, out, options.baseline, selections, options.metric, options.pick, options.rope))


def report_experiment(name: str, overrides: list[str], options: argparse.Namespace) -> None:
    """Prints an experiment's table or, if it has none, the report of its folder."""
    from lilawbench.experiment.plan import plan

    picking = [f"table.pick=[{','.join(options.pick)}]"] if options.pick else []
    planned = plan([f"experiment={name}", *overrides, *picking])
    if not (planned.table.rows or planned.table.paper):
        return report_folders([options.root / planned.cfg.experiment_name], options)
    if options.baseline:
        raise UserError(f"--baseline is for folders; experiment {name} sets its baselines in table.baselines")
    print(paper_report(planned, options.root, options.out, options.select, options.metric, rope=options.rope))


def list_tables(root: Path, further: list[Path], names: list[str]) -> None:
    """Prints all tables, those that can run here first."""
    from lilawbench.report import listing

    found = sorted(listing.tables(root, further, names), key=lambda entry: entry.state != listing.RUNNABLE)
    for name, title, done, runs, state in found:
        count = f"done {done} of {runs} runs, " if runs else ""
        print(f"{name}: {count}{state}\n    {title}", flush=True)
    print(f"\nSmall sizes that two cores run in minutes: experiment=NAME{listing.SMOKE}")


if __name__ == "__main__":
    sys.exit(main())
