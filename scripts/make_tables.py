"""Tables and figures of finished runs.

python scripts/make_tables.py lilaw_table5            # a paper's table: ours, the paper's, the difference
python scripts/make_tables.py --list                  # all tables: done, runnable here, what is missing
python scripts/make_tables.py                         # everything below outputs/
python scripts/make_tables.py outputs/digits --select best_val --baseline ce --out tables/
python scripts/make_tables.py my_table --config-dir FOLDER      # or hydra.searchpath=[FOLDER], as for runs
"""

import argparse
import os
import sys
from pathlib import Path

from lilawbench.report.named import neither
from lilawbench.report.options import add_options, exit_code, report_folders
from lilawbench.report.report import paper_report
from lilawbench.support import searchpath
from lilawbench.support.errors import UserError
from lilawbench.support.reader import ending_quietly

OUTPUT, DEFAULT = "paths.output_dir", "outputs"  # where runs are written


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
    parser.add_argument("--root", metavar="DIR", type=Path,
                        help="folder of the experiments (default: paths.output_dir, else outputs)")  # fmt: skip
    add_options(parser)
    parser.add_argument("--config-dir", metavar="DIR", help="your own folder of YAML files, as for runs")
    options = parser.parse_intermixed_args(arguments)
    return exit_code(lambda: report_all(options), "error")


def report_all(options: argparse.Namespace) -> None:
    """Prints what was asked for. Raises: UserError, a name is none, or its runs make no report."""
    further, names = searchpath.folders_of(options.config_dir, options.names)
    searchpath.warn_of_hidden(further)
    given = [name for name in names if name.startswith(f"{OUTPUT}=")]
    options.root = options.root or Path([DEFAULT, *(name.partition("=")[2] for name in given)][-1])
    names = [name for name in names if name not in given]  # it narrows nothing
    folders, experiments, overrides = sorted_out(names, further, options.root)
    overrides = [*searchpath.override_of(further), *overrides]
    if options.list:
        list_tables(options.root, further, experiments)
        return
    if folders or not experiments:
        print(report_folders(folders or [options.root], options))
    for name in experiments:
        report_experiment(name, overrides, options)


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


def report_experiment(name: str, overrides: list[str], options: argparse.Namespace) -> None:
    """Prints an experiment's table or, if it has none, the report of its folder."""
    from lilawbench.experiment.plan import plan

    picking = [f"table.pick=[{','.join(options.pick)}]"] if options.pick else []
    planned = plan([f"experiment={name}", *overrides, *picking])
    if not (planned.table.rows or planned.table.paper):
        print(report_folders([options.root / planned.cfg.experiment_name], options))
        return
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
