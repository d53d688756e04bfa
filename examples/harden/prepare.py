"""Write what `modelward harden` is given: MNIST as two npz files, and a network that knows nothing yet.

    python examples/harden/prepare.py --mnist mnist.npz --out build/demo/harden

MNIST is not bundled: mnist.npz holds x_train, y_train, x_test, y_test as Keras distributes them.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from net import build
from safetensors.torch import save_file

HERE = Path(__file__).parent
AUDITED = 1000
"""Test images that audits may draw from."""


def prepared(mnist: Path, out: Path, seed: int = 0) -> None:
    """Write train.npz, test.npz, net.safetensors and the architecture to one folder.

    Args:
        mnist: npz of x_train, y_train, x_test, y_test; images (n, 28, 28) of 0 to 255.
        out: made when absent.
        seed: of the initial weights.
    """
    out.mkdir(parents=True, exist_ok=True)
    images = np.load(mnist)
    for part, most in (("train", None), ("test", AUDITED)):
        x = images[f"x_{part}"][:most, None].astype(np.float32) / 255
        np.savez_compressed(out / f"{part}.npz", x=x, y=images[f"y_{part}"][:most].astype(np.int64))
    torch.manual_seed(seed)
    save_file(build().state_dict(), out / "net.safetensors")
    shutil.copy(HERE / "net.py", out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prepare the example of hardening.")
    parser.add_argument("--mnist", type=Path, required=True, help="npz of x_train, y_train, x_test, y_test.")
    parser.add_argument("--out", type=Path, default=Path("build/demo/harden"), help="Folder to write to.")
    chosen = parser.parse_args()
    prepared(chosen.mnist, chosen.out)
