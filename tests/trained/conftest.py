"""Finished runs to predict with: a table and a folder of images, each with test rows of its own."""

import csv

import numpy as np
import pytest
from PIL import Image

from lilawbench.train import run

OPTIONS = (
    "train.threads=1",
    "train.epochs=3",
    "train.lr=0.01",
    "train.batch_size=16",
    "model.hidden=[8]",
    "noise=none",
)


def write_table(path, rows, seed):
    """Columns pid, age, bp (a tenth missing), sex, site and diagnosis, which age and bp tell a little of."""
    draw = np.random.default_rng(seed)
    ill, age, bp, gone = (
        draw.integers(0, 2, rows),
        draw.normal(40, 8, rows),
        draw.normal(120, 9, rows),
        draw.random(rows),
    )
    sex, site = draw.choice(["m", "f"], rows), draw.choice(["7", "A", "B"], rows)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pid", "age", "bp", "sex", "site", "diagnosis"])
        for i in range(rows):
            pressure = "" if gone[i] < 0.1 else f"{bp[i] + 10 * ill[i]:.2f}"
            patient = f"{path.stem}{i}", f"{age[i] + 9 * ill[i]:.1f}", pressure
            writer.writerow([*patient, sex[i], site[i], ["healthy", "ill"][ill[i]]])


@pytest.fixture(scope="session")
def table_run(composing, tmp_path_factory):
    """The folder of a run on a table, with train.csv and test.csv beside outputs/."""
    root = tmp_path_factory.mktemp("table")
    write_table(root / "train.csv", 90, 0)
    write_table(root / "test.csv", 30, 1)
    data = ["dataset=table", f"dataset.path={root}/train.csv", f"dataset.test_path={root}/test.csv", "probe=none",
            "dataset.label=diagnosis", "dataset.id=pid", "dataset.categorical=[site]"]  # fmt: skip
    return root, run(composing(f"paths.output_dir={root}/outputs", *data, *OPTIONS))


@pytest.fixture(scope="session")
def folder_run(composing, tmp_path_factory):
    """The folder of a run on images of 9x8 pixels in class folders, cut to 6x6 and scaled to 5 for the network."""
    root = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 4)):
        for name, shade in (("cat", 60), ("dog", 180)):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = draw.integers(shade - 60, shade + 60, (9, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    data = ["dataset=folder", f"dataset.path={root}", "dataset.size=6", "dataset.resize=7", "dataset.threads=1"]
    views = ["train.augment.flip=false", "train.resize_px=5", "model=mlp", "probe=none"]
    return root, run(composing(f"paths.output_dir={root}/outputs", *data, *views, *OPTIONS))
