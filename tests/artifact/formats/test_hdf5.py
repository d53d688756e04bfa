"""HDF5: every object is reached in every style of group, and what leads out of the file is found."""

import io
import os
import pickle
import random
import re
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats.hdf5.reader import read
from modelward.artifact.formats.hdf5.store import Store, behind_user_block
from modelward.artifact.reading import Exhausted, Malformed, Reading
from modelward.artifact.verdict import inspect, inspect_bytes

h5py = pytest.importorskip("h5py", reason="h5py writes the files")
np = pytest.importorskip("numpy")

STYLES = [("earliest", False), ("earliest", True), ("v108", False), ("latest", False), ("latest", True)]


class Payload:
    def __reduce__(self):
        return os.system, ("id",)


@pytest.fixture
def made(tmp_path):
    """Write a file by a function and inspect it."""

    def build(write, **options):
        path = tmp_path / "file.h5"
        with h5py.File(path, "w", **options) as file:
            write(file)
        return inspect(path)

    return build


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Small files in both styles with one of everything, as bytes."""
    content = {}
    for style in ("earliest", "latest"):
        path = tmp_path_factory.mktemp("small") / "a.h5"
        with h5py.File(path, "w", libver=style) as file:
            file["x"] = np.arange(3.0)
            file["soft"] = h5py.SoftLink("/x")
            file["out"] = h5py.ExternalLink("/etc/x.h5", "/a")
            file.attrs["model_config"] = '{"class_name": "Dense", "config": {}}'
            file.attrs["fixed"] = np.bytes_(b"text.")
            if style == "latest":
                for index in range(12):
                    file[f"more{index}"] = h5py.SoftLink("/x")
                    file.attrs[f"a{index}"] = index
            layout = h5py.VirtualLayout((2,), "f8")
            layout[:] = h5py.VirtualSource("other.h5", "d", (2,))
            file.create_virtual_dataset("virtual", layout)
        content[style] = path.read_bytes()
    return content


def rules(report):
    return {finding.rule for finding in report.findings if finding.severity != "info"}


def quiet(data):
    reading = Reading("x.h5")
    try:
        read(data, reading)
    except (Malformed, Exhausted):
        return None
    return reading


# --- reaching every object ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("libver", "ordered"), STYLES)
@pytest.mark.parametrize("count", [0, 1, 7, 9, 300])
def test_every_dataset_of_a_group_is_counted(made, libver, ordered, count):
    def write(file):
        group = file.create_group("g", track_order=ordered)
        for index in range(count):
            group.create_dataset(f"name{index}" * 3, data=np.zeros((2, index % 5), "f4"))

    report = made(write, libver=libver, track_order=ordered)
    assert report.verdict == "inert"
    assert report.facts["tensors"] == count
    assert report.facts["parameters"] == sum(2 * (index % 5) for index in range(count))


@pytest.mark.parametrize(("libver", "ordered"), STYLES)
@pytest.mark.parametrize("count", [0, 30, 3000])
def test_an_external_link_among_many_is_found(made, libver, ordered, count):
    def write(file):
        group = file.create_group("a/b", track_order=ordered)
        for index in range(count):
            group[f"n{index}"] = h5py.SoftLink("/")
        group["evil"] = h5py.ExternalLink("/etc/passwd", "/x")

    report = made(write, libver=libver)
    assert report.verdict == "dangerous"
    (found,) = [one for one in report.findings if one.rule == "hdf5.external-link"]
    assert "/a/b/evil" in found.message
    assert "/etc/passwd" in found.message


def test_heaps_within_heaps_and_trees_of_several_levels(made):
    names = [f"{'long name ' * 5}{index}" for index in range(30_000)]

    def write(file):
        for name in names:
            file[name] = h5py.SoftLink("/")
        file["the last one"] = h5py.ExternalLink("/x", "/")
        for index in range(2000):
            file.attrs[f"a{index}"] = "v" * (index % 90)

    report = made(write, libver="latest")
    assert rules(report) == {"hdf5.external-link"}


def test_objects_are_those_that_h5py_visits(made, tmp_path):
    generator = random.Random(7)

    def write(file):
        groups = [file]
        for index in range(200):
            parent = generator.choice(groups)
            if generator.random() < 0.3:
                groups.append(parent.create_group(f"g{index}", track_order=generator.random() < 0.5))
            else:
                parent.create_dataset(f"d{index}", data=np.zeros(generator.randrange(1, 9)))
        groups[-1]["loop"] = file["/"]
        groups[0]["alias"] = groups[-1]

    report = made(write)
    seen = []
    with h5py.File(tmp_path / "file.h5") as file:
        file.visititems(lambda _, item: seen.append(item.size) if isinstance(item, h5py.Dataset) else None)
    assert (report.facts["tensors"], report.facts["parameters"]) == (len(seen), sum(seen))


def test_a_chain_of_groups_is_no_recursion(made):
    def write(file):
        group = file
        for _ in range(3000):
            group = group.create_group("g")
        group["out"] = h5py.ExternalLink("../x.h5", "/")

    assert rules(made(write)) == {"hdf5.external-link"}


def test_types_are_told_by_name(made):
    def write(file):
        for name, kind in {"a": "f4", "b": "i1", "c": ">u8", "d": "f2", "e": "c8", "f": "S3"}.items():
            file[name] = np.zeros(2, kind)
        file["g"] = np.zeros(2, [("x", "i4"), ("y", "f8", (2,))])
        file.create_dataset("h", (3,), dtype=h5py.vlen_dtype("i4"))
        file["type"] = np.dtype("f8")
        file.create_dataset("i", (2,), dtype=file["type"])

    report = made(write)
    kinds = report.facts["dtypes"]
    assert {"float32", "int8", "uint64", "float16", "string", "sequence", "float64"} <= set(kinds)
    assert report.verdict == "inert"
    assert report.facts["tensors"] == 9


def test_a_committed_type_is_no_tensor_and_is_followed(made):
    def write(file):
        file["type"] = np.dtype("f8")
        file.create_dataset("x", (4,), dtype=file["type"])
        file.attrs.create("s", "text.", dtype=h5py.string_dtype())

    report = made(write)
    assert report.facts["dtypes"] == {"float64": 1}


def test_space_for_a_user_before_the_file(tmp_path, made):
    report = made(lambda file: file.__setitem__("x", np.ones(3)), userblock_size=2048)
    assert (report.format, report.verdict) == ("hdf5", "inert")
    data = (tmp_path / "file.h5").read_bytes()
    matlab = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128) + data[128:]
    assert inspect_bytes(matlab, "x.mat").verdict == "inert"
    assert behind_user_block(data, data[:600])
    assert not behind_user_block(b"\0" * 5000, b"\0" * 5000)
    assert not behind_user_block(b"", b"")


@pytest.mark.parametrize("strategy", ["page", "fsm"])
def test_free_space_kept_in_the_superblock_extension(made, strategy):
    def write(file):
        file["x"] = np.ones(3)
        file["y"] = 1
        del file["x"]

    report = made(write, fs_strategy=strategy, fs_persist=True)
    assert (report.verdict, report.facts["tensors"]) == ("inert", 1)


# --- reading other files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("/etc/passwd", "dangerous"),
        ("../../secret.h5", "dangerous"),
        ("a/../../b.h5", "dangerous"),
        ("..\\up.h5", "dangerous"),
        ("C:\\x.h5", "dangerous"),
        ("\\\\host\\share\\x.h5", "dangerous"),
        ("https://example.com/x.h5", "dangerous"),
        ("~/x.h5", "dangerous"),
        ("beside.h5", "unproven"),
        ("folder/beside.h5", "unproven"),
    ],
)
@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("how", ["link", "data", "virtual"])
def test_other_files(made, name, verdict, libver, how):
    def write(file):
        if how == "link":
            file["x"] = h5py.ExternalLink(name, "/a")
        elif how == "data":
            file.create_dataset("x", (10,), "u1", external=[(name.encode(), 0, 10)])
        else:
            layout = h5py.VirtualLayout((3,), "u1")
            layout[:1] = h5py.VirtualSource(".", "y", (1,))
            layout[1:] = h5py.VirtualSource(name, "y", (2,))
            file.create_virtual_dataset("x", layout)

    report = made(write, libver=libver)
    assert report.verdict == verdict
    rule = {"link": "external-link", "data": "external-data", "virtual": "virtual-dataset"}[how]
    assert rules(report) == {f"hdf5.{rule}"}


def test_the_second_of_two_external_files_counts(made):
    def write(file):
        file.create_dataset("x", (20,), "u1", external=[("a.bin", 0, 10), ("/etc/shadow", 0, 10)])

    assert made(write).verdict == "dangerous"


def test_a_virtual_dataset_of_the_file_itself_is_harmless(made):
    def write(file):
        file["a"] = np.arange(12).reshape(3, 4)
        layout = h5py.VirtualLayout((6, 2), "i8")
        layout[:3, :] = h5py.VirtualSource(file["a"])[:, ::2]
        layout[3:, 0] = h5py.VirtualSource(file["a"])[:, 1]
        file.create_virtual_dataset("v", layout)

    assert made(write, libver="latest").verdict == "inert"


def test_soft_links_stay_in_the_file(made):
    def write(file):
        file["x"] = 1
        file["s"] = h5py.SoftLink("/x")
        file["t"] = h5py.SoftLink("/../../etc/passwd")

    assert made(write).verdict == "inert"


def test_a_link_of_an_unknown_kind(small):
    data = bytearray(small["latest"])
    at = data.find(b"\x03out") - 2
    assert data[at + 1] == 64 or data[at - 1] == 64 or 64 in data[at - 12 : at + 2]
    spot = data.rfind(b"\x40", 0, at + 2)
    data[spot] = 77
    reading = quiet(bytes(data))
    assert "hdf5.user-link" in {event.rule for event in reading.events}


def test_filters(made):
    def write(number, name="x"):
        def inner(file):
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plist.set_chunk((2,))
            plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (1, 2, 3))
            space = h5py.h5s.create_simple((4,))
            h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_FLOAT, space, dcpl=plist)

        return inner

    assert made(write(32015)).verdict == "inert"
    assert made(write(40000)).verdict == "unproven"
    assert made(write(500), libver="latest").verdict == "unproven"

    def usual(file):
        file.create_dataset(
            "x", data=np.ones((9, 9)), chunks=(3, 3), compression="gzip", shuffle=True, fletcher32=True
        )
        file.create_dataset("y", data=np.ones(9), compression="lzf")
        file.create_dataset("z", data=np.arange(9), scaleoffset=True)

    report = made(usual)
    assert report.verdict == "inert"
    assert not report.findings


def test_a_dataset_far_larger_than_the_file(made):
    def write(size):
        def inner(file):
            file.create_dataset("x", (size,), "u1", chunks=(1 << 16,))

        return inner

    assert made(write(1 << 45)).verdict == "unproven"
    assert made(write(1 << 30)).verdict == "inert"


# --- pickles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_pytables_unpickles_attributes(made, protocol, libver):
    def write(file):
        file.create_group("g").attrs["x"] = np.bytes_(pickle.dumps(Payload(), protocol))

    report = made(write, libver=libver)
    assert report.verdict == "dangerous"
    assert any("system" in str(finding.call) for finding in report.findings)


def test_a_pickle_that_breaks_off_after_its_call(made):
    content = pickle.dumps(Payload(), 0)[:-1] + b"garbage."
    assert made(lambda file: file.attrs.__setitem__("x", np.bytes_(content))).verdict == "dangerous"


def test_harmless_pickles_and_sentences_in_attributes(made):
    def write(file):
        file.attrs["list"] = np.bytes_(pickle.dumps([1, 2, {"a": (None, 2.5)}], 0))
        file.attrs["text"] = np.bytes_(b"A sentence, and another one.")
        file.attrs["code"] = "cos is a function."
        file.attrs["array"] = np.array([b"One.", b"Two."])

    assert made(write).verdict == "inert"


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_pytables_unpickles_object_arrays(made, compression):
    def write(content):
        def inner(file):
            kind = h5py.vlen_dtype("u1")
            data = file.create_dataset("o", (2,), dtype=kind, chunks=(1,), compression=compression)
            data[0] = np.frombuffer(pickle.dumps([1, "x"], 5), "u1")
            data[1] = np.frombuffer(content, "u1")
            data.attrs["PSEUDOATOM"] = np.bytes_(b"object")

        return inner

    report = made(write(pickle.dumps(Payload(), 4)))
    assert report.verdict == "dangerous"
    assert made(write(pickle.dumps({"a": [1.5]}, 4))).verdict == "inert"


def _in_attribute(file, content):
    file.create_group("g").attrs["x"] = np.void(content)


def _in_array_attribute(file, content):
    file.attrs["x"] = np.frombuffer(content, "u1")


def _in_bytes(file, content):
    file["g/x"] = np.frombuffer(content, "u1")


def _in_opaque(file, content):
    file["x"] = np.void(content)


def _in_text(file, content):
    file["x"] = np.bytes_(content)


def _in_sequence(file, content):
    file.create_dataset("x", (2,), dtype=h5py.vlen_dtype(np.uint8))[1] = np.frombuffer(content, "u1")


def _in_sequence_attribute(file, content):
    made = np.empty(1, object)
    made[0] = np.frombuffer(content, "u1")
    file.attrs.create("x", made, dtype=h5py.vlen_dtype(np.uint8))


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "write",
    [
        _in_attribute,
        _in_array_attribute,
        _in_bytes,
        _in_opaque,
        _in_text,
        _in_sequence,
        _in_sequence_attribute,
    ],
)
def test_bytes_that_are_a_pickle_are_read_wherever_they_stand(made, write, protocol):
    assert made(lambda file: write(file, pickle.dumps(Payload(), protocol))).verdict == "dangerous"
    assert made(lambda file: write(file, pickle.dumps([1, {"a": None}], protocol))).verdict == "inert"
    assert made(lambda file: write(file, b"\x80\x04 an image that ends so.")).verdict == "inert"


def test_hickle_keeps_pickles_in_datasets(made):
    def write(content, chunks=None):
        def inner(file):
            data = file.create_dataset("o", data=np.frombuffer(content, "u1"), chunks=chunks)
            data.attrs["base_type"] = np.bytes_(b"pickle")

        return inner

    assert made(write(pickle.dumps(Payload()))).verdict == "dangerous"
    assert made(write(pickle.dumps([1, 2]))).verdict == "inert"
    assert made(write(pickle.dumps([1, 2]), (4,))).verdict == "unproven"


def test_pandas_and_pytables_write_what_is_harmless(tmp_path):
    pytest.importorskip("tables", reason="PyTables writes the files")
    pd = pytest.importorskip("pandas")
    import warnings

    frame = pd.DataFrame(
        {"a": np.arange(9.0), "b": [f"x{index}" for index in range(9)], "c": pd.date_range("2020", periods=9)}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame.to_hdf(tmp_path / "fixed.h5", key="k")
        frame.to_hdf(tmp_path / "table.h5", key="k", format="table", data_columns=True)
        frame.set_index("c")[["a"]].to_hdf(tmp_path / "time.h5", key="k", complevel=9, complib="blosc")
        frame.set_index(["a", "b"]).to_hdf(tmp_path / "multi.h5", key="k")
        pd.DataFrame({"m": [1, "x", None, {"q": 1}]}).to_hdf(tmp_path / "objects.h5", key="k")
    found = {path.name: inspect(path).verdict for path in tmp_path.glob("*.h5")}
    assert found == dict.fromkeys(("fixed.h5", "table.h5", "time.h5", "multi.h5", "objects.h5"), "inert")


def test_a_pandas_frame_with_a_payload_in_a_cell(tmp_path):
    tables = pytest.importorskip("tables", reason="PyTables writes the files")
    with tables.open_file(tmp_path / "x.h5", "w") as file:
        array = file.create_vlarray("/", "o", tables.ObjectAtom())
        array.append([1, 2])
        array.append(Payload())
    assert inspect(tmp_path / "x.h5").verdict == "dangerous"


def test_netcdf_is_harmless(tmp_path):
    netcdf = pytest.importorskip("h5netcdf", reason="h5netcdf writes the file")
    with netcdf.File(tmp_path / "x.nc", "w") as file:
        file.dimensions = {"x": 5}
        file.create_variable("t", ("x",), float).attrs["units"] = "K."
    assert inspect(tmp_path / "x.nc").verdict == "inert"


# --- Keras configurations in attributes ---------------------------------------------------------------------

EVIL = '{"class_name": "function", "config": "system", "module": "os", "registered_name": "system"}'


@pytest.mark.parametrize(
    ("libver", "kind", "pad"),
    [
        ("earliest", "variable", 0),
        ("earliest", "fixed", 0),
        ("earliest", "variable", 200_000),
        ("latest", "fixed", 0),
        ("latest", "fixed", 200_000),
        ("latest", "variable", 200_000),
    ],
)
@pytest.mark.parametrize("group", ["/", "deep/er"])
def test_configurations_wherever_they_are_stored(made, libver, kind, pad, group):
    text = f'{{"class_name": "Dense", "config": {{"pad": "{"x" * pad}", "f": {EVIL}}}}}'

    def write(file):
        where = file.require_group(group)
        for index in range(12 if pad else 0):
            where.attrs[f"a{index}"] = index
        where.attrs["model_config"] = np.bytes_(text.encode()) if kind == "fixed" else text

    report = made(write, libver=libver)
    assert report.verdict == "dangerous"
    assert "keras.injection" in rules(report)


def test_a_configuration_that_is_no_text_is_not_proven(made):
    assert made(lambda file: file.attrs.__setitem__("model_config", np.arange(3))).verdict == "unproven"
    assert made(lambda file: file.attrs.__setitem__("model_config", "{no json")).verdict == "unproven"


def test_the_release_of_keras_is_a_fact(made):
    def write(file):
        file.attrs["keras_version"] = "2.9.0"
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = '{"class_name": "Dense", "config": {"name": "d"}}'

    report = made(write)
    assert report.verdict == "inert"
    assert report.facts["framework"] == "keras 2.9.0"
    assert report.facts["metadata"] == {"keras_version": "2.9.0", "backend": "tensorflow"}
    assert report.facts["operators"] == ["Dense"]


# --- damage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["earliest", "latest"])
def test_cut_off_anywhere(small, style):
    data = small[style]
    whole = quiet(data)
    assert any(event.level == "dangerous" for event in whole.events)
    for size in range(0, len(data), 1 if len(data) < 4000 else 7):
        reading = quiet(data[:size])
        assert reading is None or reading.events or size > 0.9 * len(data)


@pytest.mark.parametrize("style", ["earliest", "latest"])
@settings(max_examples=150, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 0.999), st.sampled_from([0, 1, 2, 8, 127, 255]) | st.integers(0, 255)),
        min_size=1,
        max_size=8,
    )
)
def test_changed_bytes_raise_nothing_else(small, style, changes):
    data = bytearray(small[style])
    for where, value in changes:
        data[int(where * len(data))] = value
    quiet(bytes(data))


@settings(max_examples=100, deadline=None)
@given(version=st.integers(0, 4), rest=st.binary(max_size=300))
def test_any_bytes_behind_the_signature(version, rest):
    quiet(b"\x89HDF\r\n\x1a\n" + bytes([version]) + rest)


def test_a_damaged_object_hides_no_other(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        broken = file.create_group("a").id
        address = h5py.h5o.get_info(broken).addr
        file["b"] = h5py.ExternalLink("/etc/x", "/")
    data = bytearray(path.read_bytes())
    data[address] = 99
    report = inspect_bytes(bytes(data), "x.h5")
    assert rules(report) == {"hdf5.external-link", "artifact.unread"}


def header(messages):
    """An object header of version 1."""
    body = b"".join(struct.pack("<HHB3x", kind, len(content), 0) + content for kind, content in messages)
    return struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body


def file_of(parts, root=96):
    """A file of version 0 with objects at chosen addresses; `parts` is address -> bytes."""
    data = bytearray(4096)
    data[:8] = b"\x89HDF\r\n\x1a\n"
    data[13:15] = b"\x08\x08"
    struct.pack_into("<4Q", data, 24, 0, 2**64 - 1, 4096, 2**64 - 1)
    struct.pack_into("<QQ", data, 56, 0, root)
    for address, content in parts.items():
        data[address : address + len(content)] = content
    return bytes(data)


def test_a_header_that_continues_in_itself_ends():
    loop = header([(0x10, struct.pack("<QQ", 112, 24))])
    reading = quiet(file_of({96: loop}))
    assert any("comes back" in event.message for event in reading.events)


def test_a_tree_that_is_its_own_child_ends():
    group = header([(0x11, struct.pack("<QQ", 512, 1024))])
    tree = b"TREE\0\x01" + struct.pack("<HQQ", 1, 2**64 - 1, 2**64 - 1) + struct.pack("<QQQ", 0, 512, 0)
    heap = b"HEAP\0\0\0\0" + struct.pack("<QQQ", 64, 2**64 - 1, 1100)
    reading = quiet(file_of({96: group, 512: tree, 1024: heap}))
    assert any("comes back" in event.message for event in reading.events)


def test_names_outside_their_heap_are_reported():
    group = header([(0x11, struct.pack("<QQ", 512, 1024))])
    tree = b"TREE\0\0" + struct.pack("<HQQ", 1, 2**64 - 1, 2**64 - 1) + struct.pack("<QQQ", 0, 700, 0)
    heap = b"HEAP\0\0\0\0" + struct.pack("<QQQ", 64, 2**64 - 1, 1100)
    node = b"SNOD\x01\0" + struct.pack("<H", 1) + struct.pack("<QQI4x16x", 9999, 96, 0)
    reading = quiet(file_of({96: group, 512: tree, 700: node, 1024: heap}))
    assert any("outside its heap" in event.message for event in reading.events)


@pytest.mark.parametrize("kind", ["driver", "shared"])
def test_parts_that_lie_elsewhere_are_not_proven(kind):
    if kind == "driver":
        data = bytearray(file_of({96: header([])}))
        struct.pack_into("<Q", data, 48, 2048)
        reading = quiet(bytes(data))
        assert {event.rule for event in reading.events} == {"hdf5.driver"}
    else:
        shared = struct.pack("<HHB3x", 0x0C, 16, 2) + b"\x03\x01" + b"\0" * 14
        reading = quiet(file_of({96: struct.pack("<BxHII4x", 1, 1, 1, len(shared)) + shared}))
        assert reading.unread


def test_sizes_that_no_file_has():
    data = bytearray(file_of({96: header([])}))
    data[13] = 3
    with pytest.raises(Malformed, match="addresses of 3 bytes"):
        Store(bytes(data), lambda steps: None)
    with pytest.raises(Malformed, match="no HDF5 signature"):
        Store(b"\0" * 2000, lambda steps: None)


def test_steps_are_bounded(small, monkeypatch):
    monkeypatch.setattr("modelward.artifact.reading.STEPS", 5)
    with pytest.raises(Exhausted):
        read(small["latest"], Reading("x"))
    report = inspect_bytes(small["latest"], "x.h5")
    assert report.verdict in {"unproven", "dangerous"}
    assert any("steps" in sentence for sentence in report.coverage.unread)


def test_findings_of_one_kind_are_bounded(made):
    def write(file):
        for index in range(200):
            file[f"x{index}"] = h5py.ExternalLink("/etc/x", "/")

    report = made(write)
    assert 0 < len(report.findings) <= 50


def test_a_large_file_costs_its_headers_only(tmp_path):
    import time

    path = tmp_path / "big.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (1 << 28,), "f4", fillvalue=None)
        file["x"][-1:] = 1
    assert path.stat().st_size > 1 << 30
    start = time.process_time()
    assert inspect(path).verdict == "inert"
    assert time.process_time() - start < 0.5
    assert re.fullmatch(r"superblock \d", str(inspect(path).facts["format_version"]))


# --- an independent route -----------------------------------------------------------------------------------


def outward(path):
    """What h5py itself sees that leads out of the file."""
    found = set()

    def visit(group):
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                found.add(("external-link", link.filename))
            elif isinstance(link, h5py.HardLink):
                item = group[name]
                if isinstance(item, h5py.Group):
                    visit(item)
                    continue
                found.update(("external-data", part[0]) for part in item.external or ())
                if item.is_virtual:
                    found.update(("virtual-dataset", part.file_name) for part in item.virtual_sources())

    with h5py.File(path) as file:
        visit(file)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_what_leads_out_is_what_h5py_sees(tmp_path, seed):
    generator = random.Random(seed)
    path = tmp_path / "x.h5"
    style = generator.choice(["earliest", "v108", "v110", "latest"])
    with h5py.File(path, "w", libver=style, track_order=generator.random() < 0.5) as file:
        groups = [file]
        for index in range(150):
            parent, kind, name = (
                generator.choice(groups),
                generator.randrange(6),
                f"n{index}" * generator.randrange(1, 9),
            )
            if kind == 0:
                groups.append(parent.create_group(name, track_order=generator.random() < 0.5))
            elif kind == 1:
                parent[name] = h5py.ExternalLink(f"/l{index}", "/x")
            elif kind == 2:
                parent.create_dataset(name, (2,), "u1", external=[(f"/d{index}", 0, 2)])
            elif kind == 3:
                layout = h5py.VirtualLayout((4,), "u1")
                layout[1:3] = h5py.VirtualSource(f"/v{index}", "d", (2,))
                parent.create_virtual_dataset(name, layout)
            else:
                parent[name] = h5py.SoftLink("/") if kind == 4 else index
    seen = {
        (event.rule.removeprefix("hdf5."), event.message.split("the file ")[1].split(",")[0])
        for event in quiet(path.read_bytes()).events
    }
    assert seen == outward(path)
    assert len({kind for kind, _ in seen}) == 3


@pytest.mark.parametrize(
    "start",
    [b"\x89PNG\r\n\x1a\n", b"SQLite format 3\0", b"PK\x05\x06" + b"\0" * 18, b'{"a": 1}', b"%PDF-1.4\n\0"],
)
def test_a_user_block_of_another_format_does_not_hide_the_file(start):
    h5py = pytest.importorskip("h5py")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=512) as file:
        file["x"] = h5py.ExternalLink("/etc/passwd", "/")
    data = (
        start.ljust(512, b"\0" if b"\0" in start or start[:1] == b"\x89" else b" ") + buffer.getvalue()[512:]
    )
    with h5py.File(io.BytesIO(data)) as file:
        assert file.get("x", getlink=True).filename == "/etc/passwd"
    report = inspect_bytes(data, "model.h5")
    assert report.verdict == "dangerous"
    assert "hdf5.external-link" in {finding.rule for finding in report.findings}
