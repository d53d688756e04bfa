# ruff: noqa: E501 - tables of cases
"""Fresh malicious Keras files, `.keras` and HDF5: a real model with one part changed."""

from __future__ import annotations

import base64
import copy
import io
import json
import marshal
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from vectors import writers
from vectors.asm import COMMAND, PATH, Vector, payload

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPRESSION = "__import__('os').system('true')"


CODE = base64.b64encode(marshal.dumps(compile("lambda x: x", "m", "eval"))).decode()


def zipped(members: dict[str, bytes]) -> bytes:
    return writers.archive(*(writers.Member(name, data, method=8) for name, data in members.items()))


def _keras_parts() -> dict[str, bytes]:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((8,)), layers.Dense(4, activation="relu", name="dense"), layers.Dense(2, name="head")]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "carrier.keras"
        keras.saving.save_model(model, path)
        with zipfile.ZipFile(path) as file:
            return {name: file.read(name) for name in file.namelist()}


def _layer(module: str | None, name: str, config: object, **more: object) -> dict[str, object]:
    return {"module": module, "class_name": name, "config": config, "registered_name": None, **more}


def _lambda(code: str = CODE) -> dict[str, object]:
    function = _layer("builtins", "function", None) | {
        "class_name": "__lambda__",
        "config": {"code": code, "defaults": None, "closure": None},
    }
    return _layer(
        "keras.layers",
        "Lambda",
        {"name": "lambda", "trainable": True, "dtype": "float32", "function": function},
    )


def keras() -> Iterator[Vector]:
    """Configurations inside a real `.keras` file: one layer is added or replaced."""
    parts = _keras_parts()
    base = json.loads(parts["config.json"])
    dense = base["config"]["layers"][1]

    def with_layer(layer: dict[str, object], at: int = 2) -> bytes:
        config = copy.deepcopy(base)
        config["config"]["layers"].insert(at, layer)
        return zipped({**parts, "config.json": json.dumps(config).encode()})

    def with_field(key: str, value: object) -> bytes:
        config = copy.deepcopy(base)
        config["config"]["layers"][1]["config"][key] = value
        return zipped({**parts, "config.json": json.dumps(config).encode()})

    function = {"class_name": "function", "registered_name": "function"}
    added = {
        "Lambda of bytecode": (_lambda(), "dangerous"),
        "Lambda at the first place": (_lambda(), "dangerous"),
        "Lambda inside Bidirectional": (
            _layer("keras.layers", "TimeDistributed", {"name": "t", "layer": _lambda()}),
            "dangerous",
        ),
        "module os": (_layer("os", "system", COMMAND), "dangerous"),
        "module subprocess, Popen": (_layer("subprocess", "Popen", {"args": ["true"]}), "dangerous"),
        "module builtins, exec": (_layer("builtins", "exec", "print(1)"), "dangerous"),
        "function of a module": (
            _layer("subprocess", "check_output", None)
            | {"config": "run", "module": "subprocess", **function},
            "not-clean",
        ),
        "a package of the attacker": (
            _layer("evil_layers.core", "Attention", {"units": 3}, registered_name="evil>Attention"),
            "not-clean",
        ),
        "get_file of keras.utils": (
            _layer(
                "keras.utils", "get_file", {"fname": "x", "origin": "http://127.0.0.1:9/x", "extract": True}
            ),
            "dangerous",
        ),
        "load_model of keras": (
            _layer("keras.models", "load_model", {"filepath": PATH, "safe_mode": False}),
            "dangerous",
        ),
        "enable_unsafe_deserialization": (
            _layer("keras.config", "enable_unsafe_deserialization", {}),
            "dangerous",
        ),
        "TorchModuleWrapper with a pickle": (
            _layer(
                "keras.layers",
                "TorchModuleWrapper",
                {"name": "w", "module": base64.b64encode(payload()).decode()},
            ),
            "dangerous",
        ),
        "StringLookup that reads a file": (
            _layer(
                "keras.layers",
                "StringLookup",
                {"name": "s", "vocabulary": "/etc/hostname", "max_tokens": None},
            ),
            "not-clean",
        ),
        "TextVectorization that fetches": (
            _layer(
                "keras.layers", "TextVectorization", {"name": "s", "vocabulary": "http://127.0.0.1:9/v.txt"}
            ),
            "not-clean",
        ),
        "TFSMLayer of a folder": (
            _layer("keras.layers", "TFSMLayer", {"name": "t", "filepath": PATH, "call_endpoint": "serve"}),
            "not-clean",
        ),
        "numpy loads": (_layer("numpy", "load", {"file": PATH, "allow_pickle": True}), "dangerous"),
    }
    for index, (name, (layer, expect)) in enumerate(added.items()):
        yield Vector("keras", name, "model.keras", with_layer(layer, 1 if index == 1 else 2), expect)
    yield Vector(
        "keras",
        "activation is a lambda",
        "model.keras",
        with_field("activation", _lambda()["config"]["function"]),
    )
    yield Vector(
        "keras",
        "initializer of another module",
        "model.keras",
        with_field("kernel_initializer", _layer("os", "system", COMMAND)),
    )
    yield Vector(
        "keras",
        "regularizer is pickle.loads",
        "model.keras",
        with_field("kernel_regularizer", _layer("pickle", "loads", {"data": "x"})),
    )
    changed = copy.deepcopy(base) | {
        "compile_config": {
            "optimizer": "adam",
            "loss": _layer("builtins", "eval", EXPRESSION),
            "metrics": None,
        }
    }
    yield Vector(
        "keras",
        "loss of the compile configuration",
        "model.keras",
        zipped({**parts, "config.json": json.dumps(changed).encode()}),
    )
    changed = copy.deepcopy(base) | {
        "build_config": {"input_shape": [None, 8]},
        "module": "runpy",
        "class_name": "run_path",
        "config": {"path_name": PATH},
    }
    yield Vector(
        "keras",
        "the outermost class",
        "model.keras",
        zipped({**parts, "config.json": json.dumps(changed).encode()}),
    )
    yield Vector(
        "keras",
        "two configurations",
        "model.keras",
        writers.archive(
            writers.Member("config.json", parts["config.json"]),
            writers.Member("config.json", json.dumps(_layer("os", "system", COMMAND)).encode()),
            writers.Member("metadata.json", parts["metadata.json"]),
            writers.Member("model.weights.h5", parts["model.weights.h5"]),
        ),
    )
    yield Vector(
        "keras",
        "a member outside the folder",
        "model.keras",
        zipped({**parts, "../../etc/cron.d/x": b"x"}),
        "not-clean",
    )
    yield Vector(
        "keras",
        "a pickle as an asset",
        "model.keras",
        zipped({**parts, "assets/vocab.pkl": payload()}),
        "not-clean",
    )
    yield Vector(
        "keras",
        "JSON of model.to_json with a Lambda",
        "model.json",
        json.dumps(
            {
                "class_name": "Sequential",
                "config": {
                    "name": "s",
                    "layers": [
                        dense,
                        {
                            "class_name": "Lambda",
                            "config": {
                                "name": "l",
                                "function": [CODE, None, None],
                                "function_type": "lambda",
                            },
                        },
                    ],
                },
                "keras_version": "2.12.0",
                "backend": "tensorflow",
            }
        ).encode(),
    )
    yield Vector(
        "keras",
        "YAML of model.to_yaml with a tag",
        "model.yaml",
        f"backend: tensorflow\nclass_name: Sequential\nconfig:\n  layers:\n  - !!python/object/apply:os.system ['{COMMAND}']\nkeras_version: 2.4.0\n".encode(),
    )


