"""What a file states twice, in another way or too large: readers take the one that the scan must not pass over."""

import base64
import json
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import arrow, gguf, rdata, ubjson
from modelward.artifact.formats.flatbuffer import first_text
from modelward.artifact.formats.rstream import Stream
from modelward.artifact.reading import Malformed, Reading

ROOT = Path(__file__).parents[3]
MODULES = (
    "safetensors", "gguf", "ggml", "rdata", "rstream", "xgboost", "ubjson", "lightgbm", "catboost",
    "flatbuffer", "tflite", "executorch", "flax", "msgpack", "arrow", "native", "ort",
)  # fmt: skip
ESCAPE = "{{ ''.__class__.__mro__[1].__subclasses__() }}"


def rules():
    found = set()
    for module in MODULES:
        source = (ROOT / f"src/modelward/artifact/formats/{module}.py").read_text()
        found |= set(re.findall(rf'"({module}\.[a-z-]+)"', source))
        found |= set(re.findall(r'(?:unproven|dangerous|note)\(\s*"([a-z]+\.[a-z-]+)"', source))
    return sorted(found)


@pytest.mark.parametrize("rule", rules())
def test_each_rule_is_asserted_somewhere(rule):
    texts = [path.read_text() for path in (ROOT / "tests/artifact").rglob("test_*.py")]
    assert any(f'"{rule}"' in text for text in texts)


def test_there_are_rules():
    assert len(rules()) > 40


# --- boosters -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Text of a LightGBM model of 2 classes and of one of 3."""
    np, library = pytest.importorskip("numpy"), pytest.importorskip("lightgbm")
    X = np.random.default_rng(0).random((120, 3))
    options = {"n_estimators": 3, "n_jobs": 1, "verbose": -1, "min_child_samples": 5}
    return [
        library.LGBMClassifier(**options).fit(X, y.astype(int)).booster_.model_to_string()
        for y in (X[:, 0] > 0.5, X[:, 0] * 3)
    ]


def test_models_as_they_are_written(verdict, fitted):
    for text in fitted:
        assert verdict(text.encode()) == ("inert", set())
        assert verdict(re.sub("tree_sizes=.*\n", "", text).encode()) == ("inert", set())


@pytest.mark.parametrize(
    ("pattern", "by"),
    [
        ("tree_sizes=.*", "tree_sizes=100000000 100000000 5"), (r"tree_sizes=(\d+) ", r"tree_sizes=1\1 "),
        (r"tree_sizes=(.*) \d+\n", r"tree_sizes=\1 99999\n"), ("num_class=1\n", "num_class=100000\n"),
        ("num_class=1\n", "num_class=-1\n"), ("num_tree_per_iteration=1\n", "num_tree_per_iteration=0\n"),
        ("num_tree_per_iteration=1\n", "num_tree_per_iteration=1000\n"),
        ("objective=binary sigmoid:1", "objective=multiclass num_class:100000"),
    ],
)  # fmt: skip
def test_sizes_that_the_library_takes_as_stated(verdict, fitted, pattern, by):
    """Each of these ends LightGBM 4.7 with a fault of memory or arithmetic, or reads beyond its buffers."""
    changed, times = re.subn(pattern, by, fitted[0], count=1)
    assert times == 1
    assert verdict(changed.encode()) == ("unproven", {"lightgbm.index"})


@pytest.mark.parametrize("name", ["num_class", "num_tree_per_iteration"])
def test_classes_of_a_model_of_several(verdict, fitted, name):
    changed = fitted[1].replace(f"{name}=3\n", f"{name}=1\n")
    assert changed != fitted[1]
    assert verdict(changed.encode()) == ("unproven", {"lightgbm.index"})


def twice(text, between, evil="left_child=9999999"):
    """A block whose first children lead out of it, and others behind."""
    good = re.search("left_child=.*", text)[0]
    changed = re.sub("tree_sizes=.*\n", "", text).replace(good, evil, 1)
    return changed.replace("\n\n\nTree=1", f"{between}{good}\n\n\nTree=1", 1)


