# ruff: noqa: E501 - payloads and configurations stand in one line each
"""Malicious model files: Keras and HDF5, skops, torch, Flax, tree libraries, safetensors, R, Arrow."""

from __future__ import annotations

import gzip
import io
import json
import struct
from typing import TYPE_CHECKING

from vectors.asm import COMMAND, Vector, benign, call, payload
from vectors.asm import pickle as stream
from vectors.containers import npy
from vectors.encoders import r_call, r_char, r_closure, r_promise, r_symbol, r_text, rds, safetensors
from vectors.writers import Member, archive

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "http://127.0.0.1:1/x.tar"


def vectors() -> Iterator[tuple[str, Vector]]:
    """Pairs of `known` or `held-out` and a vector."""
    for group in (skops, torches, by_value, flax, trees, tensors, statistics, arrow):
        yield from group()


def skops() -> Iterator[tuple[str, Vector]]:
    def part(loader: str, module: str, name: str, **more: object) -> dict[str, object]:
        return {
            "__class__": name,
            "__module__": module,
            "__loader__": loader,
            "__id__": len(name) * 100 + len(loader),
            **more,
        }

    def word(value: object) -> dict[str, object]:
        return {
            "__class__": "str",
            "__module__": "builtins",
            "__loader__": "JsonNode",
            "content": json.dumps(value),
            "is_json": True,
            "__id__": 7,
        }

    def items(loader: str, name: str, *content: object) -> dict[str, object]:
        return part(loader, "builtins", name, content=list(content))

    system = part("FunctionNode", "os", "system")
    attributes = part(
        "DictNode",
        "builtins",
        "dict",
        content={"a": system},
        key_types=items("ListNode", "list", part("TypeNode", "builtins", "str")),
    )
    schemas: list[tuple[str, str, dict[str, object], str]] = [
        ("known", "FunctionNode", system, "dangerous"),
        (
            "known",
            "OperatorFuncNode",
            part(
                "OperatorFuncNode",
                "operator",
                "methodcaller",
                attrs=items("TupleNode", "tuple", word("system"), word(COMMAND)),
            ),
            "dangerous",
        ),
        (
            "known",
            "OperatorFuncNode, hidden call",
            part(
                "OperatorFuncNode",
                "operator",
                "call",
                attrs=items("TupleNode", "tuple", system, word(COMMAND)),
            ),
            "dangerous",
        ),
        (
            "known",
            "MethodNode",
            part("MethodNode", "builtins", "str", content={"func": "format_map", "obj": word("{}")}),
            "not-clean",
        ),
        (
            "known",
            "MethodNode chain",
            part(
                "MethodNode",
                "builtins",
                "function",
                content={
                    "func": "__globals__",
                    "obj": part(
                        "MethodNode",
                        "builtins",
                        "type",
                        content={"func": "__init__", "obj": part("TypeNode", "logging", "Logger")},
                    ),
                },
            ),
            "not-clean",
        ),
        (
            "held-out",
            "FunctionNode in an object",
            part("ObjectNode", "sklearn.linear_model._base", "LinearRegression", content=attributes),
            "dangerous",
        ),
        (
            "held-out",
            "ObjectNode of a process",
            part("ObjectNode", "subprocess", "Popen", content=attributes),
            "dangerous",
        ),
        (
            "held-out",
            "PartialNode",
            part(
                "PartialNode",
                "functools",
                "partial",
                content={
                    "func": system,
                    "args": items("TupleNode", "tuple", word(COMMAND)),
                    "kwds": word({}),
                    "namespace": word({}),
                },
            ),
            "dangerous",
        ),
        ("held-out", "TypeNode", part("TypeNode", "subprocess", "Popen"), "dangerous"),
        (
            "held-out",
            "default factory",
            part(
                "DefaultDictNode",
                "collections",
                "defaultdict",
                content={"main": word({}), "default_factory": system},
            ),
            "dangerous",
        ),
        (
            "held-out",
            "list of another type",
            part("ListNode", "subprocess", "Popen", content=[word(COMMAND)]),
            "dangerous",
        ),
        (
            "held-out",
            "loader of another kind",
            part(
                "TreeNode",
                "subprocess",
                "Popen",
                __reduce__={"args": items("TupleNode", "tuple", word(COMMAND))},
                content=word({}),
            ),
            "not-clean",
        ),
        ("held-out", "unknown loader", part("AcmeNode", "acme", "x", content={}), "not-clean"),
        ("held-out", "function of a package", part("FunctionNode", "acme.transforms", "clean"), "not-clean"),
        (
            "held-out",
            "universal function of os",
            part("FunctionNode", "numpy.f2py.crackfortran", "myeval"),
            "not-clean",
        ),
    ]
    for group, name, schema, expect in schemas:
        data = archive(
            Member("schema.json", json.dumps({**schema, "protocol": 2, "_skops_version": "0.13.0"}).encode())
        )
        yield group, Vector("skops", name, "model.skops", data, expect)
    with_array = archive(
        Member("schema.json", json.dumps({**word(1), "protocol": 2, "_skops_version": "0.13.0"}).encode()),
        Member("a.npy", npy(payload())),
    )
    yield "held-out", Vector("skops", "array of objects beside", "model.skops", with_array, "not-clean")


