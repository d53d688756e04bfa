"""TorchScript: what torch writes is inert; operators that reach out are named, and are dangerous while loading."""

import contextlib
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats import torch_ops
from modelward.artifact.verdict import inspect, inspect_bytes
from modelward.errors import FileDamaged

GOOD = b"\x80\x02c__torch__\nM\n)\x81}q\x00X\x08\x00\x00\x00trainingq\x01\x89sb."
HEAD = "class M(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n"


def archive(source, *, pickle=GOOD, more=()):
    buffer = io.BytesIO()
    members = [
        ("m/data.pkl", pickle),
        ("m/code/__torch__.py", source),
        ("m/constants.pkl", b"\x80\x02)."),
        ("m/version", b"3\n"),
        *more,
    ]
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def forward(body):
    return HEAD + f"  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n    {body}\n    return x\n"


def setting(body):
    return (
        forward("y = torch.relu(x)")
        + f"  def __setstate__(self: __torch__.M,\n    state: Tuple[Tensor, bool]) -> NoneType:\n    {body}\n    return None\n"
    )


def rules(report):
    return {finding.rule for finding in report.findings if finding.severity != "info"}


@pytest.mark.parametrize("body", [
    "y = torch.add(x, 1)", "y = ops.prim.NumToTensor(1)", 'y = torch.format("torch.save(x)", x)', "y = ops.quantized.linear(x, x, 1., 0)",
    "y = self.save", "y = torch.conv2d(x, x, None, [1, 1], [0, 0], [1, 1], 1)", "y = ops.torchvision.nms(x, x, 0.5)", "# torch.save(x)",
])  # fmt: skip
def test_operators_that_compute_are_inert(body):
    report = inspect_bytes(archive(forward(body)), "m.pt")
    assert (report.format, report.verdict) == ("torchscript", "inert")
    assert report.facts["framework"] == "pytorch"


REACHING = [
    'torch.save(x, "/tmp/x")', 'y = torch.from_file("/etc/passwd", False, 10)', 'y = ops.aten.from_file("/etc/passwd")', 'ops.aten.save(x, "f")',
    'y = ops.image.read_file("/etc/passwd")', "y = ops.prim.rpc_sync(x)", "y = ops.c10d.send([x], x, 0, 0)", 'y = torch.ops.aten.save(x, "f")', '(x).save("f")',
]  # fmt: skip


@pytest.mark.parametrize("body", REACHING)
def test_operators_that_reach_out_are_named(body):
    report = inspect_bytes(archive(forward(body)), "m.pt")
    assert (report.verdict, rules(report)) == ("unproven", {"torchscript.operator"})


@pytest.mark.parametrize("body", REACHING)
def test_they_are_dangerous_while_loading(body):
    assert inspect_bytes(archive(setting(body)), "m.pt").verdict == "dangerous"


def test_what_a_setstate_calls_runs_while_loading():
    called = (
        setting("_0 = (self).first(state)")
        + "  def first(self: __torch__.M) -> NoneType:\n    _1 = __torch__.helper\n    return None\n"
    )
    helper = 'def helper(x: Tensor) -> Tensor:\n  torch.save(x, "f")\n  return x\n'
    assert (
        inspect_bytes(archive(called, more=[("m/code/__torch__/other.py", helper)]), "m").verdict
        == "dangerous"
    )
    uncalled = setting("y = 1") + helper
    assert inspect_bytes(archive(uncalled), "m").verdict == "unproven"


@pytest.mark.parametrize(("body", "rule"), [
    ("y = ops.mylib.run(x)", "torchscript.unknown-operator"), ("y = torch.ops.tensorrt_custom.run(x)", "torchscript.unknown-operator"),
    ("y = __torch__.torch.classes.mylib.Thing.__new__(__torch__.torch.classes.mylib.Thing)", "torchscript.class"),
    ('os.system("id")', "torchscript.python"), ('y = eval("1")', "torchscript.python"),
])  # fmt: skip
def test_what_pytorch_does_not_bring_is_unproven(body, rule):
    report = inspect_bytes(archive(forward(body)), "m.pt")
    assert (report.verdict, rules(report)) == ("unproven", {rule})


