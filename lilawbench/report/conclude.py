"""The end of a command: a summary of its runs, the report of the finished ones, and the exit code."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lilawbench.experiment.plan import Plan
from lilawbench.experiment.plan import plan as planned
from lilawbench.record.identity import RunRecord
from lilawbench.record.wandb_mirror import sync_of
from lilawbench.report.place import PAGE, place
from lilawbench.support.errors import UserError, first_line, first_of
from lilawbench.support.searchpath import override_of

STATES = ("done", "skipped", "failed", "busy", "submitted")  # busy: another process is doing it
UNFINISHED = ("failed", "busy", "submitted")
FAULTY = ("failed", "busy")
NAMED = 3  # runs of one fault


def conclude(records: list[RunRecord], plan: Plan | None = None) -> int:
    """Prints the summary if there were several runs, and returns the exit code of the process.

    Args:
        records: one per run, in order.
        plan: the sweep's, if the command is one.
    Returns:
        0, or 1 if any run failed, or 2 if every run was refused as bad input.
    """
    if len(records) > 1:
        finished = [record.folder for record in records if record.status not in UNFINISHED]
        if finished and plan is not None and plan.table.rows:
            _show(lambda: _table(plan))
        elif finished:
            _show(lambda: _comparison(finished, plan.table.pick if plan is not None else []))
        _summarise(records)
        if plan is not None and plan.cfg.logger.name == "wandb" and (line := sync_of(one.folder for one in records)):
            print(f"recorded offline; this uploads it to W&B: {line}")
    if not any(record.status in FAULTY for record in records):
        return 0
    return 2 if all(record.exit_code == 2 for record in records) else 1


def _show(text: Callable[[], str]) -> None:
    try:
        print(f"\n{text()}")
    except (UserError, OSError) as error:  # such as a full disk
        print(f"\nno comparison: {error}")


def _table(plan: Plan) -> str:
    """The table of these runs; where they are a part of the experiment, the whole one is written too."""
    from lilawbench.report.report import paper_report  # pandas, scipy and matplotlib are not needed to train

    root = plan.cfg.paths.output_dir
    lines = [paper_report(plan, root)]
    if plan.asked:
        whole = planned([*override_of(plan.folders), *(one for one in plan.given if one not in plan.asked)])
        files = paper_report(whole, root).partition("Files:\n")[2].splitlines()
        lines += [f"The whole table of {plan.name}:", files[0]]
    return "\n".join([*lines, *_pages(run.folder.parent for run in plan.runs)])


def _comparison(folders: list[Path], pick: Sequence[str] = ()) -> str:
    """The comparison of these runs; the report that is written is of all finished runs in their folder."""
    from lilawbench.report.report import report

    parents = list(dict.fromkeys(folder.parent for folder in folders))
    done = {mark.parent for parent in parents for mark in parent.glob("*/result.json")}
    if len(parents) == 1 and done <= set(folders) and not pick:
        return report(parents, place(parents[0], []))
    chosen = place(parents[0], [f"pick={key}" for key in pick]) if pick else None
    return "\n".join([report(folders, chosen, pick=pick), *_pages(parents)])


def _pages(parents: Iterable[Path]) -> list[str]:
    """Writes the report of all finished runs in each of these folders; a line says where it is."""
    from lilawbench.report.report import report

    lines = []
    for parent in dict.fromkeys(parents):
        out = place(parent, [])
        try:
            report(parent, out)
            lines.append(f"All finished runs in {parent}: {out / PAGE}")
        except UserError as error:
            lines.append(f"no report of all runs in {parent}: {error}")
    return lines


def _summarise(records: list[RunRecord]) -> None:
    counts = {status: sum(record.status == status for record in records) for status in STATES}
    print(
        "\n"
        + ", ".join(f"{n} {status}" for status, n in counts.items() if n or status in ("done", "skipped", "failed"))
    )
    alike: dict[tuple[str, str], list[Path]] = {}
    for record in records:
        if record.status in FAULTY:
            alike.setdefault((record.status, record.error), []).append(record.folder)
    for (status, error), folders in alike.items():
        log_path = folders[0] / "train.log"
        said = error if len(alike) == 1 else first_line(error)
        said += f"\n  its log: {log_path}" if log_path.exists() else ""
        if len(folders) == 1:
            print(f"{status}: {folders[0]}: {said}")
        else:
            shown = first_of(folders, NAMED, "\n  ")
            print(f"{status}, {len(folders)} runs alike: {said}\n  {shown}")
    listed = [record for record in records if "suspects_score" in record.result]
    places = {record.folder.parent for record in listed}
    labels = {record.result["labels.sha256"] for record in listed}
    if len(listed) > 1 and len(places) == len(labels) == 1:
        runs, place = [record.folder for record in listed], places.pop()
        of_all = {mark.parent for mark in place.glob("*/result.json")} <= set(
            runs
        )  # the folder's other runs may differ
        named = " ".join(shlex.quote(str(path)) for path in ([place] if of_all else runs))
        print(f"which labels are probably wrong, by all of them: python -m lilawbench.suspects {named}")
    for folder in dict.fromkeys(record.folder.parent for record in records if record.status == "submitted"):
        print(f"how far they are: python -m lilawbench.status {shlex.quote(str(folder))}")
