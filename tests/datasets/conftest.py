"""What the tests of the data sets share. Real files: LILAWBENCH_DATA names the folder, or those tests skip."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    """No test here may find a file of the user's, or leave one."""
    monkeypatch.setenv("LILAWBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def real_dir():
    """The folder of real data."""
    if not os.environ.get("LILAWBENCH_DATA"):
        pytest.skip("real data: set LILAWBENCH_DATA to the folder that holds it")
    return Path(os.environ["LILAWBENCH_DATA"])


@pytest.fixture(scope="module")
def real(real_dir):
    """Each real data set, read once."""
    loaded = {}

    def load(dataset):
        key = (type(dataset), *vars(dataset).values())
        if key not in loaded:
            loaded[key] = dataset.load(real_dir)
        return loaded[key]

    return load


@pytest.fixture(scope="session")
def md5():
    return lambda path: hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def check_types():
    """check_types(source, num_classes): what Source promises, for any data set."""

    def check(source, num_classes):
        for inputs, clean in [(source.train_input, source.train_clean), (source.test_input, source.test_clean)]:
            assert inputs.dtype == (torch.uint8 if source.is_image else torch.float32)
            assert tuple(inputs.shape) == (len(clean), *source.input_shape)
            assert clean.dtype == np.int64
            assert set(np.unique(clean)) == set(range(num_classes))
            assert torch.isfinite(inputs.float()).all()
        assert source.num_classes == num_classes == len(set(source.class_names))
        if source.is_image:
            assert len(source.mean) == len(source.std) == source.input_shape[0]

    return check
