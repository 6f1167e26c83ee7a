"""Clothing1M, Food-101N, ANIMAL-10N, WebVision mini and ImageNet-LT in small trees of their official layouts."""

import numpy as np
import pytest
from PIL import Image

from lilawbench.datasets.clothing1m import Clothing1M
from lilawbench.datasets.imagenet_lt import ImageNetLT
from lilawbench.datasets.web_images import Animal10N, Food101N, WebVisionMini
from lilawbench.loading.image_files import ImageFiles
from lilawbench.support.errors import DataError

SMALL = {"size": 4, "resize": 5}


@pytest.fixture
def put(tmp_path):
    """put("images/a.jpg", ..., **lists) makes images of one grey each, 1, 2, ..., and text files."""

    def make(*images: str, **lists: str):
        for grey, name in enumerate(images, start=1):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (6, 5), (grey, grey, grey)).save(path, "PNG")  # whatever the name: no loss
        return tmp_path

    return make


def text(path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))


def greys(images: ImageFiles) -> list[int]:
    return images.load()[:, 0, 0, 0].tolist()


@pytest.fixture
def clothing(put):
    """Six images: 1-3 to train on (labels 13, 0, 5), 4 to validate (2), 5 and 6 to test on (1, 13)."""
    keys = [f"images/{i % 2}/{i}/{i}0,{i}1.jpg" for i in range(6)]
    root = put(*keys)
    text(root / "noisy_train_key_list.txt", *keys[:3])
    text(root / "clean_val_key_list.txt", keys[3])
    text(root / "clean_test_key_list.txt", *keys[4:])
    noisy, clean = zip(keys[:4], (13, 0, 5, 9)), zip(keys[3:], (2, 1, 13))
    text(root / "noisy_label_kv.txt", *(f"{key} {label}" for key, label in reversed(list(noisy))))
    text(root / "clean_label_kv.txt", *(f"{key} {label}" for key, label in clean))
    return root


def test_clothing1m(clothing):
    source = Clothing1M(path=str(clothing), **SMALL).load(None)
    assert isinstance(source.train_input, ImageFiles) and source.input_shape == (3, 4, 4) and source.num_classes == 14
    assert greys(source.train_input) == [1, 2, 3] and source.train_clean.tolist() == [13, 0, 5]
    assert greys(source.val_input) == [4] and source.val_clean.tolist() == [2]
    assert greys(source.test_input) == [5, 6] and source.test_clean.tolist() == [1, 13]
    assert not source.clean_known and source.class_names[13] == "Underwear"


def test_clothing1m_below_the_data_folder(clothing, tmp_path):
    (tmp_path / "clothing1m").symlink_to(clothing, target_is_directory=True)
    assert len(Clothing1M(**SMALL).load(tmp_path).train_clean) == 3
    (clothing / "clean_train_key_list.txt").write_bytes((clothing / "clean_val_key_list.txt").read_bytes())
    known = Clothing1M(train="clean_train", **SMALL).load(tmp_path)
    assert known.clean_known and known.train_clean.tolist() == [2]


def test_some_classes_of_clothing1m(clothing):
    source = Clothing1M(path=str(clothing), classes=[13, 0], **SMALL).source(None, np.random.default_rng(0))
    assert greys(source.train_input) == [1, 2] and source.train_clean.tolist() == [0, 1]
    assert greys(source.test_input) == [6] and source.test_clean.tolist() == [0]


def test_clothing1m_says_what_it_wants(tmp_path, clothing):
    with pytest.raises(DataError, match="there is no folder of Clothing1M .*noisy_label_kv.txt"):
        Clothing1M().load(None)
    (clothing / "clean_label_kv.txt").unlink()
    with pytest.raises(DataError, match=r"lacks clean_label_kv\.txt\. Get Clothing1M from its authors"):
        Clothing1M(path=str(clothing)).load(None)


