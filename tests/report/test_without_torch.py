"""Tables are made where no torch is imported, nor scikit-posthocs without ranks: they take longer than the rest."""

import subprocess
import sys
from pathlib import Path

import pytest

import lilawbench

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_tables.py"
ASK = """
import atexit, runpy, sys
atexit.register(lambda: print({"torch", "scikit_posthocs"} & set(sys.modules)))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


STATUS, SUSPECTS = (Path(lilawbench.__file__).parent / name for name in ("status.py", "suspects.py"))


@pytest.mark.parametrize(
    "arguments",
    [
        [SCRIPT, "--list", "digits"],
        pytest.param([SCRIPT, "--list"], marks=pytest.mark.slow),
        pytest.param([SCRIPT, "outputs"], marks=pytest.mark.slow),
        pytest.param([STATUS, "outputs"], marks=pytest.mark.slow),
        pytest.param([STATUS, "digits"], marks=pytest.mark.slow),
        pytest.param([SUSPECTS, "--help"], marks=pytest.mark.slow),
    ],
)
def test_no_torch(arguments, write_run, tmp_path):
    for method in ("ce", "lilaw"):
        for seed in range(2):
            write_run(method, seed, 0.8 + 0.01 * seed, curve=(0.5, 0.7), parameters=[(10, 2, 6)] * 2)
    command = [sys.executable, "-c", ASK, *map(str, arguments)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
