"""--dry-run: what a command would do, and how long it will take; nothing is written."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from lilawbench.experiment.plan import Plan, Planned
from lilawbench.launch import slurm_queue
from lilawbench.launch.launch import refused
from lilawbench.launch.progress import duration, kind, kind_of
from lilawbench.launch.state import BROKEN_OFF, DONE, FAILED, NAMES, RUNNING, TO_DO, State, state_of
from lilawbench.record import redo
from lilawbench.record.identity import RunRecord
from lilawbench.support.errors import first_line

REFUSED = "refused"
MOST_READ = 2000  # results of other runs that are read for an estimate


def dry_run(plan: Plan) -> str:
    """A line for each run, their counts, an estimate of the time, and for launcher=slurm the text for sbatch."""
    states = states_of(plan.runs)
    goes_on = bool(redo.left([run.folder for run in plan.runs if run.cfg.sweep.redo], plan.cfg.sweep.retry_failed))
    left = [run for run in plan.runs if _is_left(run, states[run.folder], goes_on)]
    bad: dict[Path, RunRecord] = refused(left)
    states |= {folder: State(REFUSED, first_line(record.error)) for folder, record in bad.items()}
    left = [run for run in left if run.folder not in bad]
    width = max(len(state.name) for state in states.values())
    lines = [
        f"{states[run.folder].name:<{width}}  {plan.labels[run.folder]}"
        + (f": {states[run.folder].detail}" if states[run.folder].detail else "")
        for run in plan.runs
    ]
    lines += ["", f"{counts(states.values())}; {len(left)} to do, {_estimate(plan.runs, left, states)}"]
    lines += [f"in {place}" for place in dict.fromkeys(run.folder.parent for run in plan.runs)]
    if plan.cfg.launcher.name == "slurm" and left:
        from lilawbench.launch.slurm import sbatch_text

        lines += ["", sbatch_text(plan, len(left))]
    return "\n".join([*lines, "nothing was run (--dry-run)"])


def states_of(runs: Iterable[Planned]) -> dict[Path, State]:
    """The state of each planned run, by its folder."""
    jobs: dict[Path, dict[str, slurm_queue.Queued]] = {}
    found = {}
    for run in runs:
        place = run.folder.parent
        if place not in jobs:
            jobs[place] = slurm_queue.queued(place)
        found[run.folder] = state_of(run.folder, jobs[place], run.cfg.sweep.redo)
    return found


def counts(states: Iterable[State]) -> str:
    """ "12 runs: 3 done, 1 running, 8 not begun"."""
    names = [state.name for state in states]
    shown = [f"{names.count(name)} {name}" for name in (*NAMES, REFUSED) if name in names]
    return f"{len(names)} run{'' if len(names) == 1 else 's'}: {', '.join(shown)}"


def _is_left(run: Planned, state: State, goes_on: bool) -> bool:
    again = (state.name == DONE and run.cfg.sweep.redo and not goes_on) or (
        state.name == FAILED and run.cfg.sweep.retry_failed
    )
    return again or state.name in (TO_DO, BROKEN_OFF)


def _estimate(runs: list[Planned], left: list[Planned], states: dict[Path, State]) -> str:
    """Hours of one process, from finished runs of the same data set, model, method, loss and epochs."""
    if not left:
        return "no time"
    seconds: dict[tuple, list[float]] = {}
    wanted = {kind(run) for run in left}
    for result in _results(runs, states):
        of = kind_of(result)
        if of in wanted and isinstance(took := result.get("seconds_total"), int | float):
            seconds.setdefault(of, []).append(took)
    known = [run for run in left if kind(run) in seconds]
    if not known:
        return "time unknown: no run of their kind has finished"
    total = sum(sum(seconds[kind(run)]) / len(seconds[kind(run)]) for run in known)
    text = f"about {total / 3600:.1f} h ({duration(total)}) of one process"
    return text if len(known) == len(left) else f"{text} for {len(known)} of them, unknown for the others"


def _results(runs: list[Planned], states: dict[Path, State]) -> Iterator[dict]:
    """Results in the folders of the runs, their own first; a damaged one is none."""
    own = [run.folder / "result.json" for run in runs if states[run.folder].name in (DONE, RUNNING)]
    others = (
        path for place in dict.fromkeys(run.folder.parent for run in runs) for path in place.glob("*/result.json")
    )
    for path in list(dict.fromkeys([*own, *others]))[:MOST_READ]:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            yield found
