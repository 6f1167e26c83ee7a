"""The loaders on real files (where LILAWBENCH_DATA names them) and on tiny files in the official layout."""

import gzip
import hashlib
import importlib.util
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from lilawbench.data import adult, ecg5000
from lilawbench.data.adult import Adult
from lilawbench.data.digits import GREY_STEP, Digits
from lilawbench.data.ecg5000 import ECG5000
from lilawbench.data.vision import MNIST, FashionMNIST
from lilawbench.errors import DataError

REAL = os.environ.get("LILAWBENCH_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="real data: set LILAWBENCH_DATA to the folder that holds it")


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    """No test here may find a file of the user's, or leave one."""
    monkeypatch.setenv("LILAWBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def real():
    """Each real data set, read once."""
    loaded = {}

    def load(dataset):
        key = (type(dataset), *vars(dataset).values())
        if key not in loaded:
            loaded[key] = dataset.load(Path(REAL))
        return loaded[key]

    return load


def check_types(source, num_classes):
    """What Source promises, for any data set."""
    for inputs, clean in [(source.train_input, source.train_clean), (source.test_input, source.test_clean)]:
        assert inputs.dtype == (torch.uint8 if source.is_image else torch.float32)
        assert tuple(inputs.shape) == (len(clean), *source.input_shape)
        assert clean.dtype == np.int64
        assert set(np.unique(clean)) == set(range(num_classes))
        assert torch.isfinite(inputs.float()).all()
    assert source.num_classes == num_classes == len(set(source.class_names))
    if source.is_image:
        assert len(source.mean) == len(source.std) == source.input_shape[0]


# digits


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    source = Digits().load(None)
    check_types(source, Digits.num_classes)
    pixels = torch.cat([source.train_input, source.test_input]) // GREY_STEP
    ours = np.column_stack([pixels.flatten(1), np.concatenate([source.train_clean, source.test_clean])])
    theirs = np.column_stack(load_digits(return_X_y=True))
    assert sorted(map(tuple, ours)) == sorted(map(tuple, theirs.astype(int)))
    assert source.train_input.max() == 240


def test_digits_split_is_stratified_and_never_changes():
    source = Digits().load(None)
    assert (len(source.train_clean), len(source.test_clean)) == (1438, 359)
    counts = np.bincount(source.test_clean)
    np.testing.assert_allclose(counts, 0.2 * np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180]), atol=1)
    assert source.test_clean[:10].tolist() == [5, 9, 2, 4, 6, 7, 9, 3, 4, 6]
    assert hashlib.md5(source.test_input.numpy().tobytes()).hexdigest() == "192ee83fe06d1d81752c0c100d684099"


def test_digits_mean_and_std_are_of_the_training_pixels():
    source = Digits().load(None)
    unit = source.train_input.numpy() / 255
    assert source.mean == pytest.approx((unit.mean(),), abs=1e-12)
    assert source.std == pytest.approx((unit.std(),), abs=1e-12)
    assert type(source.mean[0]) is type(source.std[0]) is float


# MNIST and Fashion-MNIST


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape) + values.tobytes()


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    """Thirty training and ten test images in a folder that torchvision's hashes are made to fit."""
    import torchvision

    random = np.random.default_rng(0)
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    resources = []
    for part, count in [("train", 30), ("t10k", 10)]:
        images = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for kind, values in [("images-idx3", images), ("labels-idx1", labels)]:
            path = folder / f"{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(idx(values)))
            resources.append((path.name, md5(path)))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:1/"])
    return folder


def replace(path: Path, content: bytes, monkeypatch):
    """Writes `content` (as .gz) and makes it the official file."""
    import torchvision

    path.write_bytes(gzip.compress(content))
    resources = [(name, md5(path.with_name(name))) for name, _ in torchvision.datasets.MNIST.resources]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)


