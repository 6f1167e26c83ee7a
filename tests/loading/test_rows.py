"""Rows of a split: resident or streamed, by where their inputs are."""

import numpy as np
import pytest
import torch
from PIL import Image

from lilawbench.loading.image_files import ImageFiles
from lilawbench.loading.resident import Resident
from lilawbench.loading.rows import Rows
from lilawbench.loading.streamed import Streamed, rows_of


@pytest.fixture
def files(tmp_path):
    """Three black images of 4 x 4 pixels."""
    for i in range(3):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{i}.png")
    return ImageFiles(tmp_path, np.array([b"0.png", b"1.png", b"2.png"]), size=4)


def test_the_inputs_choose_the_kind(files):
    for input, kind, other in ((files, Streamed, Resident), (files.load(), Resident, Streamed)):
        data = rows_of(input, torch.arange(3), (0.5,) * 3, (0.2,) * 3)
        assert isinstance(data, Rows) and isinstance(data, kind) and not isinstance(data, other)


def test_random_crops_need_a_generator(files):
    for input in (files, files.load()):
        with pytest.raises(ValueError, match="random crops need a generator"):
            next(rows_of(input, torch.arange(3)).pixels([torch.arange(2)], crop_px=1))
