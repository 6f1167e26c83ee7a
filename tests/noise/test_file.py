"""Labels from files: each kind read back, an earlier run replayed, and one clear message for each bad file."""

import json

import numpy as np
import pytest
import torch

from lilawbench.noise import File
from lilawbench.support.errors import ConfigError, DataError
from lilawbench.train import run

CLEAN = np.array([0, 1, 2, 3, 0, 1])
OBSERVED = np.array([0, 1, 3, 3, 2, 1])


def replay(path, column=None, clean=CLEAN):
    return File(str(path), column)(clean, 4, np.random.default_rng(0))


def lines(labels):
    return "".join(f"{label}\n" for label in labels)


KINDS = {
    "run.npz": (lambda p: np.savez(p, observed=OBSERVED, clean=CLEAN, train=[0, 1], val=[2]), None),
    "only.npz": (lambda p: np.savez(p, noisy=OBSERVED.astype(np.uint8)), None),
    "named.npz": (lambda p: np.savez(p, a=CLEAN, noisy=OBSERVED), "noisy"),
    "list.npy": (lambda p: np.save(p, OBSERVED.astype(np.int32)), None),
    "floats.npy": (lambda p: np.save(p, OBSERVED.astype(np.float32)), None),
    "tensor.pt": (lambda p: torch.save(torch.tensor(OBSERVED), p), None),
    "cifar_n.pt": (
        lambda p: torch.save({"clean_label": CLEAN, "worse_label": OBSERVED, "note": "x"}, p),
        "worse_label",
    ),
    "list.txt": (lambda p: p.write_text(lines(OBSERVED)), None),
    "numpy.txt": (lambda p: np.savetxt(p, OBSERVED), None),
    "windows.txt": (lambda p: p.write_bytes(b"\xef\xbb\xbf" + lines(OBSERVED).replace("\n", "\r\n").encode()), None),
    "blank_end.txt": (lambda p: p.write_text(lines(OBSERVED) + "\n\n"), None),
    "header.csv": (lambda p: p.write_text("label\n" + lines(OBSERVED)), None),
    "observed.csv": (
        lambda p: p.write_text("id,observed,clean\n" + "".join(f"7,{o},{c}\n" for o, c in zip(OBSERVED, CLEAN))),
        None,
    ),
    "named.csv": (lambda p: p.write_text("file,noisy\n" + "".join(f"a.png, {o}\n" for o in OBSERVED)), "noisy"),
    "number.csv": (lambda p: p.write_text("".join(f"7,{o}\n" for o in OBSERVED)), 1),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_gives_its_labels(tmp_path, name):
    write, column = KINDS[name]
    write(tmp_path / name)
    clean = CLEAN.copy()
    clean.setflags(write=False)
    observed = replay(tmp_path / name, column, clean)
    assert observed.dtype == np.int64
    np.testing.assert_array_equal(observed, OBSERVED)


@pytest.mark.parametrize("observed, clean", [("noisy_labels.npy", "true_labels.npy"), ("y_noisy.npy", "y_true.npy")])
def test_a_folder_of_two_lists_is_compared_with_the_data(tmp_path, observed, clean):
    np.save(tmp_path / observed, OBSERVED)
    np.testing.assert_array_equal(replay(tmp_path), OBSERVED)
    np.save(tmp_path / clean, CLEAN)
    np.testing.assert_array_equal(replay(tmp_path), OBSERVED)
    np.save(tmp_path / clean, CLEAN[::-1])
    with pytest.raises(DataError, match="row 0: clean label 1 where the data set has 0: these"):
        replay(tmp_path)


class Runs:
    """Would run code when it is loaded."""

    def __reduce__(self):
        return print, ("loaded",)


BAD = {
    "pickle": ("a.pt", lambda p: torch.save({"y": Runs()}, p), r"a\.pt cannot be read: it must have tensors or arrays"),
    "no labels": ("a.pt", lambda p: torch.save({"note": "none"}, p), r"a\.pt has no tensor or array"),
    "torn": ("a.pt", lambda p: p.write_bytes(b"PK"), r"a\.pt cannot be read"),
    "short": (
        "a.txt",
        lambda p: p.write_text(lines(OBSERVED[:5])),
        r"a\.txt has 5 rows; the data set has 6 rows",
    ),
    "range": (
        "a.npy",
        lambda p: np.save(p, OBSERVED * 2),
        r"a\.npy, row 2: label 6; it must lie in 0\.\.3 \(3 such labels",
    ),
    "range text": (
        "a.csv",
        lambda p: p.write_text("y\n" + lines([0, 1, 2, -1, 0, 1])),
        r"a\.csv, line 5: label -1; .*1 such label\)",
    ),
    "word": (
        "a.csv",
        lambda p: p.write_text("y\n" + lines([0, 1, "cat", 3, 0, 1])),
        r"a\.csv, line 4: cat is not a class number",
    ),
    "fraction": (
        "a.txt",
        lambda p: p.write_text(lines([0, 1, 2, 0.5, 0, 1])),
        r"a\.txt, line 4: 0\.5 is not a class number",
    ),
    "nan": (
        "a.npy",
        lambda p: np.save(p, np.array([0, 1, np.nan, 0, 0, 0])),
        r"a\.npy, row 2: nan is not a class number",
    ),
    "gap": ("a.txt", lambda p: p.write_text("0\n1\n\n3\n0\n1\n"), r"a\.txt, line 3 has no label"),
    "ragged": ("a.csv", lambda p: p.write_text("x,y\n1,2\n1\n"), r"a\.csv, line 3: 1 columns, line 1 has 2"),
    "which": ("a.csv", lambda p: p.write_text("x,y\n1,2\n"), r"a\.csv has x, y: choose with noise\.column"),
    "which array": ("a.npz", lambda p: np.savez(p, x=CLEAN, y=CLEAN), r"a\.npz has x, y: choose with noise\.column"),
    "empty": ("a.txt", lambda p: p.write_text(""), r"a\.txt is empty"),
    "header alone": ("a.csv", lambda p: p.write_text("observed\n"), r"a\.csv has 0 rows"),
    "two axes": ("a.npy", lambda p: np.save(p, np.eye(6)), r"a\.npy: labels must be one list \[N\], they are \[6, 6\]"),
    "pickled": ("a.npy", lambda p: np.save(p, np.array([{}], object)), r"a\.npy cannot be read: .*allow_pickle"),
    "damaged": ("a.npz", lambda p: p.write_bytes(b"PK\3\4 nothing"), r"a\.npz cannot be read"),
    "binary": ("a.txt", lambda p: p.write_bytes(b"\xff\xfe\0"), r"a\.txt cannot be read"),
    "other rows": (
        "a.npz",
        lambda p: np.savez(p, observed=OBSERVED, clean=CLEAN[::-1]),
        r"a\.npz, row 0: clean label 1 where the data set has 0: these are labels of other rows",
    ),
}


@pytest.mark.parametrize("name, write, message", BAD.values(), ids=BAD)
def test_bad_files(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(DataError, match=message):
        replay(tmp_path / name)


def test_bad_paths_and_columns(tmp_path):
    (tmp_path / "labels.json").write_text("[]")
    (tmp_path / "labels.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"labels\.npz does not exist \(relative paths start at"):
        File(str(tmp_path))
    with pytest.raises(ValueError, match=r"labels\.json must end in one of \.npz, \.npy, \.pt, \.csv, \.txt"):
        File(str(tmp_path / "labels.json"))
    with pytest.raises(DataError, match=r"labels\.csv has x, y, but no column z"):
        replay(tmp_path / "labels.csv", "z")


FLAGS = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
VALUES = np.array([1.5, -2.25, 1e6, 0.1], dtype=np.float32)


def flag_lines(rows):
    return "".join(f"{a},{b},{c}\n" for a, b, c in rows)


@pytest.mark.parametrize("name, labels, write", [
    ("a.npz", FLAGS, lambda p: np.savez(p, observed=FLAGS, clean=1 - FLAGS)),
    ("a.npy", FLAGS, lambda p: np.save(p, FLAGS.astype(bool))),
    ("a.csv", FLAGS, lambda p: p.write_text("amazed,happy,sad\n" + flag_lines(FLAGS))),
    ("a.txt", FLAGS, lambda p: p.write_text(flag_lines(FLAGS))),
    ("a.npz", VALUES, lambda p: np.savez(p, observed=VALUES, clean=VALUES + 1)),
    ("a.npy", VALUES, lambda p: np.save(p, VALUES.astype(np.float64))),
    ("a.csv", VALUES, lambda p: p.write_text("observed,clean\n" + "".join(f"{v:.6g},{v + 1:.6g}\n" for v in VALUES))),
    ("a.txt", VALUES, lambda p: np.savetxt(p, VALUES)),
])  # fmt: skip
def test_several_labels_a_sample_and_values(tmp_path, name, labels, write):
    write(tmp_path / name)
    clean = 1 - FLAGS if labels is FLAGS else VALUES + 1
    observed = File(str(tmp_path / name))(clean, 3, np.random.default_rng(0))
    np.testing.assert_array_equal(observed, labels)
    assert observed.dtype == labels.dtype


@pytest.mark.parametrize("name, clean, write, message", [
    ("a.npy", FLAGS, lambda p: np.save(p, FLAGS[:3]), r"a\.npy has 3 rows of 3 labels; the data set has 4 rows of"),
    ("a.npy", FLAGS, lambda p: np.save(p, FLAGS[:, :2]), r"4 rows of 2 labels; the data set has 4 rows of 3"),
    ("a.npy", FLAGS, lambda p: np.save(p, FLAGS + 1), r"a\.npy, row 0: label 2; it must lie in 0\.\.1 \(6 such labels"),
    ("a.npy", FLAGS, lambda p: np.save(p, FLAGS / 2), r"a\.npy, row 0: 0\.5 is not a label, 0 or 1"),
    ("a.npy", FLAGS, lambda p: np.save(p, FLAGS[:, 0]), r"labels must be 0 and 1 \[N, K\], they are \[4\]"),
    ("a.csv", FLAGS, lambda p: p.write_text("a,b,c\n0,1,x\n"), r"a\.csv, line 2: x is not a label, 0 or 1"),
    ("a.npy", VALUES, lambda p: np.save(p, FLAGS), r"labels must be one list \[N\], they are \[4, 3\]"),
    ("a.txt", VALUES, lambda p: p.write_text("1\n2\ninf\n3\n"), r"a\.txt, line 3: inf is not a number"),
    ("a.npz", FLAGS, lambda p: np.savez(p, observed=FLAGS, clean=FLAGS[::-1]),
     r"a\.npz, row 0: clean label 1 where the data set has 0: these are labels of other rows"),
    ("a.npz", VALUES, lambda p: np.savez(p, observed=VALUES, clean=VALUES * 1.001), r"clean label 1\.50\d* where"),
    ("a.npz", VALUES, lambda p: np.savez(p, observed=VALUES, clean=VALUES[1:]), "has 3 rows in `clean`; the data set"),
])  # fmt: skip
def test_bad_files_of_other_tasks(tmp_path, name, clean, write, message):
    write(tmp_path / name)
    with pytest.raises(DataError, match=message):
        File(str(tmp_path / name))(clean, 3, np.random.default_rng(0))


@pytest.mark.parametrize("dataset", ["emotions", "energy"])
def test_a_run_of_any_task_is_replayed(composed, data_dir, dataset):
    short = [f"dataset={dataset}", f"paths.data_dir={data_dir}", "train.epochs=1", "model.hidden=[8]"]
    first = run(composed(*short, "noise.rate=0.3"))
    again = run(composed(*short, "noise=file", f"noise.path={first.folder}", "seed=3", "method=lilaw"))
    with np.load(first.folder / "labels.npz") as ours, np.load(again.folder / "labels.npz") as theirs:
        for name in ("observed", "clean"):
            np.testing.assert_array_equal(ours[name], theirs[name])
        assert (ours["val"] != theirs["val"]).any()
    assert again.result["noise.realised_rate"] == first.result["noise.realised_rate"] > 0.28


def test_an_earlier_run_is_replayed(tiny):
    """By its folder, in another split, for another seed: the same observed labels, and no rate that was asked for."""
    first = run(tiny("noise.rate=0.3", "train.epochs=1"))
    again = run(tiny("noise=file", f"noise.path={first.folder}", "train.epochs=1", "seed=5", "split.val_fraction=0.3"))
    assert again.result["labels.sha256"] == first.result["labels.sha256"]
    assert again.result["noise.realised_rate"] == first.result["noise.realised_rate"] > 0.29
    assert json.loads((again.folder / "result.json").read_text())["noise.requested_rate"] is None
    assert again.folder.name.startswith("digits-file-mlp-ce-s5-")


def test_a_run_refuses_a_file_of_another_data_set(tiny, tmp_path):
    np.save(tmp_path / "a.npy", OBSERVED)
    with pytest.raises(DataError, match=r"a\.npy has 6 rows; the data set has 1438 rows"):
        run(tiny("noise=file", f"noise.path={tmp_path}/a.npy"))
    with pytest.raises(ConfigError, match=r"noise=file: path .*b\.npy does not exist"):
        run(tiny("noise=file", f"noise.path={tmp_path}/b.npy"))
