"""The end of a command: a summary of its runs, the report of the finished ones, and the exit code."""

from collections.abc import Callable
from pathlib import Path

from lilawbench.experiment.plan import Plan
from lilawbench.record.identity import RunRecord
from lilawbench.support.errors import UserError

STATES = ("done", "skipped", "failed", "busy")  # busy: another process is doing it
FAULTY = ("failed", "busy")


def conclude(records: list[RunRecord], plan: Plan | None = None) -> int:
    """Prints the summary if there were several runs, and returns the exit code of the process.

    Args:
        records: one per run, in order.
        plan: the sweep's, if the command is one.
    Returns:
        0, or 1 if any run failed, or 2 if every run was refused as bad input.
    """
    if len(records) > 1:
        if plan is not None and plan.table.rows:
            _show(lambda: _table(plan))
        elif finished := [record.folder for record in records if record.status not in FAULTY]:
            _show(lambda: _comparison(finished))
        _summarise(records)
    if not any(record.status in FAULTY for record in records):
        return 0
    return 2 if all(record.exit_code == 2 for record in records) else 1


def _show(text: Callable[[], str]) -> None:
    try:
        print(f"\n{text()}")
    except (UserError, OSError) as error:  # such as a full disk
        print(f"\nno comparison: {error}")


def _table(plan: Plan) -> str:
    from lilawbench.report.report import paper_report

    return paper_report(plan, plan.cfg.paths.output_dir)


def _comparison(folders: list[Path]) -> str:
    from lilawbench.report.report import report  # pandas, scipy and matplotlib are not needed to train

    return report(folders, folders[0].parent / "report")


def _summarise(records: list[RunRecord]) -> None:
    counts = {status: sum(record.status == status for record in records) for status in STATES}
    print("\n" + ", ".join(f"{count} {status}" for status, count in counts.items() if count or status != "busy"))
    for record in records:
        if record.status in FAULTY:
            log_path = record.folder / "train.log"
            where = f"\n  its log: {log_path}" if log_path.exists() else ""
            print(f"{record.status}: {record.folder}: {record.error}{where}")
