"""Does runs with one checkout, all in this process (each of two under torchrun): `python -m golden.worker JOB`.

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
    """One run; its folder. stop_first: it is broken off after its first checkpoint, and then goes on."""
    # what the package is called by from outside: the one place to change with it
    from lilawbench.config import compose
    from lilawbench.train import run

    if stop_first:
        cut_after_first_checkpoint(lambda: run(compose(*options)))
    return run(compose(*options)).folder


def cut_after_first_checkpoint(work) -> None:
    """Files are written beside their place and renamed, so that is where any version can be stopped."""
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
    raise RuntimeError(f"no {CHECKPOINT} was renamed into its place: this run could not be stopped")


def main(job: dict) -> None:
    import lilawbench

    if not Path(lilawbench.__file__).resolve().is_relative_to(Path(job["checkout"]).resolve()):
        raise SystemExit(f"lilawbench is {lilawbench.__file__}, not below {job['checkout']}")
    warnings.simplefilter("ignore")
    for name, options in job["runs"].items():
        try:
            done = {"name": name, "folder": str(do(options, stop_first=name.startswith("resumed")))}
        except Exception as error:  # the next run has nothing to do with it
            done = {"name": name, "error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        if int(os.environ.get("RANK", 0)) == 0:
            with open(job["out"], "a") as file:
                file.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
