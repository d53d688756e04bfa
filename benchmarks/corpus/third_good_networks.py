# ruff: noqa: ARG002, B023, E501, FBT001, FBT002, NPY002, PLC3002, PLW0108, SLF001 - tables of models
"""Networks as teams save and download them: torch, hub repositories, Keras, ONNX, GGUF. Run by third_benign.py."""

import json
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from third_put import SEED, pickled, put, run, text
from torch import nn

torch.manual_seed(int(SEED) + 3)
torch.set_num_threads(1)


class Net(nn.Module):
    """A small class of the team's own, which whole-module files name."""

    def __init__(self, width=6):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.body(x))


def seq(*layers):
    return nn.Sequential(*layers)


MODELS = {
    "mlp": lambda: seq(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)),
    "cnn": lambda: seq(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    ),
    "lstm": lambda: nn.LSTM(5, 6, 2, bidirectional=True),
    "gru": lambda: nn.GRU(3, 4),
    "transformer": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
    "embedding": lambda: nn.EmbeddingBag(30, 8, mode="mean"),
    "unet": lambda: nn.ModuleDict(
        {
            "down": nn.Conv2d(1, 4, 3, stride=2),
            "up": nn.ConvTranspose2d(4, 1, 3, stride=2),
            "norm": nn.GroupNorm(2, 4),
        }
    ),
    "attention": lambda: nn.MultiheadAttention(8, 2),
    "conv1d": lambda: seq(nn.Conv1d(2, 4, 5), nn.LeakyReLU(0.2), nn.MaxPool1d(2), nn.Dropout(0.3)),
    "lists": lambda: nn.ModuleList([nn.Linear(i + 1, i + 2) for i in range(5)]),
    "decoder": lambda: nn.TransformerDecoderLayer(8, 2, 16),
    "parameters": lambda: nn.ParameterDict(
        {"scale": nn.Parameter(torch.ones(3)), "shift": nn.Parameter(torch.zeros(3))}
    ),
    "weightnorm": lambda: torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)),
    "half": lambda: nn.Linear(6, 6).half(),
    "bfloat": lambda: seq(nn.Linear(6, 6), nn.LayerNorm(6)).bfloat16(),
    "bilinear": lambda: nn.Bilinear(3, 4, 2),
    "own class": Net,
}
ENDS = ("pt", "pth", "bin", "ckpt", "pth.tar", "pt")


def torches():
    for index, (name, make) in enumerate(MODELS.items()):
        model = make()
        end = ENDS[index % len(ENDS)]
        put(
            "pickle",
            f"torch: state of {name}",
            f"{name.replace(' ', '_')}.{end}",
            lambda path, model=model: torch.save(model.state_dict(), path),
        )
        if index % 2 == 0:
            put(
                "pickle",
                f"torch: whole {name}",
                f"{name.replace(' ', '_')}_full.{ENDS[-1 - index % 3]}",
                lambda path, model=model: torch.save(model, path),
            )
        if index % 4 == 1:
            put(
                "pickle",
                f"torch: old format of {name}",
                f"{name}_old.pth",
                lambda path, model=model: torch.save(
                    model.state_dict(), path, _use_new_zipfile_serialization=False
                ),
            )
        if index % 5 == 0:
            put(
                "pickle",
                f"torch: old format, whole {name}",
                f"{name}_old_full.pt",
                lambda path, model=model: torch.save(model, path, _use_new_zipfile_serialization=False),
            )
        if index % 4 == 3:
            put(
                "pickle",
                f"torch: pickled state of {name}",
                f"{name}.pkl",
                pickled({k: v.float().numpy() for k, v in model.state_dict().items()}, 4),
            )