def torches() -> Iterator[tuple[str, Vector]]:
    script = [
        Member("m/version", b"3\n"),
        Member("m/data.pkl", benign(2)),
        Member("m/code/__torch__.py.debug_pkl", payload(2)),
    ]
    yield (
        "held-out",
        Vector(
            "torchscript",
            "payload in the debug data",
            "model.pt",
            archive(
                *script,
                Member("m/code/__torch__.py", b"op_version_set = 1\n"),
                Member("m/constants.pkl", benign(2)),
            ),
        ),
    )
    for name, line in {
        "writes a file": 'ops.aten.save(x, "/nonexistent/x")',
        "reads a file": 'torch.from_file("/etc/hostname", False, 4)',
        "loads a file": 'torch.load("/nonexistent/x")',
    }.items():
        source = f"class M(Module):\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    _0 = {line}\n    return x\n".encode()
        yield (
            "held-out",
            Vector(
                "torchscript",
                name,
                "model.pt",
                archive(
                    Member("m/version", b"3\n"),
                    Member("m/data.pkl", stream(call("__torch__:M", version=2), version=2)),
                    Member("m/code/__torch__.py", source),
                    Member("m/constants.pkl", benign(2)),
                ),
                "not-clean",
            ),
        )
    package = [
        Member("p/.data/version", b"6\n"),
        Member("p/.data/extern_modules", b"os\n"),
        Member("p/m/__init__.py", b"import os\nos.system('true')\n"),
        Member("p/m/model.pkl", stream(call("m:Model", version=2), version=2)),
    ]
    yield "held-out", Vector("torch-package", "source that runs", "model.pt", archive(*package), "not-clean")
    yield (
        "known",
        Vector(
            "torch-package",
            "payload in its pickle",
            "model.pt",
            archive(*package[:3], Member("p/m/model.pkl", payload(2))),
        ),
    )
    for version in (2, 4):
        yield (
            "known",
            Vector(
                "torch-zip",
                f"whole module, protocol {version}",
                "model.pt",
                archive(
                    Member("a/data.pkl", stream(call("acme.models:Net", version=version), version=version)),
                    Member("a/version", b"3\n"),
                ),
                "not-clean",
            ),
        )


def by_value() -> Iterator[tuple[str, Vector]]:
    import cloudpickle
    import dill

    source = "class Evil:\n    def __setstate__(self, state):\n        __import__('os').system('true')\n    def __getstate__(self):\n        return {'a': 1}\n\n\ndef act(x):\n    __import__('os').system('true')\n    return x\n"
    space: dict[str, object] = {"__name__": "__main__"}
    exec(compile(source, "payload", "exec"), space)  # noqa: S102 - defines a class and a function, calls neither
    for name, dump in (
        ("cloudpickle", cloudpickle.dumps),
        ("dill", lambda value: dill.dumps(value, recurse=True)),
    ):
        yield (
            "held-out",
            Vector("pickled-by-value", f"{name}, state that runs", "model.pkl", dump(space["Evil"]())),
        )  # type: ignore[operator]  # a class
        yield (
            "known",
            Vector(
                "pickled-by-value",
                f"{name}, a function with code",
                "model.pkl",
                dump(space["act"]),
                "not-clean",
            ),
        )


