"""What a report looks like in a terminal: within its width, nothing of a table lost."""

import re
from pathlib import Path

import pytest

from lilawbench.report import short
from lilawbench.report.collect import collect
from lilawbench.report.document import Document, LeftOut, Section, Short, Table
from lilawbench.report.terminal import ELLIPSIS, GAP, Screen, cut, lines, printed, screen

HEADER = ["method", "mean ± std", "difference to ce [95 %]", "p (Holm)", "n"]
ROWS = [
    ["ce", "72.00 ± 2.00", "-", "-", "3"],
    ["lilaw (warmup_epochs=2, lr=0.01)", "74.00 ± 3.00", "+2.00 [-0.48, +4.48]", "0.0742", "3"],
    ["lilaw (warmup_epochs=5, lr=0.01)", "71.00 ± 3.00", "-1.00 [-2.48, +0.48]", "0.1484", "3"],
]
TABLE = Table("", HEADER, ROWS, 4, bold=frozenset({(1, 1)}))


def test_an_exact_table():
    assert lines(TABLE, Screen(100)) == [
        "  method                              mean ± std  difference to ce [95 %]  p (Holm)  n",
        "  ce                                72.00 ± 2.00                        -         -  3",
        "  lilaw (warmup_epochs=2, lr=0.01)  74.00 ± 3.00     +2.00 [-0.48, +4.48]    0.0742  3",
        "  lilaw (warmup_epochs=5, lr=0.01)  71.00 ± 3.00     -1.00 [-2.48, +0.48]    0.1484  3",
    ]


def test_the_readme_shows_this_form():
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = [line for line in text.split("```text\ndigits, ")[1].split("```")[0].splitlines() if line.startswith(GAP)]
    header, *rows = [re.split(r" {2,}", line.strip()) for line in shown]
    assert (header, len(rows)) == (HEADER, 3)
    values = [row[1] + "  " * (not row[1].endswith("≈")) for row in rows]
    table = Table("", header, [[row[0], value, *row[2:]] for row, value in zip(rows, values)], 4)
    assert lines(table, Screen()) == shown


def test_bold_changes_no_width():
    bold = lines(TABLE, Screen(100, bold=True))
    assert bold[2].count("\x1b[1m74.00 ± 3.00\x1b[0m") == 1 and "\x1b" not in bold[1] + bold[3]
    assert [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in bold] == lines(TABLE, Screen(100))


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("columns", [1, 4, 12])
def test_no_line_is_wider_than_the_screen_and_no_number_is_lost(width, columns):
    numbers = [[f"{10 + 12 * row + column}.25 ± 1.00" for column in range(columns)] for row in range(3)]
    table = Table("", ["", *(f"symmetric 0.{n}, {columns} columns" for n in range(columns))],
                  [[name, *line] for (name, *_), line in zip(ROWS, numbers)], columns)  # fmt: skip
    found = lines(table, Screen(width))
    assert max(map(len, found)) <= width
    assert all("\n".join(found).count(number) == 1 for line in numbers for number in line)


@pytest.mark.parametrize("width", [60, 80])
def test_several_columns_of_words_fit(width):
    words = [[f"{place} {'long ' * 6}{line}" for place in "abcd"] for line in range(3)]
    found = lines(
        Table("", ["a", "b", "c", "d", "one", "two"], [[*line, "0.25", "-1.25"] for line in words], 2), Screen(width)
    )
    assert max(map(len, found)) <= width
    assert all(len({line.split("  ")[at] for line in found[1:4]}) == 3 for at in range(1, 5))


def test_at_80_characters_names_are_cut_and_stay_different():
    found = lines(TABLE, Screen(80))
    assert max(map(len, found)) <= 80 and len(found) == 4
    assert [line.split("  ")[1] for line in found[2:]] == ["lilaw (warmu…s=2, lr=0.01)", "lilaw (warmu…s=5, lr=0.01)"]


