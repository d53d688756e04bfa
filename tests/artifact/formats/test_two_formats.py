"""One content, two loaders: what a file looks like does not decide who opens it."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.sniff import sniff
from modelward.artifact.verdict import inspect_bytes

CALL = b"cos\nsystem\n(S'id'\ntR."
HARMLESS = b"(lp0\nI1\na."


def zipped(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return out.getvalue()


def tarred(content):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("weights.bin")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def tensors(data):
    header = b'{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (len(data), len(data))
    return struct.pack("<Q", len(header)) + header + data


def both(payload):
    """Safetensors whose length is BINSTRING, and whose names hold SHORT_BINSTRINGs that lead to the tensors."""
    size = 10 * 256 + ord("T")
    name, pos = b"aaaaaU~", 17
    while pos + 126 + 200 < size + 8:
        name += b"k" * 126 + b"U~"
        pos += 128
    name += b"k" * 126 + b"U"
    skipped = size + 8 - (pos + 126 + 2)
    name += bytes([skipped])
    tail = b'":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (len(payload), len(payload))
    header = b'{"' + name
    header += b"q" * (size - len(header) - len(tail)) + tail
    assert len(header) == size
    return struct.pack("<Q", size) + header + payload


def picture(payload):
    """BINFLOAT reads the nine bytes of a picture's magic number and size."""
    return b"GIF89a\0\0\0" + payload


def table(payload):
    """Constants with one comma on each line, and then a pickle."""
    return b"S'a,b'\n0" * 14 + payload


BOTH = [(both, "safetensors"), (picture, "image"), (table, "csv")]


@pytest.mark.parametrize(("write", "kind"), BOTH)
def test_the_vectors_are_both(write, kind):
    assert pickle.loads(write(HARMLESS)) == [1]
    assert sniff(write(HARMLESS)).format == kind


def test_the_true_loader_takes_safetensors_that_are_a_pickle():
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    pytest.importorskip("numpy")
    (array,) = library.load(both(HARMLESS)).values()
    assert bytes(array) == HARMLESS


@pytest.mark.parametrize(("write", "kind"), BOTH)
@pytest.mark.parametrize(
    "wrap", [bytes, gzip.compress, tarred, lambda data: zipped(x=data), lambda data: gzip.compress(tarred(data))]
)  # fmt: skip
def test_a_pickle_behind_another_magic_number_is_dangerous(verdict, write, kind, wrap):
    assert verdict(wrap(write(CALL))) == ("dangerous", {"pickle.payload"}), kind


@pytest.mark.parametrize(("write", "kind"), BOTH)
@pytest.mark.parametrize("wrap", [bytes, gzip.compress, tarred])
def test_an_unknown_call_is_unproven(verdict, write, kind, wrap):
    found, rules = verdict(wrap(write(b"cevil_package\nrun\n(S'id'\ntR.")))
    assert found == "unproven", kind
    assert "pickle.unknown-name" in rules


@pytest.mark.parametrize(("write", "kind"), BOTH)
def test_a_harmless_pickle_as_well_is_noted(write, kind):
    report = inspect_bytes(write(HARMLESS), "m")
    assert report.verdict in {"inert", None}
    assert report.format == kind
    assert "artifact.polyglot" in {finding.rule for finding in report.findings}


def test_arrays_of_joblib_behind_another_magic_number(verdict):
    joblib, np = pytest.importorskip("joblib"), pytest.importorskip("numpy")

    class Later:
        def __reduce__(self):
            return pickle.loads, (b"cos\nsystem\n(S'id'\ntR.",)

    out = io.BytesIO()
    joblib.dump([np.arange(1000.0), Later()], out)
    assert verdict(picture(out.getvalue()))[0] != "inert"
    assert verdict(gzip.compress(picture(out.getvalue())))[0] in {"dangerous", "unproven"}


@pytest.mark.parametrize("prefix", [b"N0", b"U\x03abc0", b"K\x000", b"\x880", b"I1\n0"])
def test_a_pickle_before_a_zip_archive(verdict, prefix):
    assert pickle.loads(prefix + HARMLESS + zipped(a="x")) == [1]
    assert verdict(prefix + CALL + zipped(a="x")) == ("dangerous", {"pickle.payload"})
    assert verdict(gzip.compress(prefix + CALL + zipped(a="x"))) == ("dangerous", {"pickle.payload"})


