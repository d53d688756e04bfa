"""PyTorch: archives, legacy files, whole modules, TorchScript, exported programs, optimizers, safetensors."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from benign import Place


def write(place: Place, seed: int) -> None:
    """All of this file."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    states(place)
    modules(place)
    scripts(place)


def network():
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(8, 3)
    )


def states(place: Place) -> None:
    import torch
    from safetensors.torch import save_file

    net = network()
    state = net.state_dict()
    place.add("pickle", "torch state dict", "model.pt", lambda path: torch.save(state, path))
    place.add("pickle", "torch state dict as .bin", "pytorch_model.bin", lambda path: torch.save(state, path))
    place.add(
        "pickle",
        "torch legacy state dict",
        "model.pth",
        lambda path: torch.save(state, path, _use_new_zipfile_serialization=False),
    )
    place.add(
        "pickle",
        "torch state dict, protocol 5",
        "model.pt",
        lambda path: torch.save(state, path, pickle_protocol=5),
    )
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 1, 4, 4)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    point = {
        "epoch": 3,
        "state_dict": state,
        "optimizer": optimizer.state_dict(),
        "scheduler": schedule.state_dict(),
        "rng": torch.get_rng_state(),
        "loss": 0.5,
    }
    place.add("pickle", "torch checkpoint", "checkpoint.ckpt", lambda path: torch.save(point, path))
    place.add(
        "pickle",
        "torch legacy checkpoint",
        "checkpoint.tar",
        lambda path: torch.save(point, path, _use_new_zipfile_serialization=False),
    )
    kinds = {
        "half": torch.zeros(3, dtype=torch.bfloat16),
        "int8": torch.zeros(3, dtype=torch.int8),
        "complex": torch.zeros(2, dtype=torch.complex64),
        "sparse": torch.eye(3).to_sparse(),
        "csr": torch.eye(3).to_sparse_csr(),
        "view": torch.zeros(4, 4)[1:, ::2],
        "quantised": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "meta": torch.zeros(2, device="meta"),
        "float8": torch.zeros(4).to(torch.float8_e4m3fn),
    }
    place.add("pickle", "torch tensors of all kinds", "tensors.pt", lambda path: torch.save(kinds, path))
    place.add(
        "pickle",
        "torch tensor, pickled",
        "tensor.pkl",
        lambda path: path.write_bytes(pickle.dumps(torch.arange(5))),
    )
    place.add("other", "torch safetensors", "model.safetensors", lambda path: save_file(state, path))


def modules(place: Place) -> None:
    import torch
    from torch import nn

    made = {
        "network": network(),
        "transformer": nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 1),
        "lstm": nn.LSTM(4, 4, 2),
        "embedding": nn.ModuleDict(
            {"e": nn.EmbeddingBag(9, 4), "l": nn.ModuleList([nn.Linear(4, 2), nn.GELU()])}
        ),
    }
    for name, value in made.items():
        place.add(
            "pickle",
            f"torch whole module, {name}",
            "model.pt",
            lambda path, value=value: torch.save(value, path),
        )
    place.add(
        "pickle",
        "torch whole module, legacy",
        "model.pth",
        lambda path: torch.save(made["network"], path, _use_new_zipfile_serialization=False),
    )
    place.add(
        "pickle",
        "torch whole module, pickled",
        "model.pkl",
        lambda path: path.write_bytes(pickle.dumps(made["lstm"])),
    )


def scripts(place: Place) -> None:
    import torch

    net = network().eval()
    example = torch.zeros(1, 1, 4, 4)
    place.add(
        "pickle",
        "TorchScript, scripted",
        "model.pt",
        lambda path: torch.jit.save(torch.jit.script(net), str(path)),
    )
    place.add(
        "pickle",
        "TorchScript, traced",
        "model.pt",
        lambda path: torch.jit.save(torch.jit.trace(net, example), str(path)),
    )
    place.add(
        "pickle",
        "TorchScript, frozen",
        "model.torchscript",
        lambda path: torch.jit.save(torch.jit.freeze(torch.jit.script(net)), str(path)),
    )
    place.add(
        "pickle",
        "TorchScript, recurrent",
        "model.pt",
        lambda path: torch.jit.save(torch.jit.script(torch.nn.LSTM(2, 2)), str(path)),
    )

    def export(path: Path) -> None:
        torch.export.save(torch.export.export(net, (example,)), str(path))

    place.add("pickle", "torch export", "model.pt2", export)

    def onnx(path: Path) -> None:
        torch.onnx.export(net, (example,), str(path), dynamo=False)

    place.add("other", "onnx by torch, traced", "model.onnx", onnx)
    place.add(
        "other",
        "onnx by torch, exported",
        "model.onnx",
        lambda path: torch.onnx.export(net, (example,), str(path), dynamo=True, verbose=False),
    )
