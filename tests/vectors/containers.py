"""Vectors of archives and of files around a pickle: zip tricks, other archives, renamed files, arrays, torch, joblib."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from typing import TYPE_CHECKING

from vectors.asm import COMMAND, Raw, Vector, benign, call, payload, pickle, push, ref, text
from vectors.writers import Member, archive, deflate, gz, lz4, seven, tar, zstd

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHTS = b"\x00" * 64
DATA = Member("archive/data.pkl", payload(2))
CLEAN = Member("archive/data.pkl", benign(2))
VERSION = Member("archive/version", b"3\n")
STORAGE = Member("archive/data/0", WEIGHTS)


def vectors() -> Iterator[Vector]:
    """All of this file."""
    for group in (zips, compressed, nested, bombs, paths, renamed, arrays, joblibs, torches):
        yield from group()


def zips() -> Iterator[Vector]:
    yield Vector(
        "zip-crc", "payload with a bad checksum", "model.pt", archive(DATA._replace(crc=1), VERSION, STORAGE)
    )
    yield Vector(
        "zip-crc", "weights with a bad checksum", "model.pt", archive(DATA, VERSION, STORAGE._replace(crc=1))
    )
    for bit in (0x1, 0x20, 0x40, 0x2000):
        yield Vector(
            "zip-flag-bits",
            f"bit {bit:#x} in both",
            "model.pt",
            archive(DATA._replace(flags=bit), VERSION, STORAGE),
        )
        yield Vector(
            "zip-flag-bits",
            f"bit {bit:#x} in the directory",
            "model.pt",
            archive(DATA._replace(central_flags=bit), VERSION, STORAGE),
        )
        yield Vector(
            "zip-flag-bits",
            f"bit {bit:#x} in the header",
            "model.pt",
            archive(DATA._replace(flags=bit, central_flags=0), VERSION, STORAGE),
        )
    mismatch = "zip-header-mismatch"
    yield Vector(
        mismatch,
        "other name in the header",
        "model.pt",
        archive(DATA._replace(name="archive/data.txt", central="archive/data.pkl"), VERSION),
    )
    yield Vector(
        mismatch,
        "other name in the directory",
        "model.pt",
        archive(DATA._replace(central="archive/readme.md"), VERSION),
    )
    yield Vector(
        mismatch,
        "other method in the directory",
        "model.pt",
        archive(DATA._replace(central_method=8), VERSION),
    )
    yield Vector(
        mismatch,
        "other method in the header",
        "model.pt",
        archive(DATA._replace(method=99, central_method=0, body=DATA.data), VERSION),
    )
    yield Vector(mismatch, "size too small", "model.pt", archive(DATA._replace(size=2), VERSION))
    yield Vector(mismatch, "size too large", "model.pt", archive(DATA._replace(size=2**31), VERSION))
    double = "zip-duplicate-names"
    yield Vector(double, "clean last", "model.pt", archive(DATA, CLEAN, VERSION))
    yield Vector(double, "clean first", "model.pt", archive(CLEAN, DATA, VERSION))
    yield Vector(
        double,
        "differing in case",
        "model.pt",
        archive(CLEAN, DATA._replace(name="archive/DATA.PKL"), VERSION),
    )
    yield Vector(
        double,
        "with a dot folder",
        "model.pt",
        archive(CLEAN, DATA._replace(name="archive/./data.pkl"), VERSION),
    )
    prefix = "zip-prefix-data"
    yield Vector(prefix, "a pickle before", "model.bin", archive(CLEAN, VERSION, prefix=payload(2), shift=1))
    yield Vector(
        prefix, "a benign pickle before", "model.bin", archive(DATA, VERSION, prefix=benign(2), shift=1)
    )
    yield Vector(prefix, "a script before", "model.pt", archive(DATA, VERSION, prefix=b"#!/bin/true\n" * 9))
    yield Vector(
        prefix,
        "absolute offsets",
        "model.pt",
        archive(DATA, VERSION, prefix=b"\x89PNG\r\n\x1a\n" + bytes(99)),
    )
    yield Vector(
        prefix, "two archives in a row", "model.pt", archive(DATA, VERSION) + archive(CLEAN, VERSION)
    )
    bad = "zip-corrupt-member-first"
    yield Vector(
        bad,
        "broken deflate",
        "model.pt",
        archive(Member("archive/a", b"x" * 99, method=8, body=b"\xff" * 40), DATA, VERSION),
    )
    yield Vector(
        bad, "encrypted", "model.pt", archive(Member("archive/a", b"x" * 40, flags=1), DATA, VERSION)
    )
    yield Vector(
        bad,
        "unknown method",
        "model.pt",
        archive(Member("archive/a", b"x", method=97, body=b"x"), DATA, VERSION),
    )
    yield Vector(
        bad, "broken pickle", "model.pt", archive(Member("archive/a.pkl", b"\x80\x04\xff\xff"), DATA, VERSION)
    )
    yield Vector(
        bad,
        "outside the directory",
        "model.pt",
        archive(CLEAN, VERSION, DATA._replace(name="archive/extra.pkl"), hidden=1),
        "not-clean",
    )
    yield Vector(bad, "directory cut off", "model.pt", archive(DATA, VERSION)[:-30], "not-clean")
    yield Vector(
        bad,
        "with a comment that ends like one",
        "model.pt",
        archive(DATA, VERSION, comment=b"PK\x05\x06" + bytes(18)),
    )


def compressed() -> Iterator[Vector]:
    hit, names = payload(), {"gz": gz, "bz2": bz2.compress, "xz": lzma.compress, "lz4": lz4, "zstd": zstd}
    for label, pack in names.items():
        yield Vector(label, "of a pickle", f"model.pkl.{label}", pack(hit))
        yield Vector(label, "of a tar", f"model.tar.{label}", pack(tar({"a/model.pkl": hit})))
        yield Vector(label, "two frames", f"model.pkl.{label}", pack(hit[:9]) + pack(hit[9:]))
        yield Vector(
            label, "cut off", f"model.pkl.{label}", pack(hit + bytes(range(256)) * 8)[:-9], "not-clean"
        )
    yield Vector("gz", "raw lzma stream", "model.pkl.lzma", lzma.compress(hit, format=lzma.FORMAT_ALONE))
    yield Vector("gz", "zlib stream", "model.pkl.z", zlib.compress(hit))
    yield Vector(
        "gz", "skippable frame first", "model.pkl.zst", b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + zstd(hit)
    )
    yield Vector("tar", "of a pickle", "model.tar", tar({"readme.md": b"x", "weights/model.pkl": hit}))
    yield Vector("tar", "odd suffix inside", "model.tar", tar({"weights/model.dat": hit}))
    yield Vector("tar", "checksum off", "model.tar", _spoil(tar({"model.pkl": hit}), 148), "not-clean")
    yield Vector("7z", "stored pickle", "model.7z", seven("model.pkl", hit))
    yield Vector("7z", "named like a picture", "model.7z", seven("model.png", hit))
    yield Vector("7z", "named like weights", "pytorch_model.bin", seven("data.pkl", hit))
    yield Vector("7z", "bad start checksum", "model.7z", _spoil(seven("model.pkl", hit), 8), "not-clean")


def _spoil(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]


def nested() -> Iterator[Vector]:
    hit = payload(2)
    chains = {
        "zip in zip": archive(Member("a.zip", archive(DATA))),
        "tar in zip": archive(Member("a.tar", tar({"m.pkl": hit}))),
        "zip in gz in tar": tar({"a.gz": gz(archive(DATA))}),
        "gz thrice": gz(gz(gz(hit))),
        "7z in zip": archive(Member("a.7z", seven("m.pkl", hit))),
        "zstd in xz": lzma.compress(zstd(hit)),
        "npz in zip": archive(Member("x.npz", archive(Member("a.npy", npy(hit))))),
    }
    for name, data in chains.items():
        yield Vector("nesting", name, "model.bin", data)
    deep = hit
    for _ in range(40):
        deep = gz(deep)
    yield Vector("nesting", "forty times", "model.gz", deep, "not-clean")


def bombs() -> Iterator[Vector]:
    zero = deflate(bytes(1 << 20))
    yield Vector(
        "bomb",
        "payload behind a megabyte of nothing",
        "model.zip",
        archive(Member("a", bytes(1 << 20), method=8, body=zero), DATA),
    )
    overlap = Member("a", bytes(1 << 20), method=8, body=zero, size=0xFFFFFFF0)
    yield Vector("bomb", "announces four gigabytes", "model.zip", archive(overlap, DATA))
    yield Vector("bomb", "gz of gz of zeros", "model.gz", gz(gz(bytes(1 << 24))), "not-clean")
    yield Vector(
        "bomb",
        "many members, then one",
        "model.zip",
        archive(*(Member(f"m{i}", b"") for i in range(3000)), DATA),
    )
    grown = push("lol") + b"".join(
        b"\x94(" + b"h" + bytes([i]) * 1 + (b"h" + bytes([i])) * 9 + b"t" for i in range(30)
    )
    yield Vector(
        "bomb",
        "billion laughs in a pickle",
        "model.pkl",
        pickle(Raw(grown + b"0" + call("os:system", COMMAND))),
    )
    yield Vector(
        "bomb", "long announces two gigabytes", "model.pkl", b"\x80\x04\x8b\xff\xff\xff\x7f\x00.", "not-clean"
    )


def paths() -> Iterator[Vector]:
    clean, label = b"x = 1\n", "path-traversal"
    for name, path in {
        "parents": "../../../nonexistent/a.py",
        "absolute": "/nonexistent/a.py",
        "back slashes": "..\\..\\nonexistent\\a.py",
        "drive": "C:\\nonexistent\\a.py",
    }.items():
        yield Vector(label, f"zip, {name}", "model.zip", archive(Member(path, clean)), "not-clean")
        yield Vector(label, f"tar, {name}", "model.tar", tar({path: clean}), "not-clean")
    yield Vector(label, "7z", "model.7z", seven("../../nonexistent/a.py", clean), "not-clean")
    yield Vector(
        "symlink", "tar, absolute", "model.tar", tar({"a.txt": b"x"}, links={"weights": "/etc"}), "not-clean"
    )
    yield Vector(
        "symlink",
        "tar, parents",
        "model.tar",
        tar({"a.txt": b"x"}, links={"weights": "../../../etc/hostname"}),
        "not-clean",
    )
    yield Vector(
        "symlink",
        "zip",
        "model.zip",
        archive(Member("weights", b"/etc/hostname", mode=0o120777)),
        "not-clean",
    )


def renamed() -> Iterator[Vector]:
    for suffix in (
        "txt",
        "json",
        "png",
        "safetensors",
        "onnx",
        "h5",
        "md",
        "dat",
        "npy",
        "gguf",
        "config",
        "",
    ):
        yield Vector(
            "renamed-file",
            f"a pickle as .{suffix}",
            f"model.{suffix}".rstrip("."),
            payload(2 if suffix in {"txt", "md"} else 4),
        )
    yield Vector("renamed-file", "a torch zip as .npy", "model.npy", archive(DATA, VERSION))
    yield Vector("renamed-file", "an array as .csv", "model.csv", npy(payload()))
    yield Vector("renamed-file", "protocol 0 as .txt", "notes.txt", payload(0))


def npy(body: bytes, *, version: int = 1, descr: str = "'|O'") -> bytes:
    """An npy file of one object, in the given format version."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}".encode()
    header += b" " * (-(10 + 2 * (version > 1) + len(header) + 1) % 64) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + body


