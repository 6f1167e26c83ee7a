"""Runs the parts in a separate process, a new one whenever it dies, and records what they find. No torch here."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

GRACE = 15  # seconds for a part to stop by itself once its time is up
Line = dict[str, Any]


class Part(NamedTuple):
    name: str
    module: str  # has a function `check`
    share: float  # of the total time
    about: str
    rightness: bool = False


def drive(parts: Sequence[Part], device: str, tiny: bool, out: Path, budget: float, grace: float = GRACE) -> int:
    """Does all parts, whatever becomes of each. Returns the exit code of scripts/check_gpu.py.

    What a part leaves of its share of the budget (seconds) is there for those behind it.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    start, total = time.time(), sum(part.share for part in parts)
    out.parent.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []
    with out.open("a", encoding="utf-8") as file:
        left, used = list(parts), 0.0
        deadlines = {}
        for part in parts:
            used += part.share
            deadlines[part.name] = start + budget * used / total
        while left:
            left = _work(left, deadlines, device, tiny, lines, file, grace)
    print(summary(lines, [part.name for part in parts]), flush=True)
    return exit_code(lines, parts)


def exit_code(lines: Sequence[Line], parts: Sequence[Part]) -> int:
    right = {part.name for part in parts if part.rightness}
    if any(line["part"] in right and line["ok"] is False for line in lines):
        return 1
    return 3 if any(line.get("error") for line in lines) else 0


def _work(
    parts: list[Part],
    deadlines: dict[str, float],
    device: str,
    tiny: bool,
    lines: list[Line],
    file: TextIO,
    grace: float,
) -> list[Part]:
    """Does parts in one process, in turn. Returns those that are left when it ends."""
    job = {"device": device, "tiny": tiny, "parts": [(p.name, p.module, deadlines[p.name]) for p in parts]}
    scripts = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(scripts), str(scripts.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path} | ({"OMP_NUM_THREADS": "1"} if tiny else {})
    worker = subprocess.Popen(
        [sys.executable, "-m", "gpu_checks.worker", json.dumps(job)],
        stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        return _listen(worker, parts, deadlines, lines, file, grace)
    finally:  # leaves nothing behind when interrupted
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)


def _listen(
    worker: subprocess.Popen,
    parts: list[Part],
    deadlines: dict[str, float],
    lines: list[Line],
    file: TextIO,
    grace: float,
) -> list[Part]:
    output: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        with worker.stdout as lines:
            for text in lines:
                output.put(text)
        output.put(None)

    threading.Thread(target=listen, daemon=True).start()
    left, now, card, began = list(parts), None, {}, False
    while True:
        deadline = deadlines[(now or left[0]).name] if now or left else time.time()
        try:
            text = output.get(timeout=max(0.0, deadline + grace - time.time()))
        except queue.Empty:
            os.killpg(worker.pid, signal.SIGKILL)
            text = None
        if text is None:
            break
        line = json.loads(text)
        if "begins" in line:
            now, began = left.pop(0), True
            card = {"card": line["card"], "torch": line["torch"]}
            print(f"\n### {now.name}: {now.about}\n", flush=True)
        elif "ends" in line:
            now = None
        else:
            _note(line, lines, file)
    code = worker.wait()
    lost = now or (left.pop(0) if not began else None)  # a process that cannot start must not be retried for ever
    if lost is not None:
        how = "killed: it overran its time" if code == -signal.SIGKILL else f"its process ended with exit code {code}"
        line = {
            "part": lost.name,
            "what": "the part as a whole",
            "value": None,
            "goal": "",
            "ok": False,
            "seconds": None,
        }
        _note(line | card | {"error": how}, lines, file)
    return left


def _note(line: Line, lines: list[Line], file: TextIO) -> None:
    lines.append(line)
    file.write(json.dumps(line) + "\n")
    file.flush()
    mark = {True: "ok", False: "NO", None: "--"}[line["ok"]]
    seconds = "" if line["seconds"] is None else f"{line['seconds']:6.1f} s"
    print(f"{mark}  {line['what']}: {shown(line['value'])}  {line['goal']}  {seconds}", flush=True)
    if line.get("error"):
        print("    " + line["error"].strip().replace("\n", "\n    "), flush=True)


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)


def summary(lines: Sequence[Line], names: Sequence[str]) -> str:
    """A Markdown table of all findings, part by part."""
    head = next((f"{line['card']}, torch {line['torch']}" for line in lines if line.get("card")), "nothing was done")
    rows = [
        f"\n{head}, {time.strftime('%Y-%m-%d')}\n",
        "| part | what | measured | goal | met |",
        "|---|---|---:|---|---|",
    ]
    for name in names:
        for line in (line for line in lines if line["part"] == name):
            met = {True: "yes", False: "**no**", None: ""}[line["ok"]]
            value = "error" if line.get("error") else shown(line["value"])
            cells = [name, line["what"], value, line["goal"], met]
            rows.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(rows)
