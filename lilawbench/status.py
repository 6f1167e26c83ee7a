"""How far a folder of runs or an experiment is: `python -m lilawbench.status FOLDER|EXPERIMENT [KEY=VALUE ...]`.

It only reads, and without torch, so it may be asked while runs go on, from any machine that sees the folder.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lilawbench.launch import slurm_queue, state
from lilawbench.launch.dry_run import counts, states_of
from lilawbench.launch.state import LAST_SWEEP, State, state_of
from lilawbench.report.collect import RUN_FILES
from lilawbench.report.named import neither
from lilawbench.support import searchpath
from lilawbench.support.errors import UserError

ROOT = "outputs"  # where runs are unless paths.output_dir says otherwise
REDO = "sweep.redo=true"
SHOWN = 10  # runs of a state that are named; further ones are counted


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the states. Returns the exit code: 0; 2: there is no such folder or experiment."""
    parser = argparse.ArgumentParser(prog="python -m lilawbench.status", description=__doc__.splitlines()[0])
    parser.add_argument("name", metavar="FOLDER|EXPERIMENT", nargs="?", default=ROOT, help=f"default: {ROOT}")
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", help="of an experiment, as when it was run")
    parser.add_argument("--config-dir", metavar="DIR", help="your own folder of YAML files, as for runs")
    options = parser.parse_intermixed_args(arguments)
    try:
        folder = Path(options.name)
        is_folder = folder.is_dir() or os.sep in options.name or options.name == ROOT
        print(of_folder(folder) if is_folder else of_experiment(options.name, options.overrides, options.config_dir))
    except UserError as error:
        print(f"lilawbench: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def of_experiment(name: str, overrides: Sequence[str] = (), config_dir: str | None = None) -> str:
    """The states of an experiment's planned runs. Raises: UserError, there is none of that name."""
    folders, _ = searchpath.folders_of(config_dir, overrides)
    if name not in (known := searchpath.names("experiment", folders)):
        root = [one.partition("=")[2] for one in overrides if one.startswith("paths.output_dir=")]
        raise UserError(neither(name, known, Path(root[-1] if root else ROOT)))
    from lilawbench.experiment.plan import plan

    planned = plan([f"experiment={name}", *overrides], config_dir)
    return told(states_of(planned.runs), {run.folder: planned.command for run in planned.runs})


def of_folder(folder: Path) -> str:
    """The states of the runs in or below a folder, and of those that its last sweep has yet to begin.

    Raises:
        UserError: it does not exist, or has no run.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    states: dict[Path, State] = {}
    commands: dict[Path, str] = {}
    for place, runs in _places(folder):
        jobs, sweep = slurm_queue.queued(place), _last_sweep(place) if place.is_relative_to(folder) else {}
        if "command" in sweep:
            commands |= {place / name: sweep["command"] for name in sweep.get("runs", [])}
        names = [*runs, *(name for name in sweep.get("runs", []) if name not in runs)]
        for run in (place / name for name in names):
            states[run] = state_of(run, jobs, REDO in shlex.split(commands.get(run, "")))
    if not states:
        raise UserError(f"there is no run in or below {folder}")
    return told(states, commands)


def told(states: dict[Path, State], commands: dict[Path, str]) -> str:
    """A paragraph for each folder of runs: counts, those that are not done, and how to go on.

    Args:
        commands: of the sweeps that the runs are of, where they are known.
    """
    parts = []
    for place in dict.fromkeys(run.parent for run in states):
        here = {run.name: one for run, one in states.items() if run.parent == place}
        lines = [f"{place}: {counts(here.values())}"]
        for name in state.NAMES:
            found = [(run, one.detail) for run, one in here.items() if one.name == name != state.DONE]
            lines += [f"  {name}: {run}" + f" ({detail})" * bool(detail) for run, detail in found[:SHOWN]]
            lines += [f"  {name}: {len(found) - SHOWN} more"] * (len(found) > SHOWN)
        parts.append(
            "\n".join([*lines, *_advice({run: states[run] for run in states if run.parent == place}, commands)])
        )
    return "\n\n".join(parts)


def _advice(states: dict[Path, State], commands: dict[Path, str]) -> list[str]:
    lines = []
    if any(one.name in (state.RUNNING, state.WAITING, state.REQUEUED) for one in states.values()):
        lines.append("  Some are being done or wait for it: nothing to do.")
    for names, what, more in (
        ((state.BROKEN_OFF, state.TO_DO), "To go on (what is done or running is left alone)", ""),
        ((state.FAILED,), "To try the failed again, when their cause is mended", " sweep.retry_failed=true"),
    ):
        asked = dict.fromkeys(commands.get(run) or _again(run) for run, one in states.items() if one.name in names)
        lines += [f"  {what}: {command}{more}" for command in list(asked)[:SHOWN]]
        lines += [f"  likewise: {len(asked) - SHOWN} more"] * (len(asked) > SHOWN)
    return lines


def _again(run: Path) -> str:
    """The command that does a run of no sweep again, or what is left of it."""
    if not (run / "config.yaml").is_file():
        return "the command that began it"
    return f"python -m lilawbench.train --config-dir {shlex.quote(str(run))}"


def _places(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders with runs in or below one, and the names of the runs; of a run's own folder, that run."""
    if not RUN_FILES.isdisjoint(os.listdir(folder)):
        yield folder.parent, [folder.name]
        return
    for place, names, _ in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        runs = [name for name in names if not RUN_FILES.isdisjoint(os.listdir(Path(place, name)))]
        names[:] = [name for name in names if name not in runs]
        if runs or Path(place, LAST_SWEEP).is_file():
            yield Path(place), runs


def _last_sweep(place: Path) -> dict:
    """What the last sweep in a folder was to do; nothing if there was none, or its file is damaged."""
    try:
        found = json.loads((place / LAST_SWEEP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.exit(main())
