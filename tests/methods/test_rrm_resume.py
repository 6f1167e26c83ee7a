"""RRM broken off goes on as if it had not been, by itself and in a run."""

import io
import json

import numpy as np
import pytest
import torch

from lilawbench.losses import ELR
from lilawbench.methods.rrm import RRM
from lilawbench.record.recorder import Recorder
from lilawbench.train import run


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "negative control"])
def test_state_goes_on_as_if_never_interrupted(scene, train, weights_of, lost):
    def fresh():
        return RRM(0.3, reweight_every_epochs=2, loss=ELR())

    whole, first = scene(fresh()), scene(fresh())
    train(*whole, 1, 2, 3, 4)
    train(*first, 1, 2, 3)
    file = io.BytesIO()
    torch.save(first[1].state_dict(), file)
    file.seek(0)
    second = scene(fresh(), first[0].model)
    if not lost:
        second[1].load_state_dict(torch.load(file, weights_only=True))
    train(*second, 4)
    assert {"u", "round", "pruned", "lowest_weight"} < set(whole[1].state_dict())
    same = [torch.equal(value, second[1].state_dict()[name]) for name, value in whole[1].state_dict().items()]
    assert all(same) != lost
    assert torch.equal(weights_of(whole[0]), weights_of(second[0])) != lost
    assert whole[1].round == 2


def test_a_run_records_each_reweighting_and_resumes_to_the_bit(tiny, tmp_path):
    options = ["method=rrm", "method.gamma=0.5", "method.reweight_every_epochs=1", "loss=elr", "model.dropout=0.3"]

    def record(folder):
        text = (folder / "metrics.jsonl").read_text()
        return [{k: v for k, v in json.loads(row).items() if "seconds" not in k} for row in text.splitlines()]

    folder = run(tiny(*options, f"paths.output_dir={tmp_path}/whole")).folder
    whole, labels = record(folder), np.load(folder / "labels.npz")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedError):
        original = Recorder.checkpoint

        def save(self, ctx, *rest):
            if ctx.epoch == 3:
                raise InterruptedError
            return original(self, ctx, *rest)

        patch.setattr(Recorder, "checkpoint", save)
        run(tiny(*options))
    assert record(run(tiny(*options)).folder) == whole

    epochs, tables = ([row for row in whole if row["kind"] == kind] for kind in ("epoch", "method"))
    assert [row["reweightings"] for row in epochs] == [1, 2, 3] and epochs[-1]["pruned"] > 0
    corrupted = (labels["observed"] != labels["clean"])[labels["train"]].sum()
    assert [[sum(part) for part in row["weight_histogram"]] for row in tables] == [[128 - corrupted, corrupted]] * 3
    assert {"prune_precision", "prune_recall", "close_calls", "pruned_for_good"} <= set(epochs[-1])
