"""Train one network twice to read digits: as usual, and so that its robustness can be proved.

    python examples/images/train.py --out build/demo/images

The data is the digits set that scikit-learn bundles (1797 images of 8 x 8 pixels, 17 grey levels).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from cnn import build
from export import write_onnx
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
EPS = 0.08
"""Half-width of the boxes that the second network is trained on: a little over one grey level (1/16)."""
EPOCHS = 45
WARM_UP = 4
RAMP = 25
BATCH = 64


def bounds(network: nn.Sequential, x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Intervals that enclose the scores of every image within `eps` of `x` in every pixel.

    Interval arithmetic layer by layer (Gowal et al. 2018, arXiv 1810.12715, section 3): a linear layer moves
    the centre of an interval with its weights and the radius with their absolute values.

    Args:
        network: of convolutions, linear layers, ReLU and Flatten.
        x: (n, 1, 8, 8) in [0, 1].
        eps: >= 0.

    Returns:
        Lower and upper scores, (n, 10) each.
    """
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            centre, radius = layer((low + high) / 2), (high - low) / 2
            if isinstance(layer, nn.Linear):
                radius = functional.linear(radius, layer.weight.abs())
            else:
                radius = functional.conv2d(radius, layer.weight.abs(), None, layer.stride, layer.padding)
            low, high = centre - radius, centre + radius
        else:
            low, high = layer(low), layer(high)
    return low, high


def usual_loss(network: nn.Sequential, x: torch.Tensor, y: torch.Tensor, epoch: int) -> torch.Tensor:
    """Cross-entropy of the images as they are."""
    del epoch
    return functional.cross_entropy(network(x), y)


def certified_loss(network: nn.Sequential, x: torch.Tensor, y: torch.Tensor, epoch: int) -> torch.Tensor:
    """Half the usual loss, half that of the worst scores in a box; the box grows from nothing to `EPS`."""
    grown = min(1.0, max(0.0, (epoch - WARM_UP) / RAMP))
    low, high = bounds(network, x, EPS * grown)
    worst = torch.where(functional.one_hot(y, 10).bool(), low, high)
    share = 0.5 * grown
    return (1 - share) * functional.cross_entropy(network(x), y) + share * functional.cross_entropy(worst, y)


def trained(loss: Callable[..., torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> nn.Sequential:
    """A network after `EPOCHS` passes of Adam over the images."""
    torch.manual_seed(0)
    network = build()
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            loss(network, x[batch], y[batch], epoch).backward()
            optimiser.step()
    return network.eval()


def main(out: Path) -> None:
    """Write images, networks, the configurations and the architecture to one folder."""
    out.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    parts = train_test_split(images, labels, test_size=0.4, stratify=labels, random_state=0)
    x_train, x_test, y_train, y_test = parts
    np.savez_compressed(out / "train.npz", x=x_train, y=y_train)
    np.savez_compressed(out / "test.npz", x=x_test, y=y_test)

    x, y = torch.from_numpy(x_train), torch.from_numpy(y_train)
    usual = trained(usual_loss, x, y)
    write_onnx(usual, (1, 8, 8), out / "cnn.onnx")
    save_file(usual.state_dict(), out / "cnn.safetensors")
    save_file(trained(certified_loss, x, y).state_dict(), out / "cnn-certified.safetensors")
    for path in (*HERE.glob("*.toml"), HERE / "cnn.py"):
        shutil.copy(path, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the networks of examples/images.")
    parser.add_argument("--out", type=Path, default=Path("build/demo/images"), help="Folder to write to.")
    main(parser.parse_args().out)
