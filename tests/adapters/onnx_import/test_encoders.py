"""Transformer encoders: torch's own and hand-written ones, as both exporters of torch write them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from modelward.adapters.onnx_import import rewrite
from modelward.adapters.onnx_import.importer import import_onnx
from modelward.errors import OperatorUnsupported

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # torch 2.9 and later deprecate the TorchScript exporter that files come from
    "ignore::FutureWarning",  # the dynamo exporter uses parts of torch that are being replaced
    "ignore::UserWarning",  # the TorchScript exporter warns of constants it folds
    "ignore::torch.jit.TracerWarning",  # attention reads lengths while it is traced
)
RNG = np.random.default_rng(11)


def f32(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


class Vision(nn.Module):
    """Patches, a class token, positions, joint projection of queries, keys and values; attention written out."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.patch = nn.Conv2d(1, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 5, width))
        self.heads = heads
        self.joint, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        n, length, width = x.shape
        joint = self.joint(self.before(x)).reshape(n, length, 3, self.heads, width // self.heads)
        q, k, v = joint.permute(2, 0, 3, 1, 4).unbind(0)
        shares = (q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        x = x + self.out((shares @ v).transpose(1, 2).reshape(n, length, width))
        return self.head((x + self.mlp(self.after(x)))[:, 0])


class Encoder(nn.Module):
    """torch's nn.TransformerEncoder; `causal` hides what comes later behind minus infinity."""

    def __init__(self, *, norm_first=False, activation="relu", causal=False):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            8, 2, 12, activation=activation, batch_first=True, norm_first=norm_first
        )
        self.inner = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.first, self.head, self.causal = nn.Linear(4, 8), nn.Linear(8, 3), causal

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(5) if self.causal else None
        return self.head(self.inner(self.first(x), mask=mask).mean(1))


class Einsum(nn.Module):
    """Products as einsum, a mask that is filled in, keys and values split from one projection."""

    def __init__(self):
        super().__init__()
        self.first, self.query, self.both = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 16)
        self.head = nn.Linear(8, 3)
        self.register_buffer("hidden", torch.triu(torch.ones(5, 5, dtype=torch.bool), 1))

    def forward(self, x):
        x = self.first(x)
        k, v = self.both(x).chunk(2, -1)
        scores = torch.einsum("bid,bjd->bij", self.query(x), k) / 8**0.5
        shares = scores.masked_fill(self.hidden, float("-inf")).softmax(-1)
        return self.head((x + torch.einsum("bij,bjd->bid", shares, v)).mean(1))


class Tabular(nn.Module):
    """Each feature a token; torch's fused attention; GELU by its tanh approximation."""

    def __init__(self):
        super().__init__()
        self.first, self.joint = nn.Linear(1, 8), nn.Linear(8, 24)
        self.token = nn.Parameter(torch.randn(8))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        n = x.shape[0]
        x = torch.cat([self.token.repeat(n, 1, 1), self.first(x.unsqueeze(-1))], 1)
        q, k, v = (p.view(n, -1, 2, 4).transpose(1, 2) for p in self.joint(self.norm(x)).chunk(3, -1))
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, -1, 8)
        return self.head(functional.gelu(self.norm((x + mixed)[:, 0]), approximate="tanh"))


ENCODERS = {
    "vision": (Vision, (1, 8, 8)),
    "encoder": (Encoder, (5, 4)),
    "norm-first": (lambda: Encoder(norm_first=True, activation="gelu"), (5, 4)),
    "causal": (lambda: Encoder(causal=True), (5, 4)),
    "einsum": (Einsum, (5, 4)),
    "tabular": (Tabular, (6,)),
}


def made(name):
    make, row = ENCODERS[name]
    torch.manual_seed(5)
    network = make().eval()
    for parameter in network.parameters():  # norms and biases away from their ones and zeros
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network, row


@pytest.fixture
def export(tmp_path):
    def write(network, row, *, dynamo=False, batch=None, opset=17):
        path = tmp_path / "encoder.onnx"
        if dynamo:
            pytest.importorskip("onnxscript", reason="the dynamo exporter needs onnxscript")
            free = {} if batch else {"dynamic_shapes": ({0: torch.export.Dim("n")},)}
        else:
            free = {"opset_version": opset} | ({} if batch else {"dynamic_axes": {"x": {0: "n"}}})
        x = torch.randn(batch or 2, *row)
        torch.onnx.export(network, (x,), str(path), dynamo=dynamo, input_names=["x"], verbose=False, **free)
        return path

    return write


