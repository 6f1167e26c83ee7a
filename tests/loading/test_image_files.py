"""Images in files: framed as torchvision does, shifted windows, files that cannot be read."""

import numpy as np
import pytest
import torch
from PIL import Image

from lilawbench.loading.image_files import ImageFiles
from lilawbench.support.errors import DataError


@pytest.fixture
def files(tmp_path):
    """files(sizes, size=..., ...) -> ImageFiles of noise images of those (width, height), as PNG."""

    def make(sizes: list[tuple[int, int]], mode: str = "RGB", **frame) -> ImageFiles:
        draw = np.random.default_rng(0)
        names = []
        for i, (width, height) in enumerate(sizes):
            pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(tmp_path / f"{i}.png")
            names.append(f"{i}.png".encode())
        return ImageFiles(tmp_path, np.array(names), **frame)

    return make


@pytest.mark.parametrize("size, resize", [(8, None), (8, 12), (7, 12)])
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_are_torchvisions(files, size, resize, channels):
    from torchvision.transforms import functional as F

    table = files([(20, 15), (15, 33), (9, 9), (12, 12)], size=size, resize=resize, channels=channels)
    assert table.shape == (4, channels, size, size) == tuple(table.load().shape)
    for row, ours in enumerate(table.load()):
        with Image.open(table.path(row)) as image:
            scaled = F.resize(image.convert("RGB" if channels == 3 else "L"), resize or size)
            assert torch.equal(ours, F.pil_to_tensor(F.center_crop(scaled, [size, size])))


def test_a_shift_moves_the_window_and_is_black_beyond_the_image(files):
    table = files([(6, 6)], size=4, resize=6)
    whole = files([(6, 6)], size=6).load()[0]
    for dy, dx in [(-1, -1), (0, 1), (1, 0)]:
        ours = table.start([0], np.array([[dy], [dx]])).wait()[0]
        assert torch.equal(ours, whole[:, 1 + dy : 5 + dy, 1 + dx : 5 + dx])
    far = table.start([0], np.array([[0], [3]])).wait()[0]
    assert torch.equal(far[:, :, :2], whole[:, 1:5, 4:]) and not far[:, :, 2:].any()


def test_rows_are_a_table_of_their_own(files):
    table = files([(5, 5)] * 4, size=5)
    part = table[np.array([3, 1])]
    assert len(part) == 2 and torch.equal(part.load(), table.load()[[3, 1]])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_other_kinds_of_images_become_colour(files, mode):
    assert files([(5, 5)], mode=mode, size=5).load().shape == (1, 3, 5, 5)


def test_a_large_jpeg_is_close_to_its_full_decoding(tmp_path):
    ramp = np.linspace(0, 255, 256).astype(np.uint8)
    pixels = np.stack(
        [np.tile(ramp, (200, 1)), np.tile(ramp[:200, None], (1, 256)), np.full((200, 256), 99, np.uint8)], 2
    )
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    ours = ImageFiles(tmp_path, np.array([b"a.jpg"]), size=48).load()[0]
    with Image.open(tmp_path / "a.jpg") as image:
        whole = image.resize((61, 48), Image.Resampling.BILINEAR).crop((6, 0, 54, 48))
    assert np.abs(np.asarray(whole).astype(int) - ours.permute(1, 2, 0).numpy()).max() <= 8


def test_files_that_cannot_be_read_are_counted_and_the_first_ten_named(files, tmp_path):
    table = files([(5, 5)] * 14, size=5)
    for i in range(1, 13):
        (tmp_path / f"{i}.png").write_bytes(b"no image")
    (tmp_path / "12.png").unlink()
    with pytest.raises(DataError) as refused:
        table.load()
    message = str(refused.value)
    assert message.startswith(f"12 of 14 images cannot be read: {tmp_path}/1.png (UnidentifiedImageError")
    assert (
        f"{tmp_path}/10.png" in message
        and "11.png" not in message
        and message.endswith(" and 2 more; replace or remove them")
    )


def test_a_cut_short_image_is_no_image(files, tmp_path):
    table = files([(40, 40)], size=5)
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:2000])
    with pytest.raises(DataError, match=r"1 of 1 images cannot be read: .*0\.png \(\w+Error: "):
        table.load()


@pytest.mark.parametrize(
    "frame, message",
    [
        ({"size": 0}, "size is 0"),
        ({"size": 5, "resize": 4}, "resize is 4; it must be null or a whole number of pixels >= size, 5"),
        ({"size": 5, "channels": 2}, "channels is 2"),
        ({"size": 5, "threads": 0}, "threads is 0"),
    ],
)
def test_frames_that_cannot_be(tmp_path, frame, message):
    with pytest.raises(ValueError, match=message):
        ImageFiles(tmp_path, np.array([b"a.png"]), **frame)
