"""scripts/prepare_data.py as a user calls it."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def prepare_data():
    path = Path(__file__).parents[2] / "scripts" / "prepare_data.py"
    spec = importlib.util.spec_from_file_location("prepare_data", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_prepare_digits(prepare_data, capsys, monkeypatch):
    monkeypatch.delenv("LILAWBENCH_DATA", raising=False)
    assert prepare_data.main(["digits"]) == 0
    assert capsys.readouterr().out == (
        "digits: 1438 train + 359 test, shape [1, 8, 8], classes: "
        "0 178, 1 182, 2 177, 3 183, 4 181, 5 182, 6 181, 7 179, 8 174, 9 180\n"
    )


def test_prepare_reports_damaged_data_and_exits_2(prepare_data, tmp_path, capsys):
    (tmp_path / "adult").mkdir()
    (tmp_path / "adult" / "adult.data").write_text("39, State-gov\n")
    assert prepare_data.main(["adult", "--data-dir", str(tmp_path)]) == 2
    assert "adult.data is damaged" in capsys.readouterr().err


def test_prepare_refuses_an_unknown_name(prepare_data, capsys):
    with pytest.raises(SystemExit) as caught:
        prepare_data.main(["cifar"])
    assert caught.value.code == 2
    assert "fashion_mnist" in capsys.readouterr().err


def test_prepare_all(prepare_data, capsys, real_dir):
    assert prepare_data.main(["all", "--data-dir", str(real_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == prepare_data.DATASETS
    assert lines[0] == "adult: 22792 train + 9769 test, shape [108], classes: <=50K 24720, >50K 7841"
