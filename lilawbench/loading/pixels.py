"""Any file that Pillow reads as 8-bit pixels: upright, deep values scaled, transparency laid on a grey level."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

# What Pillow decodes by itself and knows by its first bytes. The others need another program (EPS), are no pictures, or
# take nearly any bytes for theirs (TGA, which goes by its ending).
FORMATS = (
    "JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF", "DIB", "ICO", "CUR", "PCX", "DCX", "PSD",
    "QOI", "SGI", "SUN", "DDS", "ICNS", "XBM", "XPM", "MSP", "FITS",
)  # fmt: skip
TGA = (".tga", ".icb", ".vda", ".vst")
ENDINGS = (
    ".jpg", ".jpeg", ".jfif", ".jpe", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm",
    ".pfm", ".tif", ".tiff", ".webp", ".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c", ".avif", ".avifs", ".ico", ".cur",
    ".pcx", ".dcx", ".psd", ".qoi", ".sgi", ".rgb", ".rgba", ".bw", ".ras", ".dds", ".icns", ".xbm", ".xpm", ".msp",
    ".fit", ".fits", *TGA,
)  # fmt: skip
ONE_PICTURE = ("MPO", "PSD", "ICO", "ICNS", "DCX")  # formats whose further frames are previews, layers or sizes

FRAMES = "several frames: the first is taken"
TURNED = "EXIF data that turn them upright"
BAD_EXIF = "EXIF data that cannot be read: they are taken as they lie"
CLEAR = "transparent pixels: they are laid on"
NO_ALPHA = "an alpha of 0 everywhere: their colours are taken as they are"
DEEP = "more than 8 bits a value"

RANGES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14, 16 bits, the depths of cameras and scanners
NEARLY_WHITE = 230  # a mean grey level above which what is drawn would be lost on white


class Levels(NamedTuple):
    """How values become 8 bits; the same for all images of a data set, so that they stay comparable.

    `white`: the value that becomes 255 in images of 16 or more bits and of floats; 0 becomes 0. None: 65535, and
    floats are refused. `background`: the grey level, 0..255, that transparent pixels are laid on.
    """

    white: float | None = None
    background: int = 255


class Look(NamedTuple):
    """What one image says of the levels: its highest value, if deep; the grey, summed, and amount of what is drawn."""

    highest_int: float | None = None
    highest_float: float | None = None
    grey: float = 0.0
    opaque: float = 0.0


def opened(file: str | IO[bytes]) -> Image.Image:
    """A file, by its path or open, identified by its content. Raises: OSError, it cannot be read or is no image."""
    from PIL import Image

    Image.preinit()  # else the first format that is not a JPEG makes Pillow import all of them
    return Image.open(file, formats=("TGA",) if isinstance(file, str) and file.lower().endswith(TGA) else FORMATS)


def is_image(path: str) -> bool:
    """Whether the first bytes are those of an image."""
    try:
        with opened(path):
            return True
    except Exception:  # Pillow's formats raise nearly anything on files of another kind
        return False


def read(file: str | IO[bytes], mode: str, least: int, levels: Levels) -> tuple[Image.Image, list[str]]:
    """The image in a file, and what had to be done to it.

    Args:
        file: as in `opened`.
        mode: "RGB" | "L". least: a JPEG may be decoded at a half, a quarter ... of its size while no side is smaller.
    Raises:
        DataError: values outside 0..white, or nothing is left on the background. Whatever Pillow raises.
    """
    with opened(file) as image:
        image.draft(mode, (least, least))
        several = image.format not in ONE_PICTURE and getattr(image, "is_animated", False)
        notes = [FRAMES] if several else []
        notes += _turn(image)
        if image.mode[0] in "IF":
            return _scaled(image, levels.white).convert(mode), [*notes, DEEP]
        if image.has_transparency_data:
            flat, done = _laid(image, levels.background)
            return flat.convert(mode), notes + done
        return image.convert(mode), notes


def _turn(image: Image.Image) -> list[str]:
    from PIL import ExifTags, ImageOps

    image.load()
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        if turned:
            ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # as damaged EXIF data have it; the pixels were read
        return [BAD_EXIF]
    return [TURNED] if turned else []


def _scaled(image: Image.Image, white: float | None) -> Image.Image:
    from PIL import Image

    values = np.asarray(image)
    low, high = values.min(), values.max()
    if white is None and image.mode == "F":
        raise DataError(f"floats from {low:g} to {high:g}: which is white cannot be told, name it as dataset.white")
    white = white or RANGES[-1]
    if not (low >= 0 and high < float("inf")):  # NaN is neither
        raise DataError(f"values from {low:g} to {high:g}; shift them so that black is 0")
    if high > white:
        raise DataError(f"values from {low:g} to {high:g}, above {white:g}; name their white as dataset.white")
    return Image.fromarray(np.rint(values.astype(np.float32) * np.float32(255 / white)).astype(np.uint8))


def _laid(image: Image.Image, background: int) -> tuple[Image.Image, list[str]]:
    """On the background, as RGB, and what there is to say of it."""
    from PIL import Image

    clear = _with_alpha(image)
    colours, (least, most) = clear.convert("RGB"), clear.getchannel("A").getextrema()
    if least == 255:
        return colours, []
    if most == 0 and not _is_plain(colours):  # as programs write it that do not know what alpha means
        return colours, [NO_ALPHA]
    flat = Image.new("RGBA", clear.size, (background, background, background, 255))
    flat.alpha_composite(clear)
    flat = flat.convert("RGB")
    if least != most and _is_plain(flat):
        raise DataError(f"nothing can be seen of it on the grey level {background}; name another dataset.background")
    return flat, [CLEAR]


def _is_plain(image: Image.Image) -> bool:
    """Whether an RGB image has one colour only."""
    return all(low == high for low, high in (channel.getextrema() for channel in image.split()))


def _with_alpha(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def look(file: str | IO[bytes]) -> Look:
    """Raises: whatever Pillow raises."""
    with opened(file) as image:
        if image.mode[0] in "IF":
            highest = float(np.asarray(image).max())
            return Look(highest_float=highest) if image.mode == "F" else Look(highest_int=highest)
        if image.has_transparency_data:
            alpha = np.asarray((clear := _with_alpha(image)).getchannel("A"), dtype=np.float64) / 255
            return Look(grey=float((np.asarray(clear.convert("RGB").convert("L")) * alpha).sum()), opaque=alpha.sum())
        return Look()


def levels_of(looks: Iterable[Look], white: float | None, background: int | None) -> Levels:
    """The levels that fit a sample of the images.

    Whole numbers: white is the highest value of 8, 10, 12, 14 or 16 bits that holds the sample. Floats: 1 or 255. The
    background is white, or black if what is drawn is nearly white. What is given is taken as it is.
    """
    looks = list(looks)
    ints = [seen.highest_int for seen in looks if seen.highest_int is not None]
    floats = [seen.highest_float for seen in looks if seen.highest_float is not None]
    if white is None and ints and not floats:
        white = next((top for top in RANGES if max(ints) <= top), None)
    if white is None and floats and not ints:
        white = next((top for top in (1.0, 255.0) if max(floats) <= top), None)
    if background is None:
        opaque = sum(seen.opaque for seen in looks)
        background = 0 if opaque and sum(seen.grey for seen in looks) > NEARLY_WHITE * opaque else 255
    return Levels(white, background)
