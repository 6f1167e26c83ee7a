import numpy as np
import pytest

from lilawbench.report.collect import collect
from lilawbench.report.figures import drawing
from lilawbench.report.figures.corrector import plot_corrector
from lilawbench.report.figures.pruning import plot_pruning
from lilawbench.report.repeated import with_unique_names
from lilawbench.support.errors import DataError

PNG = b"\x89PNG"


def named(folder):
    return with_unique_names(collect(folder))


def pruned(reweightings, pruned, precision=None, recall=0.0):
    row = {"reweightings": reweightings, "pruned": pruned, "prune_precision": precision, "prune_recall": recall}
    return {name: value for name, value in row.items() if value is not None}


@pytest.fixture
def write_rrm(write_run):
    """write_rrm(seed, **changes): four epochs, the re-weightings after the second and the fourth; seed moves both."""

    def write(seed, method="rrm", loss=None, changes=None):
        more = 0.2 * seed
        epochs = [pruned(0, 0.0), *[pruned(1, 0.1 + more, 0.5 + more, 0.2)] * 2, pruned(2, 0.3, 0.9, 0.6 + more)]
        first = {"weight_histogram": [[0, 4, 0, 0, 0, 0], [0, 0, 2, 0, 0, 0]]}
        after = {"weight_histogram": [[0, 3, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1]]}
        last = {"weight_histogram": [[1, 3 - seed, 0, 0, 0, seed], [0, 0, 0, 0, 0, 2]]}
        tables = [first, after, after, last]
        return write_run(method, seed, loss=loss, curve=[0.5] * 4, epochs=epochs, tables=tables, changes=changes)

    return write


def heights(panel):
    """Share of each bin (rows) in each bar, [6, bars]."""
    return np.array([[bar.get_height() for bar in container] for container in panel.containers])


def test_pruning_is_mean_over_seeds(write_rrm, write_run, tmp_path):
    """Precision .5 and .7 before .9 and .9; nothing pruned in the first epoch, so no precision there."""
    write_run("ce", 0)
    for seed in (0, 1):
        write_rrm(seed, changes={"noise.realised_rate_train": 0.3 + 0.2 * seed})
    path = tmp_path / "pruning.png"
    left, clean, corrupted = plot_pruning(named(tmp_path), path).axes
    corrupted_share, *lines = left.lines
    assert list(corrupted_share.get_ydata()) == pytest.approx([40, 40])
    assert [line.get_label() for line in lines] == [
        "pruned, of all samples",
        "corrupted, of the pruned (precision)",
        "pruned, of the corrupted (recall)",
    ]
    assert [list(line.get_xdata()) for line in lines] == [[1, 2, 3, 4], [2, 3, 4], [1, 2, 3, 4]]
    assert list(lines[0].get_ydata()) == pytest.approx([0, 20, 20, 30])
    assert list(lines[1].get_ydata()) == pytest.approx([60, 60, 90])
    assert list(lines[2].get_ydata()) == pytest.approx([0, 20, 20, 70])
    assert left.get_title(loc="left") == "rrm: digits, symmetric 0.4, mlp\n40.0 % wrong labels, n = 2 seeds"
    assert (clean.get_ylabel(), corrupted.get_ylabel()) == ("clean samples [%]", "corrupted samples [%]")
    assert path.read_bytes()[:4] == PNG and not list(tmp_path.glob("*.part*"))


def test_weights_are_shares_at_the_reweightings(write_rrm, tmp_path, unsaved):
    """Two bars, not four epochs; the first epoch's weights, before any re-weighting, are left out."""
    for seed in (0, 1):
        write_rrm(seed)
    _, clean, corrupted = plot_pruning(named(tmp_path), tmp_path / "pruning.png").axes
    assert heights(clean).T.tolist() == [
        pytest.approx([0, 75, 0, 25, 0, 0]),
        pytest.approx([25, (75 + 50) / 2, 0, 0, 0, 12.5]),
    ]
    assert heights(corrupted).T.tolist() == [pytest.approx([0, 50, 0, 0, 0, 50]), pytest.approx([0, 0, 0, 0, 0, 100])]
    assert [round(bar.get_x() + bar.get_width() / 2, 9) for bar in clean.containers[0]] == [1, 2]
    assert [bar.get_y() + bar.get_height() for bar in clean.containers[-1]] == pytest.approx([100, 100])


