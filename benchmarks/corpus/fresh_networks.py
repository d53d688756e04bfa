# ruff: noqa: E501, N813, ICN001, FBT003, S106, PLW0108 - calls of many libraries, as their own documents show them
"""Writes neural networks and their files with real libraries. Run by fresh_benign.py: NAME FOLDER SEED."""

import os
import pickle

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import fresh_put
from fresh_put import add, attempt, text

CHATML = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
LLAMA3 = "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
MISTRAL = "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
TOOLS = "{%- if tools %}\n{{- '# Tools\\n<tools>' }}\n{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}{{- '</tools>' }}\n{%- endif %}\n{%- set ns = namespace(multi=true, last=messages|length - 1) %}\n{%- for message in messages[::-1] %}\n{%- if ns.multi and message.role == 'user' and message.content is string and not(message.content.startswith('<tool_response>')) %}{%- set ns.multi = false %}{%- endif %}\n{%- endfor %}\n{%- for message in messages %}{{- '<|' + message.role + '|>' + message.content.split('</think>')[-1].lstrip('\\n') }}{%- endfor %}\n{{- strftime_now('%d %b %Y') if strftime_now is defined }}"


def transformers():
    import tokenizers as tk
    import transformers as tf

    lines = ["hello world this is a test", "the model reads text", "another line of text for training"] * 5
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    for name, model, trainer in (
        (
            "WordPiece",
            tk.models.WordPiece(unk_token="[UNK]"),
            tk.trainers.WordPieceTrainer(vocab_size=80, special_tokens=special),
        ),
        (
            "BPE",
            tk.models.BPE(),
            tk.trainers.BpeTrainer(
                vocab_size=120, special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
            ),
        ),
        (
            "Unigram",
            tk.models.Unigram(),
            tk.trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>", "</s>"], unk_token="<unk>"),
        ),
    ):
        made = tk.Tokenizer(model)
        made.pre_tokenizer = (
            tk.pre_tokenizers.Whitespace() if name == "WordPiece" else tk.pre_tokenizers.ByteLevel()
        )
        made.train_from_iterator(lines, trainer)
        fast = tf.PreTrainedTokenizerFast(tokenizer_object=made, unk_token=None)
        fast.chat_template = {
            "WordPiece": None,
            "BPE": CHATML,
            "Unigram": {"default": LLAMA3, "tool_use": TOOLS},
        }[name]
        add(
            "other", f"tokenizer {name}", "tokenizer", lambda path, fast=fast: fast.save_pretrained(str(path))
        )
    for kind, words in (
        ("Bert", {"num_labels": 3}),
        ("GPT2", {}),
        ("Llama", {}),
        ("T5", {}),
        ("ViT", {"id2label": {0: "cat", 1: "dog"}}),
        ("Whisper", {}),
        ("CLIP", {}),
        ("Mistral", {"sliding_window": 128}),
        ("Qwen2", {}),
        ("Wav2Vec2", {}),
    ):
        add(
            "other",
            f"configuration of {kind}",
            "hub",
            lambda path, kind=kind, words=words: getattr(tf, f"{kind}Config")(**words).save_pretrained(
                str(path)
            ),
        )

    def complete(path):
        import numpy as np
        from safetensors.numpy import save_file

        tf.GPT2Config(n_layer=1, n_embd=4, n_head=1, vocab_size=10).save_pretrained(str(path))
        tf.GenerationConfig(max_length=20, do_sample=True).save_pretrained(str(path))
        save_file(
            {"wte.weight": np.ones((10, 4), np.float32)},
            path / "model-00001-of-00001.safetensors",
            {"format": "pt"},
        )
        text(
            path / "model.safetensors.index.json",
            {
                "metadata": {"total_size": 160},
                "weight_map": {"wte.weight": "model-00001-of-00001.safetensors"},
            },
        )
        text(
            path / "README.md",
            "---\nlicense: mit\nlanguage: en\npipeline_tag: text-generation\n---\n# Tiny\n\n```python\nfrom transformers import pipeline\n```\n",
        )
        text(
            path / "tokenizer_config.json",
            {"tokenizer_class": "GPT2Tokenizer", "chat_template": MISTRAL, "model_max_length": 1024},
        )
        text(path / ".gitattributes", "*.safetensors filter=lfs diff=lfs merge=lfs -text\n")

    add("other", "hub folder", "tiny-gpt2", complete)