@pytest.mark.parametrize(
    "names, width",
    [
        (["short", "a name of some length", "another"], 12),
        ([f"{'long ' * 9}{number}{' long' * 9}" for number in range(30)], 16),  # they differ where it is cut
        (["x" * 40 + "a", "x" * 40 + "b"], 16),
    ],
)
def test_cut_names(names, width):
    found = cut(names, width)
    assert max(map(len, found)) <= width and len(set(found)) == len(names)
    assert all(one == name if len(name) <= width else ELLIPSIS in one for one, name in zip(found, names))


def test_a_legend_of_all_sections_is_printed_once():
    def said(*legends):
        sections = [Section("", [], short=Short("A table.", [TABLE], legend)) for legend in legends]
        return printed(Document("", sections), Screen())

    once = said(["Holm over 2.", "≈: level."], ["Holm over 2."])
    assert once.count("Holm over 2.") == 1 and once.endswith("3\n\nHolm over 2. ≈: level.\n\n")
    each = said(["Holm over 2."], ["Holm over 9."])
    assert each.index("Holm over 2.") < each.rindex("A table.") < each.index("Holm over 9.")


def test_runs_in_no_table_are_counted_and_the_other_notes_are_printed():
    notes = ["Picked.", "Not in the tables, failed: a (why)", "Conflict: b"]
    document = Document("", [], notes, left_out=LeftOut({"failed": 12, "in conflict": 1}, notes[1:]))
    said = printed(document, Screen(), "report/tables.md")
    assert said.strip() == "- Picked.\n- Runs in no table: 12 failed, 1 in conflict; which and why: report/tables.md"


@pytest.fixture
def said(section_of, tmp_path):
    """What is printed of the runs below the folder."""
    return lambda: printed(Document("", [section_of(collect(tmp_path))]), Screen())


def test_one_seed_has_neither_interval_nor_p(write_run, said):
    write_run("ce", 0, 0.70)
    write_run("lilaw", 0, 0.72)
    assert said().splitlines() == [
        "digits, symmetric 0.4, mlp: test accuracy [%] at best_val",
        "",
        "  method  value  difference to ce  n",
        "  ce      70.00                 -  1",
        "  lilaw   72.00             +2.00  1",
        "",
    ]


def test_settings_are_blocks_and_if_there_are_many_columns(write_run, said, monkeypatch):
    """lilaw - ce: 2 and 3 points; the interval is 2.5 ± 12.706 / 2."""
    for rate in (0.2, 0.4):
        for seed in (0, 1):
            write_run("ce", seed, 0.70, changes={"config.noise.rate": rate})
            write_run("lilaw", seed, 0.72 + 0.01 * seed, changes={"config.noise.rate": rate})
    found = said()
    assert found.startswith(
        "digits, mlp, 2 settings: test accuracy [%] at best_val\nlilaw is above ce at best_val in 2 of "
    )
    assert "\n\nsymmetric 0.2\n  method " in found
    assert "\n\nsymmetric 0.4\n  method" in found and found.count("  +2.50 [-3.85, +8.85]    0.2513  2\n") == 2
    legend = "Holm over 2 comparisons. Fewer than 5 pairs say little. ≈: no test tells it from the best."
    assert " ".join(found.split()).endswith(legend)
    monkeypatch.setattr(short, "MOST", 3)
    assert said().splitlines()[4:7] == [
        "          symmetric 0.2   symmetric 0.4",
        "  ce     70.00 ± 0.00 ≈  70.00 ± 0.00 ≈",
        "  lilaw    72.50 ± 0.71    72.50 ± 0.71",
    ]


@pytest.mark.parametrize("columns, width", [("80", 80), ("200", 100), ("20", 60), ("", 100)])
def test_the_screen_is_the_terminal_within_bounds(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.__stdout__", None)
    assert screen() == Screen(width, bold=False)


def test_bold_is_for_terminals(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert screen().bold
    monkeypatch.setenv("TERM", "dumb")
    assert not screen().bold