@pytest.mark.parametrize("between", ["\n", "\n\n", "\n\n\n", "\n\r\n", "\nx=1\n\n"])
def test_children_that_stand_twice(verdict, fitted, between):
    changed = twice(fitted[0], between)
    assert changed.count("left_child=") == fitted[0].count("left_child=") + 1
    assert verdict(changed.encode()) == ("unproven", {"artifact.unread"})


def test_lines_that_end_in_a_carriage_return(verdict, fitted):
    changed = twice(fitted[0], "\n\n", "a=1\rleft_child=9999999")
    assert verdict(changed.encode()) == ("unproven", {"artifact.unread"})
    assert verdict(fitted[0].replace("version=v4\n", "version=v4\nversion=v4\n").encode())[0] == "unproven"


@pytest.mark.parametrize("value", ["0_1", "1.0", "0x1", "1e0", "\u0661", "1,1"])
def test_numbers_that_only_python_reads(verdict, fitted, value):
    changed = re.sub("left_child=-?[0-9]+", f"left_child={value}", fitted[0], count=1)
    changed = re.sub("tree_sizes=.*\n", "", changed)
    assert verdict(changed.encode()) == ("unproven", {"artifact.unread"})


def test_a_key_of_universal_json_that_stands_twice():
    """XGBoost takes the first, and the last of plain JSON."""
    key = b"L" + struct.pack(">q", 1) + b"a"
    for data in (b"{" + key + b"T" + key + b"F}", b"{#i\x02" + key + b"T" + key + b"F", b"{i\1aTi\1aF}"):
        with pytest.raises(Malformed, match="twice"):
            ubjson.decode(data, Reading())
    assert ubjson.decode(b"{" + key + b"{" + key + b"T}}", Reading()) == {"a": {"a": True}}


@pytest.fixture(scope="module")
def boosters():
    np, library = pytest.importorskip("numpy"), pytest.importorskip("xgboost")
    X = np.random.default_rng(0).random((60, 3))

    def made(**options):
        y = np.column_stack([X[:, 0], X[:, 1]]) if "multi_strategy" in options else X[:, 0] > 0.5
        booster = library.train({"nthread": 1, **options}, library.DMatrix(X, label=y), 2)
        return json.loads(bytes(booster.save_raw("json")))

    return made


@pytest.mark.parametrize("weights", [[], [0.5], [0.5] * 3, [0.5] * 5])
def test_weights_of_a_linear_booster(verdict, boosters, weights):
    model = boosters(booster="gblinear")
    assert verdict(json.dumps(model).encode()) == ("inert", set())
    model["learner"]["gradient_booster"]["model"]["weights"] = weights
    assert verdict(json.dumps(model).encode()) == ("unproven", {"xgboost.index"})


def test_features_of_a_linear_booster(verdict, boosters):
    model = boosters(booster="gblinear")
    model["learner"]["learner_model_param"]["num_feature"] = "100000000"
    assert verdict(json.dumps(model).encode()) == ("unproven", {"xgboost.index"})


@pytest.mark.parametrize("width", [2, 1000000, 2**31 - 1])
def test_values_per_leaf(verdict, boosters, width):
    model = boosters()
    model["learner"]["gradient_booster"]["model"]["trees"][0]["tree_param"]["size_leaf_vector"] = str(width)
    assert verdict(json.dumps(model).encode()) == ("unproven", {"xgboost.index"})


def test_trees_of_several_targets_are_inert(verdict, boosters):
    model = boosters(multi_strategy="multi_output_tree", tree_method="hist")
    assert verdict(json.dumps(model).encode()) == ("inert", set())


