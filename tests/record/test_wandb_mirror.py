"""The mirror on W&B, against servers on this machine: what it records, and that a run never waits for it.

Tests share their mirrors, because each costs a second of start-up.
"""

import importlib
import json
import logging
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from lilawbench.record.provenance import commit
from lilawbench.record.wandb_mirror import WandbMirror, answers, sync_of
from lilawbench.support.errors import UserError

CONFIG = {"seed": 3, "method": {"name": "lilaw"}}
SUMMARY = {"last.test_accuracy": 0.5, "config.seed": 3, "class_names": ["cat", "dog"]}
CONFUSION = {"last.confusion": [[3, 1], [0, 4]], "last.reliability": {"before": [[None, None, 0], [0.9, 0.8, 5]]}}
ROWS = [
    {"kind": "step", "epoch": 1, "step": 1, "train_loss": 2.25, "alpha": 9.5},
    {"kind": "step", "epoch": 1, "step": 2, "train_loss": 1.5, "alpha": 9.0},
    {"kind": "epoch", "epoch": 1, "step": 2, "test_accuracy": 0.25, "val_loss": None},
    {"kind": "step", "epoch": 2, "step": 3, "train_loss": 0.75, "alpha": 8.5},
    {"kind": "method", "epoch": 2, "g": [[0.9, 0.1], [0.8, 0.2]], "margin": [1.0, 0.5]},
    {"kind": "epoch", "epoch": 2, "step": 3, "test_accuracy": 0.5, "val_loss": 0.1},
]
LOGGED = {  # by W&B's step, which is the line number; tables are left out
    1: {"epoch": 1, "step": 1, "step/train_loss": 2.25, "step/alpha": 9.5},
    2: {"epoch": 1, "step": 2, "step/train_loss": 1.5, "step/alpha": 9.0},
    3: {"epoch": 1, "step": 2, "epoch/test_accuracy": 0.25},
    4: {"epoch": 2, "step": 3, "step/train_loss": 0.75, "step/alpha": 8.5},
    6: {"epoch": 2, "step": 3, "epoch/test_accuracy": 0.5, "epoch/val_loss": 0.1},
}
KILLED = """
import os, sys
from pathlib import Path
from lilawbench.record.wandb_mirror import WandbMirror
WandbMirror(mode="offline").start(Path(sys.argv[1]), "run", "cell", {})
os._exit(9)
"""


def write(folder: Path, rows: list[dict], end: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows) + end)


def read(folder: Path, pattern: str = "offline-run-*") -> SimpleNamespace:
    """The newest .wandb file: a header of 7 bytes, then records in LevelDB's log format (crc, length, part)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = max(folder.glob(f"wandb/{pattern}/*.wandb"), key=lambda path: path.stat().st_mtime_ns).read_bytes()
    found, text, at = [], b"", 7
    while at + 7 <= len(data):
        if at % 32768 > 32768 - 7:  # a block of 32 KiB ends in padding
            at += -at % 32768
            continue
        _, length, part = struct.unpack_from("<IHB", data, at)
        text += data[at + 7 : at + 7 + length]
        at += 7 + length
        if part in (1, 4):  # whole, last
            found.append(Record.FromString(text))
            text = b""
    kinds = ("run", "history", "summary", "exit")
    run, history, summary, exits = ([getattr(each, kind) for each in found if each.HasField(kind)] for kind in kinds)
    return SimpleNamespace(
        run=run[0] if run else None,
        config=values(run[0].config.update) if run else {},
        history={row.step.num: values(row.item) for row in history},
        summary={key: value for update in summary for key, value in values(update.update).items()},
        exit_code=exits[0].exit_code if exits else None,
    )


def values(items: Iterable) -> dict:
    """What was logged under whole names that are not W&B's own."""
    named: dict = {}
    for item in items:
        (head, *rest), value = [item.key] if item.key else item.nested_key, json.loads(item.value_json)
        if rest:  # of a table or a picture
            named.setdefault(head, {})[rest[0]] = value
        else:
            named[head] = value
    return {name: value for name, value in named.items() if not name.startswith("_")}