def test_without_corrupted_samples_or_reweightings_the_panel_is_empty(write_run, tmp_path, unsaved):
    histogram = {"weight_histogram": [[0, 4, 0, 0, 0, 0], [0] * 6]}
    write_run("rrm", 0, epochs=[pruned(0, 0.0, recall=None), pruned(1, 0.1, recall=None)], tables=[histogram] * 2)
    left, clean, corrupted = plot_pruning(named(tmp_path), tmp_path / "pruning.png").axes
    assert [line.get_label() for line in left.lines] == ["pruned, of all samples"]
    assert heights(clean).T.tolist() == [[0, 100, 0, 0, 0, 0]]
    assert corrupted.axison is False and not corrupted.containers


@pytest.mark.slow
def test_one_row_per_cell_up_to_a_limit(write_rrm, tmp_path, monkeypatch, unsaved):
    monkeypatch.setattr(drawing, "MOST_ROWS", 2)
    write_rrm(0, changes={"config.noise.rate": 0.5})
    write_rrm(0, loss="mse")
    figure = plot_pruning(named(tmp_path), tmp_path / "pruning.png")
    names = ["rrm + mse: digits, symmetric 0.4, mlp", "rrm: digits, symmetric 0.5, mlp"]
    assert [panel.get_title(loc="left").split("\n")[0] for panel in figure.axes[::3]] == names
    assert figure.get_suptitle() == ""
    write_rrm(0, method="a_rrm", changes={"config.noise.rate": 0.6})
    figure = plot_pruning(named(tmp_path), tmp_path / "pruning.png")
    assert [panel.get_title(loc="left").split("\n")[0] for panel in figure.axes[::3]] == names
    assert figure.get_suptitle() == "the first 2 of 3 cells"


def g_of(value, classes=2):
    """g [K, 3] that falls by `value` per bin, and by class."""
    return [[1 - value * (r + k) / 10 for r in range(3)] for k in range(classes)]


@pytest.fixture
def write_dynamic(write_run):
    """write_dynamic(seed, ...): one epoch of warm-up, two more; accuracies fall with the seed."""

    def write(seed, g=None, margin=(1.0, 0.5), clean=(0, 0, 0, 1), **options):
        less = 0.2 * seed
        correct = [(0.9, 0.2, 1.0), (0.8, 0.6 - less, 0.9 - less)]
        names = ("corrected_accuracy_clean", "corrected_accuracy_corrupted", "meta_precision")
        epochs = [{}, *[dict(zip(names, values)) for values in correct]]
        tables = [{}, {"g": g_of(0), "margin": [0.0] * len(margin)}, {"g": g or g_of(1), "margin": list(margin)}]
        return write_run(
            "dynamic_loss", seed, curve=[0.5] * 3, epochs=epochs, tables=tables, clean=np.array(clean), **options
        )

    return write


def test_corrector_is_the_last_epochs_mean_over_seeds(write_dynamic, write_run, tmp_path):
    """g = 1 - (r + k) / 10 and 1 - 3 (r + k) / 10: mean 1 - (r + k) / 5."""
    write_run("ce", 0)
    write_dynamic(0, g=g_of(1))
    write_dynamic(1, g=g_of(3))
    path = tmp_path / "corrector.png"
    left, *_ = plot_corrector(named(tmp_path), path).axes
    assert [line.get_label() for line in left.lines] == ["0", "1"]
    assert list(left.lines[0].get_ydata()) == pytest.approx([1, 0.8, 0.6])
    assert list(left.lines[1].get_ydata()) == pytest.approx([0.8, 0.6, 0.4])
    assert list(left.lines[1].get_xdata()) == [0, 1, 2]
    assert left.get_title(loc="left").startswith("dynamic_loss: digits, symmetric 0.4, mlp\n")
    assert path.read_bytes()[:4] == PNG


