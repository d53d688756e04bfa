"""CoreML: models, pipelines, programs and the parts of a package; every message is written by hand."""

import json
import struct
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats import coreml as reader
from modelward.artifact.sniff import sniff
from modelward.artifact.verdict import inspect_bytes


@pytest.fixture(scope="session")
def model(message):
    """A Model: a description with one input and output, and one field of a kind."""

    def write(number, content, **about):
        feature = [(1, message((1, "x"))), (10, message((1, "y")))]
        known = {"description": 1, "version": 2, "author": 3, "licence": 4}
        metadata = message(*((known[key], text) for key, text in about.items()))
        return message((1, 6), (2, message(*feature, (100, metadata))), (number, content))

    return write


@pytest.fixture(scope="session")
def layer(message):
    def write(number=140, content=b""):
        return message((1, "l"), (2, "x"), (3, "y"), (number, content))

    return write


@pytest.fixture(scope="session")
def program(message):
    """An ML program of one function with one block of operations."""

    def write(*operations):
        block = message(*((3, each) for each in operations))
        function = message((2, "CoreML5"), (3, message((1, "CoreML5"), (2, block))))
        return message((1, 1), (2, message((1, "main"), (2, function))))

    return write


@pytest.fixture(scope="session")
def constant(message):
    """A const operation of 4 x 3 float16 values in a file."""

    def write(path):
        dims = [(3, message((1, message((1, size))))) for size in (4, 3)]
        value = message((2, message((1, message((1, 10), (2, 2), *dims)))), (5, message((1, path), (2, 64))))
        return message((1, "const"), (5, message((1, "val"), (2, value))))

    return write


@pytest.fixture(scope="session")
def core(model, layer, program, constant, message):
    return SimpleNamespace(model=model, layer=layer, program=program, constant=constant, message=message)


def test_a_network_is_inert_and_has_facts(model, layer, message):
    data = model(500, message((1, layer())), author="anna", licence="MIT", version="1", description="d")
    report = inspect_bytes(data, "m.mlmodel")
    assert (report.format, report.verdict) == ("coreml", "inert")
    assert report.facts == {
        "framework": "coreml", "format_version": "6", "licence": "MIT", "inputs": ["x"], "outputs": ["y"],
        "metadata": {"kind": "neuralNetwork", "description": "d", "version": "1", "author": "anna"},
    }  # fmt: skip


@pytest.mark.parametrize("kind", [300, 301, 400, 402, 501, 600, 604, 900, 2002])
def test_models_without_code_are_inert(model, verdict, kind):
    assert verdict(model(kind, b""))[0] == "inert"


def test_a_kind_that_is_not_known_is_unproven(model, verdict):
    assert verdict(model(901, b"")) == ("unproven", {"coreml.unknown"})


def test_a_custom_model_is_unproven_and_named(model, message):
    report = inspect_bytes(model(555, message((10, "EvilModel"))), "m")
    assert report.verdict == "unproven"
    assert "EvilModel" in report.findings[0].message


@pytest.mark.parametrize("kind", [303, 403, 500])
def test_a_custom_layer_is_unproven(model, layer, message, verdict, kind):
    custom = layer(500, message((10, "EvilLayer")))
    assert verdict(model(kind, message((1, layer()), (1, custom)))) == ("unproven", {"coreml.custom-layer"})


@pytest.mark.parametrize(("number", "field"), [(605, 1), (605, 2), (615, 3), (615, 4)])
def test_layers_within_branches_and_loops_are_walked(core, verdict, number, field):
    model, layer, message = core.model, core.layer, core.message
    inner = message((1, layer(500, message((10, "EvilLayer")))))
    for _ in range(30):
        inner = message((1, layer(number, message((field, inner)))))
    assert verdict(model(500, inner)) == ("unproven", {"coreml.custom-layer"})