def arrays() -> Iterator[Vector]:
    label, hit = "numpy-object-array", payload()
    for version in (1, 2, 3):
        yield Vector(label, f"format {version}", "weights.npy", npy(hit, version=version))
    yield Vector(
        label, "objects in a structure", "weights.npy", npy(hit, descr="[('a', '<f4'), ('b', '|O')]")
    )
    yield Vector(
        label,
        "npz, second member",
        "weights.npz",
        archive(Member("a.npy", npy(benign())), Member("b.npy", npy(hit))),
    )
    yield Vector(label, "npz, deflated", "weights.npz", archive(Member("b.npy", npy(hit), method=8)))
    yield Vector(label, "npz, odd member name", "weights.npz", archive(Member("b.bin", npy(hit))))
    yield Vector(label, "two in one file", "weights.npy", npy(benign()) + npy(hit), "not-clean")


def joblibs() -> Iterator[Vector]:
    state = push(
        {
            "subclass": ref("numpy:ndarray"),
            "shape": (1,),
            "order": "C",
            "dtype": call("numpy:dtype", "O8", False, True),
            "allow_mmap": False,
            "numpy_array_alignment_bytes": None,
        }
    )
    wrapper = Raw(ref("joblib.numpy_pickle:NumpyArrayWrapper") + b")\x81" + state + b"b")
    inner = payload()
    stream = b"\x80\x04" + wrapper + inner + b"."
    packs = {
        "plain": bytes,
        "zlib": zlib.compress,
        "gz": gz,
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "lzma": lambda d: lzma.compress(d, format=lzma.FORMAT_ALONE),
        "lz4": lz4,
    }
    for name, pack in packs.items():
        yield Vector("joblib-array", f"object array, {name}", "model.joblib", pack(stream))
        yield Vector("joblib-array", f"behind the estimator, {name}", "model.joblib", pack(payload()))
    yield Vector(
        "joblib-array",
        "subclass of an array",
        "model.joblib",
        b"\x80\x04"
        + wrapper.replace(text("numpy") + text("ndarray"), text("subprocess") + text("Popen"))
        + inner
        + b".",
    )
    yield Vector(
        "joblib-array",
        "wrapper of 0.9",
        "model.joblib",
        pickle(
            call("joblib.numpy_pickle_compat:NDArrayWrapper", "../../nonexistent/a.npy", ref("numpy:ndarray"))
        ),
        "not-clean",
    )
    yield Vector(
        "joblib-array",
        "old zfile",
        "model.joblib",
        b"ZF" + b"0x%-17x" % len(inner) + zlib.compress(inner),
        "dangerous",
    )