def keras():
    os.environ["KERAS_BACKEND"] = "torch"
    import keras as k

    L = k.layers

    def compiled(model, loss="mse"):
        model.compile(k.optimizers.AdamW(1e-3), loss, metrics=["mae"])
        return model

    a, b = k.Input((6,), name="wide"), k.Input((4,), name="deep")
    two = k.Model(
        [a, b],
        [
            L.Dense(1, name="y")(L.Concatenate()([a, L.Dense(3, activation="gelu")(b)])),
            L.Dense(2, activation="softmax", name="c")(b),
        ],
    )
    i = k.Input((8, 8, 3))
    h = L.BatchNormalization()(L.Conv2D(4, 3, padding="same", kernel_regularizer=k.regularizers.L2(1e-4))(i))
    residual = k.Model(
        i, L.Dense(2)(L.GlobalAveragePooling2D()(L.Add()([h, L.DepthwiseConv2D(3, padding="same")(h)])))
    )
    s = k.Input((5,), dtype="int32")
    e = L.Embedding(30, 8, mask_zero=True)(s)
    attention = k.Model(
        s, L.Dense(1)(L.Flatten()(L.LayerNormalization()(e + L.MultiHeadAttention(2, 4)(e, e))))
    )
    models = {
        "two inputs": compiled(two, ["mse", "sparse_categorical_crossentropy"]), "residual": compiled(residual), "attention": attention,
        "recurrent": k.Sequential([L.Input((7, 2)), L.Bidirectional(L.LSTM(3, return_sequences=True)), L.TimeDistributed(L.Dense(2)), L.GRU(2)]),
        "augmented": k.Sequential([L.Input((8, 8, 3)), L.Rescaling(1 / 255), L.RandomFlip(), L.RandomRotation(0.1), L.Conv2D(2, 3), L.Flatten(), L.Dense(1, activation="sigmoid")]),
        "autoencoder": k.Sequential([L.Input((8, 8, 1)), L.Conv2D(2, 3, 2, "same"), L.Conv2DTranspose(1, 3, 2, "same"), L.LeakyReLU(0.1)]),
        "nested": k.Sequential([L.Input((6,)), k.Sequential([L.Dense(3), L.Dropout(0.3)], name="inner"), L.Dense(1)]),
        "normalised": k.Sequential([L.Input((3,)), L.Normalization(mean=[0.0, 0, 0], variance=[1.0, 1, 1]), L.UnitNormalization(), L.Dense(1, kernel_constraint="non_neg")]),
    }  # fmt: skip
    for index, (name, model) in enumerate(models.items()):
        add("other", name, "model.keras", lambda path, model=model: model.save(path))
        if index % 2 == 0:
            add("other", f"{name}, h5", "model.h5", lambda path, model=model: model.save(path))
        if index % 3 == 0:
            add(
                "other",
                f"{name}, weights",
                "model.weights.h5",
                lambda path, model=model: model.save_weights(path),
            )
            add(
                "other",
                f"{name}, JSON",
                "architecture.json",
                lambda path, model=model: text(path, model.to_json()),
            )
    add(
        "other",
        "MobileNet",
        "mobilenet.keras",
        lambda path: k.applications.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=3).save(path),
    )


