"""A kernel from a CSV, and scripts/make_kernel.py that writes one from a finished run."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lilawbench.check import check
from lilawbench.config import bind
from lilawbench.datasets.own_images import IMAGENET_MEAN, IMAGENET_STD
from lilawbench.noise import kernel, transition
from lilawbench.noise.checks import read_matrix
from lilawbench.support.errors import ConfigError, DataError
from lilawbench.train import run

N = 100_000
TABLE = [[0.0, 0.75, 0.25], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]
CSV = "# mistakes\n0,0.75,0.25\n0.5, 0, 0.5\n1,0,0\n"


@pytest.fixture(scope="module")
def make_kernel():
    path = Path(__file__).parents[2] / "scripts" / "make_kernel.py"
    spec = importlib.util.spec_from_file_location("make_kernel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def generator():
    return np.random.default_rng(1)


def test_a_csv_is_the_table_in_it(tmp_path):
    path = tmp_path / "kernel.csv"
    path.write_text(CSV)
    clean = np.arange(N) % 3
    observed = kernel(clean, 3, 0.3, generator(), str(path))
    np.testing.assert_array_equal(observed, kernel(clean, 3, 0.3, generator(), TABLE))
    seen = np.bincount(clean * 3 + observed, minlength=9).reshape(3, 3) / (N / 3)
    np.testing.assert_allclose(seen, 0.7 * np.eye(3) + 0.3 * np.array(TABLE), atol=0.011)
    np.testing.assert_array_equal(
        transition(clean, 3, str(path), generator()), transition(clean, 3, TABLE, generator())
    )


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("0,1\n1,0\n", ValueError, r"k\.csv: the kernel is 2 x 2; the data set has 3 classes: 3 x 3"),
        (CSV.replace("0.75", "0.5"), ValueError, r"k\.csv: rows must sum to 1: row 0 sums to 0\.75"),
        (CSV.replace("0.75", "cat"), DataError, r"k\.csv is not a table of numbers with commas .*'cat'"),
        ("0,1\n1\n", DataError, r"k\.csv is not a table of numbers with commas"),
        ("", ValueError, r"k\.csv: the kernel is 0 x "),
        (None, DataError, r"cannot read .*k\.csv"),
    ],
    ids=["2x2", "sum", "word", "ragged", "empty", "missing"],
)
def test_bad_csv(tmp_path, text, error, message):
    path = tmp_path / "k.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=message):
        kernel(np.arange(3), 3, 0.3, generator(), str(path))


def test_a_bad_csv_is_refused_before_a_run(composed, tmp_path):
    (tmp_path / "k.csv").write_text(CSV)
    with pytest.raises(ConfigError, match=r"noise=kernel: .*k\.csv: the kernel is 3 x 3; the data set has 10 classes"):
        check(composed("noise=kernel", f"noise.kernel={tmp_path}/k.csv"))


def test_a_matrix_from_a_csv_asks_for_its_rate(tiny, tmp_path):
    np.savetxt(tmp_path / "m.csv", 0.7 * np.eye(10) + 0.3 * np.roll(np.eye(10), 1, axis=1), delimiter=",")
    result = run(tiny("noise=transition", f"noise.matrix={tmp_path}/m.csv", "train.epochs=1")).result
    assert result["noise.requested_rate"] == pytest.approx(0.3)
    assert result["noise.realised_rate"] == pytest.approx(0.3, abs=0.01)


def test_mistakes_become_shares_by_hand(make_kernel):
    """Class 1 has none: all others alike."""
    counts = np.array([[90, 6, 2], [0, 50, 0], [3, 0, 7]])
    expected = [[0, 0.75, 0.25], [0.5, 0, 0.5], [1, 0, 0]]
    np.testing.assert_allclose(make_kernel.as_kernel(counts), expected)


@pytest.mark.every(2)
@pytest.mark.parametrize("split, rows", [("test", 359), ("train", 1438)])
def test_the_kernel_of_a_run_is_its_confusion_matrix(make_kernel, tiny, composed, tmp_path, capsys, split, rows):
    record = run(tiny("noise=none"))
    path = tmp_path / "kernel.csv"
    assert make_kernel.main([str(record.folder), str(path), "--split", split]) == 0
    mistakes = int(capsys.readouterr().out.split(": ")[1].split()[0])
    assert f"{mistakes} mistakes on {rows} {split} rows by {record.folder.name}" in path.read_text()
    if split == "test":
        assert mistakes == round(359 * (1 - record.result["last.test_accuracy"]))
    table = read_matrix(str(path))
    assert table.shape == (10, 10) and not np.diag(table).any()
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-5)
    clean = np.arange(1000) % 10
    observed = bind(composed("noise=kernel", f"noise.kernel={path}").noise)(clean, 10, generator=generator())
    assert (observed != clean).sum() == 400
    assert (table[clean, observed] > 0)[observed != clean].all()


def test_what_is_no_run_is_refused(make_kernel, tmp_path, capsys):
    assert make_kernel.main([str(tmp_path), str(tmp_path / "k.csv")]) == 2
    assert "is not the folder of a finished run: it has no config.yaml" in capsys.readouterr().err


def test_no_other_file_is_written_over(make_kernel, tmp_path, capsys):
    table = tmp_path / "patients.csv"
    table.write_text("id,age\n1,40\n")
    for path, why in ((table, "with other content: name another file"), (tmp_path / "no/k.csv", "its folder does not")):
        assert make_kernel.main([str(tmp_path), str(path)]) == 1
        assert why in capsys.readouterr().err
    assert table.read_text() == "id,age\n1,40\n"


def test_a_run_of_another_task_is_refused(make_kernel, composed, data_dir, tmp_path, capsys):
    record = run(composed("dataset=yacht", f"paths.data_dir={data_dir}", "train.epochs=1", "model.hidden=[4]"))
    assert make_kernel.main([str(record.folder), str(tmp_path / "k.csv"), "--data-dir", str(data_dir)]) == 2
    assert "dataset=yacht is regression; a kernel needs one class per sample" in capsys.readouterr().err
    (record.folder / "result.json").unlink()
    assert make_kernel.main([str(record.folder), str(tmp_path / "k.csv")]) == 2
    assert "is not the folder of a finished run: it has no result.json" in capsys.readouterr().err
    assert not (tmp_path / "k.csv").exists()


def test_images_that_stay_in_their_files(make_kernel, composed, tmp_path):
    """Streamed and resident images have the same kernel."""
    draw = np.random.default_rng(0)
    for i in range(40):
        folder = tmp_path / "mine" / "abcd"[i % 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (6, 6, 3)).astype(np.uint8)).save(folder / f"{i}.png")
    tables = []
    for gigabytes in (1, 0):
        cfg = composed("dataset=folder", f"dataset.path={tmp_path}/mine", "dataset.size=6", "model=mlp", "noise=none",
                       "model.hidden=[4]", "train.epochs=1", f"dataset.resident_gb={gigabytes}")  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lilawbench.datasets.own_images.channel_statistics", lambda _: (IMAGENET_MEAN, IMAGENET_STD))
            assert make_kernel.main([str(run(cfg).folder), str(tmp_path / "k.csv"), "--split", "train"]) == 0
        tables.append(read_matrix(str(tmp_path / "k.csv")))
    np.testing.assert_array_equal(*tables)
