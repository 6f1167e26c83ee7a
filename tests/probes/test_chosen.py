"""What result.json has of each class, and what is left to files."""

import csv

import pytest
import torch

from lilawbench.probes.chosen import MOST_NAMED, Chosen


@pytest.fixture
def kept(scene):
    """kept(K) -> the probe of three test rows of K outputs, each predicted as its own class."""

    def make(outputs):
        probe = Chosen()
        probe.scene = scene()
        probe.test = {"last": torch.eye(3, outputs)}
        return probe

    return make


def test_a_result_has_the_measures_of_few_classes_alone(kept, tmp_path):
    few = kept(MOST_NAMED).result()
    assert few["last.test_recall.b"] == 1 and few["last.test_recall.7"] is None and len(few["last.confusion"]) == 20
    many = kept(MOST_NAMED + 1)
    assert not any(key.startswith("last.") for key in many.result()), "every report would read it"
    many.files(tmp_path)
    with (tmp_path / "per_class.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["class"] for line in lines[:4]] == ["a", "b", "c", "3"] and len(lines) == MOST_NAMED + 1
    assert (lines[1]["recall"], lines[3]["recall"]) == ("1.0", "")
    assert len((tmp_path / "confusion.csv").read_text().splitlines()) == MOST_NAMED + 2
