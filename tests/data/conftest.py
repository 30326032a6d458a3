"""Parquet files of rows in verl's layout."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checked_rows import SCHEMA, row


@pytest.fixture
def written(tmp_path):
    """Function from a name and rows (or any table) to the path of a parquet file of them."""

    def write(name, rows, schema=SCHEMA, **options):
        path = tmp_path / f"{name}.parquet"
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema)
        pq.write_table(table, path, **options)
        return path

    return write


@pytest.fixture
def good(written):
    return written("good", [row(index, f"question {index}") for index in range(40)])