@pytest.fixture(scope="module")
def catboost_models(tmp_path_factory):
    library, np = pytest.importorskip("catboost"), pytest.importorskip("numpy")
    X = np.random.default_rng(0).random((100, 3))
    path = tmp_path_factory.mktemp("catboost") / "m.cbm"
    options = {"iterations": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
    out = {}
    for policy in ("SymmetricTree", "Lossguide", "Depthwise"):
        library.CatBoostRegressor(**options, grow_policy=policy).fit(X, X[:, 0]).save_model(str(path))
        out[policy] = path.read_bytes()
    return out


def test_trees_of_each_policy_are_inert(verdict, catboost_models):
    for policy, data in catboost_models.items():
        assert verdict(data) == ("inert", set()), policy


def test_leaves_that_a_model_lacks(verdict, catboost_models):
    """The size of the first tree, one more or less, no longer leads to the leaves that are there."""
    data = catboost_models["SymmetricTree"]
    sizes = struct.pack("<4i", 3, 6, 6, 6)
    at = data.index(sizes) + 4
    for size in (5, 7, 30, -1):
        changed = data[:at] + struct.pack("<i", size) + data[at + 4 :]
        assert verdict(changed) == ("unproven", {"catboost.index"})


# --- GGUF ---------------------------------------------------------------------------------------------------


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pairs(*items, tensors=b"", count=0):
    return b"GGUF" + struct.pack("<IQQ", 3, count, len(items)) + b"".join(items) + tensors + b"\0" * 64


@pytest.mark.parametrize("key", ["tokenizer.chat_template", "tokenizer.chat_template.tool_use"])
@pytest.mark.parametrize("templates", [[ESCAPE], ["{{ a }}", ESCAPE], [ESCAPE, ""]])
def test_templates_in_an_array(verdict, key, templates):
    """transformers takes the only text of an array, llama.cpp writes the array out as one."""
    array = struct.pack("<IIQ", 9, 8, len(templates)) + b"".join(map(text, templates))
    assert verdict(pairs(text(key) + array)) == ("dangerous", {"jinja.internals"})


def test_harmless_arrays_of_templates(verdict):
    names = struct.pack("<IIQ", 9, 8, 2) + text("default") + text("rag")
    assert verdict(pairs(text("tokenizer.chat_templates") + names)) == ("inert", set())
    numbers = struct.pack("<IIQ", 9, 4, 2) + struct.pack("<II", 1, 2)
    assert verdict(pairs(text("tokenizer.chat_template") + numbers)) == ("inert", set())


@pytest.mark.parametrize("size", [(1 << 20) + 1, 5 << 20, 17 << 20])
def test_a_template_too_long_to_read_is_not_clean(verdict, size):
    found, _ = verdict(
        pairs(text("tokenizer.chat_template") + struct.pack("<I", 8) + text("x" * size + ESCAPE))
    )
    assert found in {"unproven", "dangerous"}


@pytest.mark.parametrize("shape", [(1 << 62, 1), (0, 1 << 62, 1 << 62), (1 << 31, 1 << 31), (1 << 60, 2)])
def test_sizes_in_bytes_that_overflow(verdict, shape):
    tensor = text("t") + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
    tensor += struct.pack("<IQ", 28, 0)
    assert verdict(pairs(tensors=tensor, count=1)) == ("dangerous", {"gguf.overflow"})


def test_many_tensors_end(survives):
    tensor = text("t") + struct.pack("<IQIQ", 1, 0, 0, 0)
    count = 320_000
    assert survives(gguf.read, pairs(tensors=tensor * count, count=count)) == "unproven"


# --- R ------------------------------------------------------------------------------------------------------


def words(*lines):
    return ("A\n" + "\n".join(map(str, (2, 262147, 131840, *lines))) + "\n").encode()


def char(value, size=None):
    return (262153, len(value) if size is None else size, value)


@pytest.mark.parametrize("name", ["system", r"\163ystem", r"\163\171\163\164\145\155", r"s\yst\em"])
def test_names_with_escapes(verdict, name):
    """A promise within an environment, whose call is written in the textual encoding."""
    call = (6, 1, *char(name, 6), 2, 16, 1, *char("id"), 254)
    promise = (1029, 253, 252, *call)
    frame = (1026, 1, *char("x"), *promise, 254)
    assert verdict(words(4, 0, 253, *frame, 254, 254)) == ("dangerous", {"rdata.promise"})


def test_a_text_with_spaces_is_read_to_its_length(verdict):
    """What a reader of words takes for a vector of numbers is part of a text, and a promise follows."""
    hidden = "x 13 23"
    call = (6, 1, *char("system"), 2, 16, 1, *char("id"), 254)
    data = words(19, 2, 16, 1, *char(hidden), 1029, 253, 252, *call)
    assert verdict(data) == ("dangerous", {"rdata.promise"})


@pytest.mark.parametrize(
    ("raw", "size", "expected"),
    [
        ("abc", 3, "abc"), (r"a\040b", 3, "a b"), ("a b", 3, "a b"), (r"\n\t\\", 3, "\n\t\\"), (r"\12x", 2, "\nx"),
        (r"\1234", 2, "S4"), ("a\nb c", 5, "a\nb c"), (r"\?\"", 2, '?"'), ("  abc", 3, "abc"), ("abc", 2, "ab"),
        (r"\777", 1, "\\xff"),
    ],
)  # fmt: skip
def test_texts_of_the_textual_encoding(raw, size, expected):
    stream = Stream(f"{size}\n{raw}\n".encode(), 0, "A")
    assert stream.text() == expected


@pytest.mark.parametrize("raw", ["9\nabc", "3\nab", "3\n", "2000000000\nabc", "3\nab\\"])
def test_texts_that_are_cut_off(raw):
    with pytest.raises(Malformed):
        Stream(raw.encode(), 0, "A").text()


@pytest.mark.parametrize("word", ["1_0", "x", "12x", "99999999999", "2147483648", "0x10", "1.5", "--1"])
def test_integers_that_r_reads_otherwise(word):
    with pytest.raises(Malformed, match="no number"):
        Stream(word.encode(), 0, "A").integer()


@given(st.integers(-(2**31), 2**31 - 1))
def test_integers_of_the_textual_encoding(value):
    assert Stream(b" %d\n" % value, 0, "A").integer() == value


@given(st.binary(max_size=40))
def test_escaped_texts_round_trip(raw):
    written = "".join(f"\\{byte:03o}" for byte in raw)
    expected = raw.decode("utf-8", "backslashreplace") if raw else ""
    assert Stream(f"{len(raw)}\n{written}\n".encode(), 0, "A").text() == expected


def test_promises_within_promises_end(survives):
    def i(*values):
        return struct.pack(f">{len(values)}i", *values)

    symbol = i(1, 9, 1) + b"a"
    data = b"X\n" + i(2, 0, 0) + i(5, 254) * 20_000 + i(6) + symbol + (i(2) + symbol) * 2000 + i(254)
    assert survives(rdata.read, data) == "unproven"


# --- Arrow --------------------------------------------------------------------------------------------------

PICKLED = (
    b"xxarrow.py_extension_typexx" + struct.pack("<I", 26) + b"\x80\x04cos\nsystem\n(S'id'\ntR." + b"\0" * 60
)
SCHEMA = b"ARROW:schema\x18\x7f"


def parquet(footer):
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


@pytest.mark.parametrize("decoys", [0, 1, 5])
def test_each_schema_of_a_footer_is_read(verdict, decoys):
    footer = (SCHEMA + base64.b64encode(b"nothing to see here at all")) * decoys
    assert verdict(parquet(footer + SCHEMA + base64.b64encode(PICKLED)))[0] == "dangerous"
    assert verdict(parquet(footer + b"x" * 20)) == (None, set())


@pytest.mark.parametrize("padding", [0, 1 << 20, 3 << 20])
def test_the_whole_footer_of_an_arrow_file_is_read(verdict, padding):
    footer = PICKLED + b"m" * padding
    data = b"ARROW1\0\0" + b"\0" * (2 << 20) + footer + struct.pack("<I", len(footer)) + b"ARROW1"
    assert verdict(data) == ("dangerous", {"arrow.extension", "pickle.payload"})


def test_footers_that_cannot_be_read(survives):
    assert survives(arrow.read, parquet(b"x" * 40)[:-1] + b"E") == "unproven"
    assert (
        survives(arrow.read, b"PAR1" + b"x" * 40 + struct.pack("<I", (1 << 26) + 1) + b"PAR1") == "unproven"
    )
    assert (
        survives(arrow.read, b"ARROW1\0\0" + b"x" * 40 + struct.pack("<I", 1 << 30) + b"ARROW1") == "unproven"
    )


# --- TensorFlow's operators in TFLite -----------------------------------------------------------------------


def flex(name, definition=b"node", width=1):
    """A FlexBuffer of two texts, as `CreateFlexOpCustomOptions` writes it."""
    code = {1: "<B", 2: "<H", 4: "<I"}[width]
    out, places = bytearray(), []
    for value in (name.encode(), definition):
        out += b"\0" * (-len(out) % width) + struct.pack(code, len(value))
        places.append(len(out))
        out += value + b"\0"
    out += b"\0" * (-len(out) % width) + struct.pack(code, 2)
    start = len(out)
    for place in places:
        out += struct.pack(code, len(out) - place)
    kind = {1: 0, 2: 1, 4: 2}[width]
    out += bytes([5 << 2 | kind] * 2)
    return bytes(out) + bytes([len(out) - start, 10 << 2 | kind, 1])


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("name", ["ReadFile", "Erf", "", "x" * 60])
def test_the_first_text_of_a_flexbuffer(name, width):
    assert first_text(flex(name, width=width)) == name


@pytest.mark.parametrize("size", [3, 300, 70_000])
def test_flexbuffers_of_the_library(size):
    library = pytest.importorskip("flatbuffers.flexbuffers", reason="flatbuffers is not installed")
    builder = library.Builder()
    with builder.Vector():
        builder.String("WriteFile")
        builder.String("n" * size)
    assert first_text(bytes(builder.Finish())) == "WriteFile"


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 40))
def test_other_flexbuffers_are_malformed_or_texts(data, cut):
    for content in (data, flex("Erf")[cut:], data + flex("Erf")[cut:]):
        try:
            assert isinstance(first_text(content), str)
        except Malformed:
            continue


