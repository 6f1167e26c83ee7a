"""Colours and line styles; a method has the same colour in every figure of every report."""

import zlib
from collections.abc import Iterable

from lilawbench.report.names import natural

# Okabe and Ito 2008: distinguishable with every common colour blindness. Yellow is left out: too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", ":", "-.")  # of lines that share a colour
# numbers of colours: methods that papers compare differ; any other name's number follows from its letters
CHOSEN = {
    **{"ce": 0, "bce": 0, "squared": 0, "focal": 1, "lilaw": 2, "rrm": 3, "dynamic_loss": 4, "at": 5, "a_rrm": 6},
    **{"mae": 5, "gce": 6, "sce": 4, "elr": 3, "mse": 1, "dynamic_loss_lt": 5},
}


def colour(method: str) -> str:
    """The colour of a method by its name alone."""
    return COLOURS[CHOSEN.get(method, zlib.crc32(method.encode()) % len(COLOURS))]


def looks(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and line style of each method of a report; styles tell apart those that share a colour."""
    found: dict[str, tuple[str, str]] = {}
    taken: dict[str, int] = {}
    for method in sorted(set(methods), key=lambda name: (name not in CHOSEN, natural(name))):
        number = taken[colour(method)] = taken.get(colour(method), -1) + 1
        found[method] = colour(method), STYLES[number % len(STYLES)]
    return found


def look(number: int) -> tuple[str, str]:
    """Colour and style of the n-th line of a panel that shows no methods."""
    return COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]
