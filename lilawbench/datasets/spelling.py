"""How values are written in a table: what is missing, what is a number, which texts are one."""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow

MISSING = (
    "?", "NA", "N/A", "n.a.", "#N/A", "#NA", "<NA>", "NaN", "-NaN", "NaT", "null", "none", "nil", "missing", "-", "--",
    ".",
)  # fmt: skip
# no leading zeros, which are a code's, and no exponent without a sign, which may be a code's too
NUMBER = re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]\d+)?", re.ASCII)


class Spelling:
    """Reads columns of a table.

    Args:
        missing: what counts as missing besides an empty value, in whatever case; numbers among it by their value.
        decimal: the sign before decimals, "." or ",".
    """

    def __init__(self, missing: Sequence[str] = MISSING, decimal: str = "."):
        self.missing, self.decimal = list(missing), decimal
        self.words = {unified(word).casefold() for word in missing}
        variants = {form for word in missing for form in (word, word.lower(), word.upper(), word.title())}
        self._variants = ["", *sorted(variants)]
        self._values = [value for word in missing if math.isfinite(value := self.number(word))]

    def number(self, text: str) -> float:
        """The number that a text is; NaN: none."""
        if self.decimal != ".":
            text = "" if "." in text else text.replace(self.decimal, ".")
        try:
            return math.nan if "_" in text else float(text)
        except ValueError:
            return math.nan

    def text(self, text: str) -> str:
        """A text as it is compared: 1.0 and +1 are 1; with leading zeros it stays as it is."""
        text = unified(text)
        pointed = text if self.decimal == "." else "" if "." in text else text.replace(self.decimal, ".")
        if not NUMBER.fullmatch(pointed):
            return text
        whole = pointed.lstrip("+-").isdigit()
        return (str(int(pointed)) if whole else plain_number(float(pointed))).replace(".", self.decimal)

    def read(self, column: "pyarrow.ChunkedArray", as_text: bool, exact: bool) -> "tuple[pyarrow.Array, list[str]]":
        """A column of strings as float64 if all of them are numbers, else as a dictionary of texts; null where missing.

        Args:
            as_text: a dictionary of texts in any case. exact: in the spelling of the file.
        Returns:
            That, and the words that stood for a missing text. A column that holds no strings: null where missing.
        """
        import pyarrow

        kinds = pyarrow.types
        if kinds.is_integer(column.type) or kinds.is_floating(column.type):
            return self._marked(_whole(column)), []
        if not kinds.is_string(column.type):
            return _whole(column), []
        if not as_text and (numbers := self._numbers(column)) is not None:
            return self._marked(numbers), []
        array, words = self._dictionary(column, exact)
        values = [] if as_text else [self.number(text) for text in array.dictionary.to_pylist()]
        if values and np.isfinite(values).all():
            return self._marked(pyarrow.array(values, pyarrow.float64()).take(array.indices)), []
        return array, words

    def _numbers(self, column: "pyarrow.ChunkedArray") -> "pyarrow.Array | None":
        """As Arrow reads them, quickly; None: not all of them are numbers in its notation."""
        import pyarrow
        import pyarrow.compute as pc

        column = pc.utf8_trim_whitespace(column)
        gone = pc.is_in(column, value_set=pyarrow.array(self._variants, pyarrow.string()))
        if pc.any(gone).as_py():
            column = pc.if_else(gone, pyarrow.scalar(None, pyarrow.string()), column)
        if self.decimal != ".":
            if pc.any(pc.match_substring(column, ".")).as_py():
                return None
            column = pc.replace_substring(column, self.decimal, ".")
        try:
            return _whole(column.cast(pyarrow.float64()))
        except pyarrow.ArrowInvalid:
            return None

    def _dictionary(self, column: "pyarrow.ChunkedArray", exact: bool) -> "tuple[pyarrow.Array, list[str]]":
        import pyarrow

        coded = _whole(column.dictionary_encode().unify_dictionaries())
        number: dict[str, int] = {}
        codes, words = [], []
        for text in coded.dictionary.to_pylist():
            clean = unified(text) if exact else self.text(text)
            if not clean or clean.casefold() in self.words:
                codes.append(-1)
                words += [clean] if clean and clean not in words else []
            else:
                codes.append(number.setdefault(clean, len(number)))
        codes = np.array([*codes, -1], np.int32)[coded.indices.fill_null(len(codes)).to_numpy()]
        indices = pyarrow.array(codes, mask=codes < 0)
        return pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(list(number), pyarrow.string())), words

    def _marked(self, numbers: "pyarrow.Array") -> "pyarrow.Array":
        """Null where a number counts as missing; NaN always does."""
        import pyarrow
        import pyarrow.compute as pc

        whole = pyarrow.types.is_integer(numbers.type)
        values = [int(value) for value in self._values if value.is_integer()] if whole else [*self._values, math.nan]
        values = [value for value in values if _fits(value, numbers.type)]
        gone = pc.is_in(numbers, value_set=pyarrow.array(values, numbers.type))
        return pc.if_else(gone, pyarrow.scalar(None, numbers.type), numbers) if pc.any(gone).as_py() else numbers


def unified(text: str) -> str:
    """One spelling of what looks the same: composed characters, single blanks, none around."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def plain_number(value: float) -> str:
    """The shortest text of a number: 1 for 1.0."""
    return str(int(value)) if math.isfinite(value) and value == int(value) and abs(value) < 1e15 else repr(value)


def alike(texts: Sequence[str]) -> list[list[str]]:
    """Groups of different texts that differ in capitals only, or are one number: "yes" and "Yes", "01" and "1"."""
    spelling = Spelling()
    groups: dict[object, list[str]] = {}
    for text in texts:
        value = spelling.number(text)
        groups.setdefault(value if math.isfinite(value) else text.casefold(), []).append(text)
    return [group for group in groups.values() if len(group) > 1]


def _fits(value: float, kind: "pyarrow.DataType") -> bool:
    import pyarrow

    try:
        pyarrow.scalar(value, kind)
    except (pyarrow.ArrowInvalid, OverflowError):
        return False
    return True


def _whole(column: "pyarrow.ChunkedArray") -> "pyarrow.Array":
    """In one piece."""
    import pyarrow

    return column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