def _h5(write: object) -> bytes:
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        write(file)
    return out.getvalue()


def hdf5() -> Iterator[Vector]:
    """Old Keras files, external links and data sets."""
    import h5py
    import numpy as np

    def old(layers: list[object], *, at: str = "model_config", version: str = "2.10.0") -> bytes:
        config = {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}

        def write(file: h5py.File) -> None:
            file.attrs["keras_version"], file.attrs["backend"] = version, "tensorflow"
            file.attrs[at] = json.dumps(config)
            weights = file.create_group("model_weights/dense/dense")
            weights["kernel:0"] = np.zeros((8, 4), np.float32)

        return _h5(write)

    dense = {
        "class_name": "Dense",
        "config": {"name": "dense", "units": 4, "activation": "relu", "batch_input_shape": [None, 8]},
    }
    legacy = {
        "class_name": "Lambda",
        "config": {
            "name": "lambda",
            "function": {"class_name": "__tuple__", "items": [CODE + "\n", None, None]},
            "function_type": "lambda",
            "module": "__main__",
        },
    }
    nested = {
        "class_name": "Functional",
        "config": {"name": "inner", "layers": [legacy], "input_layers": [], "output_layers": []},
    }
    for name, layers in {
        "Lambda of Keras 2": [dense, legacy], "Lambda in a nested model": [dense, nested],
        "Lambda inside TimeDistributed": [{"class_name": "TimeDistributed", "config": {"layer": legacy, "name": "t"}}],
        "Lambda of Keras 3": [dense, _lambda()], "module and class": [_layer("os", "system", COMMAND)],
        "output shape of a Lambda": [{"class_name": "Lambda", "config": {"name": "l", "function": "relu", "function_type": "function", "output_shape": [CODE, None, None], "output_shape_type": "lambda"}}],
    }.items():  # fmt: skip
        yield Vector("hdf5", name, "model.h5", old(layers), "dangerous")
    yield Vector(
        "hdf5",
        "custom object",
        "model.hdf5",
        old([{"class_name": "evilpkg>Backdoor", "config": {}}]),
        "not-clean",
    )

    def link(file: h5py.File) -> None:
        file["model_weights"] = h5py.ExternalLink("/etc/passwd", "/")

    def deep(file: h5py.File) -> None:
        file["a/b/c/w"] = np.ones(3)
        file["a/b/c/kernel"] = h5py.ExternalLink("../../secrets.h5", "/x")

    def storage(file: h5py.File) -> None:
        file.create_dataset("kernel", (64,), "u1", external=[("/etc/hostname", 0, 64)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4,))
        file.create_virtual_dataset("kernel", layout)

    def pickled(file: h5py.File) -> None:
        file.attrs["model"] = np.void(payload())
        file["w"] = np.ones(2)

    for name, write in {
        "external link": link,
        "external link far down": deep,
        "external storage": storage,
        "virtual data set": virtual,
        "pickle in an attribute": pickled,
    }.items():
        yield Vector("hdf5", name, "weights.h5", _h5(write), "not-clean")