def checkpoints():
    kinds = {
        "SGD": {"lr": 0.1, "momentum": 0.9},
        "Adam": {"lr": 1e-3},
        "AdamW": {"weight_decay": 0.01},
        "RMSprop": {"lr": 0.01},
        "Adagrad": {},
        "NAdam": {},
        "Adadelta": {},
        "RAdam": {},
    }
    for index, (name, more) in enumerate(kinds.items()):
        model = Net(4 + index)
        optimizer = getattr(torch.optim, name)(model.parameters(), **more)
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(3, 4)).sum().backward()
            optimizer.step()
        step = torch.optim.lr_scheduler
        plans = [
            lambda o: step.StepLR(o, 2),
            lambda o: step.CosineAnnealingLR(o, 9),
            lambda o: step.ReduceLROnPlateau(o),
        ]
        plan = plans[index % 3](optimizer)
        state = {
            "epoch": index,
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "scheduler": plan.state_dict(),
            "best_acc": 0.5 + index / 20,
        }
        if index % 2:
            state |= {
                "rng": torch.get_rng_state(),
                "numpy_rng": np.random.get_state(),
                "args": __import__("argparse").Namespace(lr=0.1, arch="net", data=Path("data")),
            }
        put(
            "pickle",
            f"torch: checkpoint with {name}",
            f"checkpoint_{index}.{ENDS[index % 6]}",
            lambda path, state=state: torch.save(state, path),
        )
        put(
            "pickle",
            f"torch: optimizer {name} alone",
            "optimizer.pt",
            lambda path, optimizer=optimizer: torch.save(optimizer.state_dict(), path),
        )
    values = {
        "tensor": torch.randn(3, 4),
        "list of tensors": [torch.arange(i) for i in range(4)],
        "sparse": torch.eye(4).to_sparse(),
        "integers": {"ids": torch.tensor([1, 2]), "mask": torch.tensor([True])},
        "quantized": torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8),
        "parameter": nn.Parameter(torch.ones(2)),
        "complex": torch.randn(3, dtype=torch.complex64),
        "dataset": torch.utils.data.TensorDataset(torch.randn(5, 2), torch.arange(5)),
        "float8": torch.randn(4).to(torch.float8_e4m3fn),
        "size and dtype": {"s": torch.Size([1, 2]), "d": torch.float16, "v": torch.device("cpu")},
        "generator state": torch.Generator().get_state(),
        "views": (lambda t: {"a": t[:2], "b": t.t()})(torch.randn(4, 4)),
        "ema": {"decay": 0.999, "shadow": {k: v.clone() for k, v in Net().state_dict().items()}},
        "subset": torch.utils.data.Subset(list(range(9)), [1, 2]),
        "quantized model": torch.ao.quantization.quantize_dynamic(Net(), {nn.Linear}).state_dict(),
    }
    for name, value in values.items():
        put(
            "pickle",
            f"torch: {name}",
            f"{name.split()[0]}.pt",
            lambda path, value=value: torch.save(value, path),
        )


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 2)
        self.names = ["a", "b"]

    def forward(self, x, flag: bool = True):
        if flag:
            x = self.inner(x)
        return {"y": x, "top": x.max()}


def scripts():
    import torch.jit

    inputs = {
        "mlp": torch.randn(1, 4),
        "cnn": torch.randn(1, 3, 8, 8),
        "lstm": torch.randn(2, 1, 5),
        "gru": torch.randn(2, 1, 3),
        "conv1d": torch.randn(1, 2, 20),
        "own class": torch.randn(1, 4),
        "bilinear": None,
    }
    for name, value in inputs.items():
        model = MODELS[name]().eval()
        put(
            "pickle",
            f"TorchScript: scripted {name}",
            f"{name.replace(' ', '_')}_scripted.pt",
            lambda path, model=model: torch.jit.script(model).save(str(path)),
        )
        if value is not None:
            put(
                "pickle",
                f"TorchScript: traced {name}",
                f"{name.replace(' ', '_')}_traced.pt",
                lambda path, model=model, value=value: torch.jit.save(
                    torch.jit.trace(model, value), str(path), _extra_files={"labels.txt": "cat\ndog"}
                ),
            )
        if name in ("mlp", "cnn", "conv1d"):
            put(
                "pickle",
                f"torch.export: {name}",
                f"{name}.pt2",
                lambda path, model=model, value=value: torch.export.save(
                    torch.export.export(model, (value,)), path
                ),
            )
            put(
                "pickle",
                f"TorchScript: frozen {name}",
                f"{name}_frozen.ptl",
                lambda path, model=model: torch.jit.freeze(
                    torch.jit.script(model)
                )._save_for_lite_interpreter(str(path)),
            )
    put(
        "pickle",
        "TorchScript: own control flow",
        "scripted.ts",
        lambda path: torch.jit.script(Scripted()).save(str(path)),
    )


