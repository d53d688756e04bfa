# ruff: noqa: E501, NPY002, ICN001, FBT003, DTZ001, PLW0108 - calls of many libraries, as their own documents show them
"""Writes what PyTorch users keep, with PyTorch itself. Run by fresh_benign.py: NAME FOLDER SEED."""

import pickle

import fresh_put
from fresh_put import add, attempt, text


def torch():
    attempt(checkpoints, modules, tensors, lightning, scripts, trainers)


def small():
    import torch as t

    t.manual_seed(int(fresh_put.SEED))
    n = t.nn
    return n.Sequential(
        n.Conv2d(3, 4, 3, bias=False),
        n.BatchNorm2d(4),
        n.SiLU(),
        n.AdaptiveAvgPool2d(1),
        n.Flatten(),
        n.Linear(4, 2),
    )


def trained(kind, model, **words):
    import torch as t

    best = kind(model.parameters(), **words)
    for _ in range(2):
        best.zero_grad()
        model(t.rand(2, 3, 8, 8)).sum().backward()
        best.step()
    return best


def checkpoints():
    import argparse
    import collections
    import datetime
    import pathlib

    import numpy as np
    import torch as t

    def save(name, file, value, **words):
        add("pickle", name, file, lambda path: t.save(value, path, **words))

    optimizers = (
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("AdamW", {"lr": 1e-3}),
        ("RMSprop", {"lr": 1e-3}),
        ("Adagrad", {"lr": 0.1}),
        ("NAdam", {"lr": 1e-3}),
    )
    schedulers = (
        lambda o: t.optim.lr_scheduler.CosineAnnealingLR(o, 5),
        lambda o: t.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=10),
        lambda o: t.optim.lr_scheduler.ReduceLROnPlateau(o),
        lambda o: t.optim.lr_scheduler.MultiStepLR(o, [2, 4]),
        lambda o: t.optim.lr_scheduler.SequentialLR(
            o, [t.optim.lr_scheduler.ConstantLR(o), t.optim.lr_scheduler.ExponentialLR(o, 0.9)], [2]
        ),
    )
    for (kind, words), schedule in zip(optimizers, schedulers, strict=True):
        model = small()
        best = trained(getattr(t.optim, kind), model, **words)
        point = {
            "epoch": 4,
            "best_acc": np.float64(0.71),
            "model": model.state_dict(),
            "optimizer": best.state_dict(),
            "scheduler": schedule(best).state_dict(),
            "args": argparse.Namespace(lr=0.1, data=pathlib.PurePosixPath("data"), resume=None),
        }
        save(f"{kind} checkpoint", "checkpoint.pth.tar", point)
    model = small()
    parallel = collections.OrderedDict((f"module.{k}", v) for k, v in model.state_dict().items())
    save("DataParallel prefix", "model_best.pth.tar", {"state_dict": parallel, "arch": "resnet", "epoch": 9})
    ema = t.optim.swa_utils.AveragedModel(model, multi_avg_fn=t.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    save(
        "EMA",
        "ema.pt",
        {
            "ema": ema.state_dict(),
            "updates": 30,
            "date": datetime.datetime(2024, 3, 1).isoformat(),
            "scaler": t.amp.GradScaler("cpu").state_dict(),
        },
    )
    save(
        "scaler and random state",
        "train_state.pt",
        {
            "scaler": t.amp.GradScaler("cpu").state_dict(),
            "rng": t.get_rng_state(),
            "numpy": np.random.get_state(),
            "step": t.tensor(7),
        },
    )
    save("half precision", "model_fp16.pt", {k: v.half() for k, v in model.state_dict().items()})
    save("bfloat16", "consolidated.00.pth", {k: v.bfloat16() for k, v in model.state_dict().items()})
    save("legacy", "model_old.pth", model.state_dict(), _use_new_zipfile_serialization=False)
    save(
        "legacy checkpoint",
        "old.pth.tar",
        {"state_dict": parallel, "optimizer": trained(t.optim.SGD, small(), lr=0.1).state_dict()},
        _use_new_zipfile_serialization=False,
    )
    save(
        "shared weights",
        "tied.bin",
        {"embed": (w := t.rand(6, 4)), "head": w, "part": w[2:4], "turned": w.t()},
    )
    save("protocol 4", "model.pt", model.state_dict(), pickle_protocol=4)
    save(
        "numpy and Python values",
        "metrics.pt",
        {
            "losses": np.arange(3.0),
            "labels": ["a", "b"],
            "when": datetime.datetime(2024, 1, 2),
            "map": collections.defaultdict(int, a=1),
            "size": t.Size([1, 2]),
            "dtype": t.float16,
            "device": t.device("cpu"),
        },
    )
    save(
        "GAN",
        "gan.pth",
        {
            "G": small().state_dict(),
            "D": small().state_dict(),
            "optG": trained(t.optim.Adam, small(), lr=2e-4, betas=(0.5, 0.999)).state_dict(),
            "fid": 31.2,
        },
    )
    save(
        "LoRA",
        "adapter_model.bin",
        {f"base_model.model.layers.{i}.q_proj.lora_{s}.weight": t.rand(2, 4) for i in range(2) for s in "AB"},
    )
    save("textual inversion", "learned_embeds.bin", {"<cat-toy>": t.rand(8)})
    save(
        "replay buffer",
        "buffer.pt",
        [{"obs": t.rand(3), "action": 1, "reward": np.float32(1), "done": False}] * 2,
    )


def modules():
    import torch as t
    import torch.nn.utils.prune  # the package does not import it

    n = t.nn
    cases = {
        "convolutional": small(),
        "trained, eval": small().eval().requires_grad_(False),
        "recurrent": n.ModuleDict(
            {
                "emb": n.Embedding(20, 4, padding_idx=0),
                "rnn": n.LSTM(4, 5, 2, bidirectional=True, batch_first=True),
                "drop": n.Dropout(0.2),
            }
        ),
        "transformer": n.Transformer(8, 2, 1, 1, 16, batch_first=True),
        "encoder": n.TransformerEncoder(n.TransformerEncoderLayer(8, 2, 16, activation="gelu"), 1),
        "weight norm": n.utils.parametrizations.weight_norm(n.Linear(3, 4)),
        "old weight norm": n.utils.weight_norm(n.Linear(3, 4)),
        "pruned": (p := n.Linear(4, 4), n.utils.prune.l1_unstructured(p, "weight", 0.5))[0],
        "upsampling": n.Sequential(
            n.ConvTranspose2d(4, 2, 2),
            n.Upsample(scale_factor=2),
            n.PReLU(),
            n.GroupNorm(1, 2),
            n.PixelShuffle(1),
        ),
        "losses": n.ModuleList(
            [n.CrossEntropyLoss(t.tensor([1.0, 2.0])), n.MSELoss(), n.CTCLoss(), n.Hardswish()]
        ),
        "quantised dynamically": t.ao.quantization.quantize_dynamic(
            n.Sequential(n.Linear(4, 4), n.ReLU()), {n.Linear}, t.qint8
        ),
        "parallel": n.DataParallel(n.Linear(2, 2)),
        "whole in a checkpoint": {
            "epoch": -1,
            "model": small().half(),
            "ema": None,
            "train_args": {"imgsz": 640},
            "date": "2024-05-01",
        },
    }
    for index, (name, model) in enumerate(cases.items()):
        add(
            "pickle",
            f"module {name}",
            ("model.pt", "net.pth", "full_model.pkl")[index % 3],
            lambda path, model=model: t.save(model, path),
        )


def tensors():
    import torch as t
    from safetensors.torch import save_file, save_model

    w = t.rand(4, 4)
    kinds = {
        "coo": w.relu().to_sparse(),
        "csr": w.to_sparse_csr(),
        "complex": t.complex(w, w),
        "bool": w > 0.5,
        "int8": (w * 9).to(t.int8),
        "quantised": t.quantize_per_tensor(w, 0.1, 2, t.quint8),
        "channel": t.quantize_per_channel(w, t.ones(4), t.zeros(4), 0, t.qint8),
        "param": t.nn.Parameter(w),
        "empty": t.empty(0),
        "scalar": t.tensor(3),
        "f8": w.to(t.float8_e4m3fn),
        "meta": t.empty(3, device="meta"),
    }
    for name, value in kinds.items():
        if name in {"coo", "channel", "f8", "param", "meta", "csr"}:
            add("pickle", f"tensor {name}", "tensor.pt", lambda path, value=value: t.save({"x": value}, path))
    add(
        "pickle",
        "tensors by plain pickle",
        "features.pkl",
        lambda path: path.write_bytes(pickle.dumps({"x": w, "p": t.nn.Linear(2, 2).state_dict()})),
    )
    add(
        "pickle",
        "tensors by joblib",
        "emb.joblib",
        lambda path: __import__("joblib").dump({"x": w, "ids": [1, 2]}, path, compress=3),
    )
    add(
        "pickle",
        "data set of tensors",
        "dataset.pt",
        lambda path: t.save(t.utils.data.TensorDataset(w, w), path),
    )
    add(
        "other",
        "safetensors, mixed",
        "model.safetensors",
        lambda path: save_file(
            {"a": w.half(), "b": (w > 0), "c": w.bfloat16(), "e": t.empty(0)},
            path,
            {"format": "pt", "author": "x"},
        ),
    )
    add("other", "safetensors of a model", "model.safetensors", lambda path: save_model(small(), str(path)))


def lightning():
    import argparse

    import torch as t
    from omegaconf import OmegaConf

    net = small()
    best = trained(t.optim.Adam, net, lr=1e-3)
    config = {
        "lr": 1e-3,
        "model": {"name": "resnet", "depth": 18},
        "tags": ["a", "b"],
        "path": "${oc.env:HOME}",
    }
    parameters = {
        "dictionary": config,
        "Namespace": argparse.Namespace(**config),
        "OmegaConf": OmegaConf.create(config),
    }
    for name, value in parameters.items():
        point = {
            "epoch": 1, "global_step": 20, "pytorch-lightning_version": "2.4.0", "state_dict": {f"net.{k}": v for k, v in net.state_dict().items()},
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 2, "completed": 1}}}},
            "callbacks": {"ModelCheckpoint{'monitor': 'val/loss', 'mode': 'min'}": {"best_model_score": t.tensor(0.3), "best_k_models": {"a.ckpt": t.tensor(0.3)}}, "EarlyStopping": {"wait_count": 0, "patience": 3}},
            "optimizer_states": [best.state_dict()], "lr_schedulers": [t.optim.lr_scheduler.StepLR(best, 3).state_dict()],
            "MixedPrecision": None, "hparams_name": "hparams", "hyper_parameters": value,
        }  # fmt: skip
        add("pickle", f"Lightning, {name}", "last.ckpt", lambda path, point=point: t.save(point, path))
    add("other", "OmegaConf file", "config.yaml", lambda path: OmegaConf.save(OmegaConf.create(config), path))


