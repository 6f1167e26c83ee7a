"""scripts/check_gpu.py: parts that fail stop nobody, the exit code says so, and all parts run on a CPU in small."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
# What a machine with a GPU need not have; see scripts/README.md. Of wandb and others torch itself asks whether they are
# there, so they are absent rather than broken.
ABSENT = (
    "medmnist",
    "wandb",
    "tensorboard",
    "mlflow",
    "fairlearn",
    "statsmodels",
    "pooch",
    "submitit",
    "hydra_plugins",
    "matplotlib",
    "pyarrow",
)
BLOCKED = f"""
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
PARTS = {
    "fine": 'c.line("one", 1.0, at_most=2)',
    "raises": 'c.line("before", 1)\n    raise ValueError("on purpose")',
    "off": 'c.line("too much", 3.0, at_most=2)',
    "partly": 'with c.attempt("first"):\n        1 / 0\n    c.line("second", 2)',
    "slow": 'import time\n    c.line("begun", 1)\n    time.sleep(60)',
    "deaf": "import signal, time\n    signal.signal(signal.SIGALRM, signal.SIG_IGN)\n    time.sleep(60)",
    "crashes": 'import os\n    c.line("before", 1)\n    os.abort()',
    "prints": 'print("{no json")\n    c.line("said", "x | y")',
}


@pytest.fixture
def driving(monkeypatch, tmp_path):
    """driving("fine", "raises", ...) -> (exit code, lines of the file): the driver with parts made up for it."""
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the workers, too
    from gpu_checks.driver import Part, drive

    for name, body in PARTS.items():
        (tmp_path / f"part_{name}.py").write_text(f"def check(c):\n    {body}\n")

    def run(*names, right=(), budget=600.0, grace=2.0):
        parts = [Part(name, f"part_{name}", 1, "a part", name in right) for name in names]
        code = drive(parts, "cpu", True, tmp_path / "out.jsonl", budget, grace)
        return code, [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]

    return run


def test_a_part_that_fails_or_dies_does_not_stop_the_next(driving, capsys):
    code, lines = driving("raises", "crashes", "partly", "prints", "off", "fine", right=["fine"])
    found = [(line["part"], line["what"], line["ok"]) for line in lines]
    assert found == [
        ("raises", "before", None),
        ("raises", "the part as a whole", False),
        ("crashes", "before", None),
        ("crashes", "the part as a whole", False),
        ("partly", "first", False),
        ("partly", "second", None),
        ("prints", "said", None),
        ("off", "too much", False),
        ("fine", "one", True),
    ]
    errors = {line["part"]: line["error"] for line in lines if "error" in line}
    assert errors.keys() == {"raises", "crashes", "partly"}
    assert 'raise ValueError("on purpose")' in errors["raises"] and "ZeroDivisionError" in errors["partly"]
    assert errors["crashes"] == "its process ended with exit code -6"
    assert all(line["card"] == "cpu" and line["torch"] for line in lines)
    assert code == 3  # no part on rightness failed, but others broke off
    said = capsys.readouterr().out
    assert "| off | too much | 3 | <= 2 | **no** |" in said and "| fine | one | 1 | <= 2 | yes |" in said
    assert "| raises | the part as a whole | error |  | **no** |" in said and "| prints | said | x / y |  |  |" in said


@pytest.mark.parametrize(
    "ok, error, rightness, expected",
    [
        (True, False, True, 0),
        (None, False, True, 0),
        (False, False, True, 1),
        (False, True, True, 1),
        (False, False, False, 0),
        (False, True, False, 3),
    ],
)
def test_the_exit_code_is_about_rightness(monkeypatch, ok, error, rightness, expected):
    monkeypatch.syspath_prepend(SCRIPTS)
    from gpu_checks.driver import Part, exit_code

    line = {"part": "one", "ok": ok, **({"error": "why"} if error else {})}
    other = {"part": "other", "ok": True}
    parts = [Part("one", "", 1, "", rightness), Part("other", "", 1, "", True)]
    assert exit_code([line, other], parts) == expected


@pytest.mark.slow
def test_a_part_whose_time_is_up_is_stopped_and_one_that_does_not_hear_is_killed(driving):
    """Ten seconds each; the third has its own even if the one before had two more."""
    code, lines = driving("slow", "deaf", "fine", budget=30, right=["fine"])
    found = [(line["part"], line["what"], line["value"], line.get("error")) for line in lines]
    assert found == [
        ("slow", "begun", 1, None),
        ("slow", "the rest", "not done: out of time", None),
        ("deaf", "the part as a whole", None, "killed: it overran its time"),
        ("fine", "one", 1.0, None),
    ]
    assert code == 3


def test_unknown_parts_are_refused_and_help_needs_no_torch():
    command = [sys.executable, "-X", "importtime", str(SCRIPTS / "check_gpu.py")]
    asked = subprocess.run([*command, "--help"], capture_output=True, text=True)
    assert asked.returncode == 0 and "rightness" in asked.stdout and "reweight" in asked.stdout
    assert not any(line.split("|")[-1].strip() == "torch" for line in asked.stderr.splitlines())
    wrong = subprocess.run([*command, "--only", "nothing"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "invalid choice: 'nothing'" in wrong.stderr


@pytest.mark.slow
def test_all_parts_run_on_a_cpu_without_what_a_gpu_machine_may_lack(tmp_path, monkeypatch):
    """Rightness holds, no part breaks off or runs out of time, every method is stepped."""
    monkeypatch.syspath_prepend(SCRIPTS)
    from check_gpu import PARTS
    from gpu_checks.scenes import METHODS

    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(BLOCKED))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    missing = subprocess.run([sys.executable, "-c", "import medmnist"], capture_output=True, text=True)
    assert "No module named 'medmnist'" in missing.stderr
    out = tmp_path / "out.jsonl"
    command = [sys.executable, str(SCRIPTS / "check_gpu.py"), "--device", "cpu", "--tiny", "--out", str(out)]
    done = subprocess.run([*command, "--budget", "900"], capture_output=True, text=True, cwd=tmp_path)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert not [line for line in lines if "error" in line], done.stdout + done.stderr
    assert done.returncode == 0
    assert {line["part"] for line in lines} == {part.name for part in PARTS}
    assert not [line for line in lines if line["value"] == "not done: out of time"]
    right = [line for line in lines if line["part"] in {part.name for part in PARTS if part.rightness}]
    assert len(right) > 30 and not [line for line in right if line["ok"] is False]
    stepped = " ".join(line["what"] for line in lines if line["part"] == "rightness")
    assert all(f"mlp, {method}, fp32" in stepped for method in METHODS)
    assert done.stdout.count("\n| ") == len(lines) + 1
