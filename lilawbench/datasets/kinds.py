"""What each column of a table is taken for: numbers, categories, or no feature; what is in doubt is refused."""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lilawbench.datasets.columns import Columns, say
from lilawbench.datasets.spelling import alike
from lilawbench.support.errors import DataError, first_of

log = logging.getLogger("lilawbench")

ROWS_TO_TELL = 20  # with fewer, values that differ in each row say nothing
NEARLY_ALL = 0.9
MOST_SHOWN = 30  # columns listed in the log
NAMELESS = re.compile(r"Unnamed: \d+(\.\d+)?|__index_level_\d+__")
IDENTIFIER = re.compile(
    r"(.*[ _.-])?(id|uid|uuid|guid|idx)([ _.-].*)?|index|row|rownum|rownames|row[ _]names|nr|no|no\.|#|key|"
    r"(patient|passenger|customer|client|user|person|subject|student|employee|member|account|case|sample|record|order|"
    r"product|item|image|study|visit|transaction|row)id"
)
DATE = re.compile(
    r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3(\d{4}|\d{2}))([T ]\d{1,2}:.*)?"
    r"|\d{1,2}[-. ]+[A-Za-z]{3,9}[-., ]+\d{2,4}|[A-Za-z]{3,9}[. ]+\d{1,2}, \d{4}"
    r"|\d{1,2}:\d\d(:\d\d.*)?"
)
COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
POINT = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?")
THOUSANDS = re.compile(r"[-+]?\d{1,3}([,.' \u2019])\d{3}(\1\d{3})*([.,]\d+)?")
SIGNED = re.compile(r"[$€£¥] ?[-+]?\d[\d.,]*|[-+]?\d[\d.,]* ?[%€$£¥]|[\u2212\u2013]\d[\d.,]*")
NUMBER_LIKE = (COMMA, POINT, THOUSANDS, SIGNED)


@dataclass
class Kinds:
    """Feature columns in the order of the file, and those that are none, with the reason."""

    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def kinds(
    table: Columns, no_features: dict[str, str], numeric: Sequence[str], categorical: Sequence[str],
    max_categories: int,
) -> Kinds:  # fmt: skip
    """Tells the columns apart by what they hold.

    A column is numeric if each of its values is a number, else categorical. It is no feature if it has no value, if it
    has no name and another value in each row (an index), or is named as an identifier and has another value in nearly
    each row.

    Args:
        no_features: columns that the options say are none: name, and why.
        numeric, categorical: columns that are to be taken as such, whatever they hold.
    Raises:
        DataError: what is in doubt, with the options that decide it: a column mostly of numbers, of dates, without a
            name, or that counts the rows; texts that differ in nearly each row, or are more than `max_categories`.
    """
    found = Kinds(left_out=dict(no_features))
    for name in (name for name in table.arrays if name not in no_features):
        forced = name in numeric or name in categorical
        if not forced and (why := _no_feature(table, name)):
            found.left_out[name] = why
            continue
        wrong = np.arange(0)
        if name not in categorical:
            wrong = _not_numbers(table, name)
        if name in numeric and len(wrong):
            raise not_a_number(table, name, wrong)
        if name not in categorical and not len(wrong):
            if not forced:
                _need_measured(table, name)
            found.numeric.append(name)
            continue
        if not forced:
            _need_categories(table, name)
        if (values := len(table.texts(name)[1])) > max_categories:
            raise DataError(
                f"{table.path}: column {name!r} holds {values} different values that are not all numbers, more "
                f"than dataset.max_categories={max_categories}. Raise that, leave the column out with "
                f"{say('ignore', name)}, or take it as numbers with {say('numeric', name)}"
            )
        if groups := alike(table.texts(name)[1]):
            log.warning("%s: column %r: %s", table.path, name, different(groups, "categories"))
        found.categorical.append(name)
    if not found.numeric and not found.categorical:
        others = ", ".join(f"{name!r} ({why})" for name, why in list(found.left_out.items())[:MOST_SHOWN])
        raise DataError(f"{table.path} has no feature column besides {others}")
    return found


def not_a_number(table: Columns, name: str, wrong: np.ndarray) -> DataError:
    """Of the rows `wrong`, in a column that is taken as numeric."""
    return DataError(
        f"{table.at(wrong[0])}: {table.text(name, wrong[0])!r} in the numeric column {name!r} is not a finite number "
        f"({len(wrong)} such rows); dataset.missing lists what counts as missing, {say('categorical', name)} takes "
        "the column as categories"
    )


def different(groups: list[list[str]], what: str) -> str:
    """A warning about texts that `alike` groups."""
    shown = "; ".join(" and ".join(map(repr, group)) for group in groups[:5])
    return f"{shown} count as different {what}; if they are one, write them alike"


def shortened(names: Sequence[str]) -> str:
    """Names for the log."""
    return first_of(names, MOST_SHOWN) or "none"


