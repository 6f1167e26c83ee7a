"""Damaged files: whatever stands in the place of a file, a run ends as if nothing had been, or is refused by its name.

`outcome` counts a run as equal (to the bit, resumed or begun anew) or refused; anything else is an error. At the end
the counts are printed (`-rP` shows them).
"""

import collections
import json
import os
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lilawbench.engine import features
from lilawbench.record import lock
from lilawbench.record.identity import run_folder
from lilawbench.record.recorder import SAVED, Recorder
from lilawbench.report import cache
from lilawbench.report.collect import collect
from lilawbench.report.report import report
from lilawbench.support.errors import RunBusy, RunFailed, UserError
from lilawbench.train import run

RUN = ("config.yaml", "labels.npz", "metrics.jsonl", "checkpoint.pt", "train.log")
UNFINISHED = (*RUN, "checkpoint.before.pt", "failed.json", "result.json", ".lock", ".owner", "origin.json", "code.json")
FINISHED = (*RUN, "result.json", "failed.json")
JSON = {"null": "null", "number": "3", "text": '"x"', "list": "[1]", "object": "{}", "other keys": '{"a": {"b": 1}}'}
ADVICE = re.compile("delete|make it readable|move it away|fix it|sweep.retry_failed|do the run again")
KEEP = ("metrics.jsonl", "labels.npz")  # of these a single bit counts, since nothing else would tell


class PowerCut(BaseException):
    """Not an Exception: nothing in the program may catch it."""


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path) -> None:
    content, start = path.read_bytes(), path.stat().st_size // 3
    path.write_bytes(content[:start] + bytes(random.Random(0).randbytes(40)) + content[start + 40 :])


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes() or b"\0")
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def instead(make):
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "half": half,
    "garbage": garbage,
    "one bit": one_bit,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "absent": lambda path: path.unlink(),
    "a folder": instead(lambda path: path.mkdir()),
    "a full folder": instead(lambda path: [path.mkdir(), (path / "x").touch()]),
    "a link to nothing": instead(lambda path: path.symlink_to("nowhere/at/all")),
    "a link to itself": instead(lambda path: path.symlink_to(path.name)),
    "unreadable": lambda path: path.chmod(0),
    **{kind: (lambda path, text=text: path.write_text(text)) for kind, text in JSON.items()},
}


def cases(files, sample, leave_out=()):
    """All files x damages as parameters; all but the sample are slow."""
    return [
        pytest.param(file, kind, id=f"{file}-{kind}", marks=[] if (file, kind) in sample else pytest.mark.slow)
        for file in files
        for kind in DAMAGES
        if (file, kind) not in leave_out
    ]


@pytest.fixture(scope="module")
def counts():
    found = collections.Counter()
    yield found
    print(f"\n{sum(found.values())} damaged files: " + ", ".join(f"{n} {what}" for what, n in found.most_common()))


@pytest.fixture(scope="module")
def config(composing):
    def make(folder: Path, *options: str):
        tiny = ["split.train_samples=64", "train.epochs=3", "train.batch_size=32", "model.hidden=[8]"]
        return composing(
            f"paths.output_dir={folder}", "train.threads=1", "method=lilaw", "train.log_every_steps=1", *tiny, *options
        )

    return make


@pytest.fixture(scope="module")
def kept(config, tmp_path_factory):
    """A run, finished and broken off after its second epoch: name -> folder of all runs."""
    place = tmp_path_factory.mktemp("kept")
    run(config(place / "finished"))
    original = Recorder.checkpoint

    def save(self, ctx, *rest):
        if ctx.epoch == 3:
            raise PowerCut
        return original(self, ctx, *rest)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(Recorder, "checkpoint", save)
        run(config(place / "unfinished"))
    return {name: place / name for name in ("finished", "unfinished")}


@pytest.fixture(autouse=True)
def soon_settled(monkeypatch):
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)


def damaged(place: Path, file: str, kind: str) -> None:
    path = place / file
    if not path.exists():  # a mark, a lock: as others leave it
        path.write_text('{"error": "boom"}' if file == "failed.json" else '{"host": "node7", "pid": 1, "started": 0.0}')
    DAMAGES[kind](path)
    if kind == "unreadable" and os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    if file == ".owner" and not path.is_symlink() and path.exists():
        os.utime(path, (0, 0))  # of a process that is long dead


def numbers(folder: Path) -> tuple[dict, list[dict]]:
    def untimed(tree):
        return {k: v for k, v in tree.items() if not re.search("seconds|memory|output_dir|command|commit", k)}

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return untimed(json.loads((folder / "result.json").read_text())), [untimed(json.loads(line)) for line in lines]


