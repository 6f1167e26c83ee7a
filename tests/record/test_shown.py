"""What mirrors show of a run, whatever they show it on; and who is told what."""

import pytest

from lilawbench.record.mirror import need, tags_of
from lilawbench.record.shown import MOST_ROWS, left, values_of, written
from lilawbench.support.errors import UserError


def test_values_of_rows():
    step = {"kind": "step", "epoch": 1, "step": 2, "train_loss": 1.5}
    assert values_of(step) == ({"step/train_loss": 1.5}, {"step": 2, "epoch": 1})
    epoch = {"kind": "epoch", "epoch": 1, "step": 2, "val_loss": None, "test_accuracy": 0.5}
    assert values_of(epoch).values == {"epoch/test_accuracy": 0.5}
    assert values_of({"kind": "method", "epoch": 1, "g": [[1.0]]}) == ({}, {})


def test_values_tables_and_pictures_of_a_result(tmp_path):
    (tmp_path / "suspects.png").touch()
    lines = ["row,score", *(f"a{at},{at}.5" for at in range(MOST_ROWS + 5))]
    (tmp_path / "suspects.csv").write_text("\n".join(lines))
    found = left(tmp_path, {
        "last.test_accuracy": 0.5, "git.commit": "abc", "class_names": ["cat", "dog"], "last.temperature": [1.0, 2.0],
        "last.confusion": [[3, 1, 0], [0, 4, 0], [0, 0, 2]],
        "last.fairness": [{"group": "a", "DP": 0.1}, {"group": "b", "n": 2}],
        "last.reliability": {"before": [[None, None, 0]], "after": [[0.9, 0.8, 5]]},
        "best_val.other": {"a": 1},
    })  # fmt: skip
    assert list(found.values) == ["last.test_accuracy", "git.commit", "class_names", "last.temperature"]
    assert found.tables["last.confusion"] == (["clean", "cat", "dog", "2"], [["cat", 3, 1, 0], ["dog", 0, 4, 0],
                                                                             ["2", 0, 0, 2]])  # fmt: skip
    assert found.tables["last.fairness"] == (["group", "DP", "n"], [["a", 0.1, None], ["b", None, 2]])
    assert written(found.tables["last.reliability"]) == ("when,confidence,accuracy,rows\nbefore,,,0\nafter,0.9,0.8,5\n")
    assert found.tables["suspects"].rows[1] == ["a1", 1.5] and len(found.tables["suspects"].rows) == MOST_ROWS
    assert found.pictures == {"suspects": tmp_path / "suspects.png"}


def test_a_run_that_leaves_nothing(tmp_path):
    (tmp_path / "suspects.csv").touch()
    assert left(tmp_path, {}).values == {}


def test_tags_of_a_run():
    config = {"dataset": {"name": "digits"}, "noise": {"name": "none"}, "model": {"name": "mlp"}, "seed": 0}
    config |= {"method": {"name": "lilaw"}, "experiment_name": "digits"}
    assert tags_of(config, ["mine"]) == ["digits", "none", "mlp", "lilaw", "mine"]


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow-skinny")])
def test_a_missing_package_is_refused_before_training(composed, monkeypatch, name, package):
    from lilawbench.config import build

    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(UserError, match=f"{name} is not installed: run `pip install {package}`, or choose logger=none"):
        need(name, package)
    with pytest.raises(Exception, match=f"pip install {package}"):
        build(composed(f"logger={name}").logger)
