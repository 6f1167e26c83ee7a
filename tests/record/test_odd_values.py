"""What a stranger's method may say, and what a checkpoint can hold."""

import json

import pytest
import torch

from lilawbench.engine import checkpoint
from lilawbench.methods.supervised import Supervised
from lilawbench.probes.evaluation import Evaluation
from lilawbench.record.identity import run_folder
from lilawbench.record.recorder import Recorder
from lilawbench.support.errors import PartError
from lilawbench.train import run


def test_a_number_that_is_not_finite_is_null_wherever_it_stands(tiny, monkeypatch):
    nan, inf = float("nan"), float("inf")
    monkeypatch.setattr(Supervised, "logs", lambda self: {"array": torch.tensor([[1.0, nan]]), "number": inf})
    monkeypatch.setattr(Supervised, "trace", lambda self: (("traced",), torch.tensor([inf])))
    record = run(tiny("train.epochs=1", "train.log_every_steps=1"))
    rows = [json.loads(line) for line in (record.folder / "metrics.jsonl").read_text().splitlines()]
    kinds = {row["kind"]: row for row in rows}
    assert kinds["step"]["traced"] is None
    assert kinds["method"]["array"] == [[1.0, None]] and kinds["epoch"]["number"] is None


def test_a_state_that_could_not_be_read_again_is_refused_when_it_is_saved(tmp_path):
    good = {"a": torch.ones(1), "b": [{"c": None, "d": (1, 0.5, True, "text")}]}
    checkpoint.check_plain(good, "state_dict")
    checkpoint.save(tmp_path / "good.pt", good)
    checkpoint.load(tmp_path / "good.pt")
    with pytest.raises(PartError, match=r"^state_dict.method.chosen is a range; a checkpoint holds tensors, numbers"):
        checkpoint.check_plain({"method": {"chosen": [range(3)]}}, "state_dict")


def test_a_run_that_a_probe_has_stopped_stays_so_when_it_breaks_off_before_its_result(tiny, monkeypatch):
    measure = Evaluation.see

    def see(self, ctx, epoch, predictions):
        self.stop = epoch.number == 2
        return measure(self, ctx, epoch, predictions)

    def killed(self, *given):
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluation, "see", see)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Recorder, "finish", killed)
        run(tiny())
    said = (run_folder(tiny()) / "train.log").read_text()
    assert said.splitlines()[-1].endswith("stopped: interrupted")  # no error, and of no empty reason
    assert run(tiny()).result["epochs"] == 2