def scripts():
    import torch as t

    net, x = small().eval(), t.rand(1, 3, 8, 8)
    add("pickle", "traced, frozen", "traced.pt", lambda path: t.jit.freeze(t.jit.trace(net, x)).save(path))
    add(
        "pickle",
        "scripted LSTM",
        "lstm.pt",
        lambda path: t.jit.script(t.nn.LSTM(2, 3)).save(path, _extra_files={"labels.txt": "a\nb"}),
    )
    add("pickle", "exported program", "net.pt2", lambda path: t.export.save(t.export.export(net, (x,)), path))
    for version in (13, 17):
        add(
            "other",
            f"onnx by tracing, opset {version}",
            "net.onnx",
            lambda path, version=version: t.onnx.export(
                net,
                (x,),
                str(path),
                dynamo=False,
                opset_version=version,
                input_names=["x"],
                dynamic_axes={"x": {0: "n"}},
            ),
        )
    add(
        "other",
        "onnx of a recurrent net",
        "gru.onnx",
        lambda path: t.onnx.export(t.nn.GRU(2, 3), (t.rand(4, 1, 2),), str(path), dynamo=False),
    )
    add(
        "other",
        "onnx of an encoder",
        "encoder.onnx",
        lambda path: t.onnx.export(
            t.nn.TransformerEncoderLayer(8, 2, 16).eval(), (t.rand(3, 1, 8),), str(path), dynamo=True
        ),
    )


