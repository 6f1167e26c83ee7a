"""A report as one object, rendered to Markdown, LaTeX and HTML by templates/, and to CSV with unrounded numbers.

The HTML is a page that stands by itself: its pictures, style and script are inside, and it names no address.
"""

import base64
import csv
import gzip
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lilawbench import __version__

Value = str | float | bool | None
MOST_VECTOR = 400_000  # bytes of a packed SVG


@dataclass(frozen=True)
class Table:
    """A table to print. `rows` is what is shown, `records` the same unrounded, with further columns."""

    caption: str
    header: list[str]
    rows: list[list[str]]
    numbers: int  # how many columns, from the right, hold numbers
    records: list[dict[str, Value]] = field(default_factory=list)
    bold: frozenset[tuple[int, int]] = frozenset()  # (line, column) of `rows`
    under: str = ""  # what stands under it


@dataclass(frozen=True)
class Picture:
    """A figure, in a file beside the document; an SVG of the same name is for further use."""

    path: Path  # PNG
    title: str
    shows: str = ""  # a sentence or two

    @property
    def address(self) -> str:
        """The whole file, as a data: address."""
        return "data:image/png;base64," + base64.b64encode(self.path.read_bytes()).decode()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, from the file's head."""
        with self.path.open("rb") as file:
            head = file.read(24)
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")

    @cached_property
    def vector(self) -> str:
        """The SVG, by gzip and base64; "": there is none, or it is too large to be carried along."""
        try:
            packed = gzip.compress(self.path.with_suffix(".svg").read_bytes(), 6, mtime=0)
        except FileNotFoundError:
            return ""
        return base64.b64encode(packed).decode() if len(packed) <= MOST_VECTOR else ""


@dataclass(frozen=True)
class Short:
    """A section as a terminal shows it."""

    title: str
    tables: list[Table]
    legend: list[str] = field(default_factory=list)  # sentences


@dataclass(frozen=True)
class Section:
    heading: str
    tables: list[Table]
    short: Short | None = None  # None: as its tables are
    headline: str = ""  # what it shows, in a sentence
    pictures: list[Picture] = field(default_factory=list)  # on the page alone, as what follows
    lines: list[str] = field(default_factory=list)
    folded: bool = False


@dataclass(frozen=True)
class LeftOut:
    """Runs that are in no table."""

    counts: dict[str, int] = field(default_factory=dict)  # by kind: "failed", "unfinished", "in conflict"
    notes: list[str] = field(default_factory=list)  # which of a document's notes tell of them


@dataclass(frozen=True)
class Document:
    """`sections` and `notes` are in every spelling; on the page there are `summary`, `figures` and `details` too."""

    title: str
    sections: list[Section]
    notes: list[str] = field(default_factory=list)
    figures: list[Picture] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    summary: str = ""
    details: list[Section] = field(default_factory=list)

    def render(self, suffix: str) -> str:
        """suffix: "md", "tex" or "html"."""
        return _templates().get_template(f"report.{suffix}.jinja").render(document=self, version=__version__)


def records_csv(sections: Iterable[Section]) -> str:
    """The records of all tables, one below the other; a column that a table lacks is left empty."""
    records = [record for section in sections for table in section.tables for record in table.records]
    out = io.StringIO()
    writer = csv.DictWriter(out, dict.fromkeys(key for record in records for key in record), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


@cache
def _templates() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    found = Environment(
        loader=loader,
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"tex": _tex, "tex_lines": _tex_lines, "padded": _padded, "anchor": _anchor}
    return found


def _padded(table: Table) -> list[list[str]]:
    """The lines of a Markdown table, padded so that it also reads well in a terminal."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in [table.header, *table.rows]]
    for line, column in table.bold:
        lines[line + 1][column] = f"**{lines[line + 1][column]}**"
    width = [max(2, *map(len, column)) for column in zip(*lines)]  # a Markdown rule needs more than a colon
    words = len(table.header) - table.numbers
    rule = ["-" * w if i < words else "-" * (w - 1) + ":" for i, w in enumerate(width)]
    padded = [[c.ljust(w) if i < words else c.rjust(w) for i, (c, w) in enumerate(zip(line, width))] for line in lines]
    return [padded[0], rule, *padded[1:]]


def markdown_width(table: Table) -> int:
    """Characters of the widest line of its Markdown, the caption left out."""
    return max(len(" | ".join(line)) + 4 for line in _padded(table))


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


_TEX = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "†": r"\dag{}",
    "<": "$<$",
    ">": "$>$",
    "~": r"\textasciitilde{}",
    "^": r"\^{}",
}
_TEX |= {character: "\\" + character for character in "&%$#_{}"}


def _tex(string: str) -> str:
    return "".join(_TEX.get(character, character) for character in string)


def _tex_lines(table: Table) -> list[list[str]]:
    lines = [[_tex(cell) for cell in row] for row in table.rows]
    for line, column in table.bold:
        lines[line][column] = rf"\textbf{{{lines[line][column]}}}"
    return lines
