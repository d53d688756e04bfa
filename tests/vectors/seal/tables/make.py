"""Writes the vectors: `python tests/vectors/seal/tables/make.py`. They must not change within a version."""

import json
from pathlib import Path

import pyarrow as pa

from modelward.vault.tables.manifest import encode, manifest, prove_group
from modelward.vault.tables.reading import TableOptions
from modelward.vault.tables.rows import row_bytes

HERE = Path(__file__).parent
TABLE = pa.table(
    {
        "id": pa.array([1, 2, None, 4, 5], pa.int64()),
        "score": pa.array([0.5, float("nan"), -0.0, None, 1e300]),
        "text": pa.array(["", "é", None, "abc", "x"]),
        "tags": pa.array([["a"], [], None, ["b", None], [""]]),
        "who": pa.array(
            [{"a": True, "d": 1}, None, {"a": None, "d": 2}, {"a": False, "d": None}, {"a": True, "d": 0}]
        ),
    }
)


def main() -> None:
    path = HERE / "five.arrow"
    with pa.ipc.new_file(path, TABLE.schema) as writer:
        writer.write_table(TABLE)
    pinned = manifest(path, TableOptions(group_rows=2))
    proof = prove_group(pinned, 2)
    rows = row_bytes([column.combine_chunks() for column in TABLE.columns], len(TABLE)).to_pylist()
    document = {
        "manifest": encode(pinned),
        "proof": {name: getattr(proof, name) for name in proof.__struct_fields__},
        "rows": [row.hex() for row in rows],
    }
    (HERE / "five.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
