"""Time and memory of profiling a large table.

    python benchmarks/profile_rows.py [--rows 10000000] [--format csv|csv.gz|parquet] [--folder DIR]

Writes a table of 10 columns (5 real, 3 whole, 2 of texts) and a label in a child process, opens it in another
child, and prints rows per second, megabytes per second and the peak resident memory of that child.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PART = 200_000


def write(path: Path, rows: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as pv
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    zipped = path.suffix == ".gz"
    raw = gzip.open(path, "wb", compresslevel=1) if zipped else path.open("wb")  # noqa: SIM115 - closed below
    writer = None
    with raw:
        for start in range(0, rows, PART):
            n = min(PART, rows - start)
            columns = {f"real{i}": rng.normal(size=n).round(6) for i in range(5)}
            columns |= {f"whole{i}": rng.integers(0, 10 ** (i + 1), n) for i in range(3)}
            columns |= {
                f"text{i}": np.array(["red", "green", "blue", "none"])[rng.integers(0, 4, n)]
                for i in range(2)
            }
            table = pa.table(columns | {"label": rng.integers(0, 2, n)})
            if writer is None:
                kind = pq.ParquetWriter if path.suffix == ".parquet" else pv.CSVWriter
                writer = kind(raw, table.schema)
            writer.write_table(table)
        writer.close()


def read(path: Path) -> None:
    from modelward.adapters.data import DataOptions, open_data

    start = time.perf_counter()
    data = open_data(path, DataOptions(label="label", sensitive=("text0", "whole1")))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size, rate = path.stat().st_size / 1e6, data.total / seconds
    print(f"{path.name}: {data.total:,} rows, {len(data):,} held, {size:,.0f} MB")
    print(f"  {seconds:.1f} s, {rate:,.0f} rows/s, {size / seconds:.0f} MB/s, peak RSS {peak:,.0f} MiB")
    print(f"  {data.subject.digest}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--format", choices=("csv", "csv.gz", "parquet"), default="csv")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", choices=("write", "read"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        path = (options.folder if options.step else Path(temporary)) / f"rows.{options.format}"
        if options.step:
            (read(path) if options.step == "read" else write(path, options.rows))
            return
        for step in ("write", "read"):
            subprocess.run(
                [
                    sys.executable,
                    __file__,
                    "--rows",
                    str(options.rows),
                    "--format",
                    options.format,
                    "--folder",
                    temporary,
                    "--step",
                    step,
                ],
                check=True,
            )


if __name__ == "__main__":
    main()