def lightnings():
    import lightning.pytorch as pl

    class Lit(pl.LightningModule):
        def __init__(self, lr=0.01, hidden=5):
            super().__init__()
            self.save_hyperparameters()
            self.net = Net(hidden)

        def training_step(self, batch, index):
            loss = self.net(batch[0]).pow(2).mean()
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(8, 4)), batch_size=4)
    for index in range(4):

        def write(path, index=index):
            calls = [
                pl.callbacks.EarlyStopping("train_loss"),
                pl.callbacks.ModelCheckpoint(tempfile.mkdtemp(), monitor="train_loss"),
            ][: index % 3]
            trainer = pl.Trainer(
                max_epochs=1 + index % 2,
                accelerator="cpu",
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=calls,
                enable_checkpointing=index % 3 == 2,
            )
            trainer.fit(Lit(hidden=4 + index), data)
            trainer.save_checkpoint(path, weights_only=index == 3)

        put("pickle", f"lightning: checkpoint {index}", f"epoch={index}-step={index * 2}.ckpt", write)


def kerases():
    import keras
    from keras import layers as k

    def build(kind):
        keras.utils.set_random_seed(kind)
        shapes = [
            lambda: keras.Sequential(
                [keras.Input((4,)), k.Dense(6, "relu"), k.Dropout(0.2), k.Dense(2, "softmax")]
            ),
            lambda: keras.Sequential(
                [
                    keras.Input((8, 8, 3)),
                    k.Conv2D(4, 3, padding="same"),
                    k.BatchNormalization(),
                    k.MaxPooling2D(),
                    k.Flatten(),
                    k.Dense(3),
                ]
            ),
            lambda: keras.Sequential(
                [keras.Input((5,)), k.Embedding(30, 4), k.LSTM(6), k.Dense(1, "sigmoid")]
            ),
            lambda: (lambda a: keras.Model(a, k.Add()([k.Dense(4)(a), a])))(keras.Input((4,))),
            lambda: keras.Sequential(
                [
                    keras.Input((6, 3)),
                    k.Bidirectional(k.GRU(4, return_sequences=True)),
                    k.TimeDistributed(k.Dense(2)),
                ]
            ),
            lambda: (lambda a: keras.Model(a, [k.Dense(1, name="x")(a), k.Dense(2, name="y")(a)]))(
                keras.Input((3,))
            ),
            lambda: keras.Sequential(
                [
                    keras.Input((6, 8)),
                    k.LayerNormalization(),
                    k.Conv1D(4, 2, kernel_regularizer="l2"),
                    k.GlobalAveragePooling1D(),
                ]
            ),
            lambda: keras.Sequential(
                [
                    keras.Input((8, 8, 1)),
                    k.Rescaling(1 / 255),
                    k.RandomFlip(),
                    k.SeparableConv2D(3, 3),
                    k.PReLU(),
                    k.Flatten(),
                ]
            ),
            lambda: (lambda a: keras.Model(a, k.MultiHeadAttention(2, 4)(a, a)))(keras.Input((5, 8))),
            lambda: (lambda a, b: keras.Model([a, b], k.Concatenate()([k.Dense(2)(a), b])))(
                keras.Input((3,)), keras.Input((2,))
            ),
        ][kind]()
        if kind % 2 == 0:
            shapes.compile(
                optimizer=["adam", "sgd", "rmsprop", keras.optimizers.AdamW(1e-4), "adam"][kind // 2],
                loss="mse",
                metrics=["mae"],
            )
        return shapes

    for kind in range(10):
        model = build(kind)
        put(
            "other",
            f"keras: .keras {kind}",
            f"model_{kind}.keras",
            lambda path, model=model: model.save(path),
        )
        put(
            "other",
            f"keras: h5 {kind}",
            f"model_{kind}.{'h5' if kind % 2 else 'hdf5'}" if kind % 4 else f"model_{kind}.h5",
            lambda path, model=model: model.save(path),
        )
        if kind % 2:
            put(
                "other",
                f"keras: weights {kind}",
                f"net{kind}.weights.h5",
                lambda path, model=model: model.save_weights(path),
            )
        if kind % 3 == 0:
            put(
                "other",
                f"keras: json {kind}",
                f"architecture_{kind}.json",
                lambda path, model=model: path.write_text(model.to_json()),
            )


def onnxes():
    inputs = {
        "mlp": torch.randn(1, 4),
        "cnn": torch.randn(1, 3, 8, 8),
        "lstm": torch.randn(2, 1, 5),
        "gru": torch.randn(2, 1, 3),
        "conv1d": torch.randn(1, 2, 20),
        "own class": torch.randn(2, 4),
        "transformer": torch.randn(1, 3, 8),
        "half": torch.randn(1, 6).half(),
    }
    for name, value in inputs.items():
        put(
            "other",
            f"onnx: torch export of {name}",
            f"{name.replace(' ', '_')}.onnx",
            lambda path, name=name, value=value: torch.onnx.export(
                MODELS[name]().eval(), (value,), str(path), dynamo=False
            ),
        )
    import skl2onnx
    from sklearn import (
        cluster,
        ensemble,
        linear_model,
        neighbors,
        neural_network,
        pipeline,
        preprocessing,
        svm,
    )

    X = np.random.default_rng(1).normal(size=(40, 4)).astype("f4")
    y = (X[:, 0] > 0).astype(int)
    for index, model in enumerate(
        (
            ensemble.RandomForestClassifier(4),
            linear_model.LogisticRegression(),
            svm.SVC(),
            neighbors.KNeighborsClassifier(3),
            neural_network.MLPRegressor((4,), max_iter=9),
            pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge()),
            cluster.KMeans(3),
            ensemble.GradientBoostingRegressor(n_estimators=4),
            preprocessing.MinMaxScaler(),
        )
    ):
        put(
            "other",
            f"onnx: skl2onnx of {type(model).__name__}",
            f"model_{index}.onnx",
            lambda path, model=model: path.write_bytes(
                skl2onnx.to_onnx(model.fit(X, y), X[:1]).SerializeToString()
            ),
        )
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def large(path):
        path.mkdir()
        weight = numpy_helper.from_array(np.ones((64, 64), "f4"), "w")
        made = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
            [weight],
        )
        onnx.save_model(
            helper.make_model(made),
            str(path / "model.onnx"),
            save_as_external_data=True,
            location="model.onnx_data",
            size_threshold=0,
        )

    put("other", "onnx: external data beside it", "large", large)
    fused = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    made = helper.make_graph(
        [fused],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    put(
        "other",
        "onnx: onnxruntime's optimised operator",
        "model_optimized.onnx",
        lambda path: onnx.save(
            helper.make_model(
                made, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
            ),
            str(path),
        ),
    )

    def optimised(path):
        import onnxruntime

        torch.onnx.export(MODELS["cnn"]().eval(), (inputs["cnn"],), str(path) + ".tmp", dynamo=False)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(str(path) + ".tmp", options)
        Path(str(path) + ".tmp").unlink()

    put("other", "onnx: written by onnxruntime", "cnn.opt.onnx", optimised)


CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}",
    "{%- set ns = namespace(system='') %}{%- for m in messages if m.role == 'system' %}{%- set ns.system = m.content | trim %}{%- endfor %}{{- ns.system }}{%- for m in messages %}{{- m.role ~ ': ' ~ (m.content | tojson if m.content is mapping else m.content) }}{%- endfor %}{{ strftime_now('%d %b %Y') if strftime_now is defined }}",
)