def tensorflow():
    import tensorflow as t

    L = t.keras.layers
    words = L.TextVectorization(20, output_sequence_length=5)
    words.adapt(["a b c", "c d e"])
    spoken = t.keras.Sequential(
        [
            t.keras.Input((1,), dtype="string"),
            words,
            L.Embedding(20, 4),
            L.GlobalAveragePooling1D(),
            L.Dense(1),
        ]
    )
    net = t.keras.Sequential(
        [
            t.keras.Input((8, 8, 1)),
            L.Conv2D(2, 3, activation="relu"),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dense(3),
        ]
    )
    recurrent = t.keras.Sequential([t.keras.Input((4, 2)), L.LSTM(3), L.Dense(1)])
    add("other", "text vectoriser", "text.keras", lambda path: spoken.save(path))
    add(
        "other",
        "string lookup",
        "lookup.keras",
        lambda path: t.keras.Sequential(
            [t.keras.Input((1,), dtype="string"), L.StringLookup(vocabulary=["a", "b"])]
        ).save(path),
    )
    for name, model in {"text": spoken, "convolution": net, "recurrent": recurrent}.items():
        add(
            "other",
            f"SavedModel {name}",
            "saved",
            lambda path, model=model: model.export(str(path), verbose=False),
        )
    add("other", "legacy h5", "net.h5", lambda path: net.save(path))
    for kind in ("none", "dynamic", "float16"):

        def lite(path, kind=kind):
            converter = t.lite.TFLiteConverter.from_keras_model(net)
            if kind != "none":
                converter.optimizations = [t.lite.Optimize.DEFAULT]
            if kind == "float16":
                converter.target_spec.supported_types = [t.float16]
            path.write_bytes(converter.convert())

        add("other", f"TFLite {kind}", "net.tflite", lite)
    add(
        "other",
        "checkpoint",
        "ckpt",
        lambda path: t.train.Checkpoint(net=net, step=t.Variable(3)).save(str(path / "ckpt")),
    )

    class Module(t.Module):
        def __init__(self):
            self.table = t.lookup.StaticHashTable(t.lookup.KeyValueTensorInitializer(["a", "b"], [0, 1]), -1)

        @t.function(input_signature=[t.TensorSpec([None], t.string)])
        def __call__(self, x):
            return self.table.lookup(t.strings.lower(t.strings.strip(x)))

    add("other", "SavedModel with a table", "saved", lambda path: t.saved_model.save(Module(), str(path)))

    def record(path):
        with t.io.TFRecordWriter(str(path)) as file:
            file.write(b"abc")

    add("other", "TFRecord", "train.tfrecord", record)
    attempt(lambda: tf2onnx(t, net, recurrent))


def tf2onnx(t, net, recurrent):
    import tf2onnx as c

    for name, model, shape in (("convolution", net, [None, 8, 8, 1]), ("recurrent", recurrent, [None, 4, 2])):
        function = t.function(lambda x, model=model: model(x))
        add(
            "other",
            f"tf2onnx {name}",
            "net.onnx",
            lambda path, function=function, shape=shape: path.write_bytes(
                c.convert.from_function(function, [t.TensorSpec(shape, t.float32, "x")])[
                    0
                ].SerializeToString()
            ),
        )


def gguf():
    import gguf as g
    import numpy as np

    for index, (arch, template, kind) in enumerate(
        (
            ("llama", LLAMA3, g.GGMLQuantizationType.F32),
            ("qwen2", TOOLS, g.GGMLQuantizationType.Q8_0),
            ("phi3", CHATML, g.GGMLQuantizationType.F16),
            ("mistral3", MISTRAL, g.GGMLQuantizationType.Q4_0),
            ("bert", None, g.GGMLQuantizationType.F32),
        )
    ):

        def write(path, arch=arch, template=template, kind=kind, index=index):
            out = g.GGUFWriter(str(path), arch)
            out.add_name(f"tiny {arch}")
            out.add_license("apache-2.0")
            out.add_context_length(64)
            out.add_embedding_length(32)
            out.add_block_count(1)
            out.add_head_count(2)
            out.add_layer_norm_rms_eps(1e-5)
            out.add_rope_freq_base(10000.0)
            out.add_tokenizer_model("gpt2" if index % 2 else "llama")
            out.add_token_list(["<s>", "</s>", "a", "b"])
            out.add_token_scores([0.0, 0.0, -1.0, -2.0])
            out.add_token_types([3, 3, 1, 1])
            out.add_bos_token_id(0)
            if template:
                out.add_chat_template(template)
            weights = np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32)
            data = (
                weights
                if kind == g.GGMLQuantizationType.F32
                else weights.astype(np.float16)
                if kind == g.GGMLQuantizationType.F16
                else g.quants.quantize(weights, kind)
            )
            out.add_tensor("token_embd.weight", data, raw_dtype=kind)
            out.write_header_to_file()
            out.write_kv_data_to_file()
            out.write_tensors_to_file()
            out.close()

        add("other", f"{arch}, {kind.name}", f"tiny-{kind.name}.gguf", write)


