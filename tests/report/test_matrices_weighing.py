"""Matrices of classes, and samples on the surfaces of their weights."""

import numpy as np
import pytest
import torch

from lilawbench.methods.parts.lilaw_weights import weight_terms
from lilawbench.report.collect import collect
from lilawbench.report.figures.matrices import plot_confusion, plot_transitions
from lilawbench.report.figures.weighing import plot_weighing, weights
from lilawbench.report.repeated import with_unique_names
from lilawbench.support.errors import DataError


def named(folder):
    return with_unique_names(collect(folder))


def written(panel):
    return {text.get_position()[::-1]: text.get_text() for text in panel.texts}


def test_transitions_are_shares_of_each_clean_class_over_seeds(write_run, tmp_path, unsaved):
    """Clean 0 0 0 1 over two seeds; one 0 of the first is observed as 1: 5 of 6 stay, the 1 does."""
    for seed, observed in enumerate(([0, 0, 1, 1], [0, 0, 0, 1])):
        folder = write_run("ce", seed, clean=[0, 0, 0, 1])
        with np.load(folder / "labels.npz") as labels:
            kept = dict(labels)
        np.savez(folder / "labels.npz", **{**kept, "observed": np.array(observed)})
    write_run("lilaw", 0)  # has the labels of ce, and no file here
    (panel,) = plot_transitions(named(tmp_path), tmp_path / "t.png").axes
    assert panel.images[0].get_array().tolist() == pytest.approx(np.array([[5 / 6, 1 / 6], [0, 1]]))
    assert written(panel) == {(0, 0): "83", (0, 1): "17", (1, 1): "100"}


def test_labels_as_they_were_make_no_picture(write_run, tmp_path):
    write_run("ce", 0, clean=[0, 1])
    assert plot_transitions(named(tmp_path), tmp_path / "t.png") is None
    assert plot_confusion(named(tmp_path), tmp_path / "c.png") is None


def test_confusion_is_of_test_rows_over_seeds_with_names(write_run, tmp_path, unsaved):
    for seed, counts in enumerate(([[3, 1], [0, 4]], [[1, 3], [2, 2]])):
        write_run("ce", seed, changes={"best_val.confusion": counts, "class_names": ["cat", "dog"]})
    (panel,) = plot_confusion(named(tmp_path), tmp_path / "c.png").axes
    assert panel.images[0].get_array().tolist() == [[0.5, 0.5], [0.25, 0.75]]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["cat", "dog"]
    assert panel.get_title(loc="left") == "ce: digits, symmetric 0.4, mlp, best_val"


def test_confusion_of_many_classes_is_read_from_its_file(write_run, tmp_path, unsaved):
    folder = write_run("ce", 0)
    lines = ["rule,label,predicted a,predicted b", "last,a,1,0", "best_val,a,3,1", "best_val,b,0,4"]
    (folder / "confusion.csv").write_text("\n".join(lines))
    (panel,) = plot_confusion(named(tmp_path), tmp_path / "c.png").axes
    assert panel.images[0].get_array().tolist() == [[0.75, 0.25], [0, 1]]
    (folder / "confusion.csv").write_text("best_val,a,3,x")
    with pytest.raises(DataError, match="confusion.csv"):
        plot_confusion(named(tmp_path), tmp_path / "c.png")


def test_a_run_without_validation_rows_is_drawn_at_its_last_epoch(write_run, tmp_path, unsaved):
    (write_run("ce", 0) / "confusion.csv").write_text("rule,label,predicted a,predicted b\nlast,a,1,0\nlast,b,1,3")
    (panel,) = plot_confusion(named(tmp_path), tmp_path / "c.png").axes
    assert panel.images[0].get_array().tolist() == [[1, 0], [0.25, 0.75]]
    assert panel.get_title(loc="left").endswith(", last")


def test_weights_are_those_that_lilaw_trains_with():
    s_max = torch.rand(50, 1, dtype=torch.float64)
    s_y = s_max * torch.rand(50, 1, dtype=torch.float64)
    wanted = weight_terms(s_y, s_max, torch.tensor([10.0, 2.0, 6.0], dtype=torch.float64))
    ours = weights(s_y.squeeze(1).numpy(), s_max.squeeze(1).numpy(), 10.0, 2.0, 6.0)
    np.testing.assert_allclose(ours, torch.stack(wanted).numpy(), rtol=1e-12)


def test_samples_lie_on_the_surfaces(write_run, tmp_path, unsaved):
    """At s_y = s_max = 1 the sum is sigmoid(9) + sigmoid(-1) + exp(-12.5); above the diagonal there is none."""
    epochs = [{"alpha": 10.0, "beta": 2.0, "delta": 6.0}] * 2
    folder = write_run("lilaw", 0, epochs=epochs, changes={"config.method.terms": ["alpha", "beta", "delta"]})
    sample = {"s_y": [0.5, 0.1], "s_max": [0.5, 0.8], "weight": [1.3, 2.0], "corrupted": [False, True], "epoch": 2}
    np.savez(folder / "weighing.npz", **{name: np.array(value) for name, value in sample.items()})
    *planes, histogram = plot_weighing(named(tmp_path), tmp_path / "w.png").axes
    assert [panel.get_title(loc="left").split(",")[0] for panel in planes] == ["W_alpha", "W_beta", "W_delta", "W"]
    surface = planes[-1].images[0].get_array()
    corner = 1 / (1 + np.exp(-9)) + 1 / (1 + np.exp(1)) + np.exp(-12.5)
    assert surface[-1, -1] == pytest.approx(corner) and np.ma.getmaskarray(surface)[-1, 0]
    clean, wrong = planes[0].collections
    assert clean.get_offsets().tolist() == [[0.5, 0.5]] and wrong.get_offsets().tolist() == [[0.8, 0.1]]
    assert [label.get_text() for label in histogram.get_legend().get_texts()] == ["clean", "corrupted"]


def test_a_damaged_file_is_named(write_run, tmp_path):
    folder = write_run("lilaw", 0)
    (folder / "weighing.npz").write_text("x")
    with pytest.raises(DataError, match=r"cannot read .*weighing\.npz"):
        plot_weighing(named(tmp_path), tmp_path / "w.png")