def same(network, imported, row, rows=7):
    """Outputs and gradients are the original's, on inputs that the import never saw."""
    x = torch.from_numpy(f32(rows, *row)).requires_grad_()
    torch.testing.assert_close(imported.module(x), network(x), rtol=1e-5, atol=1e-5)
    weights = torch.randn(rows, 3)
    (ours,) = torch.autograd.grad((imported.module(x) * weights).sum(), x)
    (theirs,) = torch.autograd.grad((network(x) * weights).sum(), x)
    assert theirs.abs().max() > 1e-4
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_come_back(export, name):
    network, row = made(name)
    imported = import_onnx(export(network, row), samples=f32(20, *row))
    assert imported.input_shape == (None, *row)
    assert imported.measured_gap < 1e-5
    same(network, imported, row)
    assert {type(layer) for layer in imported.module.children()} & {nn.LayerNorm, nn.Linear}


@pytest.mark.parametrize("name", ["vision", "norm-first", "tabular"])
def test_encoders_of_the_dynamo_exporter_come_back(export, name):
    network, row = made(name)
    imported = import_onnx(export(network, row, dynamo=True), samples=f32(20, *row))
    assert imported.input_shape == (None, *row)
    same(network, imported, row)


@pytest.mark.parametrize("name", ["vision", "tabular"])
def test_a_fixed_batch_becomes_free(export, name):
    network, row = made(name)
    imported = import_onnx(export(network, row, batch=1), samples=f32(6, *row))
    assert imported.input_shape == (None, *row)
    same(network, imported, row)


def test_a_fixed_batch_merged_with_the_heads_stays(export):
    """torch's own layer joins the batch with its heads; a file of one batch size does not tell them apart."""
    network, row = made("encoder")
    imported = import_onnx(export(network, row, batch=2), samples=f32(6, *row))
    assert imported.input_shape == (2, *row)
    same(network, imported, row, rows=2)


def test_written_out_norms_become_layers(export):
    """Opset 13 has no LayerNormalization: nine operators each come back as one layer with its parameters."""
    network, row = made("vision")
    imported = import_onnx(export(network, row, opset=13), samples=None)
    layers = [layer for layer in imported.module.children() if isinstance(layer, nn.LayerNorm)]
    assert len(layers) == 2
    torch.testing.assert_close(layers[0].weight, network.before.weight)
    torch.testing.assert_close(layers[1].bias, network.after.bias)
    assert layers[0].eps == pytest.approx(1e-5)
    targets = {node.target for node in imported.module.graph.nodes}
    assert not targets & {torch.sqrt, torch.pow, torch.mean, torch.erf}
    assert functional.gelu in targets
    same(network, imported, row)


NORM = [
    ("ReduceMean", ["x"], ["mean"], {"axes": [-1]}),
    ("Sub", ["x", "mean"], ["d"], {}),
    ("Mul", ["d", "d"], ["square"], {}),
    ("ReduceMean", ["square"], ["variance"], {"axes": [-1]}),
    ("Add", ["eps", "variance"], ["gate"], {}),
    ("Sqrt", ["gate"], ["root"], {}),
]
BY_DIVISION = [*NORM, ("Div", ["d", "root"], ["y"], {})]
BY_RECIPROCAL = [*NORM, ("Reciprocal", ["root"], ["inverse"], {}), ("Mul", ["d", "inverse"], ["y"], {})]
EPS = {"eps": np.float32(1e-3)}


@pytest.mark.parametrize("nodes", [BY_DIVISION, BY_RECIPROCAL], ids=["division", "reciprocal"])
def test_norms_as_other_exporters_write_them(save, run, nodes):
    path = save(nodes, EPS, (None, 4, 6), opset=13)
    x = f32(5, 4, 6)
    imported = import_onnx(path, samples=x)
    (layer,) = imported.module.children()
    assert (layer.normalized_shape, layer.eps) == ((6,), pytest.approx(1e-3))
    np.testing.assert_allclose(imported.module(torch.from_numpy(x)).numpy(), run(path, x), atol=1e-6)


def changed(index, node):
    return [node if i == index else old for i, old in enumerate(BY_DIVISION)]


NO_NORMS = {
    "other axis of the mean": changed(0, ("ReduceMean", ["x"], ["mean"], {"axes": [1]})),
    "not the last axis": [
        (op, ins, outs, {"axes": [1]} if op == "ReduceMean" else at) for op, ins, outs, at in BY_DIVISION
    ],
    "cube": changed(2, ("Pow", ["d", "three"], ["square"], {})),
    "square of the input": changed(2, ("Mul", ["x", "x"], ["square"], {})),
    "divides the input": changed(6, ("Div", ["x", "root"], ["y"], {})),
    "eps of another shape": changed(4, ("Add", ["variance", "six"], ["gate"], {})),
    "subtracted from the mean": changed(1, ("Sub", ["mean", "x"], ["d"], {})),
}


@pytest.mark.parametrize("name", NO_NORMS)
def test_what_only_resembles_a_norm_stays(save, run, name):
    constants = EPS | {"three": np.float32(3), "six": f32(6) + np.float32(2)}
    path = save(NO_NORMS[name], constants, (None, 4, 6), opset=13)
    x = f32(5, 4, 6) + (3 if name == "cube" else 0)
    x = np.sort(x) ** 3 if name == "cube" else x  # else the mean cube may be negative
    module = import_onnx(path, samples=None, tolerance=np.inf).module
    assert not list(module.children())
    np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), run(path, x), rtol=1e-4, atol=1e-4)


