"""ImageNet-LT: ImageNet's thousand classes with a long tail, 1,280 down to 5 images each."""

from pathlib import Path

from lilawbench.datasets.lists import ListedImages, Lists, read_labelled


class ImageNetLT(ListedImages):
    """115,846 training, 20,000 validation and 50,000 test images; the labels are clean, so any noise can be added.

    ImageNet's train/ and val/ beside the authors' lists ImageNet_LT_train.txt, _val.txt and _test.txt
    (`train/n01440764/....JPEG LABEL`).

    Source: Liu et al. 2019.
    """

    num_classes = 1000
    official_val = True
    folder = "imagenet_lt"
    site = "https://image-net.org (images) and https://liuziwei7.github.io/projects/LongTail.html (lists)"
    files = ("ImageNet_LT_train.txt", "ImageNet_LT_val.txt", "ImageNet_LT_test.txt", "train", "val")

    def read(self, root: Path) -> Lists:
        train, val, test = (read_labelled(root / f"ImageNet_LT_{part}.txt") for part in ("train", "val", "test"))
        return Lists(train, test, val, clean_known=True)
