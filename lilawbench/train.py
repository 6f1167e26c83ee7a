"""The entry point: `python -m lilawbench.train KEY=VALUE ...`, or `run(cfg)` from Python.

    overrides -> one run or a plan of many -> finished ones are skipped -> pipeline.py does the others -> comparison

One run writes one folder; the same command continues an interrupted run and skips a finished one. Nothing here imports
torch, so that mistakes, help and finished runs are answered at once.
"""

import logging
import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import hydra
from omegaconf import DictConfig

import lilawbench
from lilawbench.config import CONF, Plain, check_keys, to_dict
from lilawbench.experiment.command import (
    again,
    completed,
    completing,
    for_hydra,
    help_asked,
    left_to_hydra,
    read,
    single,
    sweep_asked,
)
from lilawbench.experiment.plan import plan
from lilawbench.launch.dry_run import dry_run
from lilawbench.launch.launch import launch
from lilawbench.record import marks, redo
from lilawbench.record.data import looked_at_once
from lilawbench.record.identity import RunRecord, changed, run_folder
from lilawbench.report.conclude import conclude
from lilawbench.support import interrupt, searchpath
from lilawbench.support.console import log_to_console
from lilawbench.support.distributed import join, leave
from lilawbench.support.errors import RunBusy, RunFailed, UserError
from lilawbench.support.reader import ending_quietly

log = logging.getLogger("lilawbench")


@looked_at_once()
def run(cfg: DictConfig | Plain) -> RunRecord:
    """Does one run, or what is left of it.

    Args:
        cfg: the composed root config; `lilawbench.compose("method=lilaw", ...)` makes one, a plan has many.
    Returns:
        The record; `status` is "done", or "skipped" if result.json was there already (and not sweep.redo).
    Raises:
        ConfigError, DataError: nothing was written. RunBusy: another process has the run.
        RunFailed: training stopped on its own, now or earlier; the folder is marked with failed.json.
    """
    if cfg.sweep.redo:
        for error in join().main_does(lambda: redo.mark([run_folder(cfg)], cfg.sweep.retry_failed)).values():
            raise error
    return _run(cfg)


def _run(cfg: DictConfig | Plain) -> RunRecord:
    """As `run`, but sweep.redo acts only on runs that are marked already: a sweep marks all of its runs at once."""
    world, folder = join(), run_folder(cfg)
    world.main_does(lambda: redo.settle(folder))
    here = world.agree(redo.working_folder(folder) if cfg.sweep.redo else folder)
    if (result := world.main_does(lambda: marks.result(here))) is not None:
        version = result.get("versions.lilawbench")
        other = "" if version in (None, lilawbench.__version__) else f" by version {version}"
        log.info("skipped, finished before%s: %s", other, folder)
        return RunRecord(folder, "skipped", result)
    check_keys(cfg)
    error = world.main_does(lambda: marks.failure(here))
    if error is not None and not cfg.sweep.retry_failed:
        raise RunFailed(f"failed before: {error} (sweep.retry_failed=true tries again; {here})")
    if not folder.exists() and (before := changed(cfg)) is not None:
        name, parts = before
        log.info("%s has changed since run %s: this is another run", ", ".join(parts), name)
    log.info("preparing %s: %d epochs", folder.name, cfg.train.epochs)
    from lilawbench import pipeline

    composed = cfg if isinstance(cfg, DictConfig) else DictConfig(to_dict(cfg))
    record = pipeline.train(composed, here, world)
    world.main_does(lambda: redo.settle(folder))
    if here == folder:
        return record
    log.info("done again; it replaces the earlier record: %s", folder)
    return replace(record, folder=folder)


@looked_at_once()
def attempt(cfg: DictConfig | Plain, in_sweep: bool = True) -> RunRecord:
    """`run` with errors turned into a record; an unexpected error stops a single run, but not a sweep."""
    try:
        folder = run_folder(cfg)
    except UserError as error:
        return RunRecord(Path(cfg.paths.output_dir), "failed", error=str(error), exit_code=error.exit_code)
    if in_sweep:
        log.info("")
    try:
        return _run(cfg) if in_sweep else run(cfg)
    except UserError as error:
        record = RunRecord(folder, "busy" if isinstance(error, RunBusy) else "failed", error=str(error))
        record.exit_code = error.exit_code
    except Exception as error:
        interrupt.check()  # a rank fails when another one has been interrupted before it
        import torch

        if join().size > 1:  # the others may not have it, and wait: if this rank ends, torchrun ends them
            traceback.print_exc()
            sys.exit(1)
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
            text = str(error).strip().splitlines()[0] if str(error) else "out of memory"
            record = RunRecord(folder, "failed", error=f"{text}; lower train.batch_size ({folder})", exit_code=1)
        elif not in_sweep:
            raise
        else:
            log.exception("%s failed", folder)
            record = RunRecord(folder, "failed", error=f"{type(error).__name__}: {error}", exit_code=1)
    return record


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_main(cfg: DictConfig) -> None:
    """What Hydra is asked for runs nothing, but for its own --run and --experimental-rerun."""
    sys.exit(_alone(cfg).exit_code)


def _alone(cfg: DictConfig | Plain) -> RunRecord:
    """`attempt` of the only run of a command."""
    record = attempt(cfg, in_sweep=False)
    if record.error and join().is_main:
        print(f"lilawbench: {record.error}", file=sys.stderr, flush=True)
    return record


@ending_quietly()
def main() -> None:
    """The console script `lilawbench`. Exit code 2: the input is at fault; 1: a run failed; 130: interrupted; 141: the
    reader of what it prints has gone."""
    if "--version" in sys.argv[1:]:  # Hydra would print its own
        print(f"lilawbench {lilawbench.__version__}")
        sys.exit()
    interrupt.listen()
    world = join()
    if world.is_main:
        log_to_console()
    try:
        command, planned = read(sys.argv[1:]), None
        if command.args.shell_completion:
            sys.argv += completing(os.environ.get("COMP_LINE", ""))
            if (names := completed(os.environ.get("COMP_LINE", ""), command.folders)) is not None:
                print(*names)
                sys.exit()
        if world.is_main:
            searchpath.warn_of_hidden(command.folders)
        if (text := help_asked(command)) is not None:
            print(text)
            sys.exit()
        if left_to_hydra(command):
            if not command.args.shell_completion:
                sweep_asked(command)  # for its own words on what Hydra would refuse
                single(command)
                sys.argv = for_hydra(command, sys.argv)
            _hydra_main()
            sys.exit(0)
        if command.dry_run:
            planned = plan(command.args.overrides, command.args.config_dir)
            print(dry_run(planned) if world.is_main else "", end="\n" * world.is_main)
            sys.exit(0)
        if (cfg := again(command)) is not None:
            records = [_alone(cfg)]
        elif sweep_asked(command):
            planned = plan(command.args.overrides, command.args.config_dir)
            records = launch(planned, attempt)
        else:
            records = [_alone(single(command))]
    except UserError as error:
        if world.is_main:
            print(f"lilawbench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        if world.is_main:
            print("\nlilawbench: interrupted; the same command continues from the last finished epoch", file=sys.stderr)
        sys.exit(130)
    code = conclude(records, planned) if world.is_main else 0
    sys.stdout.flush()  # before any rank ends: on a failure torchrun ends the others
    code = world.agree(code)
    leave()
    sys.exit(code)


if __name__ == "__main__":  # imported by its own name, so that other processes can unpickle what a launcher sends them
    from lilawbench.train import main as main_of_module

    main_of_module()
