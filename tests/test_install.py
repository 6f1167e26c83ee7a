"""scripts/install.py: a line a package out of what pip says, and pip's errors and exit code."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "install.py"
SAID = """\
Looking in links: wheels
Collecting filelock==3.16.1 (from -r requirements.lock (line 2))
  Downloading filelock-3.16.1-py3-none-any.whl.metadata (2.9 kB)
Collecting torch==2.15.0 (from -r requirements.lock (line 3))
  Downloading torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl (530.5 MB)
Downloading filelock-3.16.1-py3-none-any.whl (16 kB)
Processing ./wheels/typing_extensions-4.15.0-py3-none-any.whl (from -r requirements.lock (line 4))
Requirement already satisfied: six in site-packages (1.17.0)
Installing collected packages: torch, typing_extensions, filelock
Successfully installed filelock-3.16.1 torch-2.15.0 typing_extensions-4.15.0
"""


@pytest.fixture
def install():
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_line_a_package(install):
    seen: set[str] = set()
    messages = [message for line in SAID.splitlines() if (message := install.progress(line, seen, 4))]
    assert messages == [
        "[  2/4] torch 2.15.0, 530.5 MB",
        "[  2/4] filelock 3.16.1, 16 kB",
        "[  3/4] typing_extensions 4.15.0",
        "unpacking 3 packages, a minute or more where they are large",
        "installed 3 packages",
    ]
    assert seen == {"filelock", "torch", "typing-extensions", "six"}


def test_the_total_is_what_the_file_names(install, tmp_path):
    (tmp_path / "r.lock").write_text(
        "# comment\n\ntorch==2.15.0\nnvidia-nccl==2 ; sys_platform == 'linux'\n--no-index\n"
    )
    assert install.expected(["--quiet", "--requirement", str(tmp_path / "r.lock")]) == 2


@pytest.mark.slow
def test_an_error_is_shown_and_fatal(tmp_path):
    (tmp_path / "pyproject.toml").write_text("not toml")
    command = [sys.executable, SCRIPT, "--no-index", "--no-deps", "--no-build-isolation", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode and "Expected '='" in done.stderr and done.stdout.count("\n") <= 1
