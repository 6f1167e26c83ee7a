import json
import re
from pathlib import Path

import pytest

from lilawbench.config import CONF
from lilawbench.report.collect import collect
from lilawbench.report.figures import drawing, looks
from lilawbench.report.figures.accuracy import plot_accuracy
from lilawbench.report.figures.traces import plot_traces
from lilawbench.report.repeated import with_unique_names

PNG = b"\x89PNG"


def named(folder):
    return with_unique_names(collect(folder))


def band(panel, number):
    """Lower and upper edge at the first x of the panel's n-th band."""
    vertices = panel.collections[number].get_paths()[0].vertices
    at_first = vertices[vertices[:, 0] == vertices[:, 0].min(), 1]
    return at_first.min(), at_first.max()


def test_accuracy_is_mean_and_band_in_percent(write_run, tmp_path):
    """Seeds at .5 and .7: mean 60, sample std sqrt(2 * 10^2) = 14.142 points."""
    for method in ("lilaw", "ce"):
        write_run(method, 0, curve=(0.5, 0.75))
        write_run(method, 1, curve=(0.7, 0.85))
    path = tmp_path / "accuracy.png"
    (panel,) = plot_accuracy(named(tmp_path), path).axes
    assert [line.get_label() for line in panel.lines] == ["ce", "lilaw"]
    assert list(panel.lines[0].get_xdata()) == [1, 2]
    assert list(panel.lines[1].get_ydata()) == pytest.approx([60, 80])
    assert band(panel, 0) == pytest.approx((60 - 200**0.5, 60 + 200**0.5))
    assert panel.get_title(loc="left") == "digits, symmetric 0.4, mlp\n40.0 % wrong labels, n = 2 seeds"
    assert panel.get_ylabel() == "test accuracy [%]"
    assert path.read_bytes()[:4] == PNG and path.stat().st_size > 10_000
    assert not list(tmp_path.glob("*.part*"))


def test_a_curve_ends_with_its_shortest_seed(write_run, tmp_path, unsaved):
    write_run("ce", 0, curve=(0.5, 0.6, 0.7))
    write_run("ce", 1, curve=(0.5, 0.8))
    (panel,) = plot_accuracy(named(tmp_path), tmp_path / "a.png").axes
    assert list(panel.lines[0].get_ydata()) == pytest.approx([50, 70])


def test_one_panel_per_setting_and_no_band_for_one_seed(write_run, tmp_path, unsaved):
    for rate in (0.4, 0.2, 0.0):
        write_run("ce", 0, curve=(rate, rate), changes={"config.noise.rate": rate})
    figure = plot_accuracy(named(tmp_path), tmp_path / "a.png")
    assert [panel.lines[0].get_ydata()[0] for panel in figure.axes] == [0, 20, 40]
    assert all(not panel.collections for panel in figure.axes)
    assert len(figure.legends) == 1 and all(panel.get_legend() is None for panel in figure.axes)


def test_parameters_are_means_over_seeds(write_run, tmp_path):
    write_run("ce", 0)
    write_run("lilaw", 0, parameters=[(10, 2, 6), (9, 3, 6)])
    write_run("lilaw", 1, parameters=[(10, 2, 6), (8, 4, 7)])
    path = tmp_path / "parameters.png"
    panels = plot_traces(named(tmp_path), path).axes
    assert [panel.get_ylabel() for panel in panels] == ["alpha", "beta", "delta"]
    assert [list(panel.lines[0].get_ydata()) for panel in panels] == [[10, 8.5], [2, 3.5], [6, 6.5]]
    assert all(panel.get_xlabel() == "training step" for panel in panels)
    assert panels[0].get_title(loc="left").startswith("lilaw: digits, symmetric 0.4, mlp\n")
    assert path.read_bytes()[:4] == PNG and path.stat().st_size > 10_000


def test_no_parameters_no_figure(write_run, tmp_path):
    write_run("ce", 0)
    write_run("lilaw", 0)
    assert plot_traces(named(tmp_path), tmp_path / "parameters.png") is None
    assert not (tmp_path / "parameters.png").exists()


def test_what_a_strangers_method_logs_is_drawn(write_run, tmp_path, unsaved):
    """Traced at steps and logged at epochs, 3 values, so a second row is not begun; not what every run measures."""
    temperatures = [{"temperature": 1.0, "memorised": 0.1}, {"temperature": 0.5, "memorised": 0.2}]
    write_run("ce", 0, epochs=[{"memorised": 0.1, "lr": 0.1}] * 2)
    folder = write_run("mine", 0, epochs=temperatures)
    step = {"kind": "step", "epoch": 1, "step": 1, "train_loss": 2.0, "gate": 3.0, "slope": 4.0}
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(step) + "\n")
    gate, slope, temperature = plot_traces(named(tmp_path), tmp_path / "parameters.png").axes
    assert [panel.get_ylabel() for panel in (gate, slope, temperature)] == ["gate", "slope", "temperature"]
    assert [panel.get_xlabel() for panel in (gate, slope, temperature)] == ["training step"] * 2 + ["epoch"]
    assert list(slope.lines[0].get_ydata()) == [4.0] and list(temperature.lines[0].get_ydata()) == [1.0, 0.5]
    assert gate.get_title(loc="left").startswith("mine: digits")


def test_every_cell_begins_a_row(write_run, tmp_path, unsaved):
    """Four values and one: rows of 3, 1 and 1 panels."""
    write_run("mine", 0, epochs=[dict(zip("abcd", range(4)))] * 2)
    write_run("other", 0, epochs=[{"a": 1}] * 2)
    axes = plot_traces(named(tmp_path), tmp_path / "parameters.png").axes
    assert [panel.get_ylabel() for panel in axes] == ["a", "b", "c", "d", "a"]
    assert [panel.get_subplotspec().rowspan.start for panel in axes] == [0, 0, 0, 1, 2]


def test_what_a_person_cannot_look_through_is_cut_and_said(write_run, tmp_path, unsaved):
    """Detectors log some 130 values each time they measure: they are told by their tables alone."""
    scores = {f"suspects_auroc_{name}": 0.5 for name in "abcdef"}
    write_run("few", 0, epochs=[{"a": 1} | scores] * 2)
    (panel,) = plot_traces(named(tmp_path), tmp_path / "parameters.png").axes
    assert panel.get_ylabel() == "a"
    write_run("many", 0, epochs=[{f"v{number:02d}": number for number in range(40)}] * 2)
    figure = plot_traces(named(tmp_path), tmp_path / "parameters.png")
    assert [panel.get_ylabel() for panel in figure.axes] == ["a", *(f"v{number:02d}" for number in range(24))]
    assert figure.get_suptitle() == "of each cell the first 24 values, the others are in metrics.jsonl"


def test_no_figure_names_a_method():
    """What is drawn follows from what was logged."""
    names = {path.stem for path in (CONF / "method").glob("*.yaml")} - {"at", "ce"}
    for path in set(Path(drawing.__file__).parent.glob("*.py")) - {Path(looks.__file__)}:  # but for their colours
        words = set(re.findall(r'"(\w+)"', path.read_text(encoding="utf-8")))
        assert not words & names and "_target_" not in words, path.name