def ggufs():
    import gguf

    for index in range(8):

        def write(path, index=index):
            file = gguf.GGUFWriter(str(path), ["llama", "gemma2", "qwen2", "bert"][index % 4])
            file.add_block_count(1 + index)
            file.add_context_length(512 << index % 3)
            file.add_name(f"tiny {index}")
            if index % 4 != 3:
                file.add_tokenizer_model("gpt2")
                file.add_token_list(["<s>", "</s>", "a", "b"])
                file.add_chat_template(CHAT[index % 3])
            file.add_tensor("token_embd.weight", np.ones((4, 32), "f4" if index % 2 else "f2"))
            if index > 3:
                file.add_tensor(
                    "blk.0.attn_q.weight",
                    gguf.quants.quantize(np.ones((2, 64), "f4"), gguf.GGMLQuantizationType.Q8_0),
                    raw_dtype=gguf.GGMLQuantizationType.Q8_0,
                )
            file.write_header_to_file()
            file.write_kv_data_to_file()
            file.write_tensors_to_file()
            file.close()

        put("other", f"gguf: {index}", f"tiny-{['q8_0', 'f16', 'f32'][index % 3]}.gguf", write)


if __name__ == "__main__":
    run(torches, checkpoints, scripts, lightnings, kerases, onnxes, ggufs)

__all__ = ["json", "shutil", "text"]