def wait_for(what: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def said() -> Iterator[list[str]]:
    """The log lines of all mirrors."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    log = logging.getLogger("lilawbench")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield lines
    log.removeHandler(handler)
    log.setLevel(level)


@pytest.fixture
def clean_env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    return clear(monkeypatch, tmp_path)


def clear(patch: pytest.MonkeyPatch, folder: Path) -> pytest.MonkeyPatch:
    """No key, mode or proxy of this machine's."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "http_proxy", "HTTP_PROXY"):
        patch.delenv(name, raising=False)
    patch.setenv("NETRC", str(folder / "none"))
    patch.setenv("WANDB_CONFIG_DIR", str(folder / "none"))
    return patch


def connect(patch: pytest.MonkeyPatch, port: int) -> None:
    patch.setenv("WANDB_API_KEY", "0" * 40)
    patch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> SimpleNamespace:
    """A run without a key, killed and taken up again: its folder, and its record in between."""
    folder = tmp_path_factory.mktemp("outputs") / "again"
    with pytest.MonkeyPatch.context() as patch:
        clear(patch, folder)
        temporary = folder.parent / "temporary"
        temporary.mkdir()
        patch.setenv("TMPDIR", str(temporary))
        write(folder, ROWS[:3], end='{"kind": "st')
        subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
        wait_for(lambda: list(folder.glob("wandb/offline-run-*/*.wandb")) and read(folder).exit_code is not None)
        killed = read(folder)
        (folder / "metrics.jsonl").unlink()
        write(folder, ROWS[:2])  # cut back to the checkpoint
        going_on = WandbMirror(tags=["a", "b"], finish_seconds=60)
        going_on.start(folder, "the-run", "the-group", CONFIG)
        write(folder, ROWS[2:])
    going_on.finish(SUMMARY)
    return SimpleNamespace(folder=folder, killed=killed, temporary=temporary)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, said: list[str], serve: Callable) -> Iterator[SimpleNamespace]:
    """Two runs with a key, started together: one before a silent server; one online that fails."""
    root = tmp_path_factory.mktemp("outputs") / "experiment"
    silent, online = root / "silent", root / "online"
    server = serve()
    hole = socket.create_server(("127.0.0.1", 0))  # accepts and never answers
    with pytest.MonkeyPatch.context() as patch:
        clear(patch, root)
        write(silent, ROWS)
        connect(patch, hole.getsockname()[1])
        began = time.monotonic()
        mirror = WandbMirror(finish_seconds=0.1)
        mirror.start(silent, "the-run", "the-group", CONFIG)
        mirror.finish(SUMMARY)
        seconds = time.monotonic() - began

        connect(patch, server.server_port)
        failing = WandbMirror(tags=["a", "b"], finish_seconds=60)
        failing.start(online, "the-run", "the-group", CONFIG)
        write(online, ROWS)
    failing.finish({}, failed=True)
    wait_for(lambda: not mirror._ear.is_alive())
    yield SimpleNamespace(silent=silent, online=online, server=server, seconds=seconds)
    hole.close()
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_killed_run_is_recorded_as_failed(again: SimpleNamespace) -> None:
    assert again.killed.history == {step: LOGGED[step] for step in (1, 2, 3)}  # without the half line
    assert again.killed.exit_code == 1


@pytest.mark.slow
def test_offline_record_is_whole(again: SimpleNamespace, said: list[str]) -> None:
    record = read(again.folder)
    assert record.history == LOGGED
    assert record.config == CONFIG
    assert (record.run.project, record.run.display_name, record.run.run_group) == ("lilawbench", "the-run", "the-group")
    assert list(record.run.tags) == ["lilaw", "a", "b"]
    assert record.run.git.commit == commit()["git.commit"]
    assert (record.summary["last.test_accuracy"], record.summary["class_names"]) == (0.5, ["cat", "dog"])
    assert record.summary["epoch/test_accuracy"] == 0.5 and "config.seed" not in record.summary
    assert record.exit_code == 0
    (line,) = [line for line in said if str(again.folder) in line]
    assert line.startswith("wandb: offline (no API key")
    assert f"wandb sync --no-skip-online {again.folder}/wandb/offline-run-" in line


@pytest.mark.slow
def test_tables_and_pictures(tmp_path: Path, clean_env: pytest.MonkeyPatch) -> None:
    """Beside the values of result.json: what has rows and columns, the first suspects, pictures."""
    write(tmp_path, ROWS)
    (tmp_path / "suspects.csv").write_text("rank,row,given\n1,a.png,cat\n")
    Image.new("RGB", (2, 1)).save(tmp_path / "suspects.png")
    mirror = WandbMirror(mode="offline", finish_seconds=60)
    mirror.start(tmp_path, "the-run", "the-group", CONFIG)
    mirror.finish(SUMMARY | CONFUSION)
    (media,) = [row for step, row in read(tmp_path).history.items() if step not in LOGGED]
    assert {name: value["_type"] for name, value in media.items()} == {
        **dict.fromkeys(("last.confusion", "last.reliability", "suspects"), "table-file"),
        "pictures/suspects": "image-file",
    }
    (folder,) = tmp_path.glob("wandb/offline-run-*/files")
    tables = {name: json.loads((folder / media[name]["path"]).read_text()) for name in ("last.confusion", "suspects")}
    assert tables["last.confusion"] == {"columns": ["clean", "cat", "dog"], "data": [["cat", 3, 1], ["dog", 0, 4]]}
    assert tables["suspects"] == {"columns": ["rank", "row", "given"], "data": [[1, "a.png", "cat"]]}
    assert (folder / media["pictures/suspects"]["path"]).read_bytes() == (tmp_path / "suspects.png").read_bytes()


@pytest.mark.slow
def test_nothing_temporary_stays_behind(again: SimpleNamespace) -> None:
    """wandb removes its folders when Python exits, which the mirror's process does not wait for."""
    assert again.temporary and not any(again.temporary.iterdir())


