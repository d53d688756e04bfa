# ruff: noqa: E501 - templates and documents stand in one line each
"""Graphs and language-model files: ONNX by several writers, GGUF, Keras, PMML by hand, YAML and hub folders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from benign import Place

CHATML = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
LLAMA = "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' if message['role'] == 'user' else ' ' + message['content'].strip() + ' ' + eos_token }}{% endfor %}"
TOOLS = "{%- macro fields(tool) -%}{%- for key, value in tool.function.parameters.properties.items() -%}{{ key }}: {{ value.type | upper }}{{ ', ' if not loop.last }}{%- endfor -%}{%- endmacro -%}{%- set ns = namespace(found=false) -%}{%- for tool in tools or [] -%}{{ fields(tool) }}{%- set ns.found = true -%}{%- endfor -%}{%- for message in messages -%}{%- if message.content is string -%}{{ message.content | trim }}{%- else -%}{{ message.content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join('') | tojson }}{%- endif -%}{%- endfor -%}{{ strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' }}"


def write(place: Place, seed: int) -> None:
    """All of this file."""
    for part in (onnx, gguf, keras, texts, folders):
        part(place, seed)


def onnx(place: Place, seed: int) -> None:
    import onnx as library
    from onnx import TensorProto, helper, numpy_helper
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    draw = np.random.default_rng(seed)
    x = draw.normal(size=(40, 4)).astype("f4")
    y = (x[:, 0] > 0).astype(int)
    for kind in (LogisticRegression(), RandomForestClassifier(5)):
        place.add(
            "other",
            f"onnx by skl2onnx, {type(kind).__name__}",
            "model.onnx",
            lambda path, kind=kind: path.write_bytes(to_onnx(kind.fit(x, y), x).SerializeToString()),
        )
    weights = numpy_helper.from_array(draw.normal(size=(64, 64)).astype("f4"), "w")

    def graph(domain: str = "") -> library.ModelProto:
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Gelu" if domain else "Relu", ["h"], ["y"], domain=domain),
        ]
        made = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
            [weights],
        )
        return helper.make_model(
            made,
            opset_imports=[
                helper.make_opsetid("", 18),
                *([helper.make_opsetid(domain, 1)] if domain else []),
            ],
        )

    place.add("other", "onnx by helper", "model.onnx", lambda path: library.save(graph(), path))
    place.add(
        "other",
        "onnx, operator of onnxruntime",
        "model.onnx",
        lambda path: library.save(graph("com.microsoft"), path),
    )

    def outside(path: Path) -> None:
        path.mkdir()
        library.save(
            graph(),
            path / "model.onnx",
            save_as_external_data=True,
            location="weights.bin",
            size_threshold=16,
        )

    place.add("other", "onnx with external data", "model", outside)


def gguf(place: Place, seed: int) -> None:
    import gguf as library

    def write(path: Path, template: str | None, *, kinds: bool) -> None:
        writer = library.GGUFWriter(str(path), "llama")
        writer.add_block_count(1)
        writer.add_context_length(32)
        writer.add_tokenizer_model("llama")
        writer.add_token_list(["<s>", "a", "b"])
        writer.add_token_scores([0.0, -1.0, -2.0])
        if template:
            writer.add_chat_template(template)
        draw = np.random.default_rng(seed)
        writer.add_tensor("token_embd.weight", draw.normal(size=(3, 32)).astype("f4"))
        writer.add_tensor("output.weight", draw.normal(size=(3, 32)).astype("f2"))
        if kinds:
            writer.add_tensor(
                "blk.0.w",
                library.quants.quantize(
                    draw.normal(size=(4, 64)).astype("f4"), library.GGMLQuantizationType.Q8_0
                ),
                raw_dtype=library.GGMLQuantizationType.Q8_0,
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    for name, template in {"no template": None, "ChatML": CHATML, "Llama": LLAMA, "tools": TOOLS}.items():
        place.add(
            "other",
            f"gguf, {name}",
            "model.gguf",
            lambda path, template=template: write(path, template, kinds=template is None),
        )


def keras(place: Place, seed: int) -> None:
    import os

    os.environ["KERAS_BACKEND"] = "torch"
    import keras as library

    library.utils.set_random_seed(seed)
    layers = library.layers
    small = library.Sequential(
        [layers.Input((4,)), layers.Dense(3, activation="relu"), layers.Dropout(0.1), layers.Dense(1)]
    )
    small.compile("adam", "mse")
    image = layers.Input((8, 8, 1))
    h = layers.BatchNormalization()(layers.Conv2D(2, 3, activation="relu")(image))
    h = layers.Concatenate()([layers.Flatten()(h), layers.Flatten()(layers.MaxPooling2D(2)(image))])
    functional = library.Model(image, layers.Dense(2, activation="softmax", kernel_regularizer="l2")(h))
    recurrent = library.Sequential(
        [layers.Input((5,)), layers.Embedding(9, 4), layers.Bidirectional(layers.LSTM(3)), layers.Dense(1)]
    )
    for name, model in {"dense": small, "functional": functional, "recurrent": recurrent}.items():
        place.add("other", f"keras {name}", "model.keras", lambda path, model=model: model.save(path))
        place.add("other", f"keras h5 {name}", "model.h5", lambda path, model=model: model.save(path))
    place.add("other", "keras weights", "model.weights.h5", functional.save_weights)
    place.add(
        "other", "keras json", "model.json", lambda path: path.write_text(small.to_json(), encoding="utf-8")
    )


PMML = '<?xml version="1.0" encoding="UTF-8"?><PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header copyright="x"><Application name="JPMML-SkLearn" version="1.7.0"/><Timestamp>2024-01-01T00:00:00Z</Timestamp></Header><DataDictionary><DataField name="y" optype="continuous" dataType="double"/><DataField name="x" optype="continuous" dataType="double"/></DataDictionary><RegressionModel functionName="regression"><MiningSchema><MiningField name="y" usageType="target"/><MiningField name="x"/></MiningSchema><RegressionTable intercept="1.5"><NumericPredictor name="x" coefficient="2.0"/></RegressionTable></RegressionModel></PMML>'
YAML = "seed: 1\ntrainer:\n  max_epochs: 3\n  devices: 1\nmodel:\n  hidden: [64, 32]\n  lr: 1.0e-3\n  activation: relu\n# a comment\nname: &n small\nalias: *n\n"
SAFE_TARGET = "model:\n  _target_: torch.nn.Linear\n  in_features: 4\n  out_features: 2\noptimizer:\n  _target_: torch.optim.Adam\n  _partial_: true\n  lr: 0.001\n"


def texts(place: Place, seed: int) -> None:
    named = {
        "PMML": ("model.pmml", PMML),
        "YAML configuration": ("config.yaml", YAML),
        "hparams": ("hparams.yaml", f"batch_size: 32\nseed: {seed}\n"),
        "vocabulary": ("vocab.txt", "[PAD]\n[UNK]\nthe\nos\nsystem\n"),
        "notes": ("README.md", "# Model card\n\nUse `pickle.load` never.\n"),
        "JSON metrics": ("metrics.json", json.dumps({"accuracy": 0.9})),
        "Hydra with library targets": ("config.yaml", SAFE_TARGET),
        "JSON lines": ("data.jsonl", '{"text": "os.system(1)"}\n{"text": "b"}\n'),
        "merges": ("merges.txt", "#version: 0.2\nt h\nth e\n"),
        "MXNet symbol": (
            "model-symbol.json",
            json.dumps(
                {
                    "nodes": [
                        {"op": "null", "name": "data", "inputs": []},
                        {
                            "op": "FullyConnected",
                            "name": "fc",
                            "attrs": {"num_hidden": "2"},
                            "inputs": [[0, 0, 0]],
                        },
                    ],
                    "arg_nodes": [0],
                    "node_row_ptr": [0, 1, 2],
                    "heads": [[1, 0, 0]],
                    "attrs": {"mxnet_version": ["int", 10900]},
                }
            ),
        ),
    }
    for name, (file, text) in named.items():
        place.add("other", name, file, lambda path, text=text: path.write_text(text, encoding="utf-8"))


def folders(place: Place, seed: int) -> None:
    from safetensors.numpy import save_file

    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "torch_dtype": "float16",
        "vocab_size": 3,
        "transformers_version": "4.44.0",
    }

    def hub(path: Path) -> None:
        path.mkdir()
        (path / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        (path / "generation_config.json").write_text(
            '{"bos_token_id": 1, "eos_token_id": 2}', encoding="utf-8"
        )
        (path / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "LlamaTokenizer", "chat_template": LLAMA, "bos_token": "<s>"}),
            encoding="utf-8",
        )
        (path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Card\n", encoding="utf-8")
        save_file({"w": np.full((2, 2), seed, "f4")}, path / "model.safetensors")

    place.add("other", "hub folder", "llama", hub)
