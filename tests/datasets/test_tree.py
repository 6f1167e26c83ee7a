"""Folders of images as found: parts, classes, links, what is left out. Files with an image's ending are not opened."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from lilawbench.datasets.tree import read_tree
from lilawbench.loading.image_files import file_ids
from lilawbench.support.errors import DataError


@pytest.fixture
def lay(tmp_path):
    """lay("cat/0.jpg", "empty/", ...) -> root of a tree of empty files and folders."""

    def make(*paths: str):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            if path.endswith("/"):
                (tmp_path / path).mkdir(parents=True, exist_ok=True)
            else:
                (tmp_path / path).touch()
        return tmp_path

    return make


def images(tree) -> dict[str, list[tuple[str, str]]]:
    """Path and class of the images of each part."""
    return {
        part: [
            (name, tree.class_names[label]) for name, label in zip(file_ids(listed.names), listed.label, strict=True)
        ]
        for part, listed in tree.parts.items()
    }


PLAIN = "ant/0.jpg", "bee/0.jpg"


def test_rows_go_by_path_and_classes_by_number(lay):
    tree = read_tree(lay(*(f"{i}/{i}.png" for i in range(12)), "3/deep/0.png", "3/9.png"))
    assert tree.class_names == [*map(str, range(12))] and tree.folders == {"train": ""} and tree.left_out == ""
    assert [name for name, _ in images(tree)["train"]][:4] == ["0/0.png", "1/1.png", "10/10.png", "11/11.png"]
    assert images(tree)["train"][5:8] == [("3/3.png", "3"), ("3/9.png", "3"), ("3/deep/0.png", "3")]
    assert tree.parts["train"].label.dtype == np.int64


@pytest.mark.parametrize(
    "train, val, test",
    [
        ("train", None, "test"),
        ("Training", None, "Testing"),
        ("TRAIN", "valid", "Test"),
        ("train", "Validation", None),
        ("training_set", "val set", "test-set"),
    ],
)
def test_parts_by_name(lay, train, val, test):
    there = {part: folder for part, folder in [("train", train), ("val", val), ("test", test)] if folder}
    tree = read_tree(lay("notes/", *(f"{folder}/{path}" for folder in there.values() for path in PLAIN)))
    assert tree.folders == there
    assert images(tree) == {part: [(f"{f}/ant/0.jpg", "ant"), (f"{f}/bee/0.jpg", "bee")] for part, f in there.items()}
    assert tree.left_out == "1 folder(s) without images beside the parts (notes)"


@pytest.mark.parametrize("names", [("car", "train"), ("invalid", "valid"), ("control", "test"), ("jet", "test_tube")])
def test_a_class_may_be_named_as_a_part(lay, names):
    assert read_tree(lay(*(f"{name}/0.jpg" for name in names))).class_names == sorted(names)


@pytest.mark.parametrize(
    "paths, message",
    [
        (["ant/0.jpg"], r"has 1 folder\(s\) ant; expected one for each class, at least 2"),
        (
            ["train/0.jpg", "test/1.jpg"],
            "has test, train, named like parts of a split but not named and laid out as train/CLASS",
        ),
        (["train/0.jpg", "test/1.jpg", "cat/0.jpg"], "has test, train, named like parts"),
        (["trainA/0.jpg", "trainB/0.jpg", "testA/0.jpg"], "has testA, trainA, trainB, named like"),
        (["seg_train/cat/0.jpg", "seg_pred/0.jpg"], "has seg_train, named like parts of a split"),
        (["train/cat/0.jpg", "train/dog/0.jpg", "cat/0.jpg"], "cat, which has images, lies beside train"),
        (["train/cat/0.jpg", "train/dog/0.jpg", "old/a/b/0.jpg"], "old, which has images, lies beside train"),
        (["train/cat/0.jpg", "train/dog/0.jpg", "test/0.jpg"], r"test has images \(test/0.jpg\) in no class folder"),
        (["train/cat/0.jpg", "train/dog/0.jpg", "Train/cat/0.jpg"], "Train, train are all named as the train part"),
        (["test/cat/0.jpg", "val/dog/0.jpg"], "has test, val but no train folder"),
        (["train/cat/0.jpg", "train/dog/0.jpg", "val/Cat/0.jpg"], "val has the class 'Cat', .*did you mean cat"),
        (
            ["cat/train/0.jpg", "cat/test/0.jpg", "dog/0.jpg"],
            "cat has a train and a test folder; the parts must be above",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(lay, paths, message):
    with pytest.raises(DataError, match=message):
        read_tree(lay(*paths))


def test_hidden_and_foreign_files_are_left_out_and_named(lay):
    root = lay(
        *PLAIN, "ant/.ipynb_checkpoints/0-checkpoint.jpg", "ant/._0.jpg", "ant/Thumbs.db", "__MACOSX/ant/0.jpg",
        "bee/@eaDir/0.jpg", ".git/x/0.jpg", "ant/0.xml", "bee/notes.txt", "ant/clip.mov", "ant/model.heic", "bee/odd",
        "top.jpg",
    )  # fmt: skip
    os.mkfifo(root / "bee" / "pipe.jpg")
    tree = read_tree(root)
    assert images(tree) == {"train": [("ant/0.jpg", "ant"), ("bee/0.jpg", "bee")]}
    assert tree.left_out == (
        "6 hidden (.git ...), 1 .heic file(s) (ant/model.heic), 1 .mov file(s) (ant/clip.mov), 1 .txt file(s) "
        "(bee/notes.txt), 1 .xml file(s) (ant/0.xml), 1 file(s) of no known kind (bee/odd), 1 image(s) in no class "
        "folder (top.jpg), 1 special file(s) (bee/pipe.jpg)"
    )


def test_what_is_an_image_by_its_ending_or_else_by_its_content(lay):
    names = ["0.jfif", "1.TIF", "2.JPG", "3.webp", "4.jp2", "5.avif", "6.jpg_large", "7", "IMG.0008"]
    root = lay("bee/0.bmp", *(f"ant/{name}" for name in names))
    for name in names[-3:]:
        Image.new("L", (2, 2)).save(root / "ant" / name, "PNG")
    assert [name for name, label in images(read_tree(root))["train"] if label == "ant"] == [f"ant/{n}" for n in names]


def test_a_folder_is_read_once_whatever_links_lead_to_it(lay, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("pool")
    (elsewhere / "far.jpg").touch()
    root = lay(*PLAIN, "bee/deep/1.jpg")
    for link, to in [
        ("ant/up", ".."), ("ant/self", "."), ("ant/other", "../bee/deep"), ("around", "."), ("ant/pool", elsewhere),
        ("bee/pool", elsewhere), ("ant/1.jpg", "0.jpg"), ("ant/gone.jpg", "nothing"),
        ("bee/round.jpg", "round.jpg"),
    ]:  # fmt: skip
        (root / link).symlink_to(to)
    tree = read_tree(root)
    assert images(tree)["train"] == [
        ("ant/0.jpg", "ant"), ("ant/1.jpg", "ant"), ("ant/pool/far.jpg", "ant"), ("bee/0.jpg", "bee"),
        ("bee/deep/1.jpg", "bee"),
    ]  # fmt: skip
    assert tree.left_out == (
        "5 link(s) to a folder that is read already (ant/other ...), 2 link(s) to nothing (ant/gone.jpg ...)"
    )


def test_class_folders_may_be_links_but_no_two_to_one_folder(lay, tmp_path_factory):
    pool = tmp_path_factory.mktemp("pool")
    (pool / "0.jpg").touch()
    root = lay("bee/0.jpg")
    (root / "ant").symlink_to(pool)
    assert images(read_tree(root)) == {"train": [("ant/0.jpg", "ant"), ("bee/0.jpg", "bee")]}
    (root / "wasp").symlink_to(pool)
    with pytest.raises(DataError, match="wasp is the same folder as .*ant: its images would be read twice"):
        read_tree(root)


def test_unicode_forms_are_one_class_and_cases_are_two(lay, caplog):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    root = lay(f"train/{composed}/0.jpg", f"train/{decomposed}/1.jpg", "train/Tea/0.jpg", "train/tea/0.jpg")
    tree = read_tree(lay(f"test/{decomposed}/0.jpg"))
    assert tree.class_names == ["Tea", composed, "tea"]
    assert tree.parts["train"].label.tolist() == [0, 1, 1, 2] and tree.parts["test"].label.tolist() == [1]
    assert f"{root}/train: class folders that differ in case alone are classes of their own: Tea, tea" in caplog.text


def test_names_that_are_no_text(lay):
    root = lay("bee/0.jpg")
    try:
        os.mkdir(os.fsencode(root) + b"/caf\xe9")
    except OSError:
        pytest.skip("this disk has no such names")
    (root / os.fsdecode(b"caf\xe9") / "0.jpg").touch()
    assert images(read_tree(root))["train"][1] == ("caf\\xe9/0.jpg", "caf\\xe9")