# --- rules that nothing else asserts ------------------------------------------------------------------------


def test_a_core_of_another_version(verdict, catboost_models):
    data = catboost_models["SymmetricTree"].replace(b"FlabuffersModel", b"FlatterersModel")
    assert verdict(data) == ("unproven", {"catboost.version"})


def array(name=b"float32", shape=b"\x91\x02", raw=b"\0" * 8, code=1):
    inner = b"\x93" + shape + bytes([0xA0 + len(name)]) + name + b"\xc4" + bytes([len(raw)]) + raw
    return b"\xc7" + bytes([len(inner), code]) + inner


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x82\xa1a" + array() + b"\xa1b\xc0", ("inert", set())),
        (b"\x82\xa1a" + array() + b"\xa1b\x81\xc4\x01x\x01", ("inert", set())),  # bytes, as msgpack-numpy has
        (b"\x82\xa1a" + array() + b"\xa1b\x81\x90\x01", ("unproven", {"flax.key"})),
        (b"\x82\xa1a" + array() + b"\xa1b" + array(raw=b"\0" * 7), ("unproven", {"flax.extent"})),
        (b"\x82\xa1a" + array() + b"\xa1b" + array(b"V8"), ("unproven", {"flax.type"})),
        (b"\x82\xa1a" + array() + b"\xa1b" + array(b"|O8"), ("dangerous", {"flax.object"})),
        (b"\x82\xa1a" + array() + b"\xa1b\xc0x", ("unproven", {"artifact.unread"})),
    ],
)
def test_items_of_flax(levels, content, expected):
    assert levels("flax", content) == expected