def test_clothing1m_lists_that_do_not_fit(clothing):
    """What is missing of the three parts comes in one message."""
    gone = ["images/1/1/10,11.jpg", "images/1/3/30,31.jpg", "images/1/5/50,51.jpg"]
    for name in gone:
        (clothing / name).unlink()
    with pytest.raises(DataError, match=f"3 of 6 images that the lists name are not in .*: {', '.join(gone)}; put"):
        Clothing1M(path=str(clothing)).load(None)
    text(clothing / "noisy_label_kv.txt", "images/0/0/00,01.jpg 14")
    with pytest.raises(DataError, match=r"noisy_label_kv\.txt has no label of 2 images: images/1/1/10,11\.jpg"):
        Clothing1M(path=str(clothing)).load(None)
    text(clothing / "noisy_train_key_list.txt", "images/0/0/00,01.jpg")
    with pytest.raises(DataError, match=r"images/0/0/00,01\.jpg has the label 14, outside 0\.\.13"):
        Clothing1M(path=str(clothing)).load(None)
    with pytest.raises(ValueError, match="train is 'all'"):
        Clothing1M(train="all")


def test_food101n(put):
    new, old = "Food-101N_release", "food-101"
    root = put(f"{new}/images/tacos/ab.jpg", f"{new}/images/dish3/cd.jpg", f"{old}/images/tacos/12.jpg")
    classes = [f"dish{i}" for i in range(100)] + ["tacos"]
    text(root / new / "meta/classes.txt", "class_name", *classes)
    text(root / new / "meta/imagelist.tsv", "class_name/key", "tacos/ab.jpg", "dish3/cd.jpg")
    text(root / old / "meta/test.txt", "tacos/12")
    source = Food101N(path=str(root), **SMALL).load(None)
    assert greys(source.train_input) == [1, 2] and source.train_clean.tolist() == [100, 3]
    assert greys(source.test_input) == [3] and source.test_clean.tolist() == [100]
    assert source.class_names == tuple(classes) and not source.clean_known
    text(root / old / "meta/test.txt", "pizza/12")
    with pytest.raises(DataError, match=r"test\.txt names pizza/12, whose folder is none of the classes"):
        Food101N(path=str(root), **SMALL).load(None)


def test_animal10n(put):
    root = put("training/0_7.jpg", "training/9_3.jpg", "testing/4_1.jpg")
    (root / "training" / "Thumbs.db").touch()
    source = Animal10N(path=str(root), **SMALL).load(None)
    assert greys(source.train_input) == [1, 2] and source.train_clean.tolist() == [0, 9]
    assert greys(source.test_input) == [3] and source.test_clean.tolist() == [4]
    assert source.class_names[9] == "guinea pig"
    assert source.train_ids.tolist() == ["training/0_7.jpg", "training/9_3.jpg"]
    (root / "training" / "cat.jpg").touch()
    with pytest.raises(DataError, match=r"training/cat\.jpg is not named LABEL_ID\.jpg"):
        Animal10N(path=str(root)).load(None)


def test_webvision_mini(put):
    root = put("google/q1/a.jpg", "google/q2/b.jpg", "val_images_256/val1.jpg", "val_images_256/val2.jpg")
    text(root / "info/train_filelist_google.txt", "google/q1/a.jpg 49", "google/q9/c.jpg 50", "google/q2/b.jpg 0")
    text(root / "info/val_filelist.txt", "val1.jpg 999", "val2.jpg 7")
    source = WebVisionMini(path=str(root), **SMALL).load(None)
    assert greys(source.train_input) == [1, 2] and source.train_clean.tolist() == [49, 0]
    assert greys(source.test_input) == [4] and source.test_clean.tolist() == [7]
    assert source.num_classes == 50 and not source.clean_known


def test_imagenet_lt(put):
    root = put("train/n1/a.JPEG", "train/n2/b.JPEG", "val/c.JPEG")
    for part, line in {"train": "train/n1/a.JPEG 0", "val": "train/n2/b.JPEG 999", "test": "val/c.JPEG 5"}.items():
        text(root / f"ImageNet_LT_{part}.txt", line)
    source = ImageNetLT(path=str(root), **SMALL).load(None)
    assert [greys(part) for part in (source.train_input, source.val_input, source.test_input)] == [[1], [2], [3]]
    assert [part.tolist() for part in (source.train_clean, source.val_clean, source.test_clean)] == [[0], [999], [5]]
    assert source.clean_known