FUNCTION = {
    "__class__": "function", "__module__": "os", "__loader__": "FunctionNode", "protocol": 2,
    "content": {"module_path": "os", "function": "system"}, "_skops_version": "0.11",
}  # fmt: skip
LAMBDA = {
    "class_name": "Lambda", "module": "keras.layers",
    "config": {"name": "l", "function": {
        "class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}},
}  # fmt: skip
ARCHIVES = {
    "skops.payload": zipped(schema__json=json.dumps(FUNCTION)),
    "keras.lambda": zipped(config__json=json.dumps(LAMBDA), metadata__json="{}"),
    "pickle.payload": zipped(**{"archive/data__pkl": CALL, "archive/version": "3"}),
}


@pytest.mark.parametrize("rule", ARCHIVES)
@pytest.mark.parametrize("tail", [b"", b"x", b"\0" * 300])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_an_archive_behind_tensors(verdict, rule, tail, wrap):
    """The readers of zip archives search the end for the directory, whatever follows it."""
    content = tensors(ARCHIVES[rule] + tail)
    assert zipfile.is_zipfile(io.BytesIO(content))
    found, rules = verdict(wrap(content))
    assert found == "dangerous"
    assert rule in rules


def test_a_harmless_archive_behind_tensors_is_unproven(verdict):
    assert verdict(tensors(zipped(a="x") + b"y")) == ("unproven", {"zip.appended"})


@given(st.integers(0, 200))
def test_the_bytes_of_a_directory_alone_are_no_archive(size):
    data = tensors(b"PK\x05\x06" + b"\7" * size)
    assert inspect_bytes(data, "m").verdict == "inert"


# --- words are no pickle ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\n", "car\nbus\ntruck\n", "cat\ndog\nfish.\n", "cab\ncar\ncat\ncow\ndog\n", "chair\ntable\n",
        "(c) 2020 A. Author\nAll rights\n", "(data here)\n", "(I think so)\n", "cat\ndog\n2\n",
        "class\nname\nobject\n", "cardigan\nsweatshirt\n" * 40,
    ],
)  # fmt: skip
def test_lists_of_words_are_text(text):
    report = inspect_bytes(text.encode(), "labels.txt")
    assert (report.format, report.verdict) == ("text", None)


@pytest.mark.parametrize(
    "data",
    [
        b"cevil\nf\n)R", b"cevil\nf\n(S'x'\ntR", b"(S'x'\nievil\nf\n", b"cevil\nf\n.", b"(lp0\nI1\na",
        b"(cevil\nf\nS'x'\no", b"cevil\nf\nS'a'\nb", b"cat\ndog\n" * 8000 + b".",
    ],
)  # fmt: skip
def test_what_gets_on_as_a_pickle_is_one(data):
    report = inspect_bytes(data, "labels.txt")
    assert report.format == "pickle"
    assert report.verdict in {"unproven", "dangerous"}


def test_a_name_that_runs_code_is_found_in_a_stream_that_breaks_off(verdict):
    assert verdict(b"cos\nsystem\n")[0] == "dangerous"


@pytest.mark.parametrize("protocol", [0, 1])
@given(
    st.recursive(st.text() | st.integers() | st.floats(allow_nan=False), lambda x: st.lists(x, max_size=4))
)
def test_whole_pickles_are_still_recognised(protocol, value):
    assert sniff(pickle.dumps(value, protocol)).format == "pickle"


# --- models under other keys --------------------------------------------------------------------------------


def test_a_vocabulary_with_the_word_is_json():
    data = json.dumps({"learner": 7, "gradient": 8, "other": "learner"}).encode()
    assert sniff(data).format == "json"
    assert sniff(b'{"model":' + data + b"}").format == "json"


@pytest.mark.parametrize("gap", [b"", b" ", b"\n\t "])
def test_a_learner_far_from_both_ends(gap):
    padding = b'"%s":"' + b"x" * 70_000 + b'"'
    data = b"{" + padding % b"a" + b',"learner"' + gap + b":" + gap + b"{}," + padding % b"z" + b"}"
    assert sniff(data).format == "xgboost-json"


@pytest.mark.parametrize("start", ["tree\n", "tree\r\n", "\ntree\n"])
def test_a_booster_without_a_version(start):
    text = start + "x" * 5000 + "=1\nnum_class=1\nmax_feature_idx=1\n\nTree=0\n"
    assert sniff(text.encode()).format == "lightgbm"
    assert sniff(b"tree\nhouse\n").format == "text"
