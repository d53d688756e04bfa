"""Manifests: what they bind, what they ignore, and what a reader of hostile ones refuses."""

import hashlib
import json
import struct

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.core.canonical import canonical
from modelward.errors import (
    ConfigInvalid,
    ContentChanged,
    ContentUnstable,
    FileDamaged,
    FileMissing,
    FormatUnknown,
    InputError,
    ProofInvalid,
    SealDamaged,
    SignatureInvalid,
    SignerMissing,
)
from modelward.vault import bundle, dsse
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.tables import reading
from modelward.vault.tables.manifest import (
    GroupProof,
    TableManifest,
    decode,
    encode,
    manifest,
    parse,
    prove_group,
    verify_group,
    verify_manifest,
)
from modelward.vault.tables.reading import TableOptions, open_table
from modelward.vault.tables.rows import row_digests
from modelward.vault.tables.signed import PREDICATE, read_signed, sign_manifest

TYPES = {"id": "int64", "age": "int64", "score": "float64"}


@pytest.fixture(scope="module")
def key():
    return LocalSigner(asymmetric.generate("ed25519"))


def sha(data):
    return hashlib.sha256(data).digest()


def merkle(leaves):
    """RFC 6962 by its recursive definition."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha(b"\1" + merkle(leaves[:split]) + merkle(leaves[split:]))


def test_the_root_by_the_specification(write, people):
    """From parquet to root by the steps of docs/formats/table-manifest.md, without the code under test."""
    table = people(250)
    found = manifest(write(table, "t.parquet", 100))
    columns = [["id", "int64"], ["age", "int64"], ["score", "float64"], ["name", "string"]]
    name, leaves, first = sha(canonical(columns)).hex(), [], 0
    for rows in (100, 100, 50):
        digests = []
        for row in table.slice(first, rows).to_pylist():
            text = row["name"].encode()
            head = b"".join(
                b"\1" + struct.pack(kind, row[at])
                for kind, at in (("<q", "id"), ("<q", "age"), ("<d", "score"))
            )
            digests.append(sha(b"\0" + head + b"\1" + struct.pack("<Q", len(text)) + text))
        body = {"columns": name, "first": first, "root": merkle(digests).hex(), "rows": rows}
        leaves.append(sha(b"\0" + json.dumps(body, separators=(",", ":"), sort_keys=True).encode()))
        first += rows
    assert found.root == "sha256:" + merkle(leaves).hex()
    assert found.rows == 250


def test_compression_and_encoding_do_not_count(tmp_path, people):
    table = people(500)
    roots = set()
    for place, options in enumerate(
        [
            {},
            {"compression": "zstd"},
            {"use_dictionary": False},
            {"data_page_size": 100, "version": "1.0"},
            {"write_statistics": False},
        ]
    ):
        path = tmp_path / f"{place}.parquet"
        pq.write_table(table, path, row_group_size=200, **options)
        roots.add(manifest(path).root)
    assert len(roots) == 1


def test_parquet_arrow_and_csv_of_the_same_rows_have_one_root(write, people):
    table = people(350)
    roots = {manifest(write(table, name)).root for name in ("t.parquet", "t.arrow", "t.arrows")}
    options = TableOptions(group_rows=100, types=TYPES)
    roots.add(manifest(write(table, "t.csv"), options).root)
    assert len(roots) == 1


def test_a_zipped_csv_has_the_root_of_the_plain_one(tmp_path, write, people):
    import gzip

    plain = write(people(300), "t.csv")
    zipped = tmp_path / "t.csv.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    assert manifest(zipped) == manifest(plain)


def test_csv_cells_are_texts_unless_types_are_stated(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n1.0,\n")
    assert manifest(path).columns == (("a", "string"), ("b", "string"))
    typed = manifest(path, TableOptions(types={"a": "float64"}))
    assert typed.columns == (("a", "float64"), ("b", "string"))
    path.write_text("a,b\n1,x\n1,\n")
    assert manifest(path, TableOptions(types={"a": "float64"})).root == typed.root
    path.write_text('a,b\n1,x\n1,""\n')  # a quoted empty text is an empty text
    assert manifest(path, TableOptions(types={"a": "float64"})).root == typed.root


def test_an_empty_cell_of_a_stated_type_is_null(tmp_path, write):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n,y\n")
    table = pa.table({"a": pa.array([1, None], pa.int64()), "b": ["x", "y"]})
    options = TableOptions(types={"a": "int64"})
    assert manifest(path, options).root == manifest(write(table, "t.parquet")).root


def test_every_type_survives_parquet_and_arrow(typed, write):
    parquet, arrow = manifest(write(typed, "t.parquet")), manifest(write(typed, "t.arrow"))
    assert parquet == arrow
    assert manifest(write(typed, "t.arrows")) == arrow


def test_group_rows_cut_any_format_alike(write, people):
    table, options = people(1000), TableOptions(group_rows=64)
    found = {manifest(write(table, f"{group}.parquet", group), options).root for group in (10, 333, 1000)}
    found |= {manifest(write(table, "t.arrow", 77), options).root}
    assert len(found) == 1
    assert [group.rows for group in manifest(write(table, "x.parquet"), options).groups] == [64] * 15 + [40]


def test_csv_is_cut_into_blocks(monkeypatch, write, people):
    monkeypatch.setattr(reading, "GROUP_ROWS", 128)
    assert [group.rows for group in manifest(write(people(300), "t.csv")).groups] == [128, 128, 44]


def test_small_pieces_give_the_same_root(monkeypatch, write, people, typed):
    before = [manifest(write(people(1000), "a.parquet", 400)), manifest(write(typed, "b.arrow"))]
    monkeypatch.setattr(reading, "PIECE", 50)
    assert [manifest(write(people(1000), "a.parquet", 400)), manifest(write(typed, "b.arrow"))] == before


def test_an_empty_table_binds_its_columns(write):
    empty = pa.table({"a": pa.array([], pa.int64())})
    other = pa.table({"b": pa.array([], pa.int64())})
    first, second = manifest(write(empty, "a.arrow")), manifest(write(other, "b.arrow"))
    assert first.rows == second.rows == 0
    assert first.root != second.root
    verify_manifest(write(empty, "a.arrow"), first)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.set_column(
            1, "age", pa.concat_arrays([t["age"].combine_chunks()[:-1], pa.array([1000])])
        ),
        lambda t: t.slice(1),
        lambda t: t.slice(0, 299),
        lambda t: pa.concat_tables([t, t.slice(0, 1)]),
        lambda t: pa.concat_tables([t.slice(1, 1), t.slice(0, 1), t.slice(2)]),
        lambda t: t.rename_columns(["id", "age", "score", "label"]),
        lambda t: t.select(["age", "id", "score", "name"]),
        lambda t: t.drop_columns(["score"]),
        lambda t: t.set_column(1, "age", t["age"].cast(pa.int32())),
    ],
    ids=["cell", "first", "last", "appended", "swapped", "renamed", "reordered", "dropped", "type"],
)
@pytest.mark.parametrize("ending", ["parquet", "arrow", "arrows"])
def test_every_change_is_seen(write, people, change, ending):
    table = people(300)
    pinned = manifest(write(table, f"a.{ending}"))
    verify_manifest(write(table, f"b.{ending}"), pinned)
    changed = write(change(table), f"c.{ending}")
    with pytest.raises(ContentChanged):
        verify_manifest(changed, pinned)
    assert manifest(changed).root != pinned.root


def test_the_sentence_names_the_group(write, people):
    table = people(300)
    pinned = manifest(write(table, "a.parquet"))
    other = table.set_column(
        1, "age", pa.array([*table["age"].to_pylist()[:150], 7, *table["age"].to_pylist()[151:]])
    )
    with pytest.raises(ContentChanged, match=r"group 1 \(rows 100 to 199\)"):
        verify_manifest(write(other, "b.parquet"), pinned)
    with pytest.raises(ContentChanged, match="ends after 2 of the 3 groups"):
        verify_manifest(write(table.slice(0, 200), "c.parquet"), pinned)
    with pytest.raises(ContentChanged, match="more than the 300 rows"):
        verify_manifest(write(pa.concat_tables([table, table]), "d.parquet"), pinned)
    with pytest.raises(ContentChanged, match="column 2 is 'old' of type int64, pinned was 'age'"):
        verify_manifest(write(table.rename_columns(["id", "old", "score", "name"]), "e.parquet"), pinned)
    with pytest.raises(ContentChanged, match="has 3 columns, pinned were 4"):
        verify_manifest(write(table.drop_columns(["name"]), "f.parquet"), pinned)


@pytest.mark.parametrize("ending", ["parquet", "arrow", "arrows", "csv"])
def test_one_group_is_verified_by_its_proof(write, people, ending):
    path = write(people(450), f"t.{ending}")
    options = TableOptions(group_rows=100) if ending == "csv" else TableOptions()
    pinned = manifest(path, options)
    for place in range(5):
        verify_group(path, prove_group(pinned, place), pinned.root, options)
    with pytest.raises(IndexError):
        prove_group(pinned, 5)


def test_only_the_group_that_is_asked_for_is_read(tmp_path, write, people):
    """The others are overwritten: reading them would fail."""
    path = write(people(400), "t.parquet")
    pinned = manifest(path)
    meta = pq.read_metadata(path)
    start = min(
        meta.row_group(2).column(at).dictionary_page_offset or meta.row_group(2).column(at).data_page_offset
        for at in range(4)
    )
    data = bytearray(path.read_bytes())
    data[4:start] = b"\xff" * (start - 4)
    path.write_bytes(data)
    verify_group(path, prove_group(pinned, 2), pinned.root)
    verify_group(path, prove_group(pinned, 3), pinned.root)
    with pytest.raises(FileDamaged):
        verify_group(path, prove_group(pinned, 0), pinned.root)
    with pytest.raises(FileDamaged):
        verify_manifest(path, pinned)


def test_a_group_elsewhere_or_altered_is_refused(write, people):
    table = people(400)
    pinned = manifest(write(table, "t.parquet"))
    proof = prove_group(pinned, 1)
    moved = pa.concat_tables([table.slice(100, 100), table.slice(0, 100), table.slice(200)])
    with pytest.raises(ContentChanged, match="group 1 is not the one"):
        verify_group(write(moved, "m.parquet"), proof, pinned.root)
    with pytest.raises(ContentChanged, match="other columns"):
        verify_group(write(table.rename_columns(list("abcd")), "r.parquet"), proof, pinned.root)
    with pytest.raises(ContentChanged):
        verify_group(write(table.slice(0, 100), "s.parquet"), proof, pinned.root)


def test_a_proof_that_does_not_lead_to_the_root_is_refused(write, people):
    path = write(people(700), "t.parquet")
    pinned = manifest(path)
    proof = prove_group(pinned, 3)
    replace = msgspec.structs.replace
    zeros = "0" * 64
    forged = [
        replace(proof, group=2), replace(proof, groups=4), replace(proof, groups=3), replace(proof, first=0), replace(proof, rows=99),
        replace(proof, root=zeros), replace(proof, columns=zeros), replace(proof, path=proof.path[:-1]),
        replace(proof, path=(*proof.path, zeros)), replace(proof, path=proof.path[::-1]), replace(proof, path=()),
        replace(proof, group=-1), replace(proof, group=700), replace(proof, root="x" * 64), replace(proof, path=("zz",)), replace(proof, first=2**53), replace(proof, rows=-1),
    ]  # fmt: skip
    for bad in forged:
        with pytest.raises(ProofInvalid):
            verify_group(path, bad, pinned.root)
    with pytest.raises(ProofInvalid):
        verify_group(path, proof, "sha256:" + zeros)


def test_a_manifest_survives_its_text(write, people, typed):
    for table in (people(250), typed):
        pinned = manifest(write(table, "t.parquet"))
        assert parse(canonical(encode(pinned))) == pinned
    pinned = manifest(write(people(250), "t.csv"), TableOptions(group_rows=50, types=TYPES))
    assert decode(encode(pinned)) == pinned


@pytest.mark.parametrize(
    "change",
    [
        {"format": "modelward.table/2"}, {"rows": 251}, {"rows": "250"}, {"root": "sha256:" + "0" * 64}, {"root": "é"},
        {"columns": []}, {"columns": [["id", "int32"]]}, {"columns": [["\ud800", "int64"]]}, {"columns": "id"},
        {"groups": []}, {"groups": [[100, "0" * 64]]}, {"groups": [[-1, "0" * 64]]}, {"groups": [[2**60, "0" * 64]]},
        {"groups": [[1, "0" * 63]]}, {"groups": [[True, "0" * 64]]}, {"options": {"group_rows": "x"}}, {"options": {"other": 1}},
        {"extra": 1}, {"options": None},
    ],
    ids=str,
)  # fmt: skip
def test_manifests_that_contradict_themselves_are_refused(write, people, change):
    document = encode(manifest(write(people(250), "t.parquet"))) | change
    with pytest.raises(SealDamaged):
        decode(document)


def test_every_flipped_byte_of_a_manifest_is_refused_or_says_the_same(write, people):
    pinned = manifest(write(people(120), "t.parquet"))
    data = canonical(encode(pinned))
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1
        try:
            assert parse(bytes(flipped)).root == pinned.root
        except SealDamaged:
            continue


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_bytes_are_no_manifest(data):
    with pytest.raises(SealDamaged):
        parse(data)


def test_a_signed_manifest(write, people, key):
    pinned = manifest(write(people(250), "t.parquet"))
    data = sign_manifest(pinned, [key], name="people")
    found = read_signed(data, [key.public])
    assert found == ("people", pinned, (key.public.key_id,))
    statement = dsse.statement_of(bundle.decode(data).envelope)
    assert statement.predicate_type == PREDICATE
    assert statement.subjects == (("people", {"sha256": pinned.root[7:]}),)
    other = LocalSigner(asymmetric.generate("ed25519"))
    with pytest.raises(SignerMissing):
        read_signed(data, [other.public])
    with pytest.raises(SignerMissing):
        read_signed(data, [key.public, other.public], threshold=2)
    with pytest.raises(ValueError, match="without signatures"):
        sign_manifest(pinned, [], name="people")


def test_a_statement_that_is_not_of_this_table_is_refused(write, people, key):
    pinned = manifest(write(people(250), "t.parquet"))
    subject = ("x", {"sha256": pinned.root[7:]})
    good = encode(pinned)
    for subjects, kind, predicate in [
        ((subject,), "https://modelward.dev/tree/v1", good),
        ((subject, subject), PREDICATE, good),
        ((("x", {"sha256": "0" * 64}),), PREDICATE, good),
        ((subject,), PREDICATE, good | {"rows": 1}),
    ]:
        statement = dsse.Statement(subjects=subjects, predicate_type=kind, predicate=predicate)
        with pytest.raises(SealDamaged):
            read_signed(bundle.make(statement, [key]), [key.public])


def test_every_flipped_byte_of_a_signed_manifest_is_refused_or_says_the_same(write, people, key):
    pinned = manifest(write(people(20), "t.parquet"))
    data = sign_manifest(pinned, [key], name="people")
    accepted = 0
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 4
        try:
            assert read_signed(bytes(flipped), [key.public]).manifest == pinned
            accepted += 1  # white space, the unauthenticated hints
        except (SealDamaged, SignatureInvalid, SignerMissing):
            continue
    assert accepted < len(data) // 4


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", FileDamaged), (b"PAR1", FileDamaged), (b"PAR1" + b"\0" * 100 + b"PAR1", FileDamaged), (b"ARROW1\0\0", FileDamaged),
        (b"ARROW1\0\0" + b"\xff" * 60 + b"ARROW1", FileDamaged), (b"\xff\xff\xff\xff\x08\0\0\0abcdefgh", FileDamaged),
        (b"\xff\xff\xff\xff", FileDamaged), (b"\x00\x01\x02\x03", FormatUnknown), (b"\x93NUMPY\x01\0", FileDamaged), (b"a,b\n1\n", FileDamaged),
        (b"a,a\n1,2\n", InputError), (b"1,2\n3,4\n", InputError),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(tmp_path, content, error):
    path = tmp_path / "t"
    path.write_bytes(content)
    with pytest.raises(error):
        manifest(path)


def test_options_that_do_not_fit_are_refused(tmp_path, write, people):
    csv, parquet = write(people(10), "t.csv"), write(people(10), "t.parquet")
    for path, options in [
        (csv, TableOptions(types={"none": "int64"})), (csv, TableOptions(types={"id": "int65"})), (parquet, TableOptions(types={"id": "int64"})),
        (parquet, TableOptions(group_rows=0)),
    ]:  # fmt: skip
        with pytest.raises(ConfigInvalid):
            manifest(path, options)
    with pytest.raises(FileDamaged, match="'name' holds a text that is no int64"):
        manifest(csv, TableOptions(types={"name": "int64"}))
    with pytest.raises(FileMissing):
        manifest(tmp_path / "gone.parquet")
    with pytest.raises(FileMissing):
        manifest(tmp_path)


def test_columns_of_one_name_and_types_without_a_form_are_refused(tmp_path):
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    odd = pa.table({"a": pa.array([pa.MonthDayNano([1, 2, 3])])})
    for place, table in enumerate((twice, odd)):
        path = tmp_path / f"{place}.arrow"
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(InputError):
            manifest(path)


def test_a_file_that_changes_meanwhile_is_refused(write, people):
    path = write(people(100), "t.parquet")

    def read_while_it_is_written():
        with open_table(path, TableOptions()) as table:
            for piece in table.pieces():
                assert len(row_digests(piece.columns, piece.rows)) == piece.rows
            pq.write_table(people(101), path)

    with pytest.raises(ContentUnstable):
        read_while_it_is_written()


@pytest.mark.parametrize("ending", ["parquet", "arrow", "arrows"])
def test_flipped_bytes_of_a_table_change_the_root_or_are_refused(write, people, ending):
    path = write(people(30), f"t.{ending}", 10)
    pinned, data = manifest(path), path.read_bytes()
    for place in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[place] ^= 0x11
        path.write_bytes(flipped)
        try:
            verify_manifest(path, pinned)
        except (InputError, ContentChanged):
            continue  # what is accepted holds the same values: padding, metadata of other readers


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from([b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff", b"a,b\n"]))
def test_any_bytes_behind_a_magic_are_refused_in_a_sentence(tmp_path, data, magic):
    path = tmp_path / "fuzz"
    path.write_bytes(magic + data)
    try:
        manifest(path)
    except InputError:
        return
    assert magic == b"a,b\n"


def test_an_arrow_file_that_expands_implausibly_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "GRACE", 1000)
    path = tmp_path / "bomb.arrow"
    table = pa.table({"a": pa.array([0] * 100_000)})
    with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    with pytest.raises(FileDamaged, match="expand"):
        manifest(path)


def test_proofs_and_manifests_are_plain_values(write, people):
    pinned = manifest(write(people(10), "t.parquet"))
    proof = prove_group(pinned, 0)
    assert msgspec.json.decode(msgspec.json.encode(proof), type=GroupProof) == proof
    assert isinstance(pinned, TableManifest)


def test_a_manifest_of_many_small_values_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("modelward.vault.tables.manifest._MOST_VALUES", 1000)
    with pytest.raises(SealDamaged, match="more than 1000 values"):
        parse(b"[" + b"[]," * 1000 + b"[]]")
