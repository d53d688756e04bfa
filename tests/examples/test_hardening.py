"""The example of hardening: what it writes, and the network that its threshold begins."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from modelward.cli.harden import command
from modelward.threats.evasion.harden.front import split

README = Path(__file__).parents[2] / "examples" / "harden" / "README.md"


@pytest.fixture
def prepared(script, tmp_path):
    """The example's files, from forty images in place of MNIST."""
    folder = tmp_path
    random = np.random.default_rng(0)
    images = {f"x_{part}": random.integers(0, 256, (40, 28, 28), np.uint8) for part in ("train", "test")}
    labels = {f"y_{part}": np.arange(40, dtype=np.uint8) % 10 for part in ("train", "test")}
    np.savez(folder / "mnist.npz", **images, **labels)
    script("harden/prepare.py").prepared(folder / "mnist.npz", folder / "out")
    return folder / "out", images["x_test"]


def test_images_are_written_in_the_unit_box_and_weights_fit_the_architecture(prepared, script):
    folder, bytes_ = prepared
    assert {path.name for path in folder.iterdir()} == {
        "train.npz", "test.npz", "net.safetensors", "net.py"
    }  # fmt: skip
    test = np.load(folder / "test.npz")
    assert test["x"].shape == (40, 1, 28, 28)
    assert np.array_equal(np.rint(test["x"][:, 0] * 255), bytes_)
    net = script("harden/net.py").build()
    net.load_state_dict(load_file(folder / "net.safetensors"))
    assert net(torch.from_numpy(test["x"])).shape == (40, 10)


def test_the_network_begins_with_a_threshold_that_attacks_get_behind(script):
    net = script("harden/net.py")
    front, rest = split(net.build())
    assert (len(front), len(rest)) == (4, 8)
    grey = torch.tensor([0.0, 0.3, 0.5, 0.7, 1.0]).reshape(1, 1, 1, -1)
    answers = front(grey).flatten()
    assert answers.tolist() == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0], abs=1e-3)
    assert bool((answers.diff() < 0).all())  # it falls everywhere: no slope is nothing


def test_commands_of_the_readme_are_commands(script):
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)).replace("\\\n", " ")
    hardening = next(line for line in blocks.splitlines() if line.startswith("modelward harden"))
    words = shlex.split(hardening)[2:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    assert f"python examples/harden/{Path(script('harden/prepare.py').__file__).name}" in blocks
