"""Colours of methods, and the panels that many of them get."""

import pytest

from lilawbench.report.collect import collect
from lilawbench.report.figures.accuracy import plot_accuracy
from lilawbench.report.figures.looks import COLOURS, colour, looks
from lilawbench.report.figures.memorised import plot_memorised
from lilawbench.report.figures.noise import plot_noise
from lilawbench.report.repeated import with_unique_names


def named(folder):
    return with_unique_names(collect(folder))


def test_a_method_keeps_its_colour_whoever_is_beside_it():
    few, many = looks(["lilaw", "ce"]), looks(["rrm", "mine", "ce", "a", "b", "lilaw", "lilaw + focal"])
    assert all(few[name] == many[name] == (colour(name), "-") for name in ("ce", "lilaw"))
    assert len({colour(name) for name in ("ce", "focal", "lilaw", "rrm", "dynamic_loss", "at", "a_rrm")}) == 7
    assert colour("mine") == COLOURS[4]  # crc32(b"mine") is 1772671891, 4 modulo 7
    assert len(set(many.values())) == len(many)


@pytest.mark.slow
def test_more_than_six_methods_get_a_panel_each(write_run, tmp_path, unsaved):
    """Seven methods in one setting: seven panels, in each six curves in grey and one in its colour with its band."""
    names = ["ce", "focal", "gce", "lilaw", "mae", "rrm", "sce"]
    for method in names:
        for seed in range(2):
            write_run(method, seed, curve=(0.5 + seed / 10, 0.7))
    panels = plot_accuracy(named(tmp_path), tmp_path / "a.png").axes
    assert [panel.get_title(loc="left") for panel in panels] == names
    for panel, name in zip(panels, names):
        assert [line.get_color() for line in panel.lines] == ["#D9D9D9"] * 6 + [colour(name)]
        assert panel.lines[-1].get_ydata() == pytest.approx([55, 70]) and len(panel.collections) == 1


def test_memorised_and_recovered_stand_side_by_side(write_run, tmp_path, unsaved):
    write_run("ce", 0, epochs=[{"memorised": 0.1, "recovered": 0.2}, {"memorised": 0.3, "recovered": 0.4}])
    write_run("lilaw", 0, changes={"config.noise.name": "none", "config.noise.rate": None})
    left, right = plot_memorised(named(tmp_path), tmp_path / "m.png").axes
    assert [left.get_ylabel(), right.get_ylabel()] == ["memorised [%]", "recovered [%]"]
    assert list(left.lines[0].get_ydata()) == pytest.approx([10, 30])
    assert list(right.lines[0].get_ydata()) == pytest.approx([20, 40])


def test_noise_rates_of_a_kind_make_a_panel(write_run, tmp_path, unsaved):
    """Accuracies .9 without noise, .8 and .7 at 20 % and 40 %; asymmetric noise has one rate beside none: a panel too.
    A seed that lacks a rate is left out."""
    for rate, accuracy in ((0.2, 0.8), (0.4, 0.7)):
        for seed in range(2):
            write_run("ce", seed, accuracy + 0.02 * seed, changes={"config.noise.rate": rate})
    for seed in range(2):
        write_run("ce", seed, 0.9, changes={"config.noise.name": "none", "config.noise.rate": None})
    write_run("ce", 0, 0.6, changes={"config.noise.name": "asymmetric", "config.noise.rate": 0.3})
    one, two = plot_noise(named(tmp_path), tmp_path / "n.png").axes
    assert [panel.get_title(loc="left") for panel in (one, two)] == [
        "digits, asymmetric, mlp",
        "digits, symmetric, mlp",
    ]
    assert list(one.lines[0].get_xdata()) == [0, 30] and list(one.lines[0].get_ydata()) == pytest.approx([90, 60])
    assert list(two.lines[0].get_xdata()) == [0, 20, 40]
    assert list(two.lines[0].get_ydata()) == pytest.approx([90, 81, 71])
    assert two.get_ylabel() == "test accuracy [%] at best_val"


def test_one_rate_makes_no_panel(write_run, tmp_path):
    write_run("ce", 0)
    assert plot_noise(named(tmp_path), tmp_path / "n.png") is None
