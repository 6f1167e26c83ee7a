"""Small English texts of two classes in NLTK's zips, read as they lie: sentences, phrases and reviews."""

import html
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from lilawbench.datasets.base import Source
from lilawbench.datasets.text_folder import decoded
from lilawbench.datasets.text_source import Part, Texts, checked_positives, thinned
from lilawbench.datasets.words import row_name
from lilawbench.loading.download import fetch
from lilawbench.loading.split import stratified
from lilawbench.support.natural import natural
from lilawbench.support.plain import Tree

URL = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/"
TEST_FRACTION = 0.2


class ZippedTexts(Texts):
    """Texts in one zip. There is no official split: test rows are a fixed, stratified fifth, the same for every seed.

    Texts without a letter or digit are left out.

    Args:
        positives: so many texts of class 1, drawn once, beside all of class 0; None: all.
        The others: see `Texts`.
    """

    num_classes = 2
    file: ClassVar[str]
    md5: ClassVar[str]
    class_names: ClassVar[tuple[str, str]]

    def __init__(self, positives: int | None = None, **of_texts: Tree):
        super().__init__(**of_texts)
        self.positives = checked_positives(positives)

    def read(self, archive: zipfile.ZipFile) -> Mapping[str, tuple[list[str], list[str]]]:
        """Places and texts of each class."""
        raise NotImplementedError

    def load(self, data_dir: Path | None) -> Source:
        path = fetch(f"text/{self.file}", [URL + self.file], self.md5, data_dir)
        with zipfile.ZipFile(path) as archive:
            found = self.read(archive)
        texts: list[str] = []
        ids: list[str] = []
        label: list[int] = []
        for number, name in enumerate(self.class_names):
            for place, text in zip(*found[name], strict=True):
                if re.search(r"\w", text):
                    texts.append(text)
                    ids.append(row_name(place, text))
                    label.append(number)
        labels = np.array(label, dtype=np.int64)
        every = Part(texts, labels, np.array(ids, dtype=str)).some(thinned(labels, self.positives))
        train, test = stratified(every.label, TEST_FRACTION, np.random.default_rng(0))
        parts = {"train": every.some(train), "test": every.some(test)}
        return self.source_of(parts, self.class_names, str(path), data_dir, clean_known=True)


class SentencePolarity(ZippedTexts):
    """5,331 + 5,331 sentences of film reviews, each of a review that is negative or positive as a whole.

    Source: Pang and Lee 2005, sentence polarity dataset v1.0.
    """

    file = "sentence_polarity.zip"
    md5 = "5cdc0cae7f558040d050c90eb2b72e97"
    class_names = ("negative", "positive")

    def read(self, archive: zipfile.ZipFile) -> Mapping[str, tuple[list[str], list[str]]]:
        members = {"negative": "rt-polarity.neg", "positive": "rt-polarity.pos"}
        return {name: _lines(archive, f"sentence_polarity/{member}", name) for name, member in members.items()}


class ProsCons(ZippedTexts):
    """45,819 phrases, half and half, that people wrote under "cons" and "pros" of products, mostly of a few words.

    Many are there more than once (a tenth of the phrases), so that some test rows are training rows, too.

    Source: Ganapathibhotla and Liu 2008.
    """

    file = "pros_cons.zip"
    md5 = "c4c7e61fb4d57a2f6c95317194da0f17"
    class_names = ("cons", "pros")

    def read(self, archive: zipfile.ZipFile) -> Mapping[str, tuple[list[str], list[str]]]:
        return {name: _lines(archive, f"pros_cons/Integrated{name.title()}.txt", name) for name in self.class_names}


class MovieReviews(ZippedTexts):
    """1,000 + 1,000 film reviews, negative and positive, of 700 words in the median.

    Source: Pang and Lee 2004, polarity dataset v2.0.
    """

    file = "movie_reviews.zip"
    md5 = "155de2b77c6834dd8eea7cbe88e93acb"
    class_names = ("negative", "positive")

    def read(self, archive: zipfile.ZipFile) -> Mapping[str, tuple[list[str], list[str]]]:
        found = {}
        for name in self.class_names:
            folder = f"movie_reviews/{name[:3]}/"
            files = sorted((file for file in archive.namelist() if file.startswith(folder) and file.endswith(".txt")),
                           key=natural)  # fmt: skip
            places = [file.removeprefix("movie_reviews/") for file in files]
            found[name] = places, [decoded(archive.read(file), file) for file in files]
        return found


def _lines(archive: zipfile.ZipFile, member: str, name: str) -> tuple[list[str], list[str]]:
    """Places, "pros 17", and texts of the lines of a file, less the tags around them."""
    lines = decoded(archive.read(member), member).split("\n")
    texts = [html.unescape(re.sub(r"</?(?:Pros|Cons)>", "", line)).strip() for line in lines]
    return [f"{name} {number}" for number in range(1, len(lines) + 1)], texts
