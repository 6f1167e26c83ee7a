"""Lists of images: names and labels of many lines, and files that are not there."""

import numpy as np
import pytest

from lilawbench.datasets import lists
from lilawbench.datasets.lists import Listed, check_present, labels_of, read_labelled, read_names
from lilawbench.support.errors import DataError


@pytest.fixture
def write(tmp_path):
    """write(text) -> path of a list."""

    def make(text: str):
        path = tmp_path / "list.txt"
        path.write_text(text)
        return path

    return make


def test_names_and_labels(write, monkeypatch):
    monkeypatch.setattr(lists, "CHUNK", 2)  # of different longest names
    listed = read_labelled(write("a.jpg 3\nlonger/b c.jpg\t0\nd.jpg 12\n\n"))
    assert listed.names.tolist() == [b"a.jpg", b"longer/b c.jpg", b"d.jpg"] and listed.label.tolist() == [3, 0, 12]
    assert listed.names.dtype.kind == "S" and listed.label.dtype == np.int64
    assert read_names(write("a.jpg\r\nb.jpg\r\n")).tolist() == [b"a.jpg", b"b.jpg"]
    assert read_labelled(write("name label\na.jpg 1\n"), headings=1).label.tolist() == [1]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", r"list\.txt is empty"),
        ("a.jpg 1\nb.jpg\nc.jpg 2\n", r"list\.txt, line 2: not a name and a whole number"),
        ("a.jpg 1\nb.jpg 2\nc.jpg cat\n", r"list\.txt, line 3: not a name and a whole number"),
        ("a.jpg 1\n\nc.jpg 2\n", r"list\.txt, line 2: not a name"),
    ],
)
def test_lists_that_are_none(write, monkeypatch, text, message):
    monkeypatch.setattr(lists, "CHUNK", 2)
    with pytest.raises(DataError, match=message):
        read_labelled(write(text))


def test_labels_are_looked_up_by_name(tmp_path):
    draw = np.random.default_rng(0)
    names = np.array([f"images/{i}.jpg".encode() for i in range(200)])
    label, rows = draw.integers(0, 14, 200), draw.permutation(200)
    known = Listed(names[rows], label[rows])
    asked = draw.permutation(200)[:50]
    assert labels_of(names[asked], known, tmp_path).tolist() == label[asked].tolist()
    with pytest.raises(DataError, match=r"kv\.txt has no label of 12 images: x0, .*, x9 and 2 more"):
        labels_of(np.array([f"x{i}".encode() for i in range(12)] + [names[0]]), known, tmp_path / "kv.txt")


def test_missing_files_are_counted_and_the_first_ten_named(tmp_path):
    (tmp_path / "a").mkdir()
    names = np.array([f"{'ab'[i % 2]}/{i}.jpg".encode() for i in range(24)])
    for name in names[:4:2]:
        (tmp_path / name.decode()).touch()
    with pytest.raises(DataError) as refused:
        check_present(tmp_path, names)
    assert str(refused.value) == (
        f"22 of 24 images that the lists name are not in {tmp_path}: "
        "b/1.jpg, b/3.jpg, a/4.jpg, b/5.jpg, a/6.jpg, b/7.jpg, a/8.jpg, b/9.jpg, a/10.jpg, b/11.jpg and 12 more"
        "; put them there or remove them from the lists"
    )
    check_present(tmp_path, names[:4:2])
