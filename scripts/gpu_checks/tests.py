"""The tests that need a GPU."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from gpu_checks.checks import Checks

ROOT = Path(__file__).resolve().parents[2]


def check(c: Checks) -> None:
    if importlib.util.find_spec("pytest") is None:
        c.line("pytest -m cuda", "not done: pytest is not installed")
        return
    # not all of tests/: others import packages that a machine with a GPU may lack
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.cuda" in path.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda", *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    last = (done.stdout.strip().splitlines() or [done.stderr])[-1]
    counted = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", last)
    right = done.returncode == 0 and ("passed" in last or not c.on_cuda)
    c.line(
        "pytest -m cuda",
        ", ".join(counted) or last,
        ok=right,
        error=None if right else done.stdout[-4000:] + done.stderr[-2000:],
    )
