# ruff: noqa: E501 - payloads and configurations stand in one line each
"""Malicious folders and text: model hubs, MLflow, NeMo, TorchServe, Hydra, Lightning, YAML, JSON, PMML."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vectors.asm import COMMAND, Vector, benign, payload
from vectors.writers import Member, archive, gz, tar

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTACK = b"import os\n\nos.system('true')\n\n\nclass Model:\n    pass\n"
PLAIN = b"import torch\n\n\nclass Model(torch.nn.Module):\n    pass\n"


def vectors() -> Iterator[tuple[str, Vector]]:
    """Pairs of `known` or `held-out` and a vector."""
    for group in (yaml, hydra, mlflow, nemo, served, pmml, jsons):
        yield from group()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


def yaml() -> Iterator[tuple[str, Vector]]:
    cases = {
        "object/apply": "a: !!python/object/apply:os.system ['true']\n",
        "object/new": "a: !!python/object/new:subprocess.Popen [['true']]\n",
        "object": "!!python/object:subprocess.Popen {args: ['true']}\n",
        "name": "a: !!python/name:os.system\n",
        "module": "a: !!python/module:antigravity\n",
        "tag directive": "%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!object/apply:os.system ['true']\n",
        "verbatim tag": "a: !<tag:yaml.org,2002:python/object/apply:os.system> ['true']\n",
        "escaped verbatim tag": "a: !<tag:yaml.org,2002:python%2Fobject%2Fapply:os.system> ['true']\n",
        "second document": "a: 1\n---\nb: !!python/object/apply:os.system ['true']\n",
        "deep in a list": "a:\n  - - - {b: [1, !!python/object/apply:subprocess.getoutput ['true']]}\n",
        "as a key": "? !!python/object/apply:os.system ['true']\n: 1\n",
        "state that extends": "!!python/object/new:tuple [!!python/object/new:map [!!python/name:eval , ['print(1)']]]\n",
    }
    soft = {"name", "module"}
    known = {"object/apply", "object/new", "object", "name", "module"}
    for name, text in cases.items():
        yield (
            "known" if name in known else "held-out",
            Vector(
                "yaml-tag", name, "hparams.yaml", text.encode(), "not-clean" if name in soft else "dangerous"
            ),
        )
    laughs = "a0: &a0 [lol]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )
    yield "held-out", Vector("yaml-tag", "billion laughs", "config.yaml", laughs.encode(), "not-clean")


def hydra() -> Iterator[tuple[str, Vector]]:
    cases = {
        "plain": "model:\n  _target_: os.system\n  command: 'true'\n",
        "eval": "model:\n  _target_: builtins.eval\n  _args_: ['print(1)']\n",
        "popen": "trainer: {_target_: subprocess.Popen, args: ['true']}\n",
        "partial": "model:\n  _target_: os.system\n  _partial_: true\n  command: 'true'\n",
        "nested in arguments": "model:\n  _target_: torch.nn.Sequential\n  _args_:\n    - _target_: torch.nn.Linear\n      in_features: 1\n      out_features: 1\n    - {_target_: shutil.rmtree, path: /nonexistent/modelward}\n",
        "get_method": "loss:\n  _target_: hydra.utils.get_method\n  path: os.system\n",
        "by interpolation": "name: os.system\nmodel:\n  _target_: ${name}\n  command: 'true'\n",
        "quoted key": "model:\n  \"_target_\": 'os.system'\n  command: 'true'\n",
        "escaped key": 'model:\n  "_t\\x61rget_": "\\x6fs.system"\n  command: "true"\n',
        "flow JSON": '{"model": {"_target_": "os.system", "command": "true"}}\n',
        "anchor merged": "x: &x\n  _target_: os.system\n  command: 'true'\nmodel:\n  <<: *x\n",
        "unknown package": "model:\n  _target_: acme.models.Net\n  width: 3\n",
    }
    soft = {"partial", "get_method", "by interpolation", "unknown package"}
    for name, text in cases.items():
        yield (
            "known" if name in {"plain", "eval", "popen"} else "held-out",
            Vector(
                "hydra-target",
                name,
                "config.yaml",
                text.encode(),
                "not-clean" if name in soft else "dangerous",
            ),
        )
    yield (
        "held-out",
        Vector(
            "hydra-target",
            "as JSON",
            "config.json",
            b'{"model": {"_target_": "os.system", "command": "true"}}',
        ),
    )
    lightning = {
        "class_path": "model:\n  class_path: subprocess.Popen\n  init_args:\n    args: ['true']\n",
        "class_path of a callback": "trainer:\n  callbacks:\n    - class_path: runpy.run_path\n      init_args: {path_name: /nonexistent/x}\n",
        "class_path of a package": "model:\n  class_path: acme.Net\n  init_args: {}\n",
        "OmegaConf resolver": 'path: ${oc.env:HOME}\nlr: ${eval:\'__import__("os").system("true")\'}\n',
    }
    for name, text in lightning.items():
        yield (
            "held-out",
            Vector(
                "lightning-yaml",
                name,
                "config.yaml",
                text.encode(),
                "dangerous" if name in {"class_path", "class_path of a callback"} else "not-clean",
            ),
        )


def mlflow() -> Iterator[tuple[str, Vector]]:
    def model(loader: str, extra: str = "", **files: bytes) -> dict[str, bytes]:
        text = f"artifact_path: model\nflavors:\n  python_function:\n    env: {{conda: conda.yaml}}\n    loader_module: {loader}\n    python_version: 3.11.4\n{extra}mlflow_version: 2.9.2\nmodel_uuid: 0123456789abcdef0123456789abcdef\n"
        return {
            "MLmodel": text.encode(),
            **{
                name.replace("__", "/").replace("_pkl", ".pkl").replace("_py", ".py"): data
                for name, data in files.items()
            },
        }

    yield (
        "known",
        Vector(
            "mlflow",
            "python_function with a payload",
            "model",
            {
                **model(
                    "mlflow.pyfunc.model",
                    "    python_model: python_model.pkl\n    cloudpickle_version: 3.0.0\n",
                ),
                "python_model.pkl": payload(4),
            },
        ),
    )
    yield (
        "known",
        Vector(
            "mlflow",
            "sklearn flavour with a payload",
            "model",
            {**model("mlflow.sklearn", "    model_path: model.pkl\n"), "model.pkl": payload(4)},
        ),
    )
    yield (
        "held-out",
        Vector(
            "mlflow",
            "loader and code",
            "model",
            {
                **model("acme_loader", "    code: code\n    data: data\n"),
                "code/acme_loader.py": ATTACK,
                "data/x": b"1",
            },
        ),
    )
    yield "held-out", Vector("mlflow", "loader without code", "model", model("acme_loader"), "not-clean")
    yield "held-out", Vector("mlflow", "loader of the standard library", "model", model("os"), "not-clean")
    yield (
        "held-out",
        Vector(
            "mlflow",
            "code path outside",
            "model",
            {
                **model(
                    "mlflow.sklearn",
                    "    code: ../../nonexistent\n    model_path: ../../../nonexistent/model.pkl\n",
                )
            },
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "mlflow",
            "model as code",
            "model",
            {
                **model("mlflow.pyfunc.model", "    model_code_path: agent.py\n    streamable: true\n"),
                "agent.py": ATTACK,
            },
        ),
    )
    yield (
        "held-out",
        Vector(
            "mlflow",
            "context artifact with a payload",
            "model",
            {
                **model(
                    "mlflow.pyfunc.model",
                    "    python_model: python_model.pkl\n    artifacts: {w: {path: artifacts/w.bin, uri: /x}}\n",
                ),
                "python_model.pkl": benign(4),
                "artifacts/w.bin": payload(2),
            },
        ),
    )


def nemo() -> Iterator[tuple[str, Vector]]:
    config = b"target: nemo.collections.asr.models.EncDecCTCModel\ncfg:\n  sample_rate: 16000\n"
    weights = archive(Member("a/data.pkl", payload(2)), Member("a/version", b"3\n"))
    clean = archive(Member("a/data.pkl", benign(2)), Member("a/version", b"3\n"))
    yield (
        "known",
        Vector(
            "nemo",
            "payload in the weights",
            "model.nemo",
            tar({"./model_config.yaml": config, "./model_weights.ckpt": weights}),
        ),
    )
    yield (
        "known",
        Vector(
            "nemo",
            "target of os",
            "model.nemo",
            tar(
                {
                    "./model_config.yaml": b"_target_: os.system\ncommand: 'true'\n",
                    "./model_weights.ckpt": clean,
                }
            ),
        ),
    )
    yield (
        "held-out",
        Vector(
            "nemo",
            "target inside, compressed",
            "model.nemo",
            gz(
                tar(
                    {
                        "model_config.yaml": config
                        + b"  encoder:\n    _target_: subprocess.Popen\n    args: ['true']\n",
                        "model_weights.ckpt": clean,
                    }
                )
            ),
        ),
    )
    yield (
        "held-out",
        Vector(
            "nemo",
            "python tag",
            "model.nemo",
            tar(
                {
                    "model_config.yaml": b"a: !!python/object/apply:os.system ['true']\n",
                    "model_weights.ckpt": clean,
                }
            ),
        ),
    )
    yield (
        "held-out",
        Vector(
            "nemo",
            "target of another package",
            "model.nemo",
            tar({"model_config.yaml": b"target: acme.Net\n", "model_weights.ckpt": clean}),
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "nemo",
            "member outside",
            "model.nemo",
            tar({"model_config.yaml": config, "../../nonexistent/x.py": ATTACK, "model_weights.ckpt": clean}),
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "nemo",
            "link outside",
            "model.nemo",
            tar({"model_config.yaml": config}, links={"model_weights.ckpt": "/etc/hostname"}),
            "not-clean",
        ),
    )


def served() -> Iterator[tuple[str, Vector]]:
    manifest = Member(
        "MAR-INF/MANIFEST.json",
        _json(
            {
                "runtime": "python",
                "model": {
                    "modelName": "m",
                    "serializedFile": "m.pt",
                    "handler": "image_classifier",
                    "modelFile": "net.py",
                    "requirementsFile": "requirements.txt",
                },
            }
        ),
    )
    clean = Member("m.pt", archive(Member("a/data.pkl", benign(2)), Member("a/version", b"3\n")))
    yield (
        "held-out",
        Vector(
            "torchserve",
            "payload in the model file",
            "model.mar",
            archive(manifest, clean, Member("net.py", ATTACK)),
        ),
    )
    yield (
        "held-out",
        Vector(
            "torchserve",
            "requirements of a server",
            "model.mar",
            archive(manifest, clean, Member("requirements.txt", b"--index-url http://127.0.0.1:1/\nacme\n")),
            "not-clean",
        ),
    )
    yield (
        "known",
        Vector(
            "torchserve",
            "member outside",
            "model.mar",
            archive(manifest, clean, Member("../../nonexistent/x.py", ATTACK)),
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "torchserve",
            "tar archive",
            "model.tar.gz",
            gz(tar({"MAR-INF/MANIFEST.json": manifest.data, "net.py": ATTACK, "m.pt": payload(2)})),
        ),
    )
    yield (
        "held-out",
        Vector(
            "triton",
            "python backend",
            "repo",
            {"config.pbtxt": b'name: "m"\nbackend: "python"\n', "1/model.py": ATTACK},
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "sagemaker",
            "inference script",
            "model.tar.gz",
            gz(tar({"model.joblib": benign(), "code/inference.py": ATTACK})),
            "not-clean",
        ),
    )


def pmml() -> Iterator[tuple[str, Vector]]:
    body = '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header>{header}</Header><DataDictionary><DataField name="x" optype="continuous" dataType="double">{extension}</DataField></DataDictionary></PMML>'
    entity = '<?xml version="1.0"?><!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    laughs = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "lol"}">' for i in range(12))
    cases = {
        "external entity": entity + body.format(header="&x;", extension=""),
        "external entity over the network": entity.replace("file:///etc/hostname", "http://127.0.0.1:1/x")
        + body.format(header="&x;", extension=""),
        "parameter entity": '<?xml version="1.0"?><!DOCTYPE PMML [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd"> %p;]>'
        + body.format(header="", extension=""),
        "external document type": '<?xml version="1.0"?><!DOCTYPE PMML SYSTEM "http://127.0.0.1:1/x.dtd">'
        + body.format(header="", extension=""),
        "billion laughs": f'<?xml version="1.0"?><!DOCTYPE PMML [{laughs}]>'
        + body.format(header="&e11;", extension=""),
        "script in an extension": '<?xml version="1.0"?>'
        + body.format(
            header="",
            extension='<Extension name="script" extender="acme"><script language="groovy">"true".execute()</script></Extension>',
        ),
        "included file": '<?xml version="1.0"?>'
        + body.format(
            header="",
            extension='<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/hostname" parse="text"/>',
        ),
        "UTF-16": (entity + body.format(header="&x;", extension="")).replace("?>", ' encoding="UTF-16"?>', 1),
    }
    for name, text in cases.items():
        data = text.encode("utf-16" if name == "UTF-16" else "utf-8")
        yield (
            "known" if name in {"external entity", "billion laughs"} else "held-out",
            Vector("pmml", name, "model.pmml", data, "not-clean"),
        )


def jsons() -> Iterator[tuple[str, Vector]]:
    reduced = {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": [COMMAND]}]}
    yield "known", Vector("jsonpickle", "reduce", "model.json", _json({"model": reduced}))
    yield (
        "held-out",
        Vector(
            "jsonpickle",
            "object",
            "model.json",
            _json({"py/object": "subprocess.Popen", "py/newargs": {"py/tuple": [[COMMAND]]}}),
            "not-clean",
        ),
    )
    yield "held-out", Vector("jsonpickle", "deep", "model.json", _json({"a": [{"b": {"c": [1, reduced]}}]}))
