"""Whether a data set is at hand, told by the first file that its loader asks for."""

import numpy as np
import pytest

from lilawbench.datasets.adult import Adult
from lilawbench.datasets.clothing1m import Clothing1M
from lilawbench.datasets.digits import Digits
from lilawbench.datasets.embeddings import Embeddings
from lilawbench.loading.download import fetch, missing
from lilawbench.support.errors import DataError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LILAWBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_a_downloaded_set(folder):
    """No download is tried, no md5 taken; afterwards `fetch` does both again."""
    assert missing(lambda: Adult().load(folder)) == "adult/adult.data is not on disk"
    (folder / "adult").mkdir()
    (folder / "adult" / "adult.data").write_text("damaged")
    assert missing(lambda: Adult().load(folder)) is None
    with pytest.raises(DataError, match="is damaged"):
        fetch("adult/adult.data", [], "0" * 32, folder)


def test_a_set_inside_a_package():
    assert missing(lambda: Digits().load(None)) is None


def test_a_set_that_is_put_in_place_by_hand(folder):
    assert "there is no folder of Clothing1M" in missing(lambda: Clothing1M().load(folder))
    for name in Clothing1M.files:
        (folder / "clothing1m" / name).mkdir(parents=True)
    assert missing(lambda: Clothing1M().load(folder)) is None  # no list is read: these are folders


def test_embeddings(folder):
    dataset = Embeddings(sources={"a": "a.npz", "b": "b.npz"}, train=["a"], test=["b"], num_classes=2)
    assert "dataset.sources.a=a.npz does not exist" in missing(lambda: dataset.load(folder))
    np.savez(folder / "a.npz")
    assert missing(lambda: dataset.load(folder)) is None
