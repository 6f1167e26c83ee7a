"""Toxic Comments: comments on Wikipedia's talk pages, toxic or not."""

from pathlib import Path

import numpy as np

from lilawbench.datasets.base import Source
from lilawbench.datasets.columns import read_columns, release_memory
from lilawbench.datasets.new_rows.text import row_ids, texts_in
from lilawbench.datasets.spelling import Spelling
from lilawbench.datasets.text_source import Part, Texts, checked_positives, thinned
from lilawbench.loading.download import at_hand
from lilawbench.loading.split import class_rows, stratified
from lilawbench.support.errors import DataError
from lilawbench.support.plain import Options, Tree

FOLDER, FILES = "toxic_comments", ("train.csv", "train.csv.zip")
PAGE = "https://www.kaggle.com/c/jigsaw-toxic-comment-classification-challenge"
ID, TEXT = "id", "comment_text"
KINDS = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]


class ToxicComments(Texts):
    """Jigsaw's train.csv: a comment with any of the six labels is toxic (class 1), about one in ten.

    There is no official split here: test rows are a fixed, stratified fifth, the same for every seed.

    Args:
        positives: so many toxic comments, drawn once, beside all others; None: all. 4,400 gives RRM's 148,000 rows with
            3 % toxic ones, which its text does not explain.
        The others: see `Texts`.
    Raises:
        ValueError: an option out of range. DataError, from `load`: the file is missing or not as published.
    Source: RRM, appendix E.1.
    """

    num_classes = 2
    by_hand = True

    def __init__(self, positives: int | None = 4400, **of_texts: Tree):
        super().__init__(**of_texts)
        self.positives = checked_positives(positives)

    def load(self, data_dir: Path | None) -> Source:
        try:
            return self._load(data_dir)
        finally:
            release_memory()

    def _load(self, data_dir: Path | None) -> Source:
        path = _find(data_dir)
        table = read_columns(path, spelling=Spelling([]), as_text=KINDS, as_they_are=[ID, TEXT])
        table.need([ID, TEXT, *KINDS], "as Jigsaw's train.csv has them")
        label = np.zeros(len(table), dtype=np.int64)
        for kind in KINDS:
            codes, texts = table.texts(kind)
            if strange := sorted(set(texts) - {"0", "1"}):
                raise DataError(f"{path}: column {kind!r} holds {strange[0]!r}; its labels are 0 and 1")
            label |= np.array([text == "1" for text in texts], dtype=np.int64)[codes]
        names = ("clean", "toxic")
        class_rows(label, names, 5, str(path))
        texts = texts_in(table, TEXT)
        every = Part(texts, label, row_ids(table, texts, ID)).some(thinned(label, self.positives))
        train, test = stratified(every.label, 0.2, np.random.default_rng(0))
        columns: Options = {"text": TEXT, "label": "label", "id": ID}
        parts = {"train": every.some(train), "test": every.some(test)}
        return self.source_of(parts, names, str(path), data_dir, columns, clean_known=True)


def _find(data_dir: Path | None) -> Path:
    """Raises: DataError, the file is not there, with where it is had and belongs."""
    places = [] if data_dir is None else [Path(data_dir) / FOLDER / name for name in FILES]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        wanted = f"{FOLDER}/train.csv below the data folder (paths.data_dir, LILAWBENCH_DATA: {data_dir or 'not set'})"
        raise DataError(f"Jigsaw's train.csv is not at {wanted}; it is had under licence from {PAGE}")
    at_hand(found)
    return found
