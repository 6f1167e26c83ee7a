"""Clothing1M: a million pictures of clothes in 14 classes, with the labels of the shops that sell them (38 % wrong)."""

from pathlib import Path

from lilawbench.datasets.lists import Listed, ListedImages, Lists, labels_of, read_labelled, read_names
from lilawbench.support.plain import Tree

CLASS_NAMES = (
    "T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker", "Jacket", "Down Coat", "Suit",
    "Shawl", "Dress", "Vest", "Underwear",
)  # fmt: skip
NOISY_LABELS, CLEAN_LABELS = "noisy_label_kv.txt", "clean_label_kv.txt"


class Clothing1M(ListedImages):
    """1,000,000 training images with noisy labels, 14,313 and 10,526 with clean ones to validate and to test on.

    The official folder: key lists (`images/0/0/....jpg`, one a line), label files (key and class, one a line) and
    images/. Which training labels are right is not known.

    Args:
        train: key list to train on: "noisy_train", with noisy labels; "clean_train", the 47,570 with clean ones.
        options: of `ListedImages`.
    Source: Xiao et al. 2015.
    """

    num_classes = 14
    official_val = True
    folder = "clothing1m"
    site = "its authors (Xiao et al. 2015), on request"
    files = (
        "images", NOISY_LABELS, CLEAN_LABELS, "noisy_train_key_list.txt", "clean_val_key_list.txt",
        "clean_test_key_list.txt",
    )  # fmt: skip

    def __init__(self, train: str = "noisy_train", **options: Tree):
        super().__init__(**options)
        if train not in ("noisy_train", "clean_train"):
            raise ValueError(f"train is {train!r}; it must be noisy_train or clean_train")
        self.train = train

    def read(self, root: Path) -> Lists:
        known = {False: read_labelled(root / NOISY_LABELS), True: read_labelled(root / CLEAN_LABELS)}

        def part(name: str) -> Listed:
            names, clean = read_names(root / f"{name}_key_list.txt"), name.startswith("clean")
            return Listed(names, labels_of(names, known[clean], root / (CLEAN_LABELS if clean else NOISY_LABELS)))

        return Lists(
            part(self.train),
            part("clean_test"),
            part("clean_val"),
            class_names=CLASS_NAMES,
            clean_known=self.train == "clean_train",
        )