def attention(mask):
    """softmax(x + mask) as a module, rewritten."""
    root = nn.Module()
    root.register_buffer("mask", mask)
    graph = fx.Graph()
    x = graph.placeholder("x")
    total = graph.call_function(torch.add, (x, graph.get_attr("mask")))
    shares = graph.call_function(functional.softmax, (total,), {"dim": 2})
    shares.meta["shape"] = (3, 4, 4)
    graph.output(shares)
    module = fx.GraphModule(root, graph)
    rewrite.finite_masks(module)
    module.graph.lint()
    module.recompile()
    return module


def test_a_mask_of_infinities_becomes_finite_and_hides_as_before():
    mask = torch.zeros(4, 4).masked_fill(torch.triu(torch.ones(4, 4), 1) > 0, -torch.inf)
    module = attention(mask)
    buffers = [module.get_buffer(node.target) for node in module.graph.nodes if node.op == "get_attr"]
    assert all(torch.isfinite(buffer).all() for buffer in buffers if buffer is not module.get_buffer("mask"))
    assert any(torch.isfinite(buffer).all() for buffer in buffers)
    x = 1e4 * torch.randn(3, 4, 4)
    assert torch.equal(module(x), torch.softmax(x + mask, 2))


def test_a_row_hidden_whole_is_left_as_it_is():
    mask = torch.zeros(4, 4)
    mask[2] = -torch.inf
    answer = attention(mask)(torch.randn(3, 4, 4))
    assert answer[:, 2].isnan().all()
    assert answer[:, :2].isfinite().all()


def test_the_batch_is_never_moved_where_queries_are_told_apart(export):
    network, row = made("vision")
    imported = import_onnx(export(network, row), samples=None)
    orders = [node.args[1] for node in imported.module.graph.nodes if node.target is torch.permute]
    assert len(orders) >= 4
    assert all(order[0] == 0 for order in orders)
    same(network, imported, row)


@pytest.mark.parametrize("order", [(2, 0, 1, 3), (3, 2, 1, 0), (0, 1, 2, 3), (1, 3, 0, 2)])
@pytest.mark.parametrize("axis", range(4))
def test_selecting_before_or_after_moving_axes_is_the_same(order, axis):
    graph = fx.Graph()
    moved = graph.call_function(torch.permute, (graph.placeholder("x"), order))
    graph.output(graph.call_function(torch.select, (moved, axis, 1)))
    module = fx.GraphModule(nn.Module(), graph)
    x = torch.randn(2, 3, 4, 5)
    expected = module(x)
    rewrite.select_early(module)
    module.graph.lint()
    module.recompile()
    torch.testing.assert_close(module(x), expected, rtol=0, atol=0)
    targets = [node.target for node in module.graph.nodes if node.op == "call_function"]
    assert targets[0] is torch.select
    assert len(targets) <= 2


@pytest.mark.parametrize(
    ("joined", "parted", "fused"),
    [
        ((6, 4, 5), (2, 3, 5, 4), True),
        ((6, 4, 5), (3, 2, 5, 4), False),  # other heads than before
        ((6, 5, 4), (2, 3, 4, 5), False),  # mixes rows and columns
    ],
)
def test_heads_that_were_joined_for_a_transposition_are_kept(joined, parted, fused):
    graph = fx.Graph()
    x = graph.placeholder("x")
    start = graph.call_function(torch.reshape, (x, joined))
    end = graph.call_function(torch.reshape, (graph.call_function(torch.permute, (start, (0, 2, 1))), parted))
    graph.output(end)
    for node, size in ((x, (2, 3, 4, 5)), (start, joined), (end, parted)):
        node.meta["shape"] = size
    module = fx.GraphModule(nn.Module(), graph)
    x = torch.randn(2, 3, 4, 5)
    expected = module(x)
    rewrite.keep_heads(module)
    module.graph.lint()
    module.recompile()
    torch.testing.assert_close(module(x), expected, rtol=0, atol=0)
    assert (torch.reshape not in {node.target for node in module.graph.nodes}) == fused


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids):
        return self.head(self.table(ids).mean(1))


def test_ids_of_tokens_have_no_gradients(tmp_path):
    path = tmp_path / "tokens.onnx"
    torch.onnx.export(
        Tokens(), (torch.zeros(2, 5, dtype=torch.long),), str(path), dynamo=False, input_names=["ids"]
    )
    with pytest.raises(
        OperatorUnsupported, match=r"'ids' holds whole numbers \(ids of tokens .* no gradients are defined"
    ):
        import_onnx(path, samples=None)