def outcome(cfg, whole: Path, file: str) -> str:
    try:
        record = run(cfg)
    except UserError as error:
        assert file in str(error) and ADVICE.search(str(error)), str(error)
        assert isinstance(error, RunBusy | RunFailed) or "\n" not in str(error)
        return "refused"
    assert record.result["last.test_loss"] == json.loads((whole / "result.json").read_text())["last.test_loss"]
    if record.status == "done":
        assert numbers(record.folder) == numbers(whole)
    return {"done": "resumed or begun anew", "skipped": "equal"}[record.status]


SAMPLE = {("metrics.jsonl", "one bit"), ("result.json", "object")}


@pytest.mark.every(3)
@pytest.mark.parametrize("file, kind", cases(UNFINISHED, SAMPLE))
def test_an_unfinished_run_goes_on_or_is_refused(config, kept, tmp_path, counts, file, kind):
    cfg = config(tmp_path / "runs")
    shutil.copytree(kept["unfinished"], tmp_path / "runs", symlinks=True)
    damaged(run_folder(cfg), file, kind)
    counts[outcome(cfg, run_folder(config(kept["finished"])), file)] += 1


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(SAVED))
@pytest.mark.parametrize("content", [None, "text"])
def test_a_checkpoint_of_other_content_is_refused(config, kept, tmp_path, counts, key, content):
    cfg = config(tmp_path / "runs")
    shutil.copytree(kept["unfinished"], tmp_path / "runs")
    path = run_folder(cfg) / "checkpoint.pt"
    saved = torch.load(path, weights_only=True)
    torch.save({name: content if name == key else saved[name] for name in saved if content or name != key}, path)
    counts[outcome(cfg, run_folder(config(kept["finished"])), "checkpoint.pt")] += 1


@pytest.mark.parametrize("file, kind", cases(FINISHED, {("result.json", "null")}, {("result.json", "one bit")}))
def test_a_finished_run_is_skipped_or_refused_and_collected_or_left_out(
    config, kept, tmp_path, counts, caplog, file, kind
):
    cfg, place = config(tmp_path / "runs"), tmp_path / "runs"
    shutil.copytree(kept["finished"], place, symlinks=True)
    other = run_folder(cfg).with_name("other")
    shutil.copytree(run_folder(cfg), other)
    damaged(run_folder(cfg), file, kind)
    folders = set(collect(place)["folder"])
    assert str(other) in folders
    named = str(run_folder(cfg)) in caplog.text
    assert (str(run_folder(cfg)) not in folders) == (named or not (run_folder(cfg) / "result.json").exists())
    counts[outcome(cfg, other, file)] += 1


@pytest.mark.slow
def test_a_report_of_damaged_runs_names_them(config, kept, tmp_path, no_layout):
    whole = run_folder(config(kept["finished"]))
    kinds = [(file, kind) for file in FINISHED for kind in DAMAGES if kind != "unreadable"]
    for number, (file, kind) in enumerate(kinds):
        folder = tmp_path / "runs" / f"{number:03d}"
        shutil.copytree(whole, folder)
        path = folder / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"config.seed": number}))
        if (file, kind) != ("result.json", "one bit"):
            damaged(folder, file, kind)
    report(tmp_path / "runs", tmp_path / "report")
    text = (tmp_path / "report" / "tables.md").read_text()
    for number, (file, kind) in enumerate(kinds):
        named = f"{number:03d} (" in text
        if file == "result.json" and kind != "one bit":
            assert named, (file, kind)
        elif file not in KEEP:
            assert not named, (file, kind)


TABLE = torch.arange(60.0).view(20, 3)


@pytest.mark.parametrize("file, kind", cases(("table.npy", "table.lock"), {("table.npy", "garbage")}))
def test_cached_features_are_read_or_computed_anew(tmp_path, counts, file, kind):
    def table():
        return features.stored(tmp_path / "table.npy", len(TABLE), TABLE[:1], lambda: [TABLE])

    table()
    (tmp_path / "table.lock").touch()
    damaged(tmp_path, file, kind)
    try:
        assert np.array_equal(table(), TABLE)
        counts["equal"] += 1
    except UserError as error:
        assert "table" in str(error) and "paths.output_dir=FOLDER" in str(error)
        counts["refused"] += 1


@pytest.mark.parametrize("file, kind", cases((cache.FILE,), {(cache.FILE, "one bit")}))
def test_the_cache_of_collected_runs_is_read_or_made_anew(tmp_path, counts, file, kind):
    texts = {(f"/{n}", n, n, n): f"text {n}" for n in range(200)}
    cache.save(tmp_path, texts)
    damaged(tmp_path, file, kind)
    assert cache.load(tmp_path) in ({}, texts)
    cache.save(tmp_path, texts)
    counts["equal"] += 1
