"""A Parquet file as columns of strings and numbers."""

from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.support.errors import DataError

if TYPE_CHECKING:
    import pyarrow


def read_parquet(path: Path) -> "tuple[list[str], list[pyarrow.ChunkedArray]]":
    """Names and columns. Categories are what they stand for, booleans "True" and "False", decimals float64; what is
    neither text nor a number stays as it is.

    Raises:
        DataError: not a Parquet file.
    """
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these kinds
        raise DataError(f"{path} is not a Parquet file: {error}") from error
    return plain_columns(table)


def plain_columns(table: "pyarrow.Table") -> "tuple[list[str], list[pyarrow.ChunkedArray]]":
    """As `read_parquet`, of a table in memory."""
    return [name.strip() for name in table.column_names], [_plain(column) for column in table.columns]


def _plain(column: "pyarrow.ChunkedArray") -> "pyarrow.ChunkedArray":
    import pyarrow
    import pyarrow.compute as pc

    kinds = pyarrow.types
    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if kinds.is_large_string(kind) or kinds.is_string_view(kind) or kinds.is_null(kind):
        return column.cast(pyarrow.string())
    if kinds.is_boolean(kind):
        return pc.if_else(column, "True", "False")
    if kinds.is_decimal(kind) or kinds.is_float16(kind):
        return column.cast(pyarrow.float64())
    return column
