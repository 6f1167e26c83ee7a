"""Files of all kinds as 8-bit pixels: upright, deep values scaled, transparency laid on grey, the first of frames."""

import numpy as np
import pytest
import torch
from PIL import Image

from lilawbench.loading import pixels
from lilawbench.loading.image_files import ImageFiles
from lilawbench.loading.pixels import Levels, Look, levels_of, read
from lilawbench.support.errors import DataError

LARGE = 1000  # pixels: no JPEG is decoded at a part of its size
CORNER = np.zeros((4, 4), np.uint8)
CORNER[0, 0], CORNER[0, 3], CORNER[3, 0], CORNER[3, 3] = 40, 80, 160, 240  # all different: it has one upright form


@pytest.fixture
def put(tmp_path):
    """put(image or array, "a.png", ...) saves it and returns its path."""

    def make(image, name: str, **options) -> str:
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(tmp_path / name, **options)
        return str(tmp_path / name)

    return make


def grey(path: str, **levels: float) -> np.ndarray:
    return np.asarray(read(path, "L", LARGE, Levels(**levels))[0])


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_exif_orientation(put, ending):
    """A camera that lay on each of its sides, or saw a mirror."""
    stored = {1: CORNER, 2: CORNER[:, ::-1], 3: CORNER[::-1, ::-1], 4: CORNER[::-1], 5: CORNER.T,
              6: np.rot90(CORNER), 7: CORNER[::-1, ::-1].T, 8: np.rot90(CORNER, -1)}  # fmt: skip
    for orientation, pixels_ in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        sharp = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(ending, {})
        large = np.kron(pixels_, np.ones((8, 8), np.uint8))
        path = put(Image.fromarray(large).convert("RGB"), f"{orientation}.{ending}", exif=exif, **sharp)
        image, notes = read(path, "L", LARGE, Levels())
        np.testing.assert_allclose(np.asarray(image, dtype=int)[4::8, 4::8], CORNER, atol=2)
        assert ending == "tif" or notes == ([pixels.TURNED] if orientation > 1 else [])


