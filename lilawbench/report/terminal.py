"""A report as a terminal shows it: within its width, the best in bold; what it leaves out is in the files."""

import itertools
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from lilawbench.report.document import Document, Short, Table

WIDEST, NARROWEST = 100, 60  # characters of a line
LEAST = 16  # characters of a name that is cut
GAP = "  "
ELLIPSIS = "…"


class Screen(NamedTuple):
    """Where a report is printed."""

    width: int = WIDEST
    bold: bool = False


def screen() -> Screen:
    """The terminal of standard output; a file or a pipe is as wide as the widest, without bold."""
    width = shutil.get_terminal_size((WIDEST, 24)).columns
    return Screen(max(NARROWEST, min(WIDEST, width)), sys.stdout.isatty() and os.environ.get("TERM") != "dumb")


def printed(document: Document, on: Screen, more: str = "") -> str:
    """The text of a document for a screen. more: the file that has all of it."""
    shorts = [section.short or Short(section.heading, section.tables) for section in document.sections]
    once = len({one.legend[0] for one in shorts if one.legend}) == 1
    parts = []
    for section, one in zip(document.sections, shorts, strict=True):
        parts += [*_wrapped(one.title, on.width), *_wrapped(section.headline, on.width)]
        for table in one.tables:
            parts += ["", *_wrapped(table.caption, on.width), *lines(table, on)]
        parts += ["", *_wrapped(" ".join(one.legend), on.width)] if one.legend and not once else []
        parts.append("")
    if once:
        parts += [*_wrapped(" ".join(dict.fromkeys(itertools.chain(*(one.legend for one in shorts)))), on.width), ""]
    missing = document.left_out
    notes = [note for note in document.notes if note not in missing.notes]
    if missing.counts:
        kinds = ", ".join(f"{count} {kind}" for kind, count in missing.counts.items())
        notes.append(f"Runs in no table: {kinds}" + (f"; which and why: {more}" if more else ""))
    parts += [line for note in notes for line in _wrapped(f"- {note}", on.width, "  ")]
    return "\n".join(parts) + "\n"


def lines(table: Table, on: Screen) -> list[str]:
    """A table within the width: names are cut, columns that do not fit go below the others."""
    words = len(table.header) - table.numbers
    columns = [list(column) for column in zip(table.header, *table.rows)]
    numbers = [_width(column) + len(GAP) for column in columns[words:]]
    columns[:words] = _cut_to(on.width - len(GAP), columns[:words], numbers)
    room = on.width - sum(_width(column) + len(GAP) for column in columns[:words])
    blocks: list[list[int]] = [[]]
    left = room
    for number, width in enumerate(numbers):
        if blocks[-1] and width > left:
            blocks.append([])
            left = room
        blocks[-1].append(words + number)
        left -= width
    found: list[str] = []
    for block in blocks:
        found += [""] * bool(found) + _block(columns, [*range(words), *block], words, table, on)
    return found


def _cut_to(width: int, words: list[list[str]], numbers: list[int]) -> list[list[str]]:
    """Columns of words, cut so that all columns of numbers fit beside them or, where that is too narrow, the widest."""
    widest = max(numbers, default=0)
    share = (width - widest) // max(1, len(words)) - len(GAP)
    if sum(map(_width, words)) > len(words) * share:
        words = [*words[:1], *(cut(column, share) for column in words[1:])]
    room = width - sum(_width(column) + len(GAP) for column in words[1:])
    if not words or _width(words[0]) <= room - sum(numbers):
        return words
    return [cut(words[0], max(room - sum(numbers), min(LEAST, room - widest))), *words[1:]]


def _width(column: Sequence[str]) -> int:
    return max(map(len, column))


def _block(columns: Sequence[Sequence[str]], chosen: Sequence[int], words: int, table: Table, on: Screen) -> list[str]:
    found, widths = [], {at: _width(columns[at]) for at in chosen}
    for line in range(len(table.rows) + 1):
        cells = []
        for at in chosen:
            text = columns[at][line]
            spaces = " " * (widths[at] - len(text))
            if on.bold and (line - 1, at) in table.bold:
                text = f"\x1b[1m{text}\x1b[0m"
            cells.append(text + spaces if at < words else spaces + text)
        found.append((GAP + GAP.join(cells)).rstrip())
    return found


def cut(names: Sequence[str], width: int) -> list[str]:
    """Names of at most `width` characters, the middle left out, so that different names stay different."""
    different = dict.fromkeys(names)
    for tail in [width // 2, *range(width)]:
        head = width - len(ELLIPSIS) - tail
        short = {
            name: name if len(name) <= width else name[:head] + ELLIPSIS + name[len(name) - tail :]
            for name in different
        }
        if head >= 0 and len(set(short.values())) == len(different):
            return [short[name] for name in names]
    numbers = {name: f"{ELLIPSIS}{number}" for number, name in enumerate(different, start=1)}
    return [name if len(name) <= width else name[: width - len(numbers[name])] + numbers[name] for name in names]


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