def test_python_in_a_source():
    assert rules(inspect_bytes(archive("import os\n" + forward("y = x")), "m")) == {"torchscript.python"}
    assert inspect_bytes(archive(setting('os.system("id")')), "m").verdict == "dangerous"


@pytest.mark.parametrize(("pickle", "verdict"), [
    (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", "dangerous"), (b"\x80\x02cmy.module\nrun\n)R.", "unproven"),
    (b"\x80\x02c__torch__.torch.classes.mylib\nThing\n)\x81.", "unproven"), (b"\x80\x02c__torch__.torch.classes.quantized\nLinearPackedParamsBase\n)\x81.", "inert"),
])  # fmt: skip
def test_the_pickles_of_the_archive(pickle, verdict):
    assert inspect_bytes(archive(forward("y = x"), pickle=pickle), "m").verdict == verdict
    for name in ("m/constants.pkl", "m/attributes.pkl", "m/code/__torch__.py.debug_pkl", "m/extra/x"):
        found = inspect_bytes(
            archive(forward("y = x"), more=[(name + "2.pkl" if "constants" in name else name, pickle)]), "m"
        ).verdict
        assert (
            found == verdict
            or (found == "unproven" and "debug" in name)
            or (name == "m/extra/x" and verdict == "inert")
        )


def test_operators_of_mobile_code():
    def code(name):
        text = name.encode()
        return b"\x80\x02(K\x04X" + len(text).to_bytes(4, "little") + text + b"X\x00\x00\x00\x00t."

    good = inspect_bytes(archive(forward("y = x"), more=[("m/bytecode.pkl", code("aten::relu"))]), "m")
    assert (good.verdict, good.facts["operators"]) == ("inert", ["aten::relu"])
    for name in ("aten::save", "mylib::run"):
        assert (
            inspect_bytes(archive(forward("y = x"), more=[("m/bytecode.pkl", code(name))]), "m").verdict
            == "unproven"
        )


def test_a_source_that_cannot_be_read_is_listed():
    data = bytearray(archive(forward("y = x")))
    for at in (data.index(b"PK\x03\x04", 10), data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)):
        method = at + (8 if data[at + 2] == 3 else 10)
        data[method : method + 2] = (9).to_bytes(2, "little")
    report = inspect_bytes(bytes(data), "m")
    assert report.verdict == "unproven"
    assert any("__torch__.py" in text for text in report.coverage.unread)


def test_operators_are_judged_by_namespace():
    assert torch_ops.judge("aten", "relu") is None
    assert torch_ops.judge("aten", "save.default") == (True, "writes a file")
    assert torch_ops.judge("c10d", "send") == (True, "talks to other processes")
    assert torch_ops.judge("x", "y")[0] is False


def modules(torch):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

        def forward(self, x):
            return torch.relu(x + self.norm(self.conv(x)))

    image, row, text = torch.rand(1, 3, 12, 12), torch.rand(2, 4), torch.rand(3, 1, 4)
    cnn = nn.Sequential(
        nn.Conv2d(3, 4, 3), Block(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    return {
        "cnn": (cnn, image), "mlp": (nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4), nn.Dropout(0.1), nn.Softmax(-1)), row),
        "lstm": (nn.LSTM(4, 4, 2), text),
        "embedding": (nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)), torch.tensor([[1, 2]])),
        "attention": (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), torch.rand(1, 3, 4)),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_what_torch_writes_is_inert(tmp_path):
    torch = pytest.importorskip("torch", reason="the library that writes these files")
    seen = 0
    for name, (module, example) in modules(torch).items():
        script = torch.jit.script(module.eval())
        script.save(tmp_path / f"{name}_script.pt")
        torch.jit.freeze(script).save(tmp_path / f"{name}_frozen.pt")
        script._save_for_lite_interpreter(str(tmp_path / f"{name}_lite.ptl"))
        if name != "attention":
            torch.jit.trace(module, example).save(tmp_path / f"{name}_trace.pt")
    quantized = torch.ao.quantization.quantize_dynamic(
        torch.nn.Sequential(torch.nn.Linear(4, 4)), {torch.nn.Linear}
    )
    torch.jit.script(quantized).save(tmp_path / "quantized.pt")
    for file in sorted(tmp_path.iterdir()):
        report = inspect(file)
        assert (file.name, report.format, report.verdict) == (file.name, "torchscript", "inert")
        seen += 1
    assert seen >= 20


