"""Labels of a file find their rows by name; where the order alone has to do, that is said."""

import logging

import numpy as np
import pytest

from lilawbench.config import build
from lilawbench.noise import File
from lilawbench.pipeline import draw_labels
from lilawbench.support.errors import DataError

CLEAN = np.array([0, 1, 1, 0])
IDS = np.array(["d", "a", "f", "b"])  # the training rows of six; c and e were drawn as test rows
ALL = {"a": 1, "b": 1, "c": 0, "d": 0, "e": 1, "f": 0}
OBSERVED = [0, 1, 0, 1]
CLASSES = ("ill", "healthy")


def replay(path, ids=IDS, drawn_test=2, column=None, clean=CLEAN):
    return File(str(path), column)(clean, 2, np.random.default_rng(0), CLASSES, ids, drawn_test)


@pytest.mark.parametrize("name, write", [
    ("a.csv", lambda p: p.write_text("id,label\n" + "".join(f"{i},{y}\n" for i, y in ALL.items()))),
    ("a.csv", lambda p: p.write_text("label,id\n" + "".join(f"{CLASSES[y]}, {i}\n" for i, y in ALL.items()))),
    ("a.csv", lambda p: p.write_text("file,label\n" + "".join(f"{i},{y}\n" for i, y in ALL.items()))),
    ("a.csv", lambda p: p.write_text("".join(f"{i},{y}\n" for i, y in ALL.items()))),
    ("a.csv", lambda p: p.write_text("id,label\n" + "".join(f"{i},{y if i in IDS else ''}\n" for i, y in ALL.items()))),
    ("a.npz", lambda p: np.savez(p, observed=list(ALL.values()), ids=list(ALL))),
    ("a.npz", lambda p: np.savez(p, observed=OBSERVED, ids=IDS, clean=CLEAN, train=[0, 1], val=[2, 3], test_ids=["c"])),
], ids=["id", "class names", "another name", "no header", "test rows without a label", "arrays", "a run"])  # fmt: skip
def test_rows_are_found_by_name(tmp_path, name, write):
    write(tmp_path / name)
    assert replay(tmp_path / name).tolist() == OBSERVED


def test_several_labels_a_row_are_found_by_name(tmp_path):
    (tmp_path / "a.csv").write_text("id,x,y\nb,1,1\na,0,1\n")
    observed = replay(tmp_path / "a.csv", np.array(["a", "b"]), clean=np.zeros((2, 2), np.int64))
    assert observed.tolist() == [[0, 1], [1, 1]]


def test_rows_without_names_are_found_by_number(tmp_path):
    (tmp_path / "a.csv").write_text("id,label\n3,1\n2,0\n1,1\n0,0\n")
    assert replay(tmp_path / "a.csv", None, 0).tolist() == OBSERVED


def test_rows_that_share_a_name_keep_their_order(tmp_path):
    np.savez(tmp_path / "a.npz", observed=OBSERVED, ids=list("aabb"))
    assert replay(tmp_path / "a.npz", np.array(list("aabb"))).tolist() == OBSERVED


@pytest.mark.parametrize("text, message", [
    ("id,label\na,0\nb,1\nd,1\n", r"a\.csv, column id: no row is called f \(1 of the 4 names that the data set has"),
    ("id,label\na,0\nb,1\nd,1\nf,0\na,1\n", r"a\.csv, column id: the name a is there more than once \(1 such\)"),
    ("id,label\nf,2\na,0\nb,1\nd,1\n", r"a\.csv, line 2: label 2; it must lie in 0\.\.1"),
    ("0\n1\n0\n1\n0\n1\n", r"6 rows; .* 4 rows, those left after 2 were drawn as test .* such as d "),
    ("id,label\n1,0\n2,1\n", r"header \(id,label\); .* 4 rows, those left .*; its column id has no .* such as d$"),
], ids=["missing", "twice", "line", "all rows", "other names"])  # fmt: skip
def test_names_that_do_not_fit(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        replay(tmp_path / "a.csv")


def test_labels_in_order_are_warned_about_where_test_rows_were_drawn(tmp_path, caplog):
    (tmp_path / "a.txt").write_text("0\n1\n0\n1\n")
    assert replay(tmp_path / "a.txt", drawn_test=0).tolist() == OBSERVED and not caplog.records
    with caplog.at_level(logging.WARNING):
        assert replay(tmp_path / "a.txt").tolist() == OBSERVED
    assert "in the order of the data set's rows, those left after 2 were drawn" in caplog.text


@pytest.mark.parametrize("text, message", [
    ("helthy\nill\nhealthy\nill\n", r"a\.txt, line 1: helthy is no class; did you mean healthy\?"),
    ("healthy\nill\nhelthy\nill\n", r"a\.txt, line 3: helthy is no class; did you mean healthy\?"),
    ("label\nill\nhealthy\nill\n", r"a\.txt has 3 rows below its header \(label\); the data set has 4 rows"),
    ("health\nill\nill\nill\nill\nill\n", "line 1: health is no class"),
    ("ill\nill\n\nhealthy\nill\n", r"a\.txt, line 3 has no label"),
    ("x,label\n1,ill\n2,\n3,ill\n4,ill\n", r"choose with noise\.column"),
], ids=["first", "later", "header", "too many", "gap", "two columns"])  # fmt: skip
def test_slips_in_names_of_classes(tmp_path, text, message):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        replay(tmp_path / "a.txt", None, 0)


def test_a_header_like_a_class_is_a_header_where_the_rows_fit_and_an_empty_cell_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("health\nill\nhealthy\nill\nhealthy\n")
    assert replay(tmp_path / "a.csv", None, 0).tolist() == OBSERVED
    (tmp_path / "b.csv").write_text("x,label\n1,ill\n2,\n3,ill\n4,ill\n")
    with pytest.raises(DataError, match=r"b\.csv, line 3 has no label"):
        replay(tmp_path / "b.csv", None, 0, "label")


def test_a_table_whose_test_rows_were_drawn(tmp_path, composing):
    """The file of all rows in the user's order, and a run's own labels."""
    rows = [(f"p{i}", i % 7, i % 2) for i in range(60)]
    table, labels = tmp_path / "my.csv", tmp_path / "labels.csv"
    table.write_text("who,x,y\n" + "".join(f"{a},{x},{y}\n" for a, x, y in rows))
    labels.write_text("who,label\n" + "".join(f"{a},{1 - y}\n" for a, _, y in rows))
    own = ["dataset=table", f"dataset.path={table}", "dataset.label=y", "dataset.id=who", "model.hidden=[8]"]
    cfg = composing(*own, "noise=file", f"noise.path={labels}", "split.val_labels=observed")
    source = build(cfg.dataset).source(None, np.random.default_rng(0))
    assert source.drawn_test == 12
    np.testing.assert_array_equal(draw_labels(cfg, source).observed, 1 - source.train_clean)