def test_pipelines_are_walked(model, message, verdict):
    custom = model(555, message((10, "Evil")))
    inside = message((1, model(604, b"")), (1, custom), (2, "a"))
    assert verdict(model(202, inside)) == ("unproven", {"coreml.custom-model"})
    for kind in (200, 201):
        assert verdict(model(kind, message((1, inside)))) == ("unproven", {"coreml.custom-model"})
        assert verdict(model(kind, message((1, message((1, model(604, b"")))))))[0] == "inert"


@pytest.mark.parametrize(
    ("name", "search", "expected"),
    [
        ("other.mlmodelc", "", "unproven"), ("other.mlmodelc", "a:b", "unproven"), ("../x", "", "dangerous"),
        ("/x", "", "dangerous"), ("x", "a:/Library", "dangerous"), ("x", "a:../b", "dangerous"),
    ],
)  # fmt: skip
def test_linked_models(core, verdict, name, search, expected):
    model, message = core.model, core.message
    file = message((1, message((1, name))), (2, message((1, search))))
    assert verdict(model(556, message((1, file))))[0] == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("com.apple.CreateML", "inert"), ("org.evil", "unproven"), ("", "unproven")]
)
def test_serialized_models(model, message, verdict, name, expected):
    assert verdict(model(3000, message((1, name), (2, b"\0" * 20))))[0] == expected


def test_a_program_is_inert_and_its_weights_count(model, program, constant, message):
    inner = message((1, "conv"), (2, message((1, "x"), (2, message((1, message((1, "x"))))))))
    report = inspect_bytes(model(502, program(constant("@model_path/weights/weight.bin"), inner)), "m")
    assert report.verdict == "inert"
    assert report.facts["operators"] == ["const", "conv"]
    assert (report.facts["tensors"], report.facts["parameters"], report.facts["dtypes"]) == (
        1,
        12,
        {"float16": 1},
    )


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "@model_path/../../x", "@model_path//etc/passwd", "..\\x", "file:///x"]
)
def test_weights_outside_the_package_are_dangerous(core, verdict, path):
    model, program, constant, message = core.model, core.program, core.constant, core.message
    assert verdict(model(502, program(constant(path)))) == ("dangerous", {"coreml.weights-path"})
    block = message((3, constant(path)))
    assert verdict(model(502, program(message((1, "cond"), (4, block)))))[0] == "dangerous"


def test_weights_in_an_argument_are_seen(model, program, message, verdict):
    value = message((5, message((1, "/etc/passwd"))))
    argument = message((1, "w"), (2, message((1, message((2, value))))))
    assert verdict(model(502, program(message((1, "conv"), (2, argument)))))[0] == "dangerous"


def test_a_custom_operation_is_unproven(model, program, message, verdict):
    assert verdict(model(502, program(message((1, "custom_layer"))))) == ("unproven", {"coreml.custom-layer"})


# --- packages -----------------------------------------------------------------------------------------------


def manifest(*paths):
    entries = {str(index): {"author": "a", "name": "n", "path": path} for index, path in enumerate(paths)}
    return json.dumps(
        {"fileFormatVersion": "1.0.0", "itemInfoEntries": entries, "rootModelIdentifier": "0"}
    ).encode()


def test_manifest(verdict):
    good = manifest("com.apple.CoreML/model.mlmodel", "com.apple.CoreML/weights")
    assert sniff(good).format == "coreml"
    assert verdict(good)[0] == "inert"
    for path in ("../../../etc/passwd", "/etc/passwd", "a/../../b", 5, None):
        assert verdict(manifest("com.apple.CoreML/model.mlmodel", path)) == (
            "dangerous",
            {"coreml.manifest-path"},
        )


def test_a_damaged_manifest_is_unproven(verdict):
    assert verdict(manifest("a")[:-1]) == ("unproven", {"artifact.unread"})
    listed = (
        manifest("a").replace(b'"itemInfoEntries": {', b'"itemInfoEntries": [{').replace(b"}}, ", b"}}], ")
    )
    assert verdict(listed)[0] == "unproven"