def test_an_unknown_extension_of_flax(levels):
    assert levels("flax", b"\x81\xa1a" + array(code=9)) == ("unproven", {"flax.extension"})


@pytest.fixture
def levels(survives):
    """Worst level that a reader gives, and the rules that it reports above a note."""
    from importlib import import_module

    def tried(name, data):
        read = import_module(f"modelward.artifact.formats.{name}").read
        into = Reading()
        read(data, into)
        return survives(read, data), {event.rule for event in into.events if event.level != "note"}

    return tried


def test_native_code_is_unproven(verdict, levels):
    elf = b"\x7fELF\x02\x01\x01" + b"\0" * 100
    assert verdict(elf) == ("unproven", {"native.code"})
    assert levels("native", elf) == ("unproven", {"native.code"})


@pytest.mark.parametrize("magic", [b"lmgg", b"algg"])
def test_layouts_of_other_programs_are_noted(magic):
    from modelward.artifact.formats import ggml

    into = Reading()
    ggml.read(magic + b"\0" * 60, into)
    assert [(event.rule, event.level) for event in into.events] == [("ggml.layout", "note")]
    assert not into.proven


def test_a_header_that_starts_with_a_space(levels):
    header = b' {"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    found = levels("safetensors", struct.pack("<Q", len(header)) + header + b"\0")
    assert found == ("unproven", {"safetensors.header"})


