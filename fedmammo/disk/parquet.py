"""Reads Parquet tables of anybody: what stands once in a small file may stand in every row of a large table."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile

MAXIMUM_CELLS = 2**25
MAXIMUM_BYTES = 2**31
"""Of a table in memory."""
_ROWS = 1024


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table. Raises OSError where it cannot be opened, ValueError where it is none, or too large."""
    try:
        _check_size(path)
        return pd.read_parquet(path)
    except (OSError, ValueError):
        raise
    except Exception as error:  # a damaged file makes pyarrow, and its notes pandas, raise almost anything
        raise ValueError(f"no Parquet table: {type(error).__name__}") from error


def _check_size(path: Path) -> None:
    """Raise ValueError where a table takes more memory than it may; little is held at a time to find out."""
    with ParquetFile(path) as file:
        about, size = file.metadata, 0
        if about.num_rows * about.num_columns > MAXIMUM_CELLS:
            raise ValueError(f"larger than {MAXIMUM_CELLS} cells")
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        longest = max((group.total_byte_size for group in groups), default=0)  # of a cell, at most
        for batch in file.iter_batches(max(1, min(_ROWS, MAXIMUM_BYTES // 8 // max(1, longest)))):
            size += sum(_decoded(column).nbytes for column in batch.columns)
            if size > MAXIMUM_BYTES:
                raise ValueError(f"larger than {MAXIMUM_BYTES >> 30} GiB in memory")


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column
