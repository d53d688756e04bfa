# ruff: noqa: ARG001, S108 - tables of files
"""Archives, two-format and renamed files, and the advisories of the pickle scanners, rebuilt in kind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import stat
import struct
import tarfile
import zipfile
import zlib

from third_asm import MARK, C, G, Item, Style, dump, system
from third_evil_calls import SHELL, TOUCH, WRITE, bound, c, g, kw
from third_evil_weights import BAD, corrupted, legacy, npy, zipped

BENIGN = pickle.dumps({"weights": [0.1, 0.2], "bias": 0.3}, 4)
EVIL = dump({"model": system()}, Style(4, memo="memoize"))
OLD = dump(C(G("subprocess", "getoutput"), (TOUCH,)), Style(0, memo="put"))


def zips(members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return out.getvalue()


def tars(members, mode="w"):
    """Members are (name, bytes), or (name, link target, type)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as file:
        for name, data, *kind in members:
            info = tarfile.TarInfo(name)
            if kind:
                info.type, info.linkname = kind[0], data
                file.addfile(info)
            else:
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def linked(name, target):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info, target


def nested(depth, wrap):
    data = EVIL
    for level in range(depth):
        data = wrap[level % len(wrap)](data)
    return data


def archives():
    import lz4.frame
    import py7zr
    import zstandard

    def seven(data, name="model.pkl", **more):
        out = io.BytesIO()
        with py7zr.SevenZipFile(out, "w", **more) as file:
            file.writestr(data, name)
        return out.getvalue()

    wraps = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "lzma": lambda d: lzma.compress(d, lzma.FORMAT_ALONE),
        "zst": zstandard.compress,
        "lz4": lz4.frame.compress,
        "zz": zlib.compress,
    }
    for name, wrap in wraps.items():
        yield (
            f"pickle in {name}",
            "archive",
            f"model.pkl.{name}",
            wrap(OLD if name in "bz2 lz4" else EVIL),
            "pickle_archived",
        )
    yield (
        "zip of a pickle among texts",
        "archive",
        "release.zip",
        zips([("README.md", "# model"), ("model/weights.pkl", EVIL), ("config.json", "{}")]),
        "pickle_archived",
    )
    for method, name in ((0, "stored"), (12, "bzip2"), (14, "lzma")):
        yield (
            f"zip, {name}",
            "archive",
            f"bundle_{name}.zip",
            zips([("a.txt", "x"), ("clf.pickle", OLD)], method),
            "pickle_archived",
        )
    yield (
        "zip, member without a suffix",
        "archive",
        "export.zip",
        zips([("artifacts/model", EVIL)]),
        "pickle_archived",
    )
    yield (
        "zip, two hundred members before",
        "archive",
        "many.zip",
        zips([*((f"tokens/{i}.txt", str(i)) for i in range(200)), ("z.pkl", EVIL)]),
        "pickle_archived",
    )
    yield (
        "zip in zip in zip",
        "archive",
        "deep.zip",
        nested(3, [lambda d: zips([("inner.zip", d)])]),
        "pickle_archived",
    )
    yield (
        "gz of tar of zip",
        "archive",
        "mixed.tar.gz",
        gzip.compress(tars([("data.zip", zips([("m.pkl", EVIL)]))])),
        "pickle_archived",
    )
    yield (
        "five layers of changing kinds",
        "archive",
        "layers.bin",
        nested(
            5,
            [
                gzip.compress,
                lambda d: zips([("x", d)]),
                bz2.compress,
                lambda d: tars([("y", d)]),
                lzma.compress,
            ],
        ),
        "pickle_archived",
    )
    yield (
        "two gzip members",
        "archive",
        "members.pkl.gz",
        gzip.compress(BENIGN) + gzip.compress(OLD),
        "none",
        "mark",
        "not-clean",
    )
    for kind in ("tar", "tar.gz", "tar.bz2", "tar.xz"):
        mode = "w" if kind == "tar" else "w:" + kind[4:]
        yield (
            f"pickle in {kind}",
            "archive",
            f"model.{kind}",
            tars([("config.json", b"{}"), ("model/clf.pkl", EVIL)], mode),
            "pickle_archived",
        )
    yield "7z of a pickle", "archive", "model.7z", seven(EVIL), "pickle_archived"
    yield (
        "7z, stored",
        "archive",
        "weights.7z",
        seven(OLD, "w.bin", filters=[{"id": py7zr.FILTER_COPY}]),
        "pickle_archived",
    )
    yield (
        "7z, bzip2 filter",
        "archive",
        "data.7z",
        seven(EVIL, "d/state.pkl", filters=[{"id": py7zr.FILTER_BZIP2}]),
        "pickle_archived",
    )
    yield "7z named .pt", "archive", "model.pt", seven(EVIL, "archive/data.pkl"), "pickle_archived"
    yield (
        "wheel with a pickle",
        "archive",
        "model-1.0-py3-none-any.whl",
        zips(
            [
                ("model/__init__.py", ""),
                ("model/data.pkl", EVIL),
                ("model-1.0.dist-info/METADATA", "Name: model"),
            ]
        ),
        "pickle_archived",
    )
    yield (
        "zip encrypted by name only",
        "archive",
        "flag.zip",
        flagged(zips([("model.pkl", OLD)], 0)),
        "none",
        "mark",
        "not-clean",
    )
    up = "../" * 3 + "third-escape.txt"
    yield (
        "tar, parent folders",
        "traversal",
        "dataset.tar",
        tars([("data/a.csv", b"1,2"), (up, b"x")]),
        "tar_extract",
        "PROOF",
    )
    yield (
        "tar.gz, absolute name",
        "traversal",
        "weights.tar.gz",
        tars([("/tmp/third-escape", b"x")], "w:gz"),
        "tar_extract",
        "PROOF",
    )
    yield (
        "tar, link then file through it",
        "traversal",
        "link.tar",
        tars([("cache", "../../..", tarfile.SYMTYPE), ("cache/third-escape", b"x")]),
        "tar_extract",
        "PROOF",
    )
    yield (
        "tar, absolute link",
        "traversal",
        "model.tar.bz2",
        tars([("weights", "/etc", tarfile.SYMTYPE)], "w:bz2"),
        "tar_extract",
        "PROOF",
    )
    yield (
        "tar, hard link outwards",
        "traversal",
        "hard.tar",
        tars([("w", "../../../third-victim/file", tarfile.LNKTYPE), ("w", b"changed")]),
        "none",
        "PROOF",
        "not-clean",
    )
    yield (
        "tar, device",
        "traversal",
        "device.tar",
        tars([("disk", "", tarfile.BLKTYPE)]),
        "none",
        "PROOF",
        "not-clean",
    )
    yield (
        "tar, link chain",
        "traversal",
        "chain.tar.xz",
        tars(
            [("a", "..", tarfile.SYMTYPE), ("b", "a/../..", tarfile.SYMTYPE), ("b/third-escape", b"x")],
            "w:xz",
        ),
        "tar_extract",
        "PROOF",
    )
    yield (
        "zip, parent folders",
        "traversal",
        "images.zip",
        zips([("images/1.txt", "x"), (up, "x")]),
        "zip_extract",
        "PROOF",
    )
    yield (
        "zip, backslashes",
        "traversal",
        "windows.zip",
        zips([("..\\..\\..\\third-escape.txt", "x")]),
        "zip_extract",
        "PROOF",
    )
    yield (
        "zip, absolute name",
        "traversal",
        "absolute.zip",
        zips([("/tmp/third-escape", "x")]),
        "zip_extract",
        "PROOF",
    )
    yield (
        "zip, symbolic link",
        "traversal",
        "links.zip",
        zips([linked("data", "../../.."), ("data/third-escape", "x")]),
        "zip_extract",
        "PROOF",
    )
    yield (
        "zip, dots in the middle",
        "traversal",
        "middle.npz",
        zips([("a/b/../../../../../third-escape", "x")]),
        "zip_extract",
        "PROOF",
    )
    for name, data in (
        ("zeros.gz", gzip.compress(bytes(150 << 20), 9)),
        ("zeros.bz2", bz2.compress(bytes(150 << 20))),
        ("zeros.xz", lzma.compress(bytes(150 << 20), preset=0)),
        ("zeros.zip", zips([("model.bin", bytes(150 << 20))])),
    ):
        yield f"bomb {name}", "bomb", name, data, "bomb", "PROOF", "not-clean"
    one = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = one.compress(bytes(20 << 20)) + one.flush()
    yield (
        "bomb of overlapping members",
        "bomb",
        "overlap.zip",
        overlapping(body, 20 << 20, 40),
        "none",
        "PROOF",
        "not-clean",
    )
    yield (
        "bomb inside npz",
        "bomb",
        "zeros.npz",
        zips([("w.npy", npy(bytes(160 << 20), "(20971520,)", "<f8"))]),
        "none",
        "PROOF",
        "not-clean",
    )