def test_damaged_exif_data_leave_the_picture_as_it_is(put):
    path = put(CORNER, "a.png", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    image, _ = read(path, "L", LARGE, Levels())
    assert (np.asarray(image) == CORNER).all()


@pytest.mark.parametrize(
    "name, dtype", [("a.png", np.uint16), ("a.tif", np.uint16), ("a.tif", np.int32), ("a.pgm", np.uint16)]
)
def test_deep_values_are_scaled_and_not_clipped(put, name, dtype):
    path = put((CORNER.astype(dtype) * 257), name)
    image, notes = read(path, "RGB", LARGE, Levels())
    assert (np.asarray(image) == CORNER[..., None]).all() and notes == [pixels.DEEP]


def test_the_white_of_deep_values_is_an_option(put):
    twelve = put(CORNER.astype(np.uint16) * 17, "a.png")
    assert (grey(twelve, white=255 * 17) == CORNER).all() and grey(twelve).max() == 16
    with pytest.raises(DataError, match="values from 0 to 4080, above 1000; name their white as dataset.white"):
        grey(twelve, white=1000)


def test_floats(put):
    unit = put(CORNER.astype(np.float32) / 255, "a.tif")
    assert (grey(unit, white=1) == CORNER).all()
    with pytest.raises(DataError, match="floats from 0 to 0.941176: which is white cannot be told"):
        grey(unit)
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(DataError, match="shift them so that black is 0"):
            grey(put(np.full((2, 2), bad, np.float32), "b.tif"), white=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_laid_on_the_background(put, mode):
    """A shape that is in the alpha alone."""
    shape = Image.new("RGBA", (4, 4), (200, 200, 200, 0))
    shape.paste((200, 200, 200, 255), (0, 0, 2, 4))
    path = put(shape.quantize() if mode == "P" else shape.convert(mode), "a.png")
    for background in (255, 0):
        image, notes = read(path, "RGB", LARGE, Levels(background=background))
        assert (np.asarray(image)[:, :2] == 200).all() and (np.asarray(image)[:, 2:] == background).all()
        assert notes == [pixels.CLEAR]
    with pytest.raises(DataError, match="nothing can be seen of it on the grey level 200; name another dataset.backg"):
        read(path, "RGB", LARGE, Levels(background=200))


def test_an_alpha_of_nothing_hides_nothing(put):
    path = put(Image.merge("LA", [Image.fromarray(CORNER), Image.new("L", (4, 4))]), "a.png")
    image, notes = read(path, "L", LARGE, Levels())
    assert (np.asarray(image) == CORNER).all() and notes == [pixels.NO_ALPHA]
    assert (grey(put(Image.new("LA", (2, 2), (9, 0)), "b.png"), background=7) == 7).all()


def test_a_colour_that_stands_for_transparent(put):
    path = put(np.repeat(CORNER[..., None], 3, axis=2), "a.png", transparency=(240, 240, 240))
    assert grey(path, background=7)[3].tolist() == [160, 0, 0, 7]
    assert read(put(Image.new("RGBA", (2, 2), (9, 9, 9, 255)), "b.png"), "L", LARGE, Levels())[1] == []


@pytest.mark.parametrize(
    "mode, name", [("1", "a.png"), ("P", "a.bmp"), ("CMYK", "a.tif"), ("CMYK", "a.jpg"), ("YCbCr", "a.jpg")]
)
def test_other_modes(put, mode, name):
    half = Image.new("RGB", (16, 16), (255, 255, 255))
    half.paste((0, 0, 0), (0, 0, 8, 16))
    pixels_ = grey(put(half.convert(mode), name))
    assert pixels_[:, :8].max() <= 2 and pixels_[:, 8:].min() >= 253


@pytest.mark.parametrize("ending", ["gif", "tif", "png", "webp"])
def test_the_first_of_several_frames(put, ending):
    frames = [Image.new("RGB", (4, 4), (9 * i, 9 * i, 9 * i)) for i in (1, 20)]
    path = put(frames[0], f"a.{ending}", save_all=True, append_images=frames[1:])
    image, notes = read(path, "L", LARGE, Levels())
    assert abs(int(np.asarray(image)[0, 0]) - 9) <= 1 and notes == [pixels.FRAMES]


@pytest.mark.parametrize(
    "looks, levels",
    [
        ([], Levels()),
        ([Look()], Levels()),
        ([Look(highest_int=3983), Look(highest_int=12), Look()], Levels(white=4095)),
        ([Look(highest_int=200)], Levels(white=255)),
        ([Look(highest_int=40000)], Levels(white=65535)),
        ([Look(highest_int=70000)], Levels()),
        ([Look(highest_float=0.9)], Levels(white=1.0)),
        ([Look(highest_float=254.5)], Levels(white=255.0)),
        ([Look(highest_float=3000.0)], Levels()),
        ([Look(highest_float=0.5), Look(highest_int=3983)], Levels()),
        ([Look(grey=200.0 * 16, opaque=16.0)], Levels()),
        ([Look(grey=250.0 * 16, opaque=16.0), Look()], Levels(background=0)),
    ],
)
def test_levels_that_fit_a_sample(looks, levels):
    assert levels_of(looks, None, None) == levels
    assert levels_of(looks, 7.0, 8) == Levels(7.0, 8)


def test_levels_are_those_of_all_images_and_what_was_done_is_said_once(put, tmp_path, caplog):
    caplog.set_level("INFO")
    dark, light = CORNER.astype(np.uint16), CORNER.astype(np.uint16) * 16
    put(dark, "0.png"), put(light, "1.png"), put(np.stack([CORNER] * 3, axis=2), "2.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    files = ImageFiles(tmp_path, np.array([b"0.png", b"1.png", b"2.png", b"3.png"]), size=4, channels=1)
    plain = files.identity()[0]
    files.level()
    assert files.levels == Levels(white=4095) and not torch.equal(files.identity()[0], plain)
    read = files[np.arange(3)].load()
    assert (
        read[0].max() == round(240 * 255 / 4095) and read[1].max() == round(3840 * 255 / 4095) and read[2].max() == 240
    )
    files[np.arange(2)].load()
    said = "2 of 3 images, such as 0.png, have more than 8 bits a value: 0..4095 becomes 0..255"
    assert caplog.messages == [f"{tmp_path}: {said}"]
    with pytest.raises(DataError, match="1 of 4 images cannot be read: .*3.png"):
        files.load()


def test_endings_are_those_of_the_formats_that_are_read():
    known = {
        ending for ending, name in Image.registered_extensions().items() if name in (*pixels.FORMATS, "MPO", "TGA")
    }
    assert known == set(pixels.ENDINGS)


def test_other_files_are_no_images(put, tmp_path):
    (tmp_path / "a").write_text("P6 is how a picture may begin")
    (tmp_path / "b").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert not pixels.is_image(str(tmp_path / "a")) and not pixels.is_image(str(tmp_path / "b"))
    assert pixels.is_image(put(CORNER, "c.tga"))
    assert (grey(str(tmp_path / "c.tga")) == CORNER).all()