def trainers():
    import numpy as np
    import torch as t

    def folder(path):
        path.mkdir()
        net = small()
        best = trained(t.optim.AdamW, net, lr=1e-3)
        t.save(best.state_dict(), path / "optimizer.pt")
        t.save(t.optim.lr_scheduler.LambdaLR(best, lambda _: 1.0).state_dict(), path / "scheduler.pt")
        t.save(
            {
                "python": __import__("random").getstate(),
                "numpy": np.random.get_state(),
                "cpu": t.get_rng_state(),
            },
            path / "rng_state.pth",
        )
        t.save(net.state_dict(), path / "pytorch_model.bin")
        text(
            path / "trainer_state.json",
            {"best_metric": 0.1, "epoch": 1.0, "log_history": [{"loss": 0.3, "step": 10}]},
        )
        text(
            path / "config.json",
            {
                "model_type": "resnet",
                "architectures": ["ResNetForImageClassification"],
                "torch_dtype": "float32",
            },
        )

    add("pickle", "Trainer checkpoint", "checkpoint-500", folder)

    def distributed(path):
        import torch.distributed.checkpoint as dcp

        dcp.save({"model": small().state_dict()}, checkpoint_id=str(path), no_dist=True)

    add("pickle", "distributed checkpoint", "step-100", distributed)


def hubtorch():
    """Whole models of transformers by torch, as people save them."""
    import torch as t
    import transformers as tf

    configs = {
        "BertForSequenceClassification": tf.BertConfig(
            vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
        ),
        "GPT2LMHeadModel": tf.GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2),
        "LlamaForCausalLM": tf.LlamaConfig(
            vocab_size=20,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=8,
        ),
        "ViTForImageClassification": tf.ViTConfig(
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            image_size=8,
            patch_size=4,
        ),
    }
    for name, config in configs.items():
        model = getattr(tf, name)(config)
        add(
            "pickle",
            f"{name} state",
            "pytorch_model.bin",
            lambda path, model=model: t.save(model.state_dict(), path),
        )
        add("other", f"{name} folder", "hub", lambda path, model=model: model.save_pretrained(str(path)))
        if name.startswith(("Bert", "GPT2")):
            add("pickle", f"{name} whole", "model.pt", lambda path, model=model: t.save(model, path))


if __name__ == "__main__":
    attempt(globals()[fresh_put.NAME])