@pytest.mark.slow
def test_one_line_uploads_a_sweep(again: SimpleNamespace, tmp_path: Path) -> None:
    line = sync_of([again.folder, again.folder, tmp_path])
    assert line == f"wandb sync --no-skip-online {again.folder.parent}/*/wandb/offline-run-*"
    (tmp_path / "wandb" / "offline-run-1").mkdir(parents=True)
    assert sync_of([tmp_path]) != ""
    (tmp_path / "wandb" / "offline-run-1" / "run-1.wandb.synced").touch()  # W&B's own mark
    assert sync_of([tmp_path]) == ""


@pytest.mark.slow
def test_run_that_goes_on_is_one_run(again: SimpleNamespace) -> None:
    assert read(again.folder).run.run_id == again.killed.run.run_id
    assert len(list(again.folder.glob("wandb/offline-run-*"))) == 2


@pytest.mark.slow
def test_another_run_is_not_that_one(again: SimpleNamespace, asked: SimpleNamespace) -> None:
    assert read(asked.silent).run.run_id != read(again.folder).run.run_id


@pytest.mark.slow
def test_silent_server_delays_nothing(asked: SimpleNamespace, said: list[str]) -> None:
    assert asked.seconds < 1.5  # asking the server alone takes the child 2 s
    assert [line for line in said if "within 2 s" in line and str(asked.silent) in line]
    assert read(asked.silent).history == LOGGED


@pytest.mark.slow
def test_online(asked: SimpleNamespace, said: list[str]) -> None:
    first = asked.server.upserts[0]
    assert (first["project"], first["groupName"], first["tags"]) == ("lilawbench", "the-group", ["lilaw", "a", "b"])
    assert json.loads(first["config"])["method"]["value"] == CONFIG["method"]
    history = [files for sent in asked.server.streamed if (files := sent.get("files", {}).get("wandb-history.jsonl"))]
    lines = [json.loads(line) for files in history for line in files["content"]]
    assert {row["_step"]: {key: row[key] for key in row if not key.startswith("_")} for row in lines} == LOGGED
    assert asked.server.streamed[-1]["exitcode"] == 1
    assert read(asked.online, "run-*").history == LOGGED
    url = f"http://127.0.0.1:{asked.server.server_port}/us/lilawbench/runs/{first['name']}"
    assert [line for line in said if line.startswith(f"wandb: online, {url}, and in {asked.online}/wandb/run-")]


def test_question_to_the_server(serve: Callable) -> None:
    server = serve()
    assert answers(f"http://127.0.0.1:{server.server_port}/nothing/here")
    server.shutdown()
    server.server_close()
    assert not answers("http://127.0.0.1:9")
    assert not answers("not an address")


@pytest.mark.slow
def test_server_that_dies_delays_nothing(
    tmp_path: Path, clean_env: pytest.MonkeyPatch, said: list[str], serve: Callable
) -> None:
    server = serve()
    connect(clean_env, server.server_port)
    mirror = WandbMirror(finish_seconds=0.1)
    mirror.start(tmp_path / "died", "the-run", "the-group", CONFIG)
    child = mirror._child
    wait_for(lambda: [line for line in said if "online" in line and str(tmp_path) in line])
    server.shutdown()
    server.server_close()
    write(tmp_path / "died", ROWS)
    began = time.monotonic()
    mirror.finish(SUMMARY)
    assert time.monotonic() - began < 1.5
    assert "left to finish alone" in said[-1] and str(tmp_path) in said[-1]
    wait_for(lambda: read(tmp_path / "died", "run-*").history == LOGGED)
    child.kill()
    mirror._ear.join()


def test_disabled_by_environment(tmp_path: Path, clean_env: pytest.MonkeyPatch, said: list[str]) -> None:
    clean_env.setenv("WANDB_MODE", "disabled")
    mirror = WandbMirror(finish_seconds=60)
    mirror.start(tmp_path, "the-run", "the-group", CONFIG)
    mirror.finish(SUMMARY)
    assert said[-1] == "wandb: WANDB_MODE=disabled, the run is not mirrored"
    assert not (tmp_path / "wandb").exists()


def test_no_child_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    mirror = WandbMirror()
    mirror.start(tmp_path, "the-run", "the-group", CONFIG)
    mirror.finish(SUMMARY)
    assert "not mirrored" in said[-1]


@pytest.mark.parametrize(
    ("option", "valid"),
    [
        ({"mode": "on"}, "auto, online, offline"),
        ({"project": "a/b"}, "none of"),
        ({"tags": ["x" * 65]}, "1 to 64"),
        ({"finish_seconds": -1}, "from 0 to 86400"),
    ],
)
def test_bad_option(option: dict, valid: str) -> None:
    with pytest.raises(ValueError, match=valid):
        WandbMirror(**option)


def test_without_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb").mkdir()  # what offline runs leave behind is no package
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    importlib.invalidate_caches()
    with pytest.raises(UserError, match="pip install wandb"):
        WandbMirror()