@pytest.mark.parametrize("size", [2**63, 10**300, 10**4000])
def test_dimensions_that_no_machine_has(survives, size):
    from modelward.artifact.formats import safetensors

    header = b'{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,1]}}' % size
    assert survives(safetensors.read, struct.pack("<Q", len(header)) + header + b"\0") == "unproven"


@pytest.mark.parametrize("name", ["dtype", "shape", "data_offsets"])
def test_a_key_that_stands_twice_behind_an_escape(levels, name):
    """Counting the plain names alone would not see the name `a` twice."""
    entry = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    escaped = entry.replace(name, name.replace("a", "\\u0061").replace("d", "\\u0064"))
    header = f'{{"a":{escaped},"a":{entry}}}'.encode()
    assert levels("safetensors", struct.pack("<Q", len(header)) + header + b"\0")[0] == "unproven"


# --- what true loaders make of it ---------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 2), st.integers(0, 255)), min_size=1, max_size=3)
)
def test_what_safetensors_refuses_is_not_inert(survives, mutated, edits):
    """The reader is as strict as the reference: of mutations, what it calls inert loads."""
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    np = pytest.importorskip("numpy")
    from modelward.artifact.formats import safetensors

    data = mutated(library.save({"a": np.zeros((2, 3), "f4"), "b": np.ones(4, "i8")}), edits)
    if len(data) > 10 and survives(safetensors.read, data) == "inert":
        assert library.load(data).keys()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2), st.integers(0, 255)), min_size=1, max_size=3)
)
def test_what_msgpack_refuses_is_malformed(survives, mutated, edits):
    library = pytest.importorskip("msgpack", reason="msgpack is not installed")
    from modelward.artifact.formats import flax

    whole = library.packb({"a": [1, 2.5, None, True], "b": {"c": b"raw", "d": "text"}, "e": 1 << 40})
    data = mutated(whole, edits)
    try:
        library.unpackb(data, raw=False, strict_map_key=False, unicode_errors="replace")
    except (ValueError, TypeError):
        return  # also for texts and keys, which the scan does not build
    assert survives(flax.read, data) in {"inert", "unproven"}