@given(st.text(max_size=300), st.binary(max_size=200))
def test_any_source_gives_a_verdict(source, pickle):
    with contextlib.suppress(FileDamaged):
        assert inspect_bytes(archive(source, pickle=pickle), "m").verdict in {
            "inert",
            "unproven",
            "dangerous",
        }


HIDDEN = [
    'torch . save(x, "f")', 'torch\t.\tsave (x, "f")', "ops . aten . save(x, 'f')", '(torch).save(x, "f")', '((ops).aten).save(x, "f")',
    'getattr(torch, "save")(x, "f")', "getattr(getattr(ops, 'aten'), 'save')(x, 'f')", 'getattr(x, "save")("f")', '(x).save("f")',
    'y = ["""a"b""", str(torch.save(x, "f")), "z"]', "y = ['''a'b''', str(torch.save(x, 'f')), 'z']",
    'y = ["a\\\nb", str(torch.save(x, "f")), "z"]', 'torch \\\n .save(x, "f")', 'y = (torch.\n save(x, "f"))',
    't = torch\n    t.save(x, "f")', 'f = torch.save\n    f(x, "f")', 'f = (x).save\n    f("f")', 'o = ops\n    o.aten.save(x, "f")',
]  # fmt: skip
"""Ways to write one operator that torch.jit.load of PyTorch 2.13 compiles and runs."""


@pytest.mark.parametrize("body", HIDDEN)
def test_an_operator_is_found_however_it_is_written(body):
    report = inspect_bytes(archive(setting(body)), "m.pt")
    assert report.verdict == "dangerous"
    assert "torchscript.operator" in rules(report)


@pytest.mark.parametrize("body", [
    'getattr(torch, "sa" "ve")(x, "f")', 'getattr(torch, "s\\x61ve")(x, "f")', "o = ops", "o = ops.evil", "t = torch", 'y = getattr(ops, "evil")',
])  # fmt: skip
def test_an_operator_that_is_not_spelled_out_is_unproven(body):
    report = inspect_bytes(archive(setting(body)), "m.pt")
    assert report.verdict == "unproven"
    assert "torchscript.computed-name" in rules(report)


@pytest.mark.parametrize("body", [
    'y = (getattr(self, "0")).forward(x, )', 'w = getattr(getattr(self.layers, "1"), "0")', 'y = torch.format("a\\"torch.save(x)", x)',
    'y = """torch.save(x)\n    ops"""', "y = torch.to(x, 6)\n    # don't torch.save(x)", "y = 1.\n    z = torch.relu(x)",
    'y = torch.dict([("ops", x), (\'torch\', x)])', "y = annotate(List[Tensor], [])",
])  # fmt: skip
def test_what_torch_prints_is_inert_however_it_looks(body):
    report = inspect_bytes(archive(forward(body)), "m.pt")
    assert (report.verdict, rules(report)) == ("inert", set())


def test_what_runs_without_being_named():
    default = forward("y = x").replace("x: Tensor)", 'x: Tensor, y: Tensor=torch.from_file("f", True, 4))')
    assert inspect_bytes(archive(default), "m.pt").verdict == "dangerous"
    added = (
        HEAD + '  def __add__(self: __torch__.M, o: bool) -> bool:\n    torch.save(o, "f")\n    return o\n'
    )
    assert inspect_bytes(archive(added), "m.pt").verdict == "dangerous"


def test_mobile_and_first_archives():
    texts = b"".join(b"X%c\0\0\0%s" % (len(name), name) for name in (b"aten::save", b"evil::op"))
    mobile = [("m/data.pkl", GOOD), ("m/bytecode.pkl", b"\x80\x02(" + texts + b"l.")]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in mobile:
            file.writestr(name, content)
    report = inspect_bytes(buffer.getvalue(), "m.ptl")
    assert report.format == "torchscript"
    assert rules(report) >= {"torchscript.operator", "torchscript.unknown-operator"}
    first = archive(forward("y = x"), more=[("m/model.json", b'{"mainModule": {"torchscriptArena": {}}}')])
    assert rules(inspect_bytes(first, "m.pt")) == {"torchscript.legacy"}
