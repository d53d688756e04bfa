import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def typed():
    """A column of each type, with nulls, 7 rows; and an independent encoder's idea of each."""
    day = dt.date(2024, 2, 29)
    moment = dt.datetime(2024, 2, 29, 12, 30, 15, 123456, dt.UTC).replace(tzinfo=None)
    return pa.table(
        {
            "i8": pa.array([1, -1, None, 127, -128, 0, 5], pa.int8()),
            "u64": pa.array([1, 2**64 - 1, None, 0, 9, 10, 11], pa.uint64()),
            "f32": pa.array([1.5, float("nan"), None, float("inf"), -0.0, 0.0, 3e-40], pa.float32()),
            "f64": pa.array([1.5, float("nan"), None, float("-inf"), -0.0, 0.0, 5e-324]),
            "bool": pa.array([True, False, None, True, True, False, False]),
            "text": pa.array(["", "a", None, "é", "longer than the others", "\0", "x"]),
            "raw": pa.array([b"", b"\xff", None, b"\0\0", b"q" * 40, b"z", b"y"], pa.binary()),
            "day": pa.array([day, None, dt.date(1, 1, 1), day, day, day, dt.date(9999, 12, 31)]),
            "us": pa.array([moment, None, moment, moment, moment, moment, moment], pa.timestamp("us")),
            "utc": pa.array([moment, None] + [moment] * 5, pa.timestamp("ns", tz="UTC")),
            "time": pa.array([dt.time(1, 2, 3), None] + [dt.time(23, 59, 59)] * 5, pa.time64("us")),
            "dec": pa.array([decimal.Decimal("-1.25"), None] + [decimal.Decimal("99.99")] * 5, pa.decimal128(9, 2)),
            "list": pa.array([[1, 2], None, [], [None], [3], [4, 5, 6], [7]], pa.list_(pa.int32())),
            "deep": pa.array([[["a"]], None, [], [None], [[]], [["", None]], [["z"], ["y"]]]),
            "rec": pa.array(
                [{"x": 1, "y": "a"}, None, {"x": None, "y": None}, {"x": 2, "y": ""}] + [{"x": 3, "y": "b"}] * 3
            ),
            "map": pa.array([[("k", 1)], None, [], [("a", None)], [("b", 2), ("c", 3)], [], []],
                            pa.map_(pa.string(), pa.int16())),
        }
    )  # fmt: skip


@pytest.fixture
def people():
    """A plain table of numbers and texts."""

    def build(rows=1000, seed=0):
        random = np.random.default_rng(seed)
        return pa.table(
            {
                "id": np.arange(rows, dtype=np.int64),
                "age": random.integers(18, 90, rows).astype(np.int64),
                "score": random.normal(size=rows),
                "name": [f"person {place}" for place in random.integers(0, 10**9, rows)],
            }
        )

    return build


@pytest.fixture
def write(tmp_path):
    """Write a table in a format, by its file's ending."""

    def save(table, name, group=100):
        path = tmp_path / name
        if name.endswith(".parquet"):
            pq.write_table(table, path, row_group_size=group)
        elif name.endswith(".csv"):
            pv.write_csv(table, path)
        elif name.endswith(".arrows"):
            with pa.ipc.new_stream(path, table.schema) as writer:
                writer.write_table(table, max_chunksize=group)
        else:
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table, max_chunksize=group)
        return path

    return save
