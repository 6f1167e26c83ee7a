"""Images gathered from the web by search terms, which are their noisy labels: Food-101N, ANIMAL-10N, WebVision."""

import os
from pathlib import Path

import numpy as np

from lilawbench.datasets.folder_names import is_hidden
from lilawbench.datasets.lists import Listed, ListedImages, Lists, read_labelled, read_names
from lilawbench.support.errors import DataError

ANIMALS = ("cat", "lynx", "wolf", "coyote", "cheetah", "jaguar", "chimpanzee", "orangutan", "hamster", "guinea pig")


class Food101N(ListedImages):
    """310,009 training images of 101 dishes, about 20 % of them mislabelled; tested on Food-101's 25,250.

    The folder holds the two archives as they unpack: Food-101N_release/ (meta/classes.txt, meta/imagelist.tsv,
    images/) and food-101/ (meta/test.txt, images/).

    Source: Lee et al. 2018; Bossard et al. 2014.
    """

    num_classes = 101
    folder = "food101n"
    site = "https://kuanghuei.github.io/Food-101N and https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101"
    files = (
        "Food-101N_release/meta/classes.txt", "Food-101N_release/meta/imagelist.tsv", "Food-101N_release/images",
        "food-101/meta/test.txt", "food-101/images",
    )  # fmt: skip

    def read(self, root: Path) -> Lists:
        meta = root / "Food-101N_release" / "meta"
        classes = read_names(meta / "classes.txt")[1:].tolist()  # below its heading
        if len(classes) != self.num_classes:
            raise DataError(f"{meta / 'classes.txt'} names {len(classes)} classes below its heading; expected 101")
        number = {name: i for i, name in enumerate(classes)}

        def part(path: Path, lines: np.ndarray, images: bytes, ending: bytes = b"") -> Listed:
            label = np.array([number.get(line.partition(b"/")[0], -1) for line in lines.tolist()], dtype=np.int64)
            if len(strange := np.flatnonzero(label < 0)):
                raise DataError(f"{path} names {os.fsdecode(lines[strange[0]])}, whose folder is none of the classes")
            return Listed(np.char.add(np.char.add(images, lines), ending), label)

        listed, tested = meta / "imagelist.tsv", root / "food-101" / "meta" / "test.txt"
        train = part(listed, read_names(listed)[1:], b"Food-101N_release/images/")
        test = part(tested, read_names(tested), b"food-101/images/", b".jpg")
        return Lists(train, test, class_names=[name.decode() for name in classes])


class Animal10N(ListedImages):
    """50,000 + 5,000 images of 64 px of five pairs of animals that people mix up, about 8 % mislabelled.

    training/ and testing/ hold images named LABEL_ID.jpg.

    Source: Song et al. 2019 (SELFIE).
    """

    num_classes = 10
    folder = "animal10n"
    site = "https://dm.kaist.ac.kr/datasets/animal-10n"
    files = ("training", "testing")

    def read(self, root: Path) -> Lists:
        return Lists(self._part(root, "training"), self._part(root, "testing"), class_names=ANIMALS)

    def _part(self, root: Path, folder: str) -> Listed:
        files = sorted(name for name in os.listdir(root / folder) if not is_hidden(os.fsencode(name)))
        label = [name.partition("_")[0] for name in files]
        if strange := [name for name, number in zip(files, label, strict=True) if not number.isdigit()]:
            raise DataError(f"{root / folder / strange[0]} is not named LABEL_ID.jpg ({len(strange)} such files)")
        if not files:
            raise DataError(f"{root / folder} is empty: it should hold images named LABEL_ID.jpg")
        return Listed(np.array([os.fsencode(f"{folder}/{name}") for name in files]), np.array(label, dtype=np.int64))


class WebVisionMini(ListedImages):
    """The 65,944 Google images of WebVision 1.0's first 50 classes (some 20 % mislabelled), and 2,500 to test on.

    info/train_filelist_google.txt (`google/q0001/....jpg LABEL`), info/val_filelist.txt (`val000001.jpg LABEL`), the
    images below google/ and val_images_256/.

    Source: Li et al. 2017; Jiang et al. 2018 (the 50 classes).
    """

    num_classes = 50
    folder = "webvision"
    site = "https://data.vision.ee.ethz.ch/cvl/webvision"
    files = ("info/train_filelist_google.txt", "info/val_filelist.txt", "google", "val_images_256")

    def read(self, root: Path) -> Lists:
        train, test = (read_labelled(root / "info" / f"{n}.txt") for n in ("train_filelist_google", "val_filelist"))
        test = test._replace(names=np.char.add(b"val_images_256/", test.names))
        train, test = (Listed(part.names[part.label < 50], part.label[part.label < 50]) for part in (train, test))
        return Lists(train, test)
