"""suspects.png: what a person can judge at a glance of the first suspects, images or curves, with both labels."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lilawbench.datasets.base import Source
from lilawbench.loading.image_files import loaded
from lilawbench.probes.suspects_list import Suspected
from lilawbench.support.atomic import replacing

if TYPE_CHECKING:
    from PIL import Image, ImageFont

FIRST = 64
ACROSS = 8
TILE, TEXT, GAP = 112, 30, 8  # pixels: side of a picture, height of the two lines below it, space between
FINER = 3  # curves are drawn so many times as large, then made small: no steps in them
GIVEN, SUGGESTED = (176, 42, 42), (20, 100, 60)
CURVES = [(31, 90, 160), (200, 110, 20), (20, 130, 90), (150, 60, 140)]  # of a sequence's channels, in turn


def write_sheet(path: Path, listed: Suspected, source: Source) -> None:
    """Writes the first 64, eight a row; nothing for other data than images and sequences.

    Images are as the data set has them, before anything is normalised; curves are over time, each row on its own scale.

    Raises:
        DiskError: the file cannot be written.
    """
    is_sequence = source.train_input.ndim == 3
    if not (source.is_image or is_sequence):
        return
    from PIL import Image, ImageDraw

    first = min(FIRST, len(listed.rows))
    rows = listed.rows[:first]
    inputs = loaded(source.labelled_input(np.sort(rows))).numpy()[np.argsort(np.argsort(rows))]
    down = -(-first // ACROSS)
    across = min(first, ACROSS)
    sheet = Image.new("RGB", (across * (TILE + GAP) + GAP, down * (TILE + TEXT + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), _font()
    for number, input in enumerate(inputs):
        x = GAP + number % ACROSS * (TILE + GAP)
        y = GAP + number // ACROSS * (TILE + TEXT + GAP)
        sheet.paste(_curves(input) if is_sequence else _picture(input), (x, y))
        given, suggested = (source.class_names[labels[number]] for labels in (listed.given, listed.suggested))
        draw.text((x, y + TILE + 1), _cut(f"#{number + 1} {given}", font), GIVEN, font)
        draw.text((x, y + TILE + 15), _cut(f"→ {suggested}", font), SUGGESTED, font)
    with replacing(path) as file:
        sheet.save(file, "png")


def _picture(pixels: np.ndarray) -> "Image.Image":
    """An image [C, H, W] uint8 as a tile: small ones in whole pixels, large ones smoothly."""
    from PIL import Image

    shown = pixels[:3] if len(pixels) >= 3 else pixels[[0, 0, 0]]
    image = Image.fromarray(np.ascontiguousarray(shown.transpose(1, 2, 0)))
    scale = TILE / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    tile = Image.new("RGB", (TILE, TILE), (235, 235, 235))
    tile.paste(image.resize((size[0], size[1]), how), ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile


def _curves(values: np.ndarray) -> "Image.Image":
    """A sequence [T, C] as a tile, a line a channel."""
    from PIL import Image, ImageDraw

    side = TILE * FINER
    tile = Image.new("RGB", (side, side), (245, 245, 245))
    draw = ImageDraw.Draw(tile)
    low, high = float(values.min()), float(values.max())
    edge = 4 * FINER
    across = np.linspace(edge, side - edge, len(values))
    height = side - edge - (values - low) / max(high - low, 1e-12) * (side - 2 * edge)
    for channel in reversed(range(values.shape[1])):
        points = list(zip(across.tolist(), height[:, channel].tolist()))
        draw.line(points, CURVES[channel % len(CURVES)], width=FINER)
    return tile.resize((TILE, TILE), Image.Resampling.LANCZOS)


def _font() -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    """Matplotlib's, which has more than Latin letters; that it need not be imported saves a second."""
    from PIL import ImageFont

    found = importlib.util.find_spec("matplotlib")
    for place in (found and found.submodule_search_locations) or ():
        path = Path(place, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
        if path.is_file():
            return ImageFont.truetype(path, 11)
    return ImageFont.load_default(11)


def _cut(text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> str:
    """As much of a text as fits below a tile."""
    text = " ".join(text.split())
    while font.getlength(text) > TILE and len(text) > 2:
        text = text[:-2] + "…"
    return text
