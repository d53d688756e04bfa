"""GGUF and its predecessors: sizes are compared with the file, templates are judged."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import ggml, gguf
from modelward.artifact.reading import Reading

HUGE = (1 << 64) - 1


class Writer:
    """Writes GGUF field by field, in either byte order and any version."""

    def __init__(self, version=3, order="<"):
        self.version, self.order = version, order

    def pack(self, code, *values):
        return struct.pack(self.order + code, *values)

    def count(self, value):
        return self.pack("I" if self.version == 1 else "Q", value)

    def text(self, value, size=None):
        raw = value if isinstance(value, bytes) else value.encode()
        return self.count(len(raw) if size is None else size) + raw

    def pair(self, key, kind, value):
        return self.text(key) + self.pack("I", kind) + value

    def tensor(self, name, shape, kind=0, offset=0):
        dims = b"".join(self.count(size) for size in shape)
        return (
            self.text(name)
            + self.pack("I", len(shape))
            + dims
            + self.pack("I", kind)
            + self.pack("Q", offset)
        )

    def file(self, pairs=(), tensors=(), body=b"", *, counts=None, alignment=32):
        many = counts or (len(tensors), len(pairs))
        head = b"GGUF" + self.pack("I", self.version) + self.count(many[0]) + self.count(many[1])
        head += b"".join(pairs) + b"".join(tensors)
        return head + b"\0" * (-len(head) % alignment) + body


W = Writer()
PAIRS = [
    W.pair("general.architecture", 8, W.text("llama")),
    W.pair("general.license", 8, W.text("apache-2.0")),
    W.pair("x.u8", 0, b"\1"),
    W.pair("x.f64", 12, b"\0" * 8),
    W.pair("x.bool", 7, b"\1"),
    W.pair("tokens", 9, W.pack("IQ", 8, 2) + W.text("a") + W.text("bc")),
    W.pair("numbers", 9, W.pack("IQ", 5, 3) + b"\0" * 12),
    W.pair("nested", 9, W.pack("IQ", 9, 1) + W.pack("IQ", 4, 1) + b"\0" * 4),
    W.pair("tokenizer.chat_template", 8, W.text("{% for m in messages %}{{ m.content }}{% endfor %}")),
]
GOOD = W.file(PAIRS, [W.tensor("a", [8]), W.tensor("b", [2, 3], 1, 32)], b"\0" * 64)


def test_facts(verdict):
    assert verdict(GOOD) == ("inert", set())
    into = Reading()
    gguf.read(GOOD, into)
    assert into.facts["architecture"] == "llama"
    assert into.facts["licence"] == "apache-2.0"
    assert into.facts["tensors"] == 2
    assert into.facts["parameters"] == 14
    assert into.facts["dtypes"] == {"F16": 1, "F32": 1}
    assert into.facts["format_version"] == "3"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_versions_and_byte_orders(verdict, version, order):
    if (version, order) == (1, ">"):
        pytest.skip("version 1 was never written big-endian")
    w = Writer(version, order)
    text = w.pair("general.name", 8, w.text("n"))
    array = w.pair("a", 9, w.pack("I", 8) + w.count(1) + w.text("x"))
    assert verdict(w.file([text, array], [w.tensor("a", [4])], b"\0" * 16)) == ("inert", set())


@pytest.mark.parametrize(
    "template", ["{{ ''.__class__ }}", "{{ cycler.__init__.__globals__.os.popen('id').read() }}"]
)
@pytest.mark.parametrize("key", ["tokenizer.chat_template", "tokenizer.chat_template.tool_use"])
def test_a_chat_template_that_runs_code_is_dangerous(verdict, key, template):
    data = W.file([W.pair(key, 8, W.text(template))])
    level, rules = verdict(data)
    assert level == "dangerous"
    assert rules & {"jinja.internals", "jinja.call"}


@pytest.mark.parametrize(
    "data",
    [
        W.file(counts=(HUGE, 0)),
        W.file(counts=(0, HUGE)),
        W.file(counts=(1 << 60, 0)),
        W.file([W.text("k", HUGE)], counts=(0, 1)),
        W.file([W.pair("k", 8, W.text("v", HUGE - 3))]),
        W.file([W.pair("k", 9, W.pack("IQ", 8, HUGE))]),
        W.file([W.pair("k", 9, W.pack("IQ", 12, 1 << 61))]),
        W.file([W.pair("k", 9, W.pack("IQ", 9, 1 << 62))]),
        W.file([W.pair("k", 9, W.pack("IQ", 8, 1) + W.text("x", HUGE))]),
        W.file(tensors=[W.tensor("a", [1 << 40, 1 << 40])]),
        W.file(tensors=[W.tensor("a", [HUGE])]),
        W.file(tensors=[W.tensor("a", [4], 0, HUGE - 31)]),
        W.file(tensors=[W.tensor("a", [1] * 5)]),
        W.file(tensors=[W.text("a") + W.pack("I", 1 << 31) + b"\0" * 64]),
    ],
)
def test_sizes_that_overflow_loaders_are_dangerous(verdict, data):
    assert verdict(data) == ("dangerous", {"gguf.overflow"})


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (W.file(tensors=[W.tensor("a", [8])], body=b"\0" * 16), "gguf.extent"),
        (W.file(tensors=[W.tensor("a", [8], 0, 16)], body=b"\0" * 64), "gguf.offset"),
        (W.file(tensors=[W.tensor("a", [16]), W.tensor("b", [8], 0, 32)], body=b"\0" * 64), "gguf.overlap"),
        (W.file(tensors=[W.tensor("a", [8]), W.tensor("a", [8], 0, 32)], body=b"\0" * 64), "gguf.repeated"),
        (W.file(tensors=[W.tensor("a", [8], 99)], body=b"\0" * 64), "gguf.type"),
        (W.file(tensors=[W.tensor("a", [33], 2)], body=b"\0" * 64), "gguf.shape"),
        (W.file([W.pair("general.alignment", 4, W.pack("I", 0))]), "gguf.alignment"),
        (W.file([W.pair("general.alignment", 4, W.pack("I", 24))]), "gguf.alignment"),
        (W.file([W.pair("a", 0, b"\0"), W.pair("a", 0, b"\0")]), "gguf.repeated"),
        (W.file([W.pair("a", 13, b"\0" * 8)]), "artifact.unread"),
        (W.file([W.pair("a", 9, W.pack("IQ", 13, 1))]), "artifact.unread"),
        (W.file([W.pair("a", 9, W.pack("IQ", 9, 1) * 8)]), "artifact.unread"),
        (W.file(counts=(9, 0)), "artifact.unread"),
        (Writer(9).file(), "artifact.unread"),
        (b"GGUF\3\0\0\0", "artifact.unread"),
    ],
)
def test_what_contradicts_the_format_is_unproven(verdict, data, rule):
    level, rules = verdict(data)
    assert level == "unproven"
    assert rule in rules


def test_alignment_is_that_of_the_file(verdict):
    pair = W.pair("general.alignment", 4, W.pack("I", 64))
    data = W.file([pair], [W.tensor("a", [8]), W.tensor("b", [8], 0, 64)], b"\0" * 128, alignment=64)
    assert verdict(data) == ("inert", set())


def test_types_are_those_of_the_library():
    library = pytest.importorskip("gguf", reason="gguf is not installed")
    for kind, sizes in library.GGML_QUANT_SIZES.items():
        assert gguf.TYPES[int(kind)] == (kind.name, *sizes)


@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
def test_files_of_the_library(tmp_path, verdict, order):
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("gguf", reason="gguf is not installed")
    writer = library.GGUFWriter(tmp_path / "m.gguf", "llama", endianess=library.GGUFEndian[order])
    writer.add_name("name")
    writer.add_token_list(["a", "bc"] * 100)
    writer.add_array("numbers", [1, 2, 3])
    writer.add_chat_template("{{ messages[0]['content'] }}")
    writer.add_tensor("t", numpy.ones((4, 32), "float32"))
    writer.add_tensor("q", numpy.zeros((2, 34), "uint8"), raw_dtype=library.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = (tmp_path / "m.gguf").read_bytes()
    assert verdict(data) == ("inert", set())
    into = Reading()
    gguf.read(data, into)
    assert into.facts["dtypes"] == {"F32": 1, "Q8_0": 1}
    assert into.facts["parameters"] == 4 * 32 + 2 * 32


@pytest.mark.parametrize("end", range(0, len(GOOD) - 20, 5))
def test_truncation_is_never_inert(survives, end):
    assert survives(gguf.read, GOOD[:end]) == "unproven"


@settings(max_examples=300, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 600), st.integers(0, 2), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_mutations(survives, mutated, edits):
    survives(gguf.read, mutated(GOOD, edits))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120), st.integers(0, 4))
def test_any_bytes(survives, data, version):
    survives(gguf.read, b"GGUF" + struct.pack("<I", version) + data)
    survives(gguf.read, b"GGUF" + struct.pack(">I", version) + data)
    survives(ggml.read, b"tjgg" + struct.pack("<I", version) + data)


# --- before GGUF --------------------------------------------------------------------------------------------


def old(magic=b"tjgg", *, words=((b"a", 1.0), (b"bc", 2.0)), shape=(4,), kind=0, size=16):
    head = magic + struct.pack("<II6I", 1, len(words), 1, 2, 3, 4, 5, 6)
    for word, score in words:
        head += struct.pack("<I", len(word)) + word + struct.pack("<f", score)
    head += struct.pack("<III", len(shape), 1, kind) + struct.pack(f"<{len(shape)}I", *shape) + b"t"
    if magic == b"tjgg":
        head += b"\0" * (-len(head) % 32)
    return head + b"\0" * size


@pytest.mark.parametrize("magic", [b"tjgg", b"fmgg"])
def test_the_layout_of_llama(verdict, magic):
    assert verdict(old(magic)) == ("inert", set())
    assert verdict(old(magic)[:-1])[0] == "unproven"
    assert verdict(old(magic, kind=77))[0] == "unproven"
    assert verdict(old(magic, shape=(1, 1, 1)))[0] == "unproven"
    assert verdict(old(magic, shape=(1 << 31, 1 << 31)))[0] == "unproven"


def test_other_layouts_have_no_verdict(verdict):
    assert verdict(b"lmgg" + b"\7\0\0\0" * 100)[0] is None
