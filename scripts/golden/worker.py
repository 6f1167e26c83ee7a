"""Does runs with one checkout, all in this process (or two, under torchrun): `python -m golden.worker JOB`.

JOB is a JSON file: checkout, runs (name: options), out. A line for each run is appended to `out`.
"""

import json
import os
import sys
import warnings
from pathlib import Path

CHECKPOINT = "checkpoint.pt"


class PowerCut(BaseException):
    """Not an Exception: nothing in the program may catch it."""


def do(options: list[str], stop_first: bool = False) -> Path:
    """Does one run and returns its folder. stop_first: interrupt it after its first checkpoint, then resume it."""
    # the package's public functions: the one place to change with them
    from lilawbench.config import compose
    from lilawbench.train import run

    if stop_first:
        cut_after_first_checkpoint(lambda: run(compose(*options)))
    return run(compose(*options)).folder


def cut_after_first_checkpoint(work) -> None:
    """Interrupts at the checkpoint's rename, which all versions have: files are written under another name first."""
    replace = os.replace

    def cut(source, target, **more):
        replace(source, target, **more)
        if Path(target).name == CHECKPOINT:
            raise PowerCut

    os.replace = cut
    try:
        work()
    except PowerCut:
        return
    finally:
        os.replace = replace
    raise RuntimeError(f"no {CHECKPOINT} was renamed into place: this run could not be interrupted")


def main(job: dict) -> None:
    import lilawbench

    if not Path(lilawbench.__file__).resolve().is_relative_to(Path(job["checkout"]).resolve()):
        raise SystemExit(f"lilawbench is {lilawbench.__file__}, not below {job['checkout']}")
    warnings.simplefilter("ignore")
    for name, options in job["runs"].items():
        try:
            done = {"name": name, "folder": str(do(options, stop_first=name.startswith("resumed")))}
        except Exception as error:  # it must not stop the next run
            done = {"name": name, "error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        if int(os.environ.get("RANK", 0)) == 0:
            with open(job["out"], "a") as file:
                file.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
