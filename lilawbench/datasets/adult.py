"""UCI Adult: does a person earn more than 50,000 dollars a year? Census table of 1994, with sex, race and age."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.base import Dataset, Source
from lilawbench.datasets.encoding import Encoding, Number
from lilawbench.datasets.new_rows.table import TableReader
from lilawbench.datasets.spelling import Spelling
from lilawbench.loading.download import fetch
from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import pandas

FILE = "adult/adult.data"
URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.data"
MD5 = "5d7c39d7b8804f071cdd1f2a7c460872"

NUMERIC = ["age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"]
COLUMNS = [
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship",
    "race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income",
]  # fmt: skip
CATEGORICAL = [column for column in COLUMNS if column not in NUMERIC and column != "income"]
CLASS_NAMES = ("<=50K", ">50K")
AGE_BANDS = ("<=24", "25-34", "35-44", "45-54", "55-64", "65+")  # LiLAW, Table 22
REFERENCES = {"sex": "Male", "race": "White", "age": "45-54"}  # of the highest income (LiLAW, A.24)
AGE_BAND_STARTS = (25, 35, 45, 55, 65)


class Adult(Dataset):
    """The 32,561 rows of adult.data: six standardised numbers, then eight categories one-hot (0/1).

    The split is fixed and stratified, the same for every seed. Mean, std and categories come from the
    training rows alone; a missing value ("?") is a category of its own, a category that no training row has
    is all zeros. `test_groups` has sex, race and age band, to compare groups by.

    Args:
        test_fraction: part of the rows to test on, in (0, 1); 0.3 gives the 9,769 rows of LiLAW's Table 19.
        classes, imbalance, per_class: as every `Dataset`.
    Source: Becker and Kohavi 1996; LiLAW, A.24.
    """

    num_classes = 2

    def __init__(
        self,
        test_fraction: float = 0.3,
        classes: Sequence[int] | None = None,
        imbalance: float | None = None,
        per_class: int | None = None,
    ):
        super().__init__(classes, imbalance, per_class)
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
        self.test_fraction = test_fraction

    def load(self, data_dir: Path | None) -> Source:
        table = _read(fetch(FILE, [URL], MD5, data_dir))
        import torch
        from sklearn.compose import make_column_transformer
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        target = (table["income"] == CLASS_NAMES[1]).to_numpy(np.int64)
        train, test = split_rows(target, self.test_fraction)
        encoder = make_column_transformer(
            (StandardScaler(), NUMERIC), (OneHotEncoder(handle_unknown="ignore", sparse_output=False), CATEGORICAL)
        ).fit(table.iloc[train])
        features = torch.from_numpy(encoder.transform(table).astype(np.float32))
        scaler, onehot = (encoder.named_transformers_[name] for name in ("standardscaler", "onehotencoder"))
        moments = zip(NUMERIC, scaler.mean_.tolist(), scaler.scale_.tolist(), strict=True)
        known = {name: list(map(str, texts)) for name, texts in zip(CATEGORICAL, onehot.categories_, strict=True)}
        encoding = Encoding({name: Number(mean, mean, std) for name, mean, std in moments}, [], known)
        tested = table.iloc[test]
        return Source(
            train_input=features[train],
            train_clean=target[train],
            test_input=features[test],
            test_clean=target[test],
            class_names=CLASS_NAMES,
            test_groups={
                "sex": tested["sex"].to_numpy(str),
                "race": tested["race"].to_numpy(str),
                "age": np.array(AGE_BANDS)[np.digitize(tested["age"], AGE_BAND_STARTS)],
            },
            reference_groups=REFERENCES,
            clean_known=True,
            reader=TableReader(encoding, "income", spelling=Spelling([])),
        )


def split_rows(target: np.ndarray, test_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train and rows to test, each in file order; it depends on the labels alone."""
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(target))
    train, test = train_test_split(rows, test_size=test_fraction, stratify=target, random_state=0)
    return np.sort(train), np.sort(test)


def _read(path: Path) -> pandas.DataFrame:
    import pandas

    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line:  # the file ends in an empty line
            continue
        row = [value.strip() for value in line.split(",")]
        if len(row) != len(COLUMNS):
            raise DataError(f"{path}, line {number}: {len(row)} columns, expected {len(COLUMNS)}")
        if row[-1] not in CLASS_NAMES:
            raise DataError(f"{path}, line {number}: income is {row[-1]!r}, expected one of {', '.join(CLASS_NAMES)}")
        rows.append(row)
    try:
        return pandas.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(NUMERIC, float))
    except ValueError as error:
        raise DataError(f"{path}: a column of numbers holds something else: {error}") from error
