"""Caches the texts of many result files in one hidden Parquet file, so that reading 10,000 runs again opens one file.

It holds whole texts, not columns: a cached run is parsed like one just read, by any version, and only a change of the
file itself can outdate an entry. A digest of the content tells a damaged file, which is made anew.
"""

import contextlib
import hashlib
from pathlib import Path

from lilawbench.support.atomic import replacing
from lilawbench.support.errors import DiskError

FILE = ".collected.parquet"
WORTH = 100  # runs; fewer files are read as fast as the cache

COLUMNS = {"folder": "string", "size": "int64", "mtime_ns": "int64", "inode": "uint64", "text": "large_string"}
Key = tuple[str, int, int, int]  # run folder below the root; size, mtime_ns and inode of its result.json


def load(root: str | Path) -> dict[Key, str]:
    """The saved texts; none if there is no cache, or a damaged or incompatible one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(Path(root) / FILE, use_threads=False, partitioning=None)
        columns = [table[name].cast(type_).to_pylist() for name, type_ in COLUMNS.items()]
        texts = dict(zip(zip(*columns[:-1]), columns[-1]))
        return texts if (table.schema.metadata or {}).get(b"digest") == _digest(texts) else {}
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException):
        return {}


def save(root: str | Path, texts: dict[Key, str]) -> None:
    """Replaces the cache; does nothing in a read-only folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [*zip(*texts), texts.values()]
    arrays = {name: pa.array(list(column), type_) for (name, type_), column in zip(COLUMNS.items(), columns)}
    table = pa.table(arrays).replace_schema_metadata({"digest": _digest(texts)})
    with contextlib.suppress(DiskError), replacing(Path(root) / FILE) as file:
        pq.write_table(table, file, compression="zstd", use_dictionary=False)


def _digest(texts: dict[Key, str]) -> bytes:
    found = hashlib.sha256()
    for key, text in texts.items():
        found.update(f"{key}{len(text)}{text}".encode())
    return found.hexdigest().encode()
