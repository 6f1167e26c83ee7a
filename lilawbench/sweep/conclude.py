"""The end of a command: what came of its runs, the comparison of those that finished, and the exit code."""

from lilawbench.errors import UserError
from lilawbench.results.record import RunRecord

STATES = ("done", "skipped", "failed", "busy")  # busy: another process is doing it
FAULTY = ("failed", "busy")


def conclude(records: list[RunRecord]) -> int:
    """Prints the summary if there were several runs, and returns the exit code of the process.

    Args:
        records: what the runs of this process came to, in order.
    Returns:
        0, or 1 if any run failed, or 2 if every run was refused as bad input.
    """
    if len(records) > 1:
        _summarise(records)
    if not any(record.status in FAULTY for record in records):
        return 0
    return 2 if all(record.exit_code == 2 for record in records) else 1


def _summarise(records: list[RunRecord]) -> None:
    finished = [record.folder for record in records if record.status not in FAULTY]
    if finished:
        from lilawbench.results.report import report  # pandas, scipy and matplotlib are not needed to train

        try:
            print("\n" + report(finished, finished[0].parent / "report"))
        except UserError as error:
            print(f"\nno comparison: {error}")
    counts = {status: sum(record.status == status for record in records) for status in STATES}
    print("\n" + ", ".join(f"{count} {status}" for status, count in counts.items() if count or status != "busy"))
    for record in records:
        if record.status in FAULTY:
            log_path = record.folder / "train.log"
            where = f"\n  its log: {log_path}" if log_path.exists() else ""
            print(f"{record.status}: {record.folder}: {record.error}{where}")
