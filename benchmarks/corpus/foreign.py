# ruff: noqa: E501, FBT003, N811, N813, PLW0108, S106 - calls of many libraries, as their own documents show them
"""Writes artifacts with one library that the development environment lacks. Run by benign.py in that library's own."""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
FOLDER = Path(sys.argv[2])
COUNT = iter(range(1000))


def add(family, name, file, write):
    parent = FOLDER / f"{next(COUNT):03d}"
    parent.mkdir(parents=True, exist_ok=True)
    write(parent / file)
    print(
        json.dumps({"path": str((parent / file).relative_to(FOLDER.parent)), "family": family, "name": name}),
        flush=True,
    )


def tensorflow():
    import tensorflow as tf

    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Input((4,)), layers.Dense(3, activation="relu"), layers.Dense(1)])
    image = tf.keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(2, 3),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    for name, value in {"dense": model, "convolution": image}.items():
        add(
            "other",
            f"SavedModel {name}",
            "model",
            lambda path, value=value: value.export(path, verbose=False),
        )
        add("other", f"tensorflow keras {name}", "model.keras", lambda path, value=value: value.save(path))
        add("other", f"tensorflow h5 {name}", "model.h5", lambda path, value=value: value.save(path))
        add(
            "other",
            f"TFLite {name}",
            "model.tflite",
            lambda path, value=value: path.write_bytes(
                tf.lite.TFLiteConverter.from_keras_model(value).convert()
            ),
        )

    def quantised(path):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        path.write_bytes(converter.convert())

    add("other", "TFLite quantised", "model.tflite", quantised)

    class Module(tf.Module):
        def __init__(self):
            self.v = tf.Variable([1.0, 2.0])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def f(self, x):
            return tf.reduce_sum(x) * self.v if tf.shape(x)[0] > 1 else self.v

    module = Module()
    add("other", "SavedModel of a module", "model", lambda path: tf.saved_model.save(module, str(path)))

    def frozen(path):
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        function = convert_variables_to_constants_v2(
            tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec([1, 4]))
        )
        path.write_bytes(function.graph.as_graph_def().SerializeToString())

    add("other", "frozen graph", "frozen_graph.pb", frozen)
    add(
        "other",
        "checkpoint",
        "ckpt",
        lambda path: tf.train.Checkpoint(v=tf.Variable(1.0)).save(str(path / "model")),
    )


def openvino():
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    x = ops.parameter([1, 4], np.float32)
    y = ops.relu(ops.matmul(x, ops.constant(np.ones((4, 2), np.float32)), False, False))

    def save(path):
        path.mkdir()
        ov.save_model(ov.Model([y], [x], "m"), path / "model.xml")

    add("other", "OpenVINO", "ir", save)


def coremltools():
    import coremltools as ct
    import numpy as np
    from coremltools.converters.mil import Builder as mb
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    builder = NeuralNetworkBuilder([("x", datatypes.Array(4))], [("y", datatypes.Array(2))])
    builder.add_inner_product("d", np.ones((2, 4)), np.zeros(2), 4, 2, True, "x", "y")
    add(
        "other",
        "Core ML network",
        "model.mlmodel",
        lambda path: ct.models.utils.save_spec(builder.spec, str(path)),
    )

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))])
    def program(x):
        return mb.relu(x=x, name="y")

    add(
        "other",
        "Core ML package",
        "model.mlpackage",
        lambda path: ct.convert(program, convert_to="mlprogram").save(str(path)),
    )


def flax():
    import jax.numpy as jnp
    from flax import serialization

    tree = {"params": {"dense": {"kernel": jnp.ones((4, 2)), "bias": jnp.zeros(2, jnp.bfloat16)}}, "step": 3}
    add(
        "other",
        "flax msgpack",
        "flax_model.msgpack",
        lambda path: path.write_bytes(serialization.to_bytes(tree)),
    )
    add(
        "other",
        "flax msgpack, scalars",
        "state.msgpack",
        lambda path: path.write_bytes(
            serialization.msgpack_serialize({"a": 1.5, "b": complex(1, 2), "c": "x"})
        ),
    )


def transformers():
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    fast.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}"
    for name in ("BertConfig", "LlamaConfig", "ViTConfig", "T5Config", "WhisperConfig", "LlavaConfig"):
        config = getattr(transformers, name)()

        def save(path, config=config):
            config.save_pretrained(path)
            fast.save_pretrained(path)

        add("other", f"transformers {name}", "model", save)


def mlflow():
    import mlflow
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])
    add(
        "pickle",
        "MLflow sklearn",
        "model",
        lambda path: mlflow.sklearn.save_model(model, path, serialization_format="cloudpickle"),
    )
    add(
        "pickle",
        "MLflow sklearn, pickle",
        "model",
        lambda path: mlflow.sklearn.save_model(model, path, serialization_format="pickle"),
    )


def rdata():
    import numpy as np
    import rdata as library

    value = {"weights": np.arange(5.0), "names": ["a", "b"], "n": 3}
    add("other", "RDS", "model.rds", lambda path: library.write_rds(path, value))
    add("other", "RDS, ascii", "model.rds", lambda path: library.write_rds(path, value, file_format="ascii"))
    add("other", "RData", "model.RData", lambda path: library.write_rda(path, {"model": value}))


def nyoka():
    from nyoka import PMML44 as ny

    def save(path):
        table = ny.RegressionTable(
            intercept=1.5, NumericPredictor=[ny.NumericPredictor(name="x", coefficient=2.0)]
        )
        model = ny.RegressionModel(
            functionName="regression",
            MiningSchema=ny.MiningSchema(MiningField=[ny.MiningField(name="x")]),
            RegressionTable=[table],
        )
        header = ny.Header(copyright="x", Application=ny.Application(name="nyoka", version="5"))
        fields = ny.DataDictionary(
            numberOfFields=1, DataField=[ny.DataField(name="x", optype="continuous", dataType="double")]
        )
        pmml = ny.PMML(version="4.4.1", Header=header, DataDictionary=fields, RegressionModel=[model])
        with path.open("w") as file:
            pmml.export(outfile=file, level=0)

    add("other", "nyoka PMML", "model.pmml", save)


def paddle():
    import paddle as library

    net = library.nn.Sequential(library.nn.Linear(4, 3), library.nn.ReLU(), library.nn.Linear(3, 1))
    add(
        "pickle",
        "paddle state dict",
        "model.pdparams",
        lambda path: library.save(net.state_dict(), str(path)),
    )
    adam = library.optimizer.Adam(parameters=net.parameters())
    add("pickle", "paddle optimizer", "model.pdopt", lambda path: library.save(adam.state_dict(), str(path)))

    def inference(path):
        path.mkdir()
        library.jit.save(
            net, str(path / "model"), input_spec=[library.static.InputSpec([None, 4], "float32")]
        )

    add("other", "paddle inference", "model", inference)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
