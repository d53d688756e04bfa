"""Malicious Keras models and HDF5 files."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING

from vectors.advisories import keras3, lambda_layer, model_config, node
from vectors.asm import CODE, COMMAND, PATH, Vector, payload
from vectors.containers import npy
from vectors.writers import Member, archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL = "http://127.0.0.1:1/x.tar"


def vectors() -> Iterator[tuple[str, Vector]]:
    """Pairs of `known` or `held-out` and a vector."""
    yield from hdf5()
    yield from keras()


def _h5(fill: Callable[..., None], *, block: int = 0) -> bytes:
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w", userblock_size=block) as file:
        fill(file)
    return out.getvalue()


def _arch(config: object) -> Callable[..., None]:
    def fill(file: object) -> None:
        file.attrs["model_config"] = json.dumps(config)  # type: ignore[attr-defined]  # h5py ships no types
        file.create_group("model_weights")  # type: ignore[attr-defined]  # same

    return fill


def hdf5() -> Iterator[tuple[str, Vector]]:
    import h5py

    alien = {
        "class_name": "Popen",
        "module": "subprocess",
        "config": {"args": [COMMAND]},
        "registered_name": None,
    }
    dense = {
        "class_name": "Dense",
        "config": {
            "name": "d",
            "units": 1,
            "activation": {
                "class_name": "function",
                "module": "os",
                "config": "system",
                "registered_name": "system",
            },
        },
    }
    wrapped = {"class_name": "TimeDistributed", "config": {"name": "t", "layer": lambda_layer()}}
    for group, name, config, expect in (
        (
            "known",
            "Lambda",
            model_config({"class_name": "Dense", "config": {"name": "d", "units": 1}}, lambda_layer()),
            "dangerous",
        ),
        ("held-out", "Lambda in a wrapper", model_config(wrapped), "dangerous"),
        (
            "held-out",
            "Lambda in a functional model",
            {
                "class_name": "Functional",
                "config": {"name": "f", "layers": [{**lambda_layer(), "inbound_nodes": []}]},
            },
            "dangerous",
        ),
        ("held-out", "class of another module", model_config(alien), "dangerous"),
        ("held-out", "activation of another module", model_config(dense), "dangerous"),
        (
            "held-out",
            "unknown class",
            model_config({"class_name": "AcmeLayer", "config": {"name": "a"}}),
            "not-clean",
        ),
    ):
        yield group, Vector("hdf5-keras", name, "model.h5", _h5(_arch(config)), expect)
    yield (
        "held-out",
        Vector(
            "hdf5-keras",
            "Lambda behind a user block",
            "model.h5",
            _h5(_arch(model_config(lambda_layer())), block=512),
        ),
    )
    yield (
        "held-out",
        Vector(
            "hdf5-keras",
            "Lambda as .hdf5 of bytes",
            "model.hdf5",
            _h5(
                lambda f: f.attrs.__setitem__(
                    "model_config", json.dumps(model_config(lambda_layer())).encode()
                )
            ),
        ),
    )

    def training(file: h5py.File) -> None:
        _arch(model_config({"class_name": "Dense", "config": {"name": "d", "units": 1}}))(file)
        file.attrs["training_config"] = json.dumps(
            {
                "loss": {
                    "module": "os",
                    "class_name": "function",
                    "config": "system",
                    "registered_name": "system",
                },
                "optimizer_config": alien,
            }
        )

    yield "held-out", Vector("hdf5-keras", "loss of another module", "model.h5", _h5(training))
    links = {
        "external link": lambda f: f.__setitem__("w", h5py.ExternalLink("/etc/hostname", "/x")),
        "external link, relative": lambda f: f.__setitem__("w", h5py.ExternalLink("../../x.h5", "/x")),
    }
    links["external dataset"] = lambda f: f.create_dataset(
        "w", (4,), dtype="u1", external=[("/etc/hostname", 0, 4)]
    )
    links["external link in a group"] = lambda f: f.create_group("a/b/c").__setitem__(
        "w", h5py.ExternalLink("/etc/hostname", "/x")
    )

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "u1")
        layout[:] = h5py.VirtualSource("/nonexistent/a.h5", "x", (4,))
        file.create_virtual_dataset("w", layout)

    links["virtual dataset"] = virtual
    for name, fill in links.items():
        yield "held-out", Vector("hdf5-external", name, "model.weights.h5", _h5(fill), "not-clean")

    def tables(file: h5py.File) -> None:
        file.attrs["PYTABLES_FORMAT_VERSION"] = "2.1"
        file.create_group("df").attrs["data_columns"] = _void(payload(0))

    yield "held-out", Vector("hdf5-tables", "pickle in an attribute", "frame.h5", _h5(tables))

    def objects(file: h5py.File) -> None:
        file.attrs["PYTABLES_FORMAT_VERSION"] = "2.1"
        rows = file.create_dataset("o", (1,), dtype=h5py.vlen_dtype("u1"))
        rows[0] = _bytes(payload(4))
        rows.attrs["CLASS"], rows.attrs["PSEUDOATOM"], rows.attrs["FLAVOR"] = "VLARRAY", "object", "python"

    yield "held-out", Vector("hdf5-tables", "pickle in an array of objects", "frame.h5", _h5(objects))


def _bytes(data: bytes) -> object:
    import numpy as np

    return np.frombuffer(data, "u1")


def _void(data: bytes) -> object:
    import numpy as np

    return np.bytes_(data) if b"\x00" not in data else np.frombuffer(data, "u1")


def keras() -> Iterator[tuple[str, Vector]]:
    def sequential(*layers: object) -> dict[str, object]:
        return node("keras", "Sequential", {"name": "s", "layers": list(layers)})

    def member(name: str, module: str) -> dict[str, object]:
        return {"module": module, "class_name": "function", "config": name, "registered_name": name}

    code = lambda_layer()["config"]["function"][0]  # type: ignore[index]  # a literal of the vectors
    lambdas = node(
        "keras.layers",
        "Lambda",
        {
            "name": "l",
            "function": {
                "class_name": "__lambda__",
                "config": {"code": code, "defaults": None, "closure": None},
            },
        },
    )
    wrapper = node(
        "keras.layers", "TorchModuleWrapper", {"name": "t", "module": base64.b64encode(payload(2)).decode()}
    )
    lookup = node("keras.layers", "StringLookup", {"name": "s", "vocabulary": "/etc/hostname"})
    fetch = node(
        "keras.layers",
        "Lambda",
        {"name": "l", "function": member("get_file", "keras.utils"), "arguments": {"origin": URL}},
    )
    cases: list[tuple[str, str, dict[str, object], str]] = [
        ("known", "Lambda of bytecode", sequential(lambdas), "dangerous"),
        ("known", "torch module in base64", sequential(wrapper), "dangerous"),
        ("known", "vocabulary from a path", sequential(lookup), "not-clean"),
        ("known", "get_file", sequential(fetch), "dangerous"),
        (
            "held-out",
            "module of keras that is no layer",
            sequential(node("keras.src.utils.python_utils", "func_load", {"code": code})),
            "dangerous",
        ),
        (
            "held-out",
            "registered name of os",
            sequential(node(None, "x", {"name": "x"}, "os>system")),
            "not-clean",
        ),
        ("held-out", "builtins", sequential(node("builtins", "exec", {"object": CODE})), "dangerous"),
        (
            "held-out",
            "custom layer of a package",
            sequential(node("acme_layers.nn", "Attention", {"name": "x"}, "acme>Attention")),
            "not-clean",
        ),
        (
            "held-out",
            "initializer of another module",
            sequential(
                node(
                    "keras.layers",
                    "Dense",
                    {"name": "d", "units": 1, "kernel_initializer": member("system", "os")},
                )
            ),
            "dangerous",
        ),
        (
            "held-out",
            "dtype policy of another module",
            sequential(
                node(
                    "keras.layers",
                    "Dense",
                    {"name": "d", "units": 1, "dtype": node("subprocess", "Popen", {"args": [COMMAND]})},
                )
            ),
            "dangerous",
        ),
        (
            "held-out",
            "compiled loss of another module",
            {
                **sequential(),
                "compile_config": {"loss": member("getoutput", "subprocess"), "optimizer": "sgd"},
            },
            "not-clean",
        ),
        (
            "held-out",
            "build config",
            {**sequential(), "build_config": node("shutil", "rmtree", {"path": PATH})},
            "not-clean",
        ),
        (
            "held-out",
            "serialised numpy function",
            sequential(
                node("keras.layers", "Lambda", {"name": "l", "function": member("fromfile", "numpy")})
            ),
            "not-clean",
        ),
        (
            "held-out",
            "preprocessing with a path",
            sequential(
                node("keras.layers", "TextVectorization", {"name": "t", "vocabulary": "/etc/hostname"})
            ),
            "not-clean",
        ),
    ]
    for group, name, config, expect in cases:
        yield group, Vector("keras-archive", name, "model.keras", keras3(config), expect)
    yield (
        "held-out",
        Vector(
            "keras-archive", "configuration alone", "model.json", json.dumps(sequential(lambdas)).encode()
        ),
    )
    yield (
        "held-out",
        Vector(
            "keras-archive",
            "second configuration",
            "model.keras",
            keras3(sequential(), Member("config.json", json.dumps(sequential(lambdas)).encode())),
        ),
    )
    yield (
        "held-out",
        Vector(
            "keras-archive",
            "asset outside",
            "model.keras",
            keras3(sequential(), Member("assets/../../../nonexistent/x", b"x")),
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "keras-archive",
            "weights with objects",
            "model.keras",
            keras3(sequential(), Member("model.weights.npz", archive(Member("a.npy", npy(payload()))))),
        ),
    )
    yield (
        "held-out",
        Vector(
            "keras-archive",
            "weights with an external link",
            "model.keras",
            keras3(sequential(), Member("weights/w.h5", _h5(_external))),
            "not-clean",
        ),
    )


def _external(file: object) -> None:
    import h5py

    file["w"] = h5py.ExternalLink("/etc/hostname", "/x")  # type: ignore[index]  # h5py ships no types