def test_margins_stand_beside_the_class_sizes(write_dynamic, tmp_path, unsaved):
    """Class 1 has 1 and 3 samples, class 2 none and 1; margins .5 and .7: mean .6, std .1414."""
    write_dynamic(0, margin=(1.0, 0.5, 0.0), clean=(0, 0, 0, 1))
    write_dynamic(1, margin=(1.0, 0.7, 0.0), clean=(0, 1, 1, 1, 2))
    _, middle, _, behind = plot_corrector(named(tmp_path), tmp_path / "corrector.png").axes
    points, _, (whiskers,) = next(c for c in middle.containers if c.get_label() == "margin")
    assert list(points.get_ydata()) == pytest.approx([1.0, 0.6, 0.0])
    assert whiskers.get_segments()[1][:, 1] == pytest.approx([0.6 - 0.02**0.5, 0.6 + 0.02**0.5])
    assert [bar.get_height() for bar in behind.patches] == [2, 2, 0.5]
    assert behind.get_ylabel() == "training samples by clean label"
    assert middle.get_zorder() > behind.get_zorder()


def test_label_accuracy_begins_after_the_warm_up(write_dynamic, tmp_path, unsaved):
    for seed in (0, 1):
        write_dynamic(seed)
    right = plot_corrector(named(tmp_path), tmp_path / "corrector.png").axes[2]
    drawn = {line.get_label(): list(line.get_ydata()) for line in right.lines}
    assert drawn == {
        "corrected labels of clean samples": pytest.approx([90, 80]),
        "corrected labels of corrupted samples": pytest.approx([20, 50]),
        "observed labels of the meta set": pytest.approx([100, 80]),
    }
    assert list(right.lines[0].get_xdata()) == [2, 3]
    assert len(right.collections) == 3  # bands


@pytest.mark.slow
def test_many_classes_and_classes_alike(write_dynamic, tmp_path, unsaved):
    """Of 100 classes every eleventh is drawn; one curve where class_wise is off."""
    write_dynamic(0, g=g_of(0.05, classes=100), margin=[1.0] * 100, name="many")
    left = plot_corrector(named(tmp_path / "outputs" / "many"), tmp_path / "corrector.png").axes[0]
    assert [line.get_label() for line in left.lines] == [str(label) for label in range(0, 100, 11)]
    assert left.lines[1].get_ydata()[0] == pytest.approx(1 - 0.05 * 11 / 10)
    assert left.get_ylabel().endswith("\n(10 of 100 classes)")
    write_dynamic(0, g=[[0.9, 0.5, 0.1]] * 2, name="alike")
    left = plot_corrector(named(tmp_path / "outputs" / "alike"), tmp_path / "corrector.png").axes[0]
    assert [(line.get_label(), list(line.get_ydata())) for line in left.lines] == [("all", [0.9, 0.5, 0.1])]


def test_nothing_logged_no_figure(write_run, tmp_path):
    for method in ("ce", "rrm", "a_rrm", "dynamic_loss"):  # no epoch after the warm-up, say
        write_run(method, 0)
    for plot in (plot_pruning, plot_corrector):
        assert plot(named(tmp_path), tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()


def test_missing_labels_are_named(write_dynamic, tmp_path):
    (write_dynamic(0, name="run") / "labels.npz").unlink()
    with pytest.raises(DataError, match=r"cannot read .*run/labels\.npz"):
        plot_corrector(named(tmp_path), tmp_path / "corrector.png")


def test_a_preset_is_drawn_as_its_method(write_dynamic, tmp_path, unsaved):
    write_dynamic(0, changes={"config.method.name": "dynamic_loss_lt"})
    left, *_ = plot_corrector(named(tmp_path), tmp_path / "corrector.png").axes
    assert left.get_title(loc="left").startswith("dynamic_loss_lt: digits")
