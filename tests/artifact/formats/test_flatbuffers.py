"""TFLite and ExecuTorch: operators and delegates are judged, every index and place is compared with the file."""

import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import executorch, tflite
from modelward.artifact.formats.flatbuffer import Flat
from modelward.artifact.reading import Malformed, Reading


def number(code, value):
    return ("number", code, value)


def numbers(code, *values):
    return ("numbers", code, values)


class Builder:
    """Writes a flatbuffer forwards: every child stands behind its parent.

    A table is a dictionary of fields by number; a text is a str, bytes are a vector of bytes, a list is a vector of
    tables or texts.
    """

    def __init__(self, identifier):
        self.out = bytearray(8)
        self.out[4:8] = identifier
        self.todo = []

    def build(self, root):
        self.todo.append((0, root))
        while self.todo:
            place, value = self.todo.pop(0)
            self.out += b"\0" * (-len(self.out) % 8)
            start = self.write(value)
            struct.pack_into("<I", self.out, place, start - place)
        return bytes(self.out)

    def write(self, value):
        start = len(self.out)
        if isinstance(value, dict):
            return self.table(value)
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, bytes):
            self.out += struct.pack("<I", len(value)) + value + b"\0"
        elif isinstance(value, tuple):
            _, code, items = value
            self.out += struct.pack(f"<I{len(items)}{code}", len(items), *items)
        else:
            self.out += struct.pack("<I", len(value)) + b"\0" * 4 * len(value)
            self.todo += [(start + 4 + 4 * at, item) for at, item in enumerate(value)]
        return start

    def table(self, fields):
        slots, body = [0] * (max(fields, default=-1) + 1), bytearray(4)
        children = []
        for field, value in fields.items():
            inline = isinstance(value, tuple) and value[0] == "number"
            size = struct.calcsize(value[1]) if inline else 4
            body += b"\0" * (-len(body) % size)
            slots[field] = len(body)
            if inline:
                body += struct.pack("<" + value[1], value[2])
            else:
                children.append((len(body), value))
                body += b"\0" * 4
        vtable = struct.pack(f"<HH{len(slots)}H", 4 + 2 * len(slots), len(body), *slots)
        vtable += b"\0" * (-len(vtable) % 8)
        self.out += vtable
        start = len(self.out)
        struct.pack_into("<i", body, 0, len(vtable))
        self.out += body
        self.todo += [(start + place, child) for place, child in children]
        return start


def operator(code=0, inputs=(0,), outputs=(1,), **more):
    return {0: number("I", code), 1: numbers("i", *inputs), 2: numbers("i", *outputs), **more}


def code(name="", builtin=0):
    return {3: number("i", 32 if name else builtin), **({1: name} if name else {})}


def tensor(name, buffer=0, shape=(2, 2)):
    return {0: numbers("i", *shape), 1: number("b", 0), 2: number("I", buffer), 3: name}


def model(codes=None, operators=None, *, tensors=None, buffers=None, metadata=None, ends=((0,), (1,))):
    graph = {
        0: tensors or [tensor("x"), tensor("y"), tensor("w", 1)],
        1: numbers("i", *ends[0]),
        2: numbers("i", *ends[1]),
        3: [operator()] if operators is None else operators,
        4: "main",
    }
    root = {
        0: number("I", 3),
        1: codes or [code()],
        2: [graph],
        3: "made",
        4: buffers or [{}, {0: b"\0" * 16}],
    }
    if metadata:
        root[6] = metadata
    return Builder(b"TFL3").build(root)


GOOD = model()


def test_tflite_facts(verdict):
    assert verdict(GOOD) == ("inert", set())
    into = Reading()
    tflite.read(GOOD, into)
    assert into.facts["inputs"] == ["x"]
    assert into.facts["outputs"] == ["y"]
    assert into.facts["parameters"] == 4
    assert into.facts["producer"] == "made"
    assert into.facts["operators"] == ["builtin 0"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TFLite_Detection_PostProcess", "inert"),
        ("Convolution2DTransposeBias", "inert"),
        ("edgetpu-custom-op", "inert"),
        ("SignalRfft", "inert"),
        ("ParseExampleV2", "inert"),
        ("FlexErf", "inert"),
        ("FlexMatMul", "inert"),
        ("EvilOp", "unproven"),
        ("ReadFile", "unproven"),
        ("FlexSaveV2", "unproven"),
        ("FlexNoSuchOperator", "unproven"),
        ("FlexReadFile", "dangerous"),
        ("FlexWriteFile", "dangerous"),
        ("FlexPyFunc", "dangerous"),
        ("FlexEagerPyFunc", "dangerous"),
    ],
)
def test_operators(verdict, name, expected):
    assert verdict(model([code(name)]))[0] == expected


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (model(operators=[operator(7)]), "tflite.index"),
        (model(operators=[operator(0, (9,))]), "tflite.index"),
        (model(operators=[operator(0, (-2,))]), "tflite.index"),
        (model(operators=[operator(0, (0,), (3,))]), "tflite.index"),
        (model(ends=((5,), (1,))), "tflite.index"),
        (model(tensors=[tensor("x", 9), tensor("y")]), "tflite.index"),
        (model(metadata=[{0: "m", 1: number("I", 9)}]), "tflite.index"),
        (model(buffers=[{}, {1: number("Q", 1 << 40), 2: number("Q", 8)}]), "tflite.extent"),
        (model(operators=[{**operator(), 9: number("Q", 1 << 40), 10: number("Q", 8)}]), "tflite.extent"),
        (Builder(b"TFL3").build({0: number("I", 9)}), "artifact.unread"),
    ],
)
def test_tflite_indices(verdict, data, rule):
    assert verdict(data) == ("unproven", {rule})


