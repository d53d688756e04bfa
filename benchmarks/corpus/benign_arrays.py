# ruff: noqa: E501, SLF001 - the pickler in Python is the other implementation; values stand in one line each
"""Arrays, tables and plain objects: NumPy, SciPy, pandas, joblib, dill, cloudpickle, h5py, safetensors, msgpack."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import pickle
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from benign import Place


def write(place: Place, seed: int) -> None:
    """All of this file."""
    draw = np.random.default_rng(seed)
    for part in (arrays, pickles, joblibs, frames, by_value, plain):
        part(place, draw)


def arrays(place: Place, draw: np.random.Generator) -> None:
    x = draw.normal(size=(64, 8))
    records = np.zeros(5, dtype=[("id", "i4"), ("name", "U8"), ("box", "f4", (2, 2))])
    named = {
        "floats": x,
        "big endian": x.astype(">f4"),
        "fortran": np.asfortranarray(x),
        "records": records,
        "text": np.array(["a", "bc"]),
        "dates": np.array(["2024-01-01"], dtype="M8[D]"),
        "empty": np.zeros((0, 3)),
        "bool": x > 0,
    }
    for name, value in named.items():
        place.add("other", f"numpy {name}", "weights.npy", lambda path, value=value: np.save(path, value))
    objects = np.array([{"a": 1}, [1, 2], "x", None, 1.5], dtype=object)
    place.add("pickle", "numpy objects", "labels.npy", lambda path: np.save(path, objects, allow_pickle=True))
    place.add("other", "numpy npz", "weights.npz", lambda path: np.savez(path, a=x, b=x > 0))
    place.add(
        "other",
        "numpy npz, compressed",
        "weights.npz",
        lambda path: np.savez_compressed(path, a=x, b=records),
    )
    place.add("pickle", "numpy npz with objects", "data.npz", lambda path: np.savez(path, a=x, b=objects))
    from scipy import sparse

    place.add(
        "other",
        "scipy sparse npz",
        "matrix.npz",
        lambda path: sparse.save_npz(path, sparse.random(9, 9, 0.3, "csr", rng=draw)),
    )
    place.add(
        "pickle",
        "scipy sparse",
        "matrix.pkl",
        lambda path: path.write_bytes(pickle.dumps(sparse.random(9, 9, 0.3, "csc", rng=draw))),
    )


def pickles(place: Place, draw: np.random.Generator) -> None:
    value = {
        "weights": [1.0, 2.5],
        "names": ("a", "ä"),
        "seen": {1, 2},
        "when": dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
        "price": decimal.Decimal("1.5"),
        "count": collections.Counter("abca"),
        "order": collections.OrderedDict(a=1),
        "blob": bytes(999),
        "nested": collections.defaultdict(list, {"a": [1]}),
    }
    for protocol in range(6):
        place.add(
            "pickle",
            f"plain objects, protocol {protocol}",
            "data.pkl",
            lambda path, protocol=protocol: path.write_bytes(pickle.dumps(value, protocol)),
        )
    mixed = {
        "x": draw.normal(size=(9, 3)),
        "labels": np.array(["a", "b"], dtype=object),
        "scalar": np.float32(1.5),
        "rng": draw,
        "masked": np.ma.masked_array([1, 2], [0, 1]),
    }
    for protocol in (2, 4, 5):
        place.add(
            "pickle",
            f"numpy values, protocol {protocol}",
            "arrays.pickle",
            lambda path, protocol=protocol: path.write_bytes(pickle.dumps(mixed, protocol)),
        )
    place.add(
        "pickle", "pure Python pickler", "data.pkl", lambda path: path.write_bytes(pickle._dumps(value))
    )
    place.add(
        "pickle",
        "several in one file",
        "history.pkl",
        lambda path: path.write_bytes(
            b"".join(pickle.dumps({"epoch": i, "loss": 1 / (i + 1)}) for i in range(3))
        ),
    )


def joblibs(place: Place, draw: np.random.Generator) -> None:
    import joblib

    value = {
        "x": draw.normal(size=(200, 8)),
        "y": draw.integers(0, 2, 200),
        "names": ["a", "b"],
        "objects": np.array(["a", None], dtype=object),
    }
    place.add("pickle", "joblib plain", "data.joblib", lambda path: joblib.dump(value, path))
    for codec in ("zlib", "gzip", "bz2", "xz", "lzma", "lz4"):
        place.add(
            "pickle",
            f"joblib {codec}",
            "data.joblib",
            lambda path, codec=codec: joblib.dump(value, path, compress=(codec, 3)),
        )
    place.add(
        "pickle",
        "joblib fortran",
        "data.joblib",
        lambda path: joblib.dump(np.asfortranarray(value["x"]), path),
    )
    place.add("pickle", "joblib protocol 2", "data.joblib", lambda path: joblib.dump(value, path, protocol=2))


def frames(place: Place, draw: np.random.Generator) -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "a": draw.normal(size=9),
            "b": list("abcabcabc"),
            "c": pd.Categorical(list("xyxyxyxyx")),
            "d": pd.date_range("2024-01-01", periods=9, tz="UTC"),
            "e": pd.array([1, None] * 4 + [3], dtype="Int64"),
        }
    )
    place.add("pickle", "pandas frame", "frame.pkl", frame.to_pickle)
    place.add("pickle", "pandas frame, gz", "frame.pkl.gz", frame.to_pickle)
    place.add("pickle", "pandas frame, xz", "frame.pkl.xz", frame.to_pickle)
    place.add("pickle", "pandas frame, zip", "frame.pkl.zip", frame.to_pickle)
    place.add("pickle", "pandas frame, zst", "frame.pkl.zst", frame.to_pickle)
    place.add(
        "pickle", "pandas series, multi-index", "series.pkl", frame.set_index(["b", "c"])["a"].to_pickle
    )
    place.add("other", "pandas parquet", "frame.parquet", frame.to_parquet)
    place.add("other", "pandas csv", "frame.csv", frame.to_csv)
    place.add("other", "pandas json", "frame.json", frame.to_json)
    place.add("other", "pandas feather", "frame.feather", frame.to_feather)


def by_value(place: Place, draw: np.random.Generator) -> None:
    import cloudpickle
    import dill

    value = {"x": draw.normal(size=5), "names": ["a"]}
    for name, module in (("dill", dill), ("cloudpickle", cloudpickle)):
        place.add(
            "pickle",
            f"{name} of plain values",
            "data.pkl",
            lambda path, module=module: path.write_bytes(module.dumps(value)),
        )
        place.add(
            "pickle",
            f"{name} of values, protocol 2",
            "data.dill",
            lambda path, module=module: path.write_bytes(module.dumps(value, protocol=2)),
        )


def plain(place: Place, draw: np.random.Generator) -> None:
    import h5py
    import msgpack
    from safetensors.numpy import save_file

    x = draw.normal(size=(8, 4)).astype("f4")
    place.add(
        "other",
        "safetensors",
        "model.safetensors",
        lambda path: save_file(
            {"a": x, "b": x[:0].copy(), "c": np.float32([1]).reshape(())}, path, {"format": "np"}
        ),
    )
    place.add(
        "other",
        "msgpack",
        "params.msgpack",
        lambda path: path.write_bytes(msgpack.packb({"w": [1.0, 2.0], "n": {"k": b"\x00\x01"}})),
    )

    def weights(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("a/kernel", data=x, compression="gzip", chunks=True)
            file.create_dataset("a/names", data=["x", "y"], dtype=h5py.string_dtype())
            file.attrs["note"] = "plain"
            file["soft"] = h5py.SoftLink("/a/kernel")

    place.add("other", "h5py", "weights.h5", weights)

    def latest(path: Path) -> None:
        with h5py.File(path, "w", libver="latest") as file:
            for index in range(40):
                file.create_dataset(f"layer_{index}/kernel", data=x)
            file.create_dataset(
                "long", data=x, chunks=(2, 2), maxshape=(None, 4), shuffle=True, fletcher32=True
            )

    place.add("other", "h5py, latest format", "weights.hdf5", latest)
