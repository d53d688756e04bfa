"""Normalisations, transposed convolutions and activations of their family, against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from modelward.adapters.onnx_import.importer import import_onnx
from modelward.errors import OperatorUnsupported

RNG = np.random.default_rng(19)
IMAGE = (4, 6, 5)


def f32(*shape, low=-1.0, high=1.0):
    return RNG.uniform(low, high, shape).astype(np.float32)


FOUR = (f32(4, low=0.5), f32(4))
CASES = {
    "instance": ("InstanceNormalization", IMAGE, FOUR, {}, 17),
    "instance, epsilon": ("InstanceNormalization", IMAGE, FOUR, {"epsilon": 0.1}, 17),
    "instance, 1d": ("InstanceNormalization", (4, 7), FOUR, {}, 17),
    "instance, 3d": ("InstanceNormalization", (4, 3, 2, 2), FOUR, {}, 17),
    "groups": ("GroupNormalization", IMAGE, FOUR, {"num_groups": 2, "epsilon": 1e-3}, 21),
    "up": ("ConvTranspose", IMAGE, (f32(4, 3, 3, 3),), {}, 17),
    "up, bias": ("ConvTranspose", IMAGE, (f32(4, 3, 3, 3), f32(3)), {"pads": [1, 0, 1, 0]}, 17),
    "up, strides": (
        "ConvTranspose", IMAGE, (f32(4, 3, 3, 3),), {"strides": [2, 3], "output_padding": [1, 2]}, 17,
    ),
    "up, dilated": ("ConvTranspose", IMAGE, (f32(4, 2, 2, 2),), {"dilations": [2, 1], "kernel_shape": [2, 2]}, 17),
    "up, groups": ("ConvTranspose", IMAGE, (f32(4, 3, 2, 2),), {"group": 2, "strides": [2, 2]}, 17),
    "up, 1d": ("ConvTranspose", (4, 7), (f32(4, 3, 4),), {"strides": [2], "pads": [1, 1]}, 17),
    "up, 3d": ("ConvTranspose", (4, 3, 2, 2), (f32(4, 2, 2, 2, 2),), {}, 17),
    "selu": ("Selu", IMAGE, (), {}, 17),
    "selu, other numbers": ("Selu", IMAGE, (), {"alpha": 0.5, "gamma": 2.0}, 17),
    "celu": ("Celu", IMAGE, (), {"alpha": 0.6}, 17),
    "softsign": ("Softsign", IMAGE, (), {}, 17),
}  # fmt: skip


def written(save, name, **more):
    operator, shape, constants, attributes, opset = CASES[name]
    named = {f"c{i}": array for i, array in enumerate(constants)}
    nodes = [
        (operator, ["x", *named], ["z"], attributes | more),
        ("Flatten", ["z"], ["y"], {}),
    ]
    return save(nodes, named, (None, *shape), opset=opset), shape


@pytest.mark.parametrize("name", CASES)
def test_answers_are_those_of_the_runtime(save, run, name):
    path, shape = written(save, name)
    module = import_onnx(path, samples=f32(3, *shape)).module
    for rows in (1, 2, 5):
        x = 3 * f32(rows, *shape)
        np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), run(path, x), rtol=1e-4, atol=1e-5)


def test_a_normalisation_by_the_root_mean_square(save, tmp_path):
    """Read from the file as written; the runtime may be older than the operator."""
    nodes = [("RMSNormalization", ["x", "w"], ["y"], {"epsilon": 1e-3})]
    weight, x = f32(6, low=0.5), f32(4, 6)
    path = save(nodes, {"w": weight}, (None, 6), opset=23)
    try:
        module = import_onnx(path, samples=x).module
    except OperatorUnsupported as error:
        pytest.skip(f"onnxruntime does not know it: {error}")
    layer = nn.RMSNorm(6, eps=1e-3)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        torch.testing.assert_close(module(torch.from_numpy(x)), layer(torch.from_numpy(x)))
    assert tmp_path.exists()


REFUSED = {
    "up, bias": ({"pads": [1, 0, 0, 0]}, "pads that differ between the sides"),
    "up": ({"output_shape": [9, 9]}, "output_shape or auto_pad"),
    "up, groups": ({"auto_pad": "SAME_UPPER"}, "output_shape or auto_pad"),
    "up, dilated": ({"kernel_shape": [3, 3]}, "kernel_shape differs"),
    "up, 1d": ({"colour": 1}, "attribute colour is not understood"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_by_name(save, name):
    more, words = REFUSED[name]
    path, shape = written(save, name, **more)
    with pytest.raises(OperatorUnsupported, match=rf"operator ConvTranspose.*{words}"):
        import_onnx(path, samples=f32(2, *shape))


def test_factors_that_do_not_fit_the_channels_are_refused(save):
    nodes = [("GroupNormalization", ["x", "w", "w"], ["y"], {"num_groups": 2})]
    path = save(nodes, {"w": f32(2)}, (None, *IMAGE), opset=18)
    with pytest.raises(OperatorUnsupported, match="2 factors and 2 terms for 4 channels"):
        import_onnx(path, samples=f32(2, *IMAGE))