def test_an_optional_input_is_allowed(verdict):
    assert verdict(model(operators=[operator(0, (0, -1))])) == ("inert", set())


def test_associated_files_are_read(verdict):
    def archive(name, content):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr(name, content)
        return buffer.getvalue()

    into = Reading()
    tflite.read(GOOD + archive("labels.txt", "airplane\ndog\n"), into)
    assert [(inner.name, inner.format) for inner in into.inner] == [("associated files", "zip")]
    assert not into.events
    assert into.proven
    assert verdict(GOOD + archive("labels.txt", "airplane\ndog\n")) == ("inert", set())
    assert verdict(GOOD + archive("x.pkl", b"cos\nsystem\n(S'id'\ntR."))[0] == "dangerous"


ERF = b"\x08ReadFile\0\x04node\0\x02\x10\x07\x14\x14\x04\x28\x01"
"""A FlexBuffer of the operator that is run, and its NodeDef."""


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("FlexReadFile", ERF, ("dangerous", {"tflite.operator"})),
        ("FlexErf", ERF, ("dangerous", {"tflite.operator"})),
        ("FlexErf", ERF.replace(b"ReadFile", b"MatMulXX"), ("unproven", {"tflite.operator"})),
        ("FlexErf", ERF.replace(b"ReadFile", b"Identity"), ("inert", set())),
        ("FlexErf", ERF[:-1], ("unproven", {"tflite.operator"})),
        ("FlexErf", b"?", ("unproven", {"tflite.operator"})),
        ("FlexErf", b"", ("inert", set())),
        ("SignalRfft", ERF, ("inert", set())),
    ],
)
def test_the_options_name_the_operator_that_runs(verdict, name, options, expected):
    """The delegate builds the operator that the options name, and asks the model's own name for a prefix."""
    assert verdict(model([code(name)], [{**operator(), 5: options}])) == expected


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "inert"), (209, "inert"), (210, "unproven"), (100_000, "unproven")]
)
def test_builtin_operators_end_where_the_schema_does(verdict, number, expected):
    found, rules = verdict(model([code("", number)]))
    assert (found, "tflite.builtin" in rules) == (expected, expected == "unproven")


def test_a_custom_operator_of_an_application(verdict):
    assert verdict(model([code("EvilOp")])) == ("unproven", {"tflite.custom"})
    assert verdict(model([code("FlexErf\0x")])) == ("unproven", {"tflite.operator"})


