"""Does parts in turn and writes their findings to stdout, a JSON object per line. What they print goes to stderr."""

import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any

from gpu_checks.checks import Checks, OutOfTime


def main() -> None:
    job = json.loads(sys.argv[1])
    findings = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(line: dict[str, Any]) -> None:
        findings.write(json.dumps(line) + "\n")
        findings.flush()

    def time_is_up(*signal_: object) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, time_is_up)
    for name, module, deadline in job["parts"]:
        checks = Checks(name, job["device"], job["tiny"], deadline, say)
        say({"begins": name, **checks.machine()})
        try:
            # again every second: an exception inside a destructor or a callback of a weak reference is lost
            signal.setitimer(signal.ITIMER_REAL, max(0.01, checks.left()), 1.0)
            importlib.import_module(module).check(checks)
        except OutOfTime:
            signal.setitimer(signal.ITIMER_REAL, 0)
            checks.line("the rest", "not done: out of time")
        except Exception:
            checks.line("the part as a whole", None, ok=False, error=traceback.format_exc())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        say({"ends": name})
        if checks.is_lost():
            sys.exit(f"the device stopped responding after {name}: the next part gets a new process")


if __name__ == "__main__":
    main()