def flax() -> Iterator[tuple[str, Vector]]:
    def ext(code: int, body: bytes) -> bytes:
        return b"\xc9" + struct.pack(">Ib", len(body), code) + body

    text = b"\xa6kernel"
    good = ext(1, b"\x93\x91\x01\xa7float32\xc4\x04\x00\x00\x80?")
    cases = {
        "objects as dtype": b"\x81" + text + ext(1, b"\x93\x91\x01\xa6object\xc4\x08" + bytes(8)),
        "unknown extension": b"\x81" + text + ext(99, payload(2)),
        "a pickle in an extension": b"\x82" + text + good + b"\xa4bias" + ext(42, payload(4)),
        "shape larger than data": b"\x81"
        + text
        + ext(1, b"\x93\x91\xce\xff\xff\xff\xff\xa7float32\xc4\x04\x00\x00\x80?"),
        "array of four billion": b"\x81" + text + b"\xdd\xff\xff\xff\xff",
        "map of four billion": b"\xdf\xff\xff\xff\xff" + text,
        "nested ten thousand deep": b"\x81" + text + b"\x91" * 10000 + b"\xc0",
        "binary longer than the file": b"\x81" + text + b"\xc6\x7f\xff\xff\xff",
    }
    for name, data in cases.items():
        yield "held-out", Vector("flax", name, "flax_model.msgpack", data, "not-clean")
    yield "known", Vector("flax", "a pickle as msgpack", "flax_model.msgpack", payload(4))