def weights(*sizes, shift=0):
    out = struct.pack("<II", len(sizes), 2) + b"\0" * 56
    for size in sizes:
        start = len(out) + 64
        out += struct.pack("<IIQQ", 0xDEADBEEF, 1, size, start + shift) + b"\0" * 40 + b"\1" * size
        out += b"\0" * (-len(out) % 64)
    return out


def test_weights(verdict):
    data = weights(24, 64, 100)
    report = inspect_bytes(data, "weight.bin")
    assert (report.format, report.verdict, report.facts["tensors"]) == ("coreml", "inert", 3)
    for bad in (
        data[:-128],
        weights(24, shift=4096),
        data.replace(b"\xef\xbe\xad\xde", b"\xef\xbe\xad\xdf", 2)[:64] + data[64:128],
    ):
        assert verdict(bad)[0] == "unproven"


# --- damage -------------------------------------------------------------------------------------------------


def test_a_truncated_model_is_never_clean(model, layer, message, survives):
    data = model(500, message((1, layer()), (1, layer(500, message((10, "EvilLayer"))))))
    assert survives(reader.read, data) == "unproven"
    for end in range(len(data) - 40, len(data)):
        assert survives(reader.read, data[:end]) == "unproven"


EDITS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 2), st.integers(0, 255)), max_size=5)


@given(EDITS, st.integers(0, 3))
def test_mutations_raise_nothing(core, survives, mutated, edits, pick):
    model, program, constant = core.model, core.program, core.constant
    seeds = [
        model(502, program(constant("@model_path/w"))),
        manifest("a", "../b"),
        weights(24, 30),
        model(555, b""),
    ]
    survives(reader.read, mutated(seeds[pick], edits))


@given(st.binary(max_size=150))
def test_noise_raises_nothing(survives, data):
    survives(reader.read, data)
    survives(reader.read, weights(8) + data)


# --- a manifest that hides, and values within values --------------------------------------------------------

PARTS = {
    "fileFormatVersion": "1.0.0",
    "itemInfoEntries": {"A": {"path": "../../x"}},
    "rootModelIdentifier": "A",
}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PARTS).replace("itemInfo", "item\\u0049nfo"),
        "{" + " " * 80_000 + json.dumps(PARTS)[1:],
        json.dumps({"pad": "x" * 80_000, **PARTS}),
    ],
)
def test_a_manifest_is_known_wherever_its_keys_are(verdict, text):
    assert verdict(text.encode(), "Manifest.json") == ("dangerous", {"coreml.manifest-path"})


@pytest.mark.parametrize("kind", [2, 3, 4])
@pytest.mark.parametrize("depth", [1, 3, 60])
def test_weights_within_tuples_lists_and_dictionaries(message, verdict, kind, depth):
    """MIL.proto: ImmediateValue holds a TupleValue, a ListValue or the pairs of a DictionaryValue."""
    value = message((5, message((1, "@model_path/../../../etc/passwd"))))
    for _ in range(depth):
        held = message((1, message((1, b""), (2, value)) if kind == 4 else value))
        value = message((3, message((kind, held))))
    operation = message((1, "const"), (5, message((1, "val"), (2, value))))
    block = message((1, "CoreML7"), (2, message((3, operation))))
    program = message((1, 1), (2, message((1, "main"), (2, message((3, block))))))
    assert verdict(message((1, 7), (2, b""), (502, program))) == ("dangerous", {"coreml.weights-path"})


@pytest.mark.parametrize("number", [4, 10])
def test_attributes_of_programs_functions_and_blocks_are_read(message, verdict, number):
    value = message((5, message((1, "/etc/passwd"))))
    entry = message((1, "a"), (2, value))
    plain = message((1, message((1, "CoreML7"))))
    for program in (
        message((1, 1), (4, entry)),
        message((1, 1), (2, message((1, "main"), (2, message((4, entry)))))),
        message(
            (1, 1), (2, message((1, "m"), (2, message((3, message((1, "s"), (2, message((4, entry)))))))))
        ),
    ):
        assert verdict(message((1, number), (2, plain), (502, program)))[0] == "dangerous"
