"""What is answered without torch: a process of its own asks for it all, and torch is not in it at the end."""

import json
import os
import signal
import subprocess
import sys

import pytest

from lilawbench.experiment.plan import plan
from lilawbench.record.identity import flatten, recorded, run_folder

# name -> arguments: each is done by `main` in one process, which prints what was imported after it
ASKED = {
    "version": ["--version"],
    "help": ["--help", "method=lilaw"],
    "a typo in a group": ["method=lilau"],
    "a typo in a key": ["method.lrr=1"],
    "a key that is no option": ["+typo=1"],
    "a typo in a sweep": ["-m", "noise.rat=0.1,0.2"],
    "the config": ["--cfg", "job", "experiment=digits"],
    "TAB": ["-sc", "query=bash"],
    "a finished run": ["method=lilaw", "paths.output_dir={out}"],
}
SWEEP = ["-m", "seed=0,1", "sweep.retry_failed=false", "paths.output_dir={out}"]
HEAVY = ("torch", "torchvision", "timm", "sklearn", "scipy", "medmnist", "wandb", "torchmetrics", "matplotlib")
HEAVY += ("tensorboard", "mlflow")
ASK = """
import json, sys
from lilawbench import train
heavy, asked = json.loads(sys.argv[1])
sys.argv[0] = "lilawbench"
for name, arguments in asked.items():
    sys.argv[1:] = arguments
    try:
        train.main()
    except SystemExit as end:
        code = end.code
    print("@", json.dumps([name, code, sorted(set(heavy) & set(sys.modules))]), flush=True)
"""


def answers(asked, out):
    """name -> (exit code, heavy modules that were imported by then, what was printed)."""
    for overrides in (["method=lilaw"], ["seed=0,1"]):
        for run in plan([*overrides, f"paths.output_dir={out}"]).runs:
            run.folder.mkdir(parents=True)
            result = {"schema_version": 1, "best_val.test_accuracy": 0.5, **flatten(recorded(run.cfg), "config")}
            (run.folder / "result.json").write_text(json.dumps(result))
    asked = {name: [one.format(out=out) for one in arguments] for name, arguments in asked.items()}
    command = [sys.executable, "-c", ASK, json.dumps([HEAVY, asked])]
    environment = os.environ | {"COMP_LINE": "lilawbench method=lil", "COMP_POINT": "21", "COLUMNS": "100"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=out
    )
    found, printed = {}, []
    for line in done.stdout.splitlines():
        if line.startswith("@ "):
            name, code, heavy = json.loads(line[2:])
            found[name] = code, heavy, "\n".join(printed)
            printed = []
        else:
            printed.append(line)
    assert found.keys() == asked.keys(), done.stdout[-2000:]
    return found


@pytest.mark.slow
def test_a_finished_sweep_needs_no_torch(tmp_path):
    """It compares its runs: by SciPy's tests, and in figures."""
    ((_, heavy, _),) = answers({"a finished sweep": SWEEP}, tmp_path).values()
    assert set(heavy) <= {"scipy", "matplotlib"}


def test_answers_are_right_and_need_no_torch(tmp_path):
    said = answers(ASKED, tmp_path)
    assert {name: heavy for name, (_, heavy, _) in said.items()} == {name: [] for name in ASKED}
    codes = {name: code for name, (code, _, _) in said.items()}
    assert [codes[name] for name in ("version", "help", "the config", "a finished run")] == [None, None, 0, 0]
    assert codes["a typo in a group"] == codes["a key that is no option"] == codes["a typo in a sweep"] == 2
    assert "did you mean lilaw?" in said["a typo in a group"][2]
    assert "method.lrr is not an option of method (valid: none)" in said["a typo in a key"][2]
    assert said["version"][2].startswith("lilawbench ")
    assert "warmup_epochs" in said["help"][2] and "a_rrm, at, cdr, ce" in said["help"][2]
    assert "method=lilaw" in said["TAB"][2]
    assert said["a finished run"][2].startswith("skipped, finished before: ")


def test_a_run_that_begins_says_so_before_torch_is_there(tmp_path, capsys, monkeypatch):
    """The first line is out when the pipeline, and torch with it, is imported."""
    from lilawbench import pipeline, train
    from lilawbench.config import compose

    said = []
    monkeypatch.setattr(train.log, "info", lambda text, *values: said.append(text % values))
    monkeypatch.setattr(pipeline, "train", lambda cfg, folder, world: said.append("pipeline"))
    cfg = compose(f"paths.output_dir={tmp_path}")
    train.run(cfg)
    assert said == [f"preparing {run_folder(cfg).name}: 30 epochs", "pipeline"]


@pytest.mark.slow
def test_a_run_does_not_import_the_compiler_nor_what_others_need(tmp_path):
    """Nor may a run on the digits need the packages of other data, of reports and of the mirror."""
    unwanted = ["torch._dynamo", "torchvision", "timm", "sklearn", "pandas", "scipy", "medmnist", "wandb", "matplotlib"]
    code = "import sys\nfrom lilawbench.train import run\nfrom lilawbench.config import compose\n"
    code += f"run(compose('debug=fast', 'train.threads=1', 'paths.output_dir={tmp_path}'))\n"
    code += f"print([name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr


@pytest.mark.slow
def test_an_interrupt_ends_the_planning(tmp_path):
    """A line says that a long sweep is planned, and Ctrl-C then ends it with the usual words."""
    swept = ["noise.rate=0,0.1,0.2,0.3", "seed=range(0,5000)"]
    command = [sys.executable, "-m", "lilawbench.train", "-m", *swept, f"paths.output_dir={tmp_path}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "planning 20000 runs\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted; the same command continues" in said
    assert not list(tmp_path.iterdir())
