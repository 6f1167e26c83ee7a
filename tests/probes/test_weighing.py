"""The samples that a picture of weights is made of."""

import numpy as np
import pytest
import torch

from lilawbench.probes.weighing import FILE, MOST, Weighing
from lilawbench.train import run


class Given:
    """Stands for a scene or an epoch."""

    def __init__(self, **values):
        self.__dict__.update(values)


def seen(weight, rows=4, clean=True):
    probe = Weighing()
    observed = torch.arange(rows) % 2
    probe.scene = Given(observed=observed, clean=torch.zeros(rows, dtype=torch.int64) if clean else None)
    logits = torch.tensor([[0.0, 0.0], [np.log(3), 0.0]]).repeat(rows // 2, 1)
    epoch = Given(number=5, weight=weight, seen=torch.arange(rows) != 2, logits=logits)
    assert probe.see(None, epoch, None) == {}
    return probe


def test_what_each_weight_was_given_to(tmp_path):
    """Rows 0 1 3 of 4 trained. Row 0: logits 0 0, s_y = s_max = .5; rows 1, 3: log 3 and 0, label 1: .25 of .75."""
    probe = seen(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    again = Weighing()
    again.load_state_dict(probe.state_dict())
    again.files(tmp_path)
    with np.load(tmp_path / FILE) as kept:
        assert kept["row"].tolist() == [0, 1, 3] and kept["weight"].tolist() == [1, 2, 4] and kept["epoch"] == 5
        assert kept["s_y"] == pytest.approx([0.5, 0.25, 0.25]) and kept["s_max"] == pytest.approx([0.5, 0.75, 0.75])
        assert kept["corrupted"].tolist() == [False, True, True]


def test_without_weights_there_is_no_file_and_without_clean_labels_no_kind(tmp_path):
    seen(None).files(tmp_path)
    assert not (tmp_path / FILE).exists()
    assert "corrupted" not in seen(torch.ones(4), clean=False).kept


def test_many_rows_are_thinned():
    rows = 4 * MOST
    assert len(seen(torch.ones(rows), rows).kept["row"]) <= MOST


@pytest.mark.slow
def test_a_run_of_lilaw_has_it_and_one_of_ce_has_not(tiny):
    kept = np.load(run(tiny("method=lilaw")).folder / FILE)
    assert len(kept["row"]) > 50 and kept["epoch"] == 3 and (kept["s_y"] <= kept["s_max"] + 1e-6).all()
    assert not (run(tiny("method=ce")).folder / FILE).exists()
