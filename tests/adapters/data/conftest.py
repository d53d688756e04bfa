import gzip
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelward.adapters.data import DataOptions, open_data


@pytest.fixture
def write(tmp_path):
    """Write text or bytes to a file of this test's folder and return its path."""

    def put(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


@pytest.fixture
def read(write):
    """Write a csv and open it; keywords are options."""

    def get(text, name="data.csv", **options):
        return open_data(write(name, text), DataOptions(**options))

    return get


@pytest.fixture
def npz(tmp_path):
    def put(compressed=False, name="data.npz", **arrays):
        path = tmp_path / name
        (np.savez_compressed if compressed else np.savez)(path, **arrays)
        return path

    return put


@pytest.fixture
def parquet(tmp_path):
    def put(columns, name="data.parquet", **options):
        path = tmp_path / name
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        pq.write_table(table, path, **options)
        return path

    return put


@pytest.fixture
def npy_bytes():
    def give(array, **options):
        stream = io.BytesIO()
        np.save(stream, array, **options)
        return stream.getvalue()

    return give


@pytest.fixture
def zipped():
    return lambda text: gzip.compress(text.encode() if isinstance(text, str) else text, mtime=0)
