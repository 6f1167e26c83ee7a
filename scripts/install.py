"""pip install with a line per package instead of silence, for the Makefile; needs only Python and pip.

    python scripts/install.py --requirement scripts/requirements.lock        takes pip's arguments

    [ 12/118] numpy 2.4.6, 21 MB (0 min 41 s)

If pip fails, its messages are printed, and its exit code is returned.
"""

import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

PIP = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-color", "--progress-bar", "off")
LAST = 40  # lines of pip's output that are shown if it fails
COLLECTING = re.compile(r"\s*(?:Collecting|Requirement already satisfied:) ([\w.-]+)")
FILE = re.compile(r"\s*(?:Downloading|Using cached|Processing) (\S+?)(?: \(([\d.]+ .?B)\))?(?: \(from .*)?$")
PACKAGE = re.compile(r"([\w.]+?)-(\d[^-]*)")  # in a file's name


def main(arguments: list[str]) -> int:
    start, seen, lines = time.monotonic(), set(), []
    total = expected(arguments)
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    pip = subprocess.Popen([*PIP, *arguments], **output)
    try:
        for line in pip.stdout:
            lines.append(line)
            if message := progress(line, seen, total):
                seconds = int(time.monotonic() - start)
                print(f"{message} ({seconds // 60} min {seconds % 60:02d} s)", flush=True)
    except KeyboardInterrupt:  # pip was interrupted too
        pip.wait()
        return 130
    if code := pip.wait():
        print("".join(lines[-LAST:]), file=sys.stderr)
    return code


def progress(line: str, seen: set[str], total: int) -> str:
    """The progress message for a line of pip's output; "" for none.

    Args:
        seen: names of the packages so far; added to. total: number of packages; 0: unknown.
    """
    if found := COLLECTING.match(line):
        seen.add(found[1].lower().replace("_", "-"))
    elif (found := FILE.match(line)) and not found[1].endswith(".metadata"):
        if package := PACKAGE.match(found[1].rsplit("/", 1)[-1]):
            seen.add(package[1].lower().replace("_", "-"))
            size = f", {found[2]}" if found[2] else ""
            return f"[{len(seen):3}/{total or '?'}] {package[1]} {package[2]}{size}"
    elif line.startswith("Installing collected packages:"):
        return f"unpacking {line.count(',') + 1} packages, a minute or more where they are large"
    elif line.startswith("Successfully installed"):
        return f"installed {len(line.split()) - 2} packages"
    return ""


def expected(arguments: list[str]) -> int:
    """How many packages the requirements files among pip's arguments list."""
    files = [after for option, after in pairwise(arguments) if option in ("-r", "--requirement")]
    lines = [line for file in files for line in Path(file).read_text(encoding="utf-8").splitlines()]
    return sum(bool(line.strip()) and not line.startswith(("#", "-")) for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