@pytest.mark.parametrize("read", [tflite.read, executorch.read])
@pytest.mark.parametrize("count", [1, 1000, 1 << 20])
def test_tables_that_share_their_content_end(survives, read, count):
    """A vector of many offsets to one table costs steps, and the budget ends it."""
    mark = b"TFL3" if read is tflite.read else b"ET12"
    graph = {3: [operator()] * 50}
    data = bytearray(Builder(mark).build({0: number("I", 3), 1: [code()], 2: [graph] * 50}))
    assert survives(read, bytes(data)) in {"unproven", "inert"}
    data += b"\0" * min(count, 4096)
    struct.pack_into("<I", data, len(data) // 2 // 4 * 4, count)
    assert survives(read, bytes(data)) in {"unproven", "inert"}


def test_a_renamed_operator_is_noted():
    into = Reading()
    tflite.read(model([code("FlexErf")], [{**operator(), 5: ERF.replace(b"ReadFile", b"Identity")}]), into)
    assert [event.rule for event in into.events] == ["tflite.renamed"]


# --- ExecuTorch ---------------------------------------------------------------------------------------------


def delegate(name, at=0, location=0):
    return {0: name, 1: {0: number("b", location), 1: number("I", at)}}


def program(
    operators=("aten::add",), delegates=(), *, inline=(b"data",), calls=None, segments=(), values=2, body=b""
):
    instructions = [
        {
            0: number("B", kind),
            1: {0: number("i", at), 1: numbers("i", *used) if kind < 3 else number("i", used[0])},
        }
        for kind, at, used in (calls if calls is not None else [(1, 0, (0, 1))])
    ]
    plan = {
        0: "forward",
        2: [{} for _ in range(values)],
        5: [{2: instructions}],
        6: [{0: name, 1: "out"} for name in operators],
        7: list(delegates),
    }
    root = {0: number("I", 0), 1: [plan], 3: [{0: content} for content in inline]}
    if segments:
        root[4] = [{0: number("Q", start), 1: number("Q", size)} for start, size in segments]
    flat = Builder(b"ET12").build(root)
    if not segments:
        return flat
    # The extended header stands behind the identifier, before the program.
    extra = 32
    shifted = bytearray(flat[:8] + b"\0" * extra + flat[8:])
    struct.pack_into("<I", shifted, 0, struct.unpack_from("<I", flat)[0] + extra)
    shifted[8:32] = b"eh00" + struct.pack("<IQQ", 24, len(shifted), len(shifted))[:20]
    return bytes(shifted) + body


PROGRAM = program(
    delegates=[delegate("XnnpackBackend")],
    calls=[(1, 0, (0, 1)), (2, 0, (0,)), (3, 0, (1,)), (4, 0, (3,)), (5, 1, (9,))],
)


def test_executorch_facts(verdict):
    assert verdict(PROGRAM) == ("inert", set())
    into = Reading()
    executorch.read(PROGRAM, into)
    assert into.facts["operators"] == ["aten::add", "XnnpackBackend"]
    assert into.facts["format_version"] == "ET12"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (program(["quantized_decomposed::quantize_per_tensor"]), ("inert", set())),
        (program(["executorch_prim::et_view"]), ("inert", set())),
        (program(["evil::system"]), ("unproven", {"executorch.operator"})),
        (program(delegates=[delegate("CoreMLBackend")]), ("inert", set())),
        (program(delegates=[delegate("VulkanBackend")]), ("inert", set())),
        (program(delegates=[delegate("EvilBackend")]), ("unproven", {"executorch.delegate"})),
        (program(delegates=[delegate("QnnBackend", 5)]), ("unproven", {"executorch.index"})),
        (program(delegates=[delegate("QnnBackend")], inline=[b"\x7fELF" + b"\0" * 60]), ("dangerous", {"executorch.native"})),
        (program(delegates=[delegate("CudaBackend")], inline=[b"\x7fELF" + b"\0" * 60]), ("unproven", {"executorch.native"})),
        (program(calls=[(1, 4, ())]), ("unproven", {"executorch.index"})),
        (program(calls=[(1, -1, ())]), ("unproven", {"executorch.index"})),
        (program(calls=[(2, 0, ())]), ("unproven", {"executorch.index"})),
        (program(calls=[(1, 0, (9,))]), ("unproven", {"executorch.index"})),
        (program(calls=[(3, 2, (0,))]), ("unproven", {"executorch.index"})),
        (program(calls=[(3, 0, (-1,))]), ("unproven", {"executorch.index"})),
        (program(calls=[(4, 1, (1,))]), ("unproven", {"executorch.index"})),
        (program(calls=[(4, 1, (0,))]), ("inert", set())),
        (program(calls=[(5, 2, (0,))]), ("unproven", {"executorch.index"})),
        (program(segments=[(0, 8)], body=b"\0" * 8), ("inert", set())),
        (program(segments=[(0, 9)], body=b"\0" * 8), ("unproven", {"executorch.extent"})),
        (program(delegates=[delegate("XnnpackBackend", 0, 1)], segments=[(0, 8)], body=b"\0" * 8), ("inert", set())),
        (
            program(delegates=[delegate("XnnpackBackend", 0, 1)], segments=[(0, 8)], body=b"\x7fELF\0\0\0\0"),
            ("dangerous", {"executorch.native"}),
        ),
    ],
)  # fmt: skip
def test_executorch_programs(verdict, data, expected):
    assert verdict(data) == expected


@pytest.mark.parametrize(("read", "data"), [(tflite.read, GOOD), (executorch.read, PROGRAM)])
def test_truncation_ends(survives, read, data):
    for end in range(8, len(data)):
        assert survives(read, data[:end]) in {"unproven", "inert"}


@settings(max_examples=250, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 700), st.integers(0, 2), st.integers(0, 255)), min_size=1, max_size=5
    )
)
def test_mutations(survives, mutated, edits):
    survives(tflite.read, mutated(GOOD, edits))
    survives(executorch.read, mutated(PROGRAM, edits))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(survives, data):
    survives(tflite.read, b"\x08\0\0\0TFL3" + data)
    survives(executorch.read, b"\x08\0\0\0ET12" + data)


def test_places_outside_the_buffer_are_malformed():
    into = Reading()
    with pytest.raises(Malformed, match="offset"):
        Flat(b"\xff\0\0\0", into).root()
    with pytest.raises(Malformed, match="outside"):
        Flat(b"\1", into).root()
    root = Flat(Builder(b"TEST").build({0: "text", 2: number("I", 7), 3: ["a", "b"], 4: b"raw"}), into).root()
    assert root.text(0) == "text"
    assert root.number(2, "I") == 7
    assert root.number(1, "I", 5) == 5
    assert root.number(99, "I") == 0
    assert list(root.texts(3)) == ["a", "b"]
    assert root.bytes(4) == b"raw"
    assert root.table(1) is None
    assert root.integers(1) == ()