def test_mnist_reads_gz_without_unpacking_on_disk(tiny_mnist, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    source = MNIST().load(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    check_types(source, 10)
    assert source.train_input.shape == (30, 1, 28, 28)
    assert source.test_clean.tolist() == list(range(10))
    assert source.class_names[3] == "3"
    content = gzip.decompress((tiny_mnist / "train-images-idx3-ubyte.gz").read_bytes())
    assert source.train_input.numpy().tobytes() == content[16:]


def test_mnist_accepts_the_unpacked_files(tiny_mnist, tmp_path):
    packed = MNIST().load(tmp_path)
    for path in list(tiny_mnist.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    unpacked = MNIST().load(tmp_path)
    assert torch.equal(packed.train_input, unpacked.train_input)
    np.testing.assert_array_equal(packed.test_clean, unpacked.test_clean)


def test_mnist_damaged_file(tiny_mnist, tmp_path):
    path = tiny_mnist / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz is damaged"):
        MNIST().load(tmp_path)


def test_mnist_missing_file(tiny_mnist, tmp_path):
    (tiny_mnist / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"MNIST/raw/train-labels-idx1-ubyte\.gz is not on disk"):
        MNIST().load(tmp_path)


LABELS = idx(np.arange(10, dtype=np.uint8))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"<html>", "not an idx file of bytes: it starts with 3c 68 74 6d"),
        (b"", "not an idx file of bytes: it starts with nothing"),
        (b"\0\0\x0d\x01" + LABELS[4:], "not an idx file of bytes: it starts with 00 00 0d 01"),
        (LABELS[:6], "not an idx file of bytes"),
        (LABELS[:-1], r"cut short or too long: 9 values where its header says \[10\]"),
        (LABELS + b"\0", r"cut short or too long: 11 values"),
        (idx(np.arange(9, dtype=np.uint8)), r"do not fit together: images \[10, 28, 28\], labels \[9\]"),
        (idx(np.arange(1, 11, dtype=np.uint8)), "up to 10; expected .* up to 9"),
    ],
    ids=["html", "empty", "floats", "half a header", "short", "long", "too few", "label 10"],
)
def test_mnist_file_that_is_not_what_it_should_be(content, message, tiny_mnist, tmp_path, monkeypatch):
    replace(tiny_mnist / "t10k-labels-idx1-ubyte.gz", content, monkeypatch)
    with pytest.raises(DataError, match=message):
        MNIST().load(tmp_path)


def test_mnist_unpacked_file_under_a_gz_name(tiny_mnist, tmp_path, monkeypatch):
    path = tiny_mnist / "t10k-labels-idx1-ubyte.gz"
    replace(path, LABELS, monkeypatch)
    path.write_bytes(LABELS)
    replacement = [(name, md5(tiny_mnist / name)) for name in sorted(p.name for p in tiny_mnist.iterdir())]
    monkeypatch.setattr("torchvision.datasets.MNIST.resources", replacement)
    with pytest.raises(DataError, match="cannot be read: Not a gzipped file"):
        MNIST().load(tmp_path)


