"""The user's own images: trees with and without a test folder, what is in memory, what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lilawbench.datasets.folder import Folder
from lilawbench.loading.image_files import ImageFiles, loaded
from lilawbench.noise.labels import draw_labels
from lilawbench.support.errors import DataError


@pytest.fixture
def tree(tmp_path):
    """tree({"train/cat": 3, ...}) -> root of a tree with so many 6 x 5 images, each of one grey, all different."""

    def make(counts: dict[str, int]) -> str:
        grey = 0
        for folder, count in counts.items():
            (tmp_path / folder).mkdir(parents=True)
            for i in range(count):
                grey += 1
                Image.new("RGB", (6, 5), (grey, grey, grey)).save(tmp_path / folder / f"{i}.png")
        return str(tmp_path)

    return make


OFFICIAL = {"train/ant": 3, "train/bee": 2, "test/ant": 1, "test/bee": 1}


def test_train_and_test_folders(tree, check_types):
    source = Folder(tree(OFFICIAL), size=4).load(None)
    check_types(source, 2)
    assert source.class_names == ("ant", "bee") and not source.clean_known
    assert source.train_input[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5] and source.train_clean.tolist() == [0, 0, 0, 1, 1]
    assert source.test_input[:, 0, 0, 0].tolist() == [6, 7] and source.test_clean.tolist() == [0, 1]
    np.testing.assert_allclose(source.mean, [3 / 255] * 3, rtol=1e-6)
    np.testing.assert_allclose(source.std, [2**0.5 / 255] * 3, rtol=1e-4)


def test_without_a_test_folder_a_stratified_part_is_set_aside(tree):
    root = tree({"ant/deep/down": 5, "ant/top": 5, "bee": 20})
    first, again, other = (Folder(root, size=4, split_seed=seed).load(None) for seed in (0, 0, 1))
    assert np.bincount(first.test_clean).tolist() == [2, 4] and np.bincount(first.train_clean).tolist() == [8, 16]
    assert torch.equal(first.test_input, again.test_input) and not torch.equal(first.test_input, other.test_input)
    every = torch.cat([first.train_input, first.test_input])[:, 0, 0, 0]
    assert sorted(every.tolist()) == list(range(1, 31))
    label = torch.cat([torch.from_numpy(first.train_clean), torch.from_numpy(first.test_clean)])
    assert torch.equal(label, (every > 10).long())


@pytest.mark.parametrize("gb", [1, 0])
def test_a_val_folder_validates_whatever_the_fraction(tree, gb):
    root = tree({"Train/ant": 8, "Train/bee": 8, "valid/ant": 2, "valid/bee": 1})
    dataset = Folder(root, size=4, resident_gb=gb, test_fraction=0.25)
    source = dataset.load(None)
    assert dataset.official_val is None and source.val_clean.tolist() == [0, 0, 1]
    assert loaded(source.val_input)[:, 0, 0, 0].tolist() == [17, 18, 19]
    assert len(source.train_clean) == 12 and len(source.test_clean) == 4  # the test rows are of the train folder
    assert source.val_ids.tolist() == ["valid/ant/0.png", "valid/ant/1.png", "valid/bee/0.png"]
    assert {name.split("/")[0] for name in (*source.train_ids, *source.test_ids)} == {"Train"}
    split = SimpleNamespace(val_fraction=0.15, val_labels="observed", train_samples=None)
    labels = draw_labels(source, lambda given, *_, **__: given, False, split, 0, "folder")
    assert labels.val.tolist() == [12, 13, 14]


def test_one_line_says_what_was_found(tree, tmp_path, caplog):
    caplog.set_level("INFO")
    root = tree({**{f"train/{i}": 3 for i in range(13)}, **{f"val/{i}": 1 for i in range(13)}})
    (tmp_path / "train" / "0" / ".DS_Store").touch()
    Folder(root, size=4, test_fraction=0.34).load(None)
    assert caplog.messages == [
        f"{root}: 52 images, 26 to train (train), 13 to validate (val), 13 to test (drawn, as there is no test "
        "folder); 13 classes: 0 4, 1 4, 2 4, 3 4, 4 4, 5 4, ..., 7 4, 8 4, 9 4, 10 4, 11 4, 12 4; left out: 1 hidden "
        "(train/0/.DS_Store)"
    ]


def test_rows_are_named_by_their_files(tree):
    source = Folder(tree(OFFICIAL), size=4).source(None, np.random.default_rng(0))
    assert source.train_ids.tolist() == [f"train/{name}.png" for name in ("ant/0", "ant/1", "ant/2", "bee/0", "bee/1")]
    assert source.test_ids.tolist() == ["test/ant/0.png", "test/bee/0.png"] and source.val_ids is None


def test_what_an_image_is_made_of_may_be_told(tree, tmp_path):
    root = tree(OFFICIAL)
    Image.fromarray(np.full((5, 6), 500, np.uint16)).save(tmp_path / "train" / "ant" / "0.png")
    Image.new("LA", (6, 5), (9, 0)).save(tmp_path / "train" / "ant" / "1.png")
    given = Folder(root, size=4, white=1000, background=77).load(None)
    assert given.train_input[:2, 0, 0, 0].tolist() == [128, 77]
    with pytest.raises(DataError, match=r"1 of 7 .*ant/0\.png \(values from 500 to 500, above 400; name their white"):
        Folder(root, size=4, white=400, resident_gb=0).load(None)
    assert Folder(root, size=4).load(None).train_input[:2, 0, 0, 0].tolist() == [round(500 * 255 / 1023), 255]


def test_a_lone_train_folder_is_the_tree(tree):
    assert Folder(tree({"train/ant": 10, "train/bee": 10}), size=4).load(None).class_names == ("ant", "bee")


def test_more_than_fits_stays_in_its_files(tree):
    root = tree(OFFICIAL)
    held, streamed = (Folder(root, size=4, resident_gb=gb).load(None) for gb in (1, 0))
    assert isinstance(streamed.train_input, ImageFiles) and streamed.is_image and streamed.input_shape == (3, 4, 4)
    assert torch.equal(streamed.train_input.load(), held.train_input)
    rows = Folder(root, size=4, resident_gb=0, per_class=1).source(None, np.random.default_rng(0))
    assert len(rows.train_input) == 2 and rows.train_clean.tolist() == [0, 1]


def test_grey(tree):
    source = Folder(tree(OFFICIAL), size=4, channels=1).load(None)
    assert source.input_shape == (1, 4, 4) and len(source.mean) == 1


def test_a_path_below_the_data_folder(tree, tmp_path):
    tree({"mine/ant": 5, "mine/bee": 5})
    assert len(Folder("mine", size=4).load(tmp_path).train_clean) == 8
    with pytest.raises(DataError, match="dataset.path=mine does not exist"):
        Folder("mine").load(None)


@pytest.mark.parametrize(
    "counts, message",
    [
        ({"ant": 3}, r"has 1 folder\(s\) ant; expected one for each class"),
        ({"train/ant": 1, "train/bee": 0, "test/ant": 1}, r"train: too few samples of 'bee' \(0\)"),
        (
            {"train/ant": 1, "train/bee": 1, "test/ant": 1, "test/cat": 1},
            "test has the class 'cat', which",
        ),
        ({"train/ant": 1, "train/bee": 1, "test/ant": 0}, r"test has no image; fill or remove the folder"),
        ({"ant": 5, "bee": 4}, r"too few samples of 'bee' \(4\); the split dataset\.test_fraction=0\.2 needs 5"),
    ],
)
def test_trees_that_are_refused(tree, counts, message):
    with pytest.raises(DataError, match=message):
        Folder(tree(counts), size=4).load(None)


def test_images_that_cannot_be_read(tree, tmp_path):
    root = tree(OFFICIAL)
    (tmp_path / "train" / "bee" / "1.png").write_bytes(b"")
    (tmp_path / "test" / "ant" / "0.png").write_text("<html>")
    with pytest.raises(DataError, match=r"2 of 7 images cannot be read: .*train/bee/1\.png .*test/ant/0\.png"):
        Folder(root, size=4).load(None)


@pytest.mark.parametrize(
    "options",
    [{"size": 0}, {"resize": 5}, {"test_fraction": 0}, {"resident_gb": -1}, {"white": 0}, {"background": 256}],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} is"):
        Folder("mine", **options)