def flax():
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from flax import linen, serialization
    from flax.training import train_state

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(2)(linen.relu(linen.Dense(4)(x)))

    params = Net().init(jax.random.key(0), jnp.ones((1, 3)))
    state = train_state.TrainState.create(apply_fn=Net().apply, params=params, tx=optax.adam(1e-3))
    add(
        "other",
        "msgpack",
        "flax_model.msgpack",
        lambda path: path.write_bytes(serialization.to_bytes(params)),
    )
    add(
        "other",
        "training state",
        "state.msgpack",
        lambda path: path.write_bytes(serialization.to_bytes(state)),
    )
    add(
        "other",
        "mixed precision",
        "bf16.msgpack",
        lambda path: path.write_bytes(
            serialization.msgpack_serialize(
                jax.tree.map(lambda v: np.asarray(v.astype(jnp.bfloat16)), params)
            )
        ),
    )
    add(
        "pickle",
        "arrays of numpy",
        "params.pkl",
        lambda path: path.write_bytes(pickle.dumps(jax.tree.map(np.asarray, params))),
    )
    add(
        "pickle",
        "arrays of JAX",
        "jax.pkl",
        lambda path: path.write_bytes(pickle.dumps(jax.device_get(params))),
    )
    attempt(lambda: orbax(params))


def orbax(params):
    import orbax.checkpoint as ocp

    add(
        "other",
        "orbax checkpoint",
        "orbax",
        lambda path: ocp.PyTreeCheckpointer().save(path.absolute(), params),
    )


def paddle():
    import paddle as p

    net = p.nn.Sequential(p.nn.Linear(4, 3), p.nn.ReLU(), p.nn.Linear(3, 1))
    best = p.optimizer.Adam(parameters=net.parameters())
    net(p.ones([2, 4])).sum().backward()
    best.step()
    add("pickle", "parameters", "model.pdparams", lambda path: p.save(net.state_dict(), str(path)))
    add("pickle", "optimizer", "model.pdopt", lambda path: p.save(best.state_dict(), str(path)))
    add(
        "pickle",
        "checkpoint",
        "final.pdparams",
        lambda path: p.save({"epoch": 3, "net": net.state_dict(), "best": 0.5}, str(path)),
    )

    def program(path):
        path.mkdir()
        p.jit.save(net, str(path / "inference"), input_spec=[p.static.InputSpec([None, 4], "float32")])

    add("other", "inference program", "inference", program)


def openvino():
    import numpy as np
    import openvino as ov
    from openvino import opset13 as o

    x = o.parameter([1, 3, 8, 8], np.float32, name="x")
    y = o.relu(o.convolution(x, np.ones((4, 3, 3, 3), np.float32), [1, 1], [0, 0], [0, 0], [1, 1]))
    y = o.softmax(o.reduce_mean(y, np.array([2, 3]), False), 1)

    def folder(path, half):
        path.mkdir()
        ov.save_model(ov.Model([y], [x], "net"), str(path / "openvino_model.xml"), compress_to_fp16=half)

    for half in (True, False):
        add("other", f"convolution, half {half}", "ir", lambda path, half=half: folder(path, half))


def coremltools():
    import coremltools as ct
    import numpy as np
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec((1, 3, 8, 8))])
    def net(x):
        y = mb.relu(x=mb.conv(x=x, weight=np.ones((2, 3, 3, 3), np.float32)))
        return mb.softmax(x=mb.reduce_mean(x=y, axes=[2, 3]), axis=1)

    add(
        "other",
        "ML program",
        "net.mlpackage",
        lambda path: ct.convert(net, convert_to="mlprogram").save(str(path)),
    )
    add(
        "other",
        "neural network",
        "net.mlmodel",
        lambda path: ct.convert(net, convert_to="neuralnetwork").save(str(path)),
    )


def rdata():
    import numpy as np
    import pandas as pd
    import rdata as r

    frame = pd.DataFrame({"x": [1.0, 2.0], "n": ["a", "b"], "g": pd.Categorical(["u", "v"])})
    add("other", "data frame", "frame.rds", lambda path: r.write_rds(path, frame))
    add(
        "other",
        "list",
        "fit.rds",
        lambda path: r.write_rds(path, {"coef": np.ones(3), "names": ["a", "b"], "n": 3}),
    )
    add("other", "workspace", "data.rda", lambda path: r.write_rda(path, {"train": frame, "k": np.arange(3)}))
    add("other", "text format", "m.rds", lambda path: r.write_rds(path, np.ones((2, 2)), file_format="ascii"))


if __name__ == "__main__":
    attempt(globals()[fresh_put.NAME])