def trees() -> Iterator[tuple[str, Vector]]:
    def booster(left: list[int], right: list[int], feature: int = 0) -> dict[str, object]:
        n = len(left)
        tree = {
            "base_weights": [0.0] * n,
            "categories": [],
            "categories_nodes": [],
            "categories_segments": [],
            "categories_sizes": [],
            "default_left": [0] * n,
            "id": 0,
            "left_children": left,
            "loss_changes": [0.0] * n,
            "parents": [2147483647] + [0] * (n - 1),
            "right_children": right,
            "split_conditions": [0.5] * n,
            "split_indices": [feature] * n,
            "split_type": [0] * n,
            "sum_hessian": [1.0] * n,
            "tree_param": {
                "num_deleted": "0",
                "num_feature": "1",
                "num_nodes": str(n),
                "size_leaf_vector": "1",
            },
        }
        model = {
            "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": "1"},
            "iteration_indptr": [0, 1],
            "tree_info": [0],
            "trees": [tree],
        }
        learner = {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {"model": model, "name": "gbtree"},
            "learner_model_param": {
                "base_score": "5E-1",
                "boost_from_average": "1",
                "num_class": "0",
                "num_feature": "1",
                "num_target": "1",
            },
            "objective": {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}},
        }
        return {"learner": learner, "version": [2, 1, 0]}

    for name, value in {
        "child outside the tree": booster([1, -1, -1], [2**30, -1, -1]),
        "cycle": booster([0, -1, -1], [0, -1, -1]),
        "feature outside": booster([1, -1, -1], [2, -1, -1], 2**30),
    }.items():
        yield "held-out", Vector("xgboost", name, "model.json", json.dumps(value).encode(), "not-clean")
    yield (
        "held-out",
        Vector(
            "xgboost",
            "ubj of a long array",
            "model.ubj",
            b"{L" + struct.pack(">q", 7) + b"learner[$d#L" + struct.pack(">q", 2**60),
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector("xgboost", "ubj nested deep", "model.ubj", b"{i\x07learner" + b"[" * 100000, "not-clean"),
    )
    yield "known", Vector("xgboost", "a pickle as .json", "model.json", payload(2))
    head = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=0\nobjective=regression\nfeature_names=a\nfeature_infos=[0:1]\ntree_sizes={}\n\n"
    tree = "Tree=0\nnum_leaves={n}\nnum_cat=0\nsplit_feature={f}\nsplit_gain=1\nthreshold=0.5\ndecision_type=2\nleft_child={l}\nright_child=-2\nleaf_value=1 2\nleaf_weight=1 1\nleaf_count=1 1\ninternal_value=0\ninternal_weight=1\ninternal_count=2\nis_linear=0\nshrinkage=1\n\n\nend of trees\n\nfeature_importances:\n\nparameters:\nend of parameters\n\npandas_categorical:null\n"
    for name, fields in {
        "child outside the tree": (2, 0, 99999),
        "feature outside": (2, 99999, -1),
        "leaves of a billion": (2**30, 0, -1),
    }.items():
        body = tree.format(n=fields[0], f=fields[1], l=fields[2])
        yield (
            "held-out",
            Vector("lightgbm", name, "model.txt", (head.format(len(body)) + body).encode(), "not-clean"),
        )
    yield (
        "held-out",
        Vector("catboost", "header only", "model.cbm", b"CBM1" + struct.pack("<I", 2**31), "not-clean"),
    )
    yield (
        "held-out",
        Vector(
            "catboost",
            "root outside the file",
            "model.cbm",
            b"CBM1" + struct.pack("<I", 64) + struct.pack("<I", 2**30) + bytes(60),
            "not-clean",
        ),
    )


def tensors() -> Iterator[tuple[str, Vector]]:
    def entry(begin: int, end: int, shape: list[int], kind: str = "F32") -> dict[str, object]:
        return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}

    cases = {
        "overlap": safetensors({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12)),
        "outside": safetensors({"a": entry(0, 2**40, [2**38])}, bytes(8)),
        "hole": safetensors({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, bytes(12)),
        "shape disagrees": safetensors({"a": entry(0, 8, [3])}, bytes(8)),
        "shape overflows": safetensors({"a": entry(0, 8, [2**33, 2**33])}, bytes(8)),
        "negative": safetensors({"a": entry(-4, 4, [2])}, bytes(8)),
        "header too long": safetensors({"a": entry(0, 4, [1])}, bytes(4), size=2**62),
        "header of a gigabyte": safetensors({"a": entry(0, 4, [1])}, bytes(4), size=2**30),
        "no JSON": safetensors(b'{"a": {"dtype": ', bytes(4)),
        "name twice": safetensors(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
            bytes(8),
        ),
        "unknown dtype": safetensors({"a": entry(0, 8, [1], "OBJECT")}, bytes(8)),
        "a pickle behind the tensors": safetensors({"a": entry(0, 4, [1])}, bytes(4) + payload(4)),
    }
    for name, data in cases.items():
        group = "known" if name in {"overlap", "outside", "header too long"} else "held-out"
        yield group, Vector("safetensors", name, "model.safetensors", data, "not-clean")
    yield "known", Vector("safetensors", "a pickle as safetensors", "model.safetensors", payload(2))


def statistics() -> Iterator[tuple[str, Vector]]:
    hit = r_call("system", COMMAND)
    yield "known", Vector("r-data", "promise", "model.rds", rds(r_promise(hit)))
    yield (
        "known",
        Vector("r-data", "promise, compressed", "model.rds", gzip.compress(rds(r_promise(hit)), mtime=0)),
    )
    pair = struct.pack(">i", 1026) + r_symbol("x") + r_promise(hit) + struct.pack(">i", 254)
    yield "known", Vector("r-data", "promise in a workspace", "model.RData", rds(pair, magic=b"RDX2\n"))
    listed = struct.pack(">2i", 19, 2) + r_text("a") + r_promise(r_call("eval", "print(1)"))
    yield "held-out", Vector("r-data", "promise in a list", "model.rds", rds(listed))
    yield "held-out", Vector("r-data", "closure", "model.rds", rds(r_closure(hit)), "not-clean")
    yield (
        "held-out",
        Vector(
            "r-data",
            "text format",
            "model.rds",
            b"A\n2\n263168\n131840\n1029\n253\n252\n6\n1\n262153\n6\nsystem\n2\n16\n1\n262153\n4\ntrue\n254\n",
        ),
    )
    yield (
        "held-out",
        Vector(
            "r-data",
            "string of two gigabytes",
            "model.rds",
            rds(struct.pack(">2i", 16, 1) + r_char("a")[:4] + struct.pack(">i", 2**31 - 1)),
            "not-clean",
        ),
    )


def arrow() -> Iterator[tuple[str, Vector]]:
    import pyarrow as pa
    from pyarrow import feather, parquet

    field = pa.field(
        "x",
        pa.int64(),
        metadata={"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": payload(2)},
    )
    table = pa.table([pa.array([1])], schema=pa.schema([field]))
    for name, write in (
        ("parquet", parquet.write_table),
        ("feather", lambda t, f: feather.write_feather(t, f, compression="uncompressed")),
    ):
        out = io.BytesIO()
        write(table, out)
        yield (
            "known",
            Vector("arrow", f"pickled extension type, {name}", f"data.{name}", out.getvalue(), "not-clean"),
        )