def torches() -> Iterator[Vector]:
    magic = pickle(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", version=2)
    rest = pickle(b"M\xe9\x03", version=2) + pickle(
        push({"protocol_version": 1001, "little_endian": True}, 2), version=2
    )
    label = "torch-magic-number"
    yield Vector(label, "legacy stream", "model.pt", magic + rest + payload(2) + pickle(b"]", version=2))
    yield Vector(
        label,
        "other magic number",
        "model.pt",
        pickle(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x18", version=2) + rest + payload(2),
    )
    yield Vector(
        label,
        "magic number computed",
        "model.pt",
        pickle(call("builtins:eval", CODE_OF_MAGIC, version=2), version=2) + rest + payload(2),
    )
    yield Vector(
        label,
        "payload in the first stream",
        "model.pt",
        pickle(
            call("os:system", COMMAND, version=2) + b"0\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
            version=2,
        )
        + rest,
    )
    label = "torch-legacy-tar"
    yield Vector(
        label,
        "storages",
        "model.pt",
        tar({"storages": payload(2), "tensors": benign(2), "pickle": benign(2)}),
    )
    yield Vector(
        label,
        "pickle",
        "model.pt",
        tar(
            {
                "storages": pickle(b"K\x00", version=2),
                "tensors": pickle(b"K\x00", version=2),
                "pickle": payload(2),
            }
        ),
    )
    label = "torch-zip"
    yield Vector(label, "data.pkl", "model.pt", archive(DATA, VERSION, STORAGE))
    yield Vector(
        label,
        "constants.pkl",
        "model.pt",
        archive(
            CLEAN,
            Member("archive/constants.pkl", payload(2)),
            Member("archive/code/__torch__.py", b"x = 1\n"),
        ),
    )
    yield Vector(label, "no suffix", "model.pt", archive(CLEAN, Member("archive/extra", payload(2)), VERSION))


CODE_OF_MAGIC = "0x1950a86a20f9469cfc6c"
