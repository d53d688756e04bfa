"""Small models of two clouds of points: something to audit with an installed wheel."""

from pathlib import Path

import numpy as np
import skops.io
import torch
from onnx import TensorProto, helper, numpy_helper, save
from sklearn.datasets import make_blobs
from sklearn.ensemble import RandomForestClassifier

ARCHITECTURE = """
import torch

def build():
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
"""


def write_onnx(network: torch.nn.Module) -> None:
    """The same network as an ONNX graph."""
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["h"], transB=1),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Gemm", ["r", "2.weight", "2.bias"], ["scores"], transB=1),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "net.onnx")


def main() -> None:
    """Write test.npz, train.npz, forest.skops, net.pt with its factory net.py, and net.onnx."""
    x, y = make_blobs(n_samples=400, n_features=4, centers=2, cluster_std=2.0, random_state=0)
    x = x.astype(np.float32)
    np.savez("train.npz", x=x[:200], y=y[:200])
    np.savez("test.npz", x=x[200:], y=y[200:])
    forest = RandomForestClassifier(n_estimators=10, min_samples_leaf=5, random_state=0).fit(x[:200], y[:200])
    skops.io.dump(forest, "forest.skops")
    Path("net.py").write_text(ARCHITECTURE, encoding="utf-8")
    from net import build

    torch.manual_seed(0)
    network = build()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(torch.tensor(x[:200])), torch.tensor(y[:200]))
        loss.backward()
        optimiser.step()
    torch.save(network.state_dict(), "net.pt")
    write_onnx(network)


if __name__ == "__main__":
    main()