def flagged(data):
    """The bit that says a member is encrypted, set on a member that is not."""
    data = bytearray(data)
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.index(sign) + place
        data[start : start + 2] = b"\x01\x00"
    return bytes(data)


def overlapping(body, size, count):
    """Many entries of the directory that share one body."""
    local = (
        struct.pack(
            "<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 0, zlib.crc32(bytes(size)), len(body), size, 1, 0
        )
        + b"a"
    )
    central = b"".join(
        struct.pack(
            "<4sHHHHHHIIIHHHHHII",
            b"PK\x01\x02",
            20,
            20,
            0,
            8,
            0,
            0,
            zlib.crc32(bytes(size)),
            len(body),
            size,
            3,
            0,
            0,
            0,
            0,
            0,
            0,
        )
        + b"a%02d" % i
        for i in range(count)
    )
    end = struct.pack(
        "<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(central), len(local) + len(body), 0
    )
    return local + body + central + end


def advisories():
    yield (
        "CVE-2025-1716: pip.main",
        "cve-1716",
        "model.pkl",
        dump(
            c(
                "pip:main",
                ["install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "./third-victim"],
            ),
            Style(4),
        ),
        "pickle",
        "subprocess.Popen",
    )
    yield (
        "CVE-2025-1716: internal pip",
        "cve-1716",
        "data.pkl",
        dump(
            c(
                "pip._internal.cli.main:main",
                ["install", "-q", "--no-index", "--no-build-isolation", "./third-victim"],
            ),
            Style(2),
        ),
        "pickle",
        "subprocess.Popen",
    )
    inner = kw("torch:load", "model.pt", pickle_file="config.p", weights_only=False)
    yield (
        "CVE-2025-1889: other pickle file inside",
        "cve-1889",
        "model.pt",
        zipped(dump(inner, Style(2)), extra=[("config.p", dump(system()))]),
        "torch_load",
    )
    yield (
        "CVE-2025-1889: config.bin inside",
        "cve-1889",
        "model.pt",
        zipped(
            dump(
                kw("torch.serialization:load", "model.pt", pickle_file="config.bin", weights_only=False),
                Style(2),
            ),
            extra=[("config.bin", dump(BAD["exec"]))],
        ),
        "torch_load",
    )
    base = zipped(dump(BAD["system"]))
    changed = bytearray(base)
    changed[base.index(b"archive/data.pkl") : base.index(b"archive/data.pkl") + 16] = b"archive/datb.pkl"
    yield "CVE-2025-1944: names disagree", "cve-1944", "model.pt", bytes(changed), "torch_load"
    other = bytearray(zipped(dump(BAD["popen"]), root="net"))
    start = bytes(other).index(b"net/version")
    other[start : start + 11] = b"xxx/version"
    yield "CVE-2025-1944: another member's name disagrees", "cve-1944", "net.pth", bytes(other), "torch_load"
    yield (
        "CVE-2025-1945: flag of encryption in the headers",
        "cve-1945",
        "model.pt",
        flagged(base),
        "none",
        "mark",
        "not-clean",
    )
    flags = bytearray(zipped(dump(BAD["exec"])))
    flags[6:8] = b"\x01\x00"
    yield "CVE-2025-1945: flag in the local header alone", "cve-1945", "local.pt", bytes(flags), "torch_load"
    yield (
        "CVE-2025-10155: plain pickle as .bin",
        "cve-10155",
        "pytorch_model.bin",
        dump({"w": system()}),
        "torch_load",
    )
    yield (
        "CVE-2025-10155: plain pickle as .pt",
        "cve-10155",
        "model.pt",
        dump(BAD["exec"], Style(4)),
        "pickle",
    )
    yield (
        "CVE-2025-10155: protocol 0 as .ckpt",
        "cve-10155",
        "last.ckpt",
        dump(system(), Style(0)),
        "torch_load",
    )
    yield (
        "CVE-2025-10156: sum of the payload's own member",
        "cve-10156",
        "model.pt",
        corrupted(base, b"data.pkl"),
        "torch_load",
    )
    yield (
        "CVE-2025-10156: sum of a member before",
        "cve-10156",
        "first.pt",
        corrupted(zipped(dump(BAD["popen"]), extra=[("extra/1", b"abc")]), b"extra/1"),
        "torch_load",
    )
    for module, name, args in (
        ("asyncio.base_events", "subprocess.call", (SHELL,)),
        ("subprocess", "os.system", (TOUCH,)),
        ("importlib.util", "sys.modules.get", ("os",)),
        ("os", "path.os.system", (TOUCH,)),
        ("multiprocessing.util", "os.popen", (TOUCH,)),
    ):
        node = C(G(module, name), args)
        if "get" in name:
            node = bound(node, "system", TOUCH)
        if "popen" in name:
            node = bound(node, "read")
        yield f"CVE-2025-10157: {module}.{name}", "cve-10157", "state.pkl", dump([node], Style(4)), "pickle"
    broken = dump(system(), Style(0))[:-1]
    yield "broken pickle in 7z under .pt", "cve-7z", "model.pt", seven_of(broken + b"X"), "pickle_archived"
    yield "broken pickle, tar", "archive", "model.tar", tars([("m.pkl", broken)]), "pickle_archived"


def seven_of(data):
    import py7zr

    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w") as file:
        file.writestr(data, "data.pkl")
    return out.getvalue()


def doubles():
    evil_zip = zips([("model.pkl", EVIL)], 0)
    yield "pickle, then zip of texts", "two-format", "model.pkl", OLD + zips([("readme.txt", "x")]), "pickle"
    yield (
        "image head, then zip of a pickle",
        "two-format",
        "cover.png",
        b"\x89PNG\r\n\x1a\n" + bytes(40) + evil_zip,
        "pickle_archived",
    )
    yield "tar whose first name is a pickle", "two-format", "weights.tar", tar_pickle(), "pickle"
    yield "npy, then pickle", "two-format", "a.npy", npy(dump(BAD["exec"]), "(1,)"), "numpy_load"
    yield (
        "safetensors head, then pickle inside",
        "two-format",
        "m.safetensors",
        struct.pack("<Q", 2) + b"{}" + evil_zip,
        "pickle_archived",
    )
    yield (
        "GGUF magic, then zip",
        "two-format",
        "tiny.gguf",
        b"GGUF" + bytes(28) + zipped(dump(BAD["system"])),
        "pickle_archived",
    )
    yield (
        "JSON text that is a pickle",
        "two-format",
        "config.json",
        b"I1\n0(V" + TOUCH.encode() + b"\nios\nsystem\n.",
        "pickle",
    )
    yield (
        "pickle comment of text lines",
        "two-format",
        "notes.txt",
        b"Vepoch 1 loss 0.3\n0Vepoch 2 loss 0.2\n0(V" + TOUCH.encode() + b"\nios\nsystem\n.",
        "pickle",
    )
    yield "zip with a pickle before it", "two-format", "bundle.zip", EVIL + zips([("a.txt", "a")]), "pickle"
    yield (
        "shell script before a zip of torch",
        "two-format",
        "install.sh",
        b"#!/bin/sh\n" + zipped(dump(BAD["system"])),
        "pickle_archived",
    )
    for name, data in (
        ("readme.md", EVIL),
        ("model.safetensors", EVIL),
        ("tokenizer.json", OLD),
        ("vocab.txt", OLD),
        ("labels.csv", EVIL),
        ("weights.onnx", EVIL),
        ("model.gguf", OLD),
        ("preview.jpg", EVIL),
        ("run.log", OLD),
        ("model", EVIL),
        ("model.h5", EVIL),
        ("events.out.tfevents.17", OLD),
        ("spiece.model", EVIL),
        ("data.parquet", EVIL),
        ("LICENSE", OLD),
        ("model.tflite", EVIL),
        (".cache", OLD),
    ):
        yield f"pickle named {name}", "renamed", name, data, "pickle"
    yield "legacy torch named .jpg", "renamed", "photo.jpg", legacy(dump(BAD["popen"])), "torch_load"
    yield "gzip of a pickle named .bin", "renamed", "rust_model.bin", gzip.compress(EVIL), "pickle_archived"
    yield "joblib named .onnx", "renamed", "detector.onnx", zlib.compress(OLD), "pickle_archived"
    yield "7z named .safetensors", "renamed", "unet.safetensors", seven_of(EVIL), "pickle_archived"


def tar_pickle():
    """A tar whose header starts as a pickle: the member's name holds the stream."""
    name = b"cos\nsystem\n(V" + TOUCH.encode() + b"\ntR."
    info = tarfile.TarInfo(name.decode())
    info.size = 2
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as file:
        file.addfile(info, io.BytesIO(b"ok"))
    return out.getvalue()


def items(seed):
    for part in (archives, advisories, doubles):
        for name, label, file, data, check, *rest in part():
            proof, expect = (*rest, *("mark", "dangerous")[len(rest) :])
            yield Item(label, name, file, data, check, proof, expect)


__all__ = ["MARK", "WRITE", "g"]
