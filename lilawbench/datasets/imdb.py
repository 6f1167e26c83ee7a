"""IMDb: 25,000 + 25,000 film reviews, half of them negative and half positive."""

import tarfile
from pathlib import Path

import numpy as np

from lilawbench.datasets.base import Source
from lilawbench.datasets.text_folder import decoded, files_of, read_text
from lilawbench.datasets.text_source import Part, Texts
from lilawbench.datasets.words import row_name
from lilawbench.loading.download import at_hand, fetch
from lilawbench.loading.split import stratified
from lilawbench.support.errors import DataError
from lilawbench.support.natural import natural
from lilawbench.support.plain import Tree

FOLDER, FILE = "aclImdb", "aclImdb_v1.tar.gz"
URL = f"https://ai.stanford.edu/~amaas/data/sentiment/{FILE}"
MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
PARTS, CLASSES = ("train", "test"), ("neg", "pos")


class IMDb(Texts):
    """The labelled reviews of aclImdb, from its folder where it is unpacked, else from the archive.

    Args:
        split: official | random, halves of all 50,000 reviews, as RRM has them; drawn once, the same for every seed.
        The others: see `Texts`.
    Raises:
        ValueError: another split, an option out of range. DataError, from `load`: a folder without reviews.
    Source: Maas et al. 2011; RRM, appendix E.2.
    """

    num_classes = 2

    def __init__(self, split: str = "official", **of_texts: Tree):
        super().__init__(**of_texts)
        if split not in ("official", "random"):
            raise ValueError(f"split is {split!r}; it must be official or random")
        self.split = split

    def load(self, data_dir: Path | None) -> Source:
        root = None if data_dir is None else Path(data_dir) / FOLDER
        if root is not None and root.is_dir():
            at_hand(root)
            where, found = str(root), _from_folder(root)
        else:
            path = fetch(FILE, [URL], MD5, data_dir)
            where, found = str(path), _from_archive(path)
        parts = {part: _part(found, part, where) for part in PARTS}
        if self.split == "random":
            texts = [*parts["train"].texts, *parts["test"].texts]
            label = np.concatenate([parts[part].label for part in PARTS])
            every = Part(texts, label, np.concatenate([parts[part].ids for part in PARTS]))
            first, second = stratified(every.label, 0.5, np.random.default_rng(0))
            parts = {"train": every.some(first), "test": every.some(second)}
        return self.source_of(parts, ("negative", "positive"), where, data_dir, clean_known=True)


def _from_folder(root: Path) -> dict[str, str]:
    """Reviews by their paths below aclImdb, those without a label left out."""
    files = (file for part in PARTS for name in CLASSES for file in files_of(root / part / name))
    return {file.relative_to(root).as_posix(): read_text(file) for file in files}


def _from_archive(path: Path) -> dict[str, str]:
    folders = {f"{FOLDER}/{part}/{name}" for part in PARTS for name in CLASSES}
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            folder, _, name = member.name.removeprefix("./").rpartition("/")
            if folder in folders and name.endswith(".txt") and (content := archive.extractfile(member)) is not None:
                place = f"{folder.removeprefix(f'{FOLDER}/')}/{name}"
                found[place] = decoded(content.read(), f"{path}: {member.name}")
    return dict(sorted(found.items(), key=lambda item: natural(item[0])))


def _part(found: dict[str, str], part: str, where: str) -> Part:
    """Raises: DataError, a class of the part has no review."""
    texts: list[str] = []
    label: list[int] = []
    ids: list[str] = []
    for number, name in enumerate(CLASSES):
        start = f"{part}/{name}/"
        places = [place for place in found if place.startswith(start)]
        if not places:
            raise DataError(f"{where} has no reviews {start}*.txt; unpack {FILE} whole ({URL})")
        texts += [found[place] for place in places]
        label += [number] * len(places)
        ids += [row_name(place, found[place]) for place in places]
    return Part(texts, np.array(label, dtype=np.int64), np.array(ids, dtype=str))