@needs_real
@pytest.mark.parametrize(
    "dataset, first_labels, test_counts",
    [
        (MNIST(), [5, 0, 4, 1, 9], [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        (FashionMNIST(), [9, 0, 0, 3, 0], [1000] * 10),
    ],
    ids=["mnist", "fashion_mnist"],
)
def test_real_images(dataset, first_labels, test_counts, real):
    source = real(dataset)
    check_types(source, 10)
    assert source.train_input.shape == (60_000, 1, 28, 28)
    assert source.test_input.shape == (10_000, 1, 28, 28)
    assert source.train_clean[:5].tolist() == first_labels
    assert np.bincount(source.test_clean).tolist() == test_counts
    # the published mean and std are those of the training pixels, to four decimals
    level, count = torch.arange(256).double() / 255, torch.bincount(source.train_input.flatten()).double()
    mean = (level * count).sum() / count.sum()
    std = (((level - mean) ** 2 * count).sum() / count.sum()).sqrt()
    assert source.mean == pytest.approx((mean.item(),), abs=1e-4)
    assert source.std == pytest.approx((std.item(),), abs=1e-4)


@needs_real
def test_real_mnist_pixels(real):
    """The first image is the well-known five; its first ink is row 5, column 12."""
    five = real(MNIST()).train_input[0, 0]
    assert five.nonzero()[0].tolist() == [5, 12]
    assert five[5, 12:16].tolist() == [3, 18, 18, 18]
    assert five.sum() == 27525


# Adult


def adult_rows(count: int) -> list[list[str]]:
    """Ages 20..69, four columns that vary, a quarter of the rows above 50K."""
    rows = []
    for i in range(count):
        work, income = ["Private", "?", "State-gov"][i % 3], CLASS[i % 4 == 0]
        race, sex = ["White", "Black"][i % 2], ["Male", "Female"][i // 2 % 2]
        rows.append([str(20 + i % 50), work, str(1000 + i), "HS-grad", "9", "Divorced", "Sales", "Unmarried",
                     race, sex, "0", str(i % 7), "40", "Cuba", income])  # fmt: skip
    return rows


CLASS = adult.CLASS_NAMES


def write_adult(folder: Path, rows: list[list[str]], monkeypatch) -> Path:
    path = folder / "adult" / "adult.data"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(", ".join(row) + "\n" for row in rows) + "\n")
    monkeypatch.setattr(adult, "MD5", md5(path))
    return path


def test_adult_columns_groups_and_missing_values(tmp_path, monkeypatch):
    rows = adult_rows(40)
    write_adult(tmp_path, rows, monkeypatch)
    source = Adult().load(tmp_path)
    check_types(source, 2)
    _, test = adult.split_rows(np.array([row[-1] == ">50K" for row in rows]), 0.3)
    assert len(source.test_clean) == 12 and source.test_clean.sum() == 3
    # 6 numbers, then workclass (?, Private, State-gov), 5 columns of one category, race (2), sex (2), country (1)
    assert source.input_shape == (6 + 3 + 1 + 1 + 1 + 1 + 2 + 2 + 1,)
    missing = [float(rows[i][1] == "?") for i in test]
    assert source.test_input[:, 6].tolist() == missing
    assert source.test_groups["sex"].tolist() == [rows[i][9] for i in test]
    assert source.test_groups["race"].tolist() == [rows[i][8] for i in test]


def test_adult_age_bands(tmp_path, monkeypatch):
    rows = adult_rows(40)
    ages = [17, 24, 25, 34, 35, 44, 45, 54, 55, 64, 65, 90]
    _, test = adult.split_rows(np.array([row[-1] == ">50K" for row in rows]), 0.3)
    for i, age in zip(test, ages, strict=True):
        rows[i][0] = str(age)
    write_adult(tmp_path, rows, monkeypatch)
    bands = [band for band in ("<=24", "25-34", "35-44", "45-54", "55-64", "65+") for _ in range(2)]
    assert Adult().load(tmp_path).test_groups["age"].tolist() == bands


def test_adult_test_rows_do_not_shape_the_training_inputs(tmp_path, monkeypatch):
    rows = adult_rows(40)
    write_adult(tmp_path, rows, monkeypatch)
    before = Adult().load(tmp_path)
    _, test = adult.split_rows(np.array([row[-1] == ">50K" for row in rows]), 0.3)
    for i in test:
        rows[i][2], rows[i][1] = "999999", "Never-worked"
    write_adult(tmp_path, rows, monkeypatch)
    after = Adult().load(tmp_path)
    assert torch.equal(before.train_input, after.train_input)
    assert not after.test_input[:, 6:9].any()  # a category that no training row has


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_adult_refuses_a_fraction_outside_0_1(fraction):
    with pytest.raises(ValueError, match="test_fraction must lie between 0 and 1"):
        Adult(test_fraction=fraction)


@pytest.mark.parametrize(
    "column, value, message",
    [
        (slice(3, 4), [], "line 3: 14 columns, expected 15"),
        (slice(3, 3), ["x"], "line 3: 16 columns, expected 15"),
        (slice(14, 15), ["<=50K."], r"line 3: income is '<=50K\.', expected one of <=50K, >50K"),
        (slice(0, 1), ["old"], "a column of numbers holds something else.*old"),
    ],
)
def test_adult_bad_line(column, value, message, tmp_path, monkeypatch):
    rows = adult_rows(40)
    rows[2][column] = value
    write_adult(tmp_path, rows, monkeypatch)
    with pytest.raises(DataError, match=message):
        Adult().load(tmp_path)


@needs_real
def test_real_adult(real):
    """The test rows of LiLAW's Table 19; 32,561 rows, 102 categories of which none is only in the test rows."""
    source = real(Adult())
    check_types(source, 2)
    assert source.train_input.shape == (22_792, 6 + 102)
    assert np.bincount(source.train_clean).tolist() == [24_720 - 7_417, 7_841 - 2_352]
    assert np.bincount(source.test_clean).tolist() == [7_417, 2_352]
    both = torch.cat([source.train_input, source.test_input])
    assert both[:, 6].sum() == 1_836  # workclass "?"
    assert (both[:, 6:].sum(dim=1) == 8).all()  # one category in each of eight columns
    sizes = {name: len(np.unique(group)) for name, group in source.test_groups.items()}
    assert sizes == {"sex": 2, "race": 5, "age": 6}
    assert all(group.shape == (9_769,) and group.dtype.kind == "U" for group in source.test_groups.values())


@needs_real
def test_real_adult_is_standardised_by_its_training_rows(real):
    source = real(Adult())
    numbers = source.train_input[:, :6].double()
    np.testing.assert_allclose(numbers.mean(dim=0), 0, atol=1e-5)
    np.testing.assert_allclose(numbers.std(dim=0, correction=0), 1, atol=1e-5)
    rows = [line.split(", ") for line in (Path(REAL) / adult.FILE).read_text().splitlines() if line]
    age, target = np.array([float(row[0]) for row in rows]), np.array([row[-1] == ">50K" for row in rows])
    train, test = adult.split_rows(target, 0.3)
    expected = (age[test] - age[train].mean()) / age[train].std()
    np.testing.assert_allclose(source.test_input[:, 0], expected, atol=1e-5)


# ECG5000


def write_ecg(folder: Path, monkeypatch, **texts: str):
    (folder / "ECG5000").mkdir()
    hashes = {}
    for part, text in texts.items():
        path = folder / "ECG5000" / f"ECG5000_{part}.txt"
        path.write_text(text)
        hashes[path.name] = md5(path)
    monkeypatch.setattr(ecg5000, "MD5", hashes)


def beats(labels: list[int], length: int = 140) -> str:
    return "".join(f"  {k:.7e}" + "".join(f"  {k * i % 9:.7e}" for i in range(length)) + "\n" for k in labels)


def test_ecg_beats_are_normalised_one_by_one(tmp_path, monkeypatch):
    write_ecg(tmp_path, monkeypatch, TRAIN=beats([1, 2, 3, 4, 5]), TEST=beats([5, 4, 3, 2, 1, 1]))
    source = ECG5000().load(tmp_path)
    check_types(source, 5)
    assert source.test_clean.tolist() == [4, 3, 2, 1, 0, 0]
    first = np.arange(140) % 9
    np.testing.assert_allclose(source.train_input[0, :, 0], (first - first.mean()) / first.std(), atol=1e-6)


def test_ecg_swapped(tmp_path, monkeypatch):
    write_ecg(tmp_path, monkeypatch, TRAIN=beats([1, 2]), TEST=beats([3, 4, 5]))
    official, swapped = ECG5000().load(tmp_path), ECG5000(split="swapped").load(tmp_path)
    assert torch.equal(official.train_input, swapped.test_input)
    assert torch.equal(official.test_input, swapped.train_input)
    assert swapped.train_clean.tolist() == [2, 3, 4]


def test_ecg_refuses_another_split():
    with pytest.raises(ValueError, match="split must be one of official, swapped, got 'random'"):
        ECG5000(split="random")


@pytest.mark.parametrize(
    "text, message",
    [
        (beats([1], length=139), "found 139 values"),
        (beats([6]), r"labels \[6\.\]"),
        (beats([0]), r"labels \[0\.\]"),
        (beats([1]) + beats([1], length=3), "not a table of numbers"),
        ("<html>", "not a table of numbers"),
    ],
)
def test_ecg_bad_file(text, message, tmp_path, monkeypatch):
    write_ecg(tmp_path, monkeypatch, TRAIN=text, TEST=beats([1]))
    with pytest.raises(DataError, match=message):
        ECG5000().load(tmp_path)


@needs_real
def test_real_ecg(real):
    source = real(ECG5000())
    check_types(source, 5)
    assert source.train_input.shape == (500, 140, 1)
    assert source.test_input.shape == (4_500, 140, 1)
    assert np.bincount(source.train_clean).tolist() == [292, 177, 10, 19, 2]
    assert np.bincount(source.test_clean).tolist() == [2_627, 1_590, 86, 175, 22]
    np.testing.assert_allclose(source.test_input.double().mean(dim=1), 0, atol=1e-6)
    np.testing.assert_allclose(source.test_input.double().std(dim=1, correction=0), 1, atol=1e-6)
    # the file's first value is -0.11252183, its beats have std 1 over N - 1 = 139
    assert source.train_input[0, 0, 0].item() == pytest.approx(-0.11252183 * (140 / 139) ** 0.5, abs=1e-6)
    assert torch.equal(real(ECG5000(split="swapped")).train_input, source.test_input)


# scripts/prepare_data.py


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


@needs_real
def test_prepare_all(prepare_data, capsys):
    assert prepare_data.main(["all", "--data-dir", REAL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(prepare_data.DATASETS)
    assert lines[3] == "adult: 22792 train + 9769 test, shape [108], classes: <=50K 24720, >50K 7841"
