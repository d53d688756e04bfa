"""Random networks of many operators: values as onnxruntime has them, rows that do not look at each other,
slopes as differences have them, and files that differ in one attribute and so in what is imported."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modelward.adapters.onnx_import.importer import import_onnx
from modelward.errors import OperatorUnsupported

ACTIVATIONS = {
    "Relu": {}, "Tanh": {}, "Sigmoid": {}, "LeakyRelu": {"alpha": 0.2}, "Elu": {"alpha": 0.7}, "Softplus": {},
    "Abs": {}, "Neg": {}, "Clip": {},
}  # fmt: skip


class Net:
    """Nodes that are appended one after the other to the value that came last."""

    def __init__(self, seed, shape):
        self.random = np.random.default_rng(seed)
        self.shape, self.last = shape, "x"
        self.nodes, self.constants = [], {}

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def weights(self, *shape):
        fan = max(1, int(np.prod(shape[1:])))
        return self.constant(self.random.normal(0, fan**-0.5, shape).astype(np.float32))

    def add(self, op, *inputs, shape=None, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append((op, [*inputs], [name], attributes))
        self.last, self.shape = name, self.shape if shape is None else shape
        return name

    def pick(self, *options):
        options[self.random.integers(len(options))]()

    # -- what any shape takes ------------------------------------------------------------------------------

    def activation(self):
        name = [*ACTIVATIONS][self.random.integers(len(ACTIVATIONS))]
        if name == "Clip":
            ends = self.constant(np.float32(-0.7)), self.constant(np.float32(0.9))
            self.add("Clip", self.last, *ends)
        else:
            self.add(name, self.last, **ACTIVATIONS[name])

    def residual(self):
        before = self.last
        self.activation()
        self.add(["Add", "Sub", "Mul"][self.random.integers(3)], before, self.last)

    def doubled(self):
        self.add("Concat", self.last, self.last, axis=1, shape=(2 * self.shape[0], *self.shape[1:]))

    def halved(self):
        keep = max(1, self.shape[0] // 2)
        ends = [self.constant(np.array([k], np.int64)) for k in (0, keep, 1)]
        self.add("Slice", self.last, *ends, shape=(keep, *self.shape[1:]))

    # -- rows ----------------------------------------------------------------------------------------------

    def gemm(self):
        width = int(self.random.integers(2, 7))
        if self.random.random() < 0.5:
            weights = self.weights(width, self.shape[0])
            self.add("Gemm", self.last, weights, self.weights(width), transB=1, alpha=0.5, shape=(width,))
        else:
            self.add("MatMul", self.last, self.weights(self.shape[0], width), shape=(width,))
            self.add("Add", self.last, self.weights(width))

    def centred(self):
        mean = self.last
        axes = {"axes": [1]}
        self.add("ReduceMean", mean, keepdims=1, **axes, shape=self.shape)
        self.add("Sub", mean, self.last)

    def normed(self):
        width = self.shape[0]
        scale = self.constant(self.random.uniform(0.5, 1.5, width).astype(np.float32))
        self.add("LayerNormalization", self.last, scale, self.weights(width), axis=-1, epsilon=1e-2)

    def folded(self):
        """Seen as a table of two columns, turned, and back as a row: another order of the same numbers."""
        width = self.shape[0] - self.shape[0] % 2
        if width != self.shape[0]:
            return self.gemm()
        table, row = (self.constant(np.array(s, np.int64)) for s in ([0, 2, width // 2], [0, width]))
        self.add("Reshape", self.last, table)
        self.add("Transpose", self.last, perm=[0, 2, 1])
        self.add("Reshape", self.last, row)
        return None

    # -- images --------------------------------------------------------------------------------------------

    def conv(self):
        channels, height, width = self.shape
        to, k = int(self.random.integers(1, 4)), int(self.random.integers(1, min(3, height, width) + 1))
        pad = int(self.random.integers(0, k))
        size = (to, height + 2 * pad - k + 1, width + 2 * pad - k + 1)
        attributes = {"kernel_shape": [k, k], "pads": [pad] * 4}
        self.add(
            "Conv", self.last, self.weights(to, channels, k, k), self.weights(to), shape=size, **attributes
        )

    def pool(self):
        channels, height, width = self.shape
        if min(height, width) < 2:
            return self.conv()
        op = ["MaxPool", "AveragePool"][self.random.integers(2)]
        size = (channels, height // 2, width // 2)
        return self.add(op, self.last, kernel_shape=[2, 2], strides=[2, 2], shape=size)

    def scaled(self):
        channels = self.shape[0]
        statistics = [self.random.uniform(0.5, 1.5, channels).astype(np.float32) for _ in range(4)]
        self.add("BatchNormalization", self.last, *map(self.constant, statistics), epsilon=1e-3)

    def padded(self):
        """With a convolution behind: between padding and a pool onnxruntime goes its own way, see below."""
        channels, height, width = self.shape
        pads = self.constant(np.array([0, 0, 1, 0, 0, 0, 0, 1], np.int64))
        self.add("Pad", self.last, pads, shape=(channels, height + 1, width + 1))
        self.conv()


def row_net(seed, depth=6):
    net = Net(seed, (6,))
    for _ in range(depth):
        net.pick(net.gemm, net.activation, net.residual, net.centred, net.normed, net.folded, net.doubled,
                 net.halved)  # fmt: skip
    return ended(net)


def image_net(seed, depth=5):
    net = Net(seed, (2, 6, 5))
    for _ in range(depth):
        net.pick(
            net.conv, net.activation, net.residual, net.pool, net.scaled, net.padded, net.doubled, net.halved
        )
    net.add("Flatten", net.last, axis=1, shape=(int(np.prod(net.shape)),))
    return ended(net)


def ended(net):
    net.add("Gemm", net.last, net.weights(net.shape[0], 3), net.weights(3), shape=(3,))
    *others, (op, inputs, _, attributes) = net.nodes
    return [*others, (op, inputs, ["y"], attributes)], net.constants


NETS = [pytest.param(make, shape, seed, id=f"{make.__name__}-{seed}")
        for make, shape in ((row_net, (6,)), (image_net, (2, 6, 5))) for seed in range(12)]  # fmt: skip


@pytest.mark.parametrize(("make", "shape", "seed"), NETS)
def test_random_networks_answer_as_onnxruntime_does(save, run, make, shape, seed):
    nodes, constants = make(seed)
    path = save(nodes, constants, (None, *shape))
    imported = import_onnx(path, samples=None)
    assert imported.input_shape == (None, *shape)
    assert (imported.output_kind, imported.tail) == ("logits", None)
    for n in (1, 4):
        x = np.random.default_rng(seed).uniform(-2, 2, (n, *shape)).astype(np.float32)
        ours = imported.module(torch.from_numpy(x)).numpy()
        theirs = run(path, x, "y")
        assert ours.shape == theirs.shape == (n, 3)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("make", "shape", "seed"), NETS[::4])
def test_rows_of_a_batch_do_not_look_at_each_other(save, make, shape, seed):
    nodes, constants = make(seed)
    module = import_onnx(save(nodes, constants, (None, *shape)), samples=None).module
    x = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (5, *shape)).astype(np.float32))
    together = module(x)
    alone = torch.cat([module(x[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    order = torch.tensor([3, 0, 4, 1, 2])
    np.testing.assert_allclose(module(x[order]), together[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("make", "shape", "seed"), NETS[1::4])
def test_slopes_are_those_of_small_steps(save, make, shape, seed):
    """Along one random direction, in double precision; away from the kinks, which a step of 1e-6 seldom meets."""
    nodes, constants = make(seed)
    module = import_onnx(save(nodes, constants, (None, *shape)), samples=None).module.double()
    random = torch.Generator().manual_seed(seed)
    x = torch.rand((1, *shape), generator=random, dtype=torch.float64).requires_grad_()
    way = torch.randn((1, *shape), generator=random, dtype=torch.float64)
    for column in range(3):
        (slope,) = torch.autograd.grad(module(x)[0, column], x)
        with torch.no_grad():
            h = 1e-6
            step = (module(x + h * way)[0, column] - module(x - h * way)[0, column]) / (2 * h)
        assert float((slope * way).sum()) == pytest.approx(float(step), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_importing_twice_gives_the_same_module(save, seed):
    nodes, constants = image_net(seed)
    path = save(nodes, constants, (None, 2, 6, 5))
    one, two = (import_onnx(path, samples=None) for _ in range(2))
    assert one.measured_gap == two.measured_gap
    assert [*map(str, one.module.graph.nodes)] == [*map(str, two.module.graph.nodes)]
    for (name, first), (other, second) in zip(
        one.module.state_dict().items(), two.module.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(first, second)


def test_what_onnxruntime_alone_computes_otherwise_is_refused_and_no_operator_is_blamed(save, run):
    """A padding of zeros in front of a maximum: where onnxruntime joins the two, it pads with minus infinity.

    Its own answers then depend on whether the value between them is asked for, so there is no one model to copy.
    """
    constants = {"pads": np.array([0, 0, 1, 0, 0, 0, 0, 1], np.int64)}
    nodes = [
        ("Pad", ["x", "pads"], ["p"], {}),
        ("MaxPool", ["p"], ["m"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", ["m"], ["y"], {"axis": 1}),
    ]
    path = save(nodes, constants, (None, 1, 3, 3))
    below = -np.ones((2, 1, 3, 3), np.float32)
    by_definition = [[0.0, 0.0, -1.0, 0.0]] * 2
    if run(path, below, "y").tolist() == by_definition:  # a version that does not join them is copied
        assert import_onnx(path, samples=None).module(torch.from_numpy(below)).tolist() == by_definition
        return
    with pytest.raises(OperatorUnsupported, match="every operator by itself agrees") as caught:
        import_onnx(path, samples=None)
    assert "operator MaxPool" not in str(caught.value)


@pytest.mark.parametrize(
    ("op", "attribute", "values"),
    [("LeakyRelu", "alpha", (0.1, 0.3)), ("Elu", "alpha", (0.5, 1.5)), ("Gemm", "alpha", (0.5, 2.0))],
)
def test_an_attribute_is_not_overlooked(save, run, op, attribute, values):
    constants = {"w": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    x = np.random.default_rng(1).uniform(-2, 2, (4, 4)).astype(np.float32)
    answers = []
    for value in values:
        last = ("Gemm", ["h", "w"], ["y"], {"alpha": value} if op == "Gemm" else {})
        first = ("Tanh", ["x"], ["h"], {}) if op == "Gemm" else (op, ["x"], ["h"], {attribute: value})
        path = save([first, last], constants, (None, 4))
        ours = import_onnx(path, samples=None).module(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(ours, run(path, x, "y"), rtol=1e-4, atol=1e-5)
        answers.append(ours)
    assert np.abs(answers[0] - answers[1]).max() > 0.05
