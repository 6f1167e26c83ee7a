"""Writes small data files for the runs. They are always the same: none of the package's code is used."""

import csv
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

HUMAN_MD5 = "96644db5574813cae939af5f7f2a0aec"  # of CIFAR-10N's file, a pickle: only this one is loaded


def write(folder: Path, real: Path | None) -> None:
    """Writes everything that runs.py names in $DATA. real: folder of real data sets, if any."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    _table(folder / "table.csv", draw)
    for name, rows in (("a", 90), ("b", 60), ("v", 40), ("s", 50), ("t", 50)):
        target = draw.permutation(rows) % 3
        features = draw.normal(size=(rows, 6)) + target[:, None]
        np.savez(folder / f"{name}.npz", features=features, target=target, group=draw.choice(["young", "old"], rows))
        seen = draw.normal(size=(rows, 5))
        np.savez(folder / f"multi_{name}.npz", features=seen, target=(seen[:, :3] > 0.3).astype(np.int64))
    for name in ("cat", "dog", "owl"):
        _images(folder / "images" / name, draw)
    from sklearn.datasets import load_digits

    rows = len(load_digits().target)
    rows -= rows // 5  # test rows
    np.savetxt(folder / "labels.txt", draw.integers(0, 10, rows), fmt="%d")
    if real is not None and (real / "cifar-n" / "CIFAR-10_human.pt").is_file():
        _human(folder, real / "cifar-n" / "CIFAR-10_human.pt", draw)


def _table(path: Path, draw: np.random.Generator, rows: int = 240) -> None:
    """Numbers with gaps, a category, two groups; a label of three classes, a fifth of them wrong, and a value."""
    clean = draw.permutation(rows) % 3
    wrong = draw.random(rows) < 0.2
    label = np.where(wrong, draw.integers(0, 3, rows), clean)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["age", "pressure", "town", "sex", "diagnosis", "clean", "dose"])
        for i in range(rows):
            age = "" if draw.random() < 0.1 else f"{40 + 10 * clean[i] + 5 * draw.normal():.2f}"
            town, sex = draw.choice(["bern", "oslo", "riga"]), draw.choice(["f", "m"])
            pressure = f"{120 - 9 * clean[i] + 8 * draw.normal():.2f}"
            row = [age, pressure, town, sex, f"d{label[i]}", f"d{clean[i]}", f"{clean[i] + draw.normal():.3f}"]
            out.writerow(row)


def _images(folder: Path, draw: np.random.Generator, count: int = 24) -> None:
    folder.mkdir(parents=True)
    shade = draw.integers(0, 200, 3)
    for i in range(count):
        pixels = (shade + draw.integers(0, 56, (20, 18, 3))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")


def _human(folder: Path, path: Path, draw: np.random.Generator) -> None:
    """Features for CIFAR-10's 50,000 training labels in the order of the human labels."""
    import torch

    if hashlib.md5(path.read_bytes()).hexdigest() != HUMAN_MD5:
        raise SystemExit(f"{path} is not the official file")
    clean = np.asarray(torch.load(path, weights_only=False)["clean_label"]).astype(np.int64)
    features = draw.normal(size=(len(clean), 4)).astype(np.float32) + clean[:, None]
    np.savez(folder / "human_a.npz", features=features, target=clean)
    np.savez(folder / "human_t.npz", features=features[:500], target=clean[:500])