def _no_feature(table: Columns, name: str) -> str:
    """Why a column is left out; "": it is not."""
    missing = table.arrays[name].null_count
    if missing == len(table):
        return "no value"
    if table.of_kind(name) not in ("numbers", "texts"):
        return ""
    if NAMELESS.fullmatch(name):
        return "index" if _distinct(table, name) == len(table) and _whole_or_text(table, name) else ""
    named = IDENTIFIER.fullmatch(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    if named and len(table) >= ROWS_TO_TELL and _whole_or_text(table, name) and _nearly_all_differ(table, name):
        return f"identifier; {say('numeric', name)} or {say('categorical', name)} keeps it"
    return ""


def _whole_or_text(table: Columns, name: str) -> bool:
    if table.of_kind(name) == "texts":
        return True
    values = table.numbers(name)[0]
    return bool((np.isnan(values) | (values == np.floor(values))).all())


def _distinct(table: Columns, name: str) -> int:
    array = table.arrays[name]
    if table.of_kind(name) == "texts":
        return len(array.dictionary)
    values = table.numbers(name)[0]
    return len(np.unique(values[~np.isnan(values)]))


def _nearly_all_differ(table: Columns, name: str) -> bool:
    there = len(table) - table.arrays[name].null_count
    return there >= ROWS_TO_TELL and _distinct(table, name) >= NEARLY_ALL * there


def _not_numbers(table: Columns, name: str) -> np.ndarray:
    """Rows whose value is no number."""
    if (kind := table.of_kind(name)) not in ("numbers", "texts"):
        raise DataError(
            f"{table.path}: column {name!r} holds {kind}, neither numbers nor categories; make numbers of it (such as "
            f"days since a date) or leave it out with {say('ignore', name)}"
        )
    wrong = table.numbers(name)[1]
    if kind == "numbers" and len(wrong):
        raise DataError(
            f"{table.at(wrong[0])}: {table.text(name, wrong[0])!r} in column {name!r} is not a finite number "
            f"({len(wrong)} such rows); correct it, let dataset.missing name it, or leave the column out with "
            f"{say('ignore', name)}"
        )
    return wrong


def _need_measured(table: Columns, name: str) -> None:
    """Raises: DataError if a numeric column has no name, or counts the rows."""
    if NAMELESS.fullmatch(name):
        raise DataError(
            f"{table.path}: a column has no name, nor is it an index with another value in each row; name it, leave "
            f"it out with {say('ignore', name)}, or keep it with {say('numeric', name)}"
        )
    values = table.numbers(name)[0]
    if len(values) < ROWS_TO_TELL or np.isnan(values).any() or np.ptp(values) != len(values) - 1:
        return
    if _whole_or_text(table, name) and _distinct(table, name) == len(values):
        raise DataError(
            f"{table.path}: column {name!r} numbers the rows, {values.min():g} to {values.max():g}; is it an index? "
            f"Leave it out with {say('ignore', name)}, or keep it with {say('numeric', name)}"
        )


def _need_categories(table: Columns, name: str) -> None:
    """Raises: DataError if texts are rather numbers, dates, or names of the rows."""
    codes, texts = table.texts(name)
    counts = np.bincount(codes, minlength=len(texts))
    spelled = {text: int(count) for text, count in zip(texts, counts, strict=True) if text and count}
    ways = f"{say('categorical', name)} takes it as categories, {say('ignore', name)} leaves it out"
    numbers = [text for text in spelled if _finite(table, text) or any(like.fullmatch(text) for like in NUMBER_LIKE)]
    dates = [text for text in spelled if DATE.fullmatch(text)]
    if _most(dates, spelled):
        raise DataError(
            f"{table.at(int(np.flatnonzero(codes == texts.index(dates[0]))[0]))}: {dates[0]!r}: column {name!r} holds "
            f"dates or times; make numbers of them (such as days since one), or: {ways}"
        )
    if _most(numbers, spelled):
        strange = Counter({text: count for text, count in spelled.items() if not _finite(table, text)})
        shown = []
        for text, count in strange.most_common(5):
            row = int(np.flatnonzero(codes == texts.index(text))[0])
            shown.append(f"{text!r} ({table.place} {table.lines[row]}{f', {count} rows' if count > 1 else ''})")
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        raise DataError(
            f"{table.path}: column {name!r} is mostly numbers, but holds {', '.join(shown)}{more}. "
            f"{advice(list(strange), table.spelling.decimal)}{ways}"
        )
    if _nearly_all_differ(table, name):
        raise DataError(
            f"{table.path}: column {name!r} holds {len(spelled)} different texts in {len(table)} rows: a name or free "
            f"text, not categories. Leave it out with {say('ignore', name)}, or keep it with "
            f"{say('categorical', name)}"
        )


def _finite(table: Columns, text: str) -> bool:
    return bool(np.isfinite(table.spelling.number(text)))


def _most(some: list[str], spelled: dict[str, int]) -> bool:
    """Whether they are more than half of the different values, or of the rows."""
    return 2 * len(some) > len(spelled) or 2 * sum(spelled[text] for text in some) > sum(spelled.values())


def advice(strange: list[str], decimal: str) -> str:
    """What the values that are no numbers may be."""
    if decimal == "." and all(COMMA.fullmatch(text) for text in strange):
        return "If the comma is the decimal sign: 'dataset.decimal=\",\"'; if it groups thousands, remove it. Else "
    if decimal == "," and all(POINT.fullmatch(text) for text in strange):
        return 'With dataset.decimal="," a point is no decimal sign: write one kind of number. Else '
    if all(THOUSANDS.fullmatch(text) for text in strange):
        return "Signs between thousands are not read: remove them from the file. Else "
    if all(SIGNED.fullmatch(text) for text in strange):
        return "Signs such as %, $ and a long minus are not read: remove them from the file. Else "
    return "If that is a missing value, add it to dataset.missing; if an error, correct it. Else "
