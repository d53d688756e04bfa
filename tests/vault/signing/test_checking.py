"""Files against a statement: what changed is named, what is missing is never passed over in silence."""

import os
import shutil
import subprocess
import sys

import pytest

from modelward.errors import (
    ConfigInvalid,
    ContentChanged,
    ContentUnstable,
    FileMissing,
    PathUnsafe,
    SealDamaged,
)
from modelward.vault.dsse import Statement
from modelward.vault.signing.checking import Checked, CheckOptions, check_files, read_files
from modelward.vault.signing.openssf import PREDICATE, Manifest, Resource
from modelward.vault.signing.signing import SigningOptions, hash_model, sign_openssf
from modelward.vault.signing.tree_statement import tree_statement
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tree.hashing import TreeOptions, hash_tree

PARTIAL = CheckOptions(partial=True)
KINDS = ["files", "shards", "tree", "root"]


def root_of(statement):
    ((_, digest),) = statement.subjects
    ((algorithm, text),) = digest.items()
    return f"{algorithm}:{text}"


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def stated(path, kind, **options):
    """The statement of a model, of each kind that this package writes."""
    if kind in {"files", "shards"}:
        tree = TreeOptions(**options)
        return hash_model(path, SigningOptions(method=kind, shard_size=7, tree=tree)).statement()
    return tree_statement(hash_tree(path, TreeOptions(**options)), name="m", listed=kind == "tree")


def test_an_unchanged_model(model, kind):
    statement = stated(model, kind)
    checked = check_files(statement, model)
    shards = kind == "shards"
    assert checked == Checked(
        root=root_of(statement), files=4 if shards else 5, bytes=10293, unsigned=("empty",) if shards else ()
    )
    assert checked.missing == ()
    assert checked.root.startswith("sha256:")


def test_what_was_read_of_a_statement_will_do(model, kind):
    statement = stated(model, kind)
    assert check_files(read_files(statement), model) == check_files(statement, model)


def test_a_model_elsewhere_under_another_name(model, kind, tmp_path):
    statement = stated(model, kind)
    shutil.copytree(model, tmp_path / "copy")
    check_files(statement, tmp_path / "copy")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: (m / "a.bin").write_bytes(b"0123456789" * 4 + b"012345678x"), "a.bin: altered"),
        (lambda m: (m / "a.bin").write_bytes(b"0123456789" * 6), "a.bin: altered"),
        (lambda m: (m / "a.bin").write_bytes(b"0123456789" * 4), "a.bin: altered"),
        (lambda m: (m / "a" / "z").unlink(), "a/z: missing"),
        (lambda m: (m / "a" / "new").write_bytes(b"new"), "a/new: added, was not sealed"),
        (lambda m: ((m / "a" / "z").unlink(), (m / "b").write_bytes(b"b")), "a/z: missing; b: added"),
    ],
)
def test_what_changed_is_named(model, kind, change, sentence):
    statement = stated(model, kind)
    change(model)
    with pytest.raises(ContentChanged) as caught:
        check_files(statement, model)
    if kind == "root":
        assert "which of them differ was not signed" in str(caught.value)
    else:
        assert sentence in str(caught.value)


def test_two_files_exchanged(model, kind):
    """The digest of an OpenSSF subject is blind to names only as long as their order of digests stays."""
    statement = stated(model, kind)
    a, z = model / "a.bin", model / "a" / "z"
    first, second = a.read_bytes(), z.read_bytes()
    a.write_bytes(second)
    z.write_bytes(first)
    with pytest.raises(ContentChanged):
        check_files(statement, model)


def test_a_renamed_file_is_told_from_a_new_one(model):
    for kind in ("files", "shards"):
        statement = stated(model, kind)
        (model / "config.json").rename(model / "settings.json")
        with pytest.raises(ContentChanged, match=r"^config\.json: renamed to settings\.json$"):
            check_files(statement, model)
        with pytest.raises(ContentChanged, match=r"^config\.json: renamed to settings\.json$"):
            check_files(statement, model, PARTIAL)
        (model / "settings.json").rename(model / "config.json")


def test_equal_files_are_renamed_one_by_one(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"same")
    statement = stated(tmp_path, "files")
    (tmp_path / "a").rename(tmp_path / "x")
    (tmp_path / "b").rename(tmp_path / "y")
    (tmp_path / "z").write_bytes(b"same")
    with pytest.raises(ContentChanged) as caught:
        check_files(statement, tmp_path)
    assert str(caught.value) == "z: added, was not sealed; a: renamed to x; b: renamed to y"


def test_at_most_ten_files_are_named(tmp_path, kind):
    for index in range(25):
        (tmp_path / f"f{index:02}").write_bytes(b"%d" % index)
    statement = stated(tmp_path, kind)
    for index in range(25):
        (tmp_path / f"f{index:02}").write_bytes(b"x%d" % index)
    with pytest.raises(ContentChanged) as caught:
        check_files(statement, tmp_path)
    if kind != "root":
        assert str(caught.value).count("altered") == 10
        assert str(caught.value).endswith("f09: altered and 15 more")


@pytest.mark.parametrize(("count", "end"), [(10, "f9: altered"), (11, " and 1 more")])
def test_ten_are_named_and_one_more_is_counted(tmp_path, count, end):
    for index in range(count):
        (tmp_path / f"f{index}").write_bytes(b"%d" % index)
    statement = stated(tmp_path, "files")
    for index in range(count):
        (tmp_path / f"f{index}").write_bytes(b"x%d" % index)
    with pytest.raises(ContentChanged) as caught:
        check_files(statement, tmp_path)
    assert str(caught.value).endswith(end)


def test_names_in_sentences_hold_no_control_characters(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    statement = stated(tmp_path, "files")
    (tmp_path / "evil\x1b[2Jname\n").write_bytes(b"")
    with pytest.raises(ContentChanged) as caught:
        check_files(statement, tmp_path)
    assert str(caught.value).isprintable()


class TestPartial:
    @pytest.mark.parametrize("kind", ["files", "shards", "tree"])
    def test_missing_files_are_listed(self, model, kind):
        statement = stated(model, kind)
        shutil.rmtree(model / "deep")
        (model / "a.bin").unlink()
        checked = check_files(statement, model, PARTIAL)
        assert checked.missing == ("a.bin", "deep/er/weights")
        assert checked.files == (2 if kind == "shards" else 3)
        assert checked.bytes == 3
        assert checked.root == root_of(statement)
        with pytest.raises(ContentChanged, match="missing"):
            check_files(statement, model)

    @pytest.mark.parametrize("kind", ["files", "shards", "tree"])
    def test_nothing_missing(self, model, kind):
        assert check_files(stated(model, kind), model, PARTIAL).missing == ()

    @pytest.mark.parametrize("kind", ["files", "shards", "tree"])
    def test_at_least_one_file_is_there(self, model, kind, tmp_path):
        statement = stated(model, kind)
        other = tmp_path / "other"
        other.mkdir()
        with pytest.raises(ContentChanged, match="none of the signed files is there"):
            check_files(statement, other, PARTIAL)
        (other / "model.sig").write_bytes(b"the signature alone")
        excluded = CheckOptions(partial=True, tree=TreeOptions(excluded=(other / "model.sig",)))
        with pytest.raises(ContentChanged, match="none of the signed files is there"):
            check_files(statement, other, excluded)
        (other / "stranger").write_bytes(b"")
        with pytest.raises(ContentChanged, match="none of the signed files is there"):
            check_files(statement, other, CheckOptions(partial=True, unsigned=True))

    @pytest.mark.parametrize("kind", ["files", "shards", "tree"])
    def test_what_is_there_must_hold(self, model, kind):
        statement = stated(model, kind)
        (model / "a.bin").unlink()
        (model / "config.json").write_bytes(b"[]")
        with pytest.raises(ContentChanged, match=r"^config\.json: altered$"):
            check_files(statement, model, PARTIAL)

    @pytest.mark.parametrize("kind", ["files", "shards", "tree"])
    def test_a_cut_download_is_no_missing_file(self, model, kind):
        statement = stated(model, kind)
        (model / "a.bin").write_bytes((model / "a.bin").read_bytes()[:14])
        with pytest.raises(ContentChanged, match=r"^a\.bin: altered$"):
            check_files(statement, model, PARTIAL)

    @pytest.mark.parametrize("kind", ["files", "shards", "tree"])
    def test_added_files_are_refused_all_the_same(self, model, kind):
        statement = stated(model, kind)
        (model / "a.bin").unlink()
        (model / "extra.py").write_bytes(b"import os")
        with pytest.raises(ContentChanged, match=r"^extra\.py: added"):
            check_files(statement, model, PARTIAL)

    def test_a_root_alone_has_no_part(self, model):
        with pytest.raises(ConfigInvalid, match="over a root alone"):
            check_files(stated(model, "root"), model, PARTIAL)

    def test_one_file_is_the_whole(self, model):
        statement = stated(model / "a.bin", "files")
        assert check_files(statement, model / "a.bin", PARTIAL).missing == ()


class TestUnsigned:
    @pytest.mark.parametrize("kind", ["files", "shards", "tree"])
    def test_what_was_not_signed_can_be_passed_over(self, model, kind):
        statement = stated(model, kind)
        (model / "deep" / "log").write_bytes(b"new")
        (model / "notes").mkdir()
        (model / "notes" / "n").write_bytes(b"new")
        checked = check_files(statement, model, CheckOptions(unsigned=True))
        assert checked.files == (4 if kind == "shards" else 5)
        with pytest.raises(ContentChanged, match=r"deep/log: added.*; notes/n: added"):
            check_files(statement, model)

    @pytest.mark.parametrize("kind", ["files", "shards", "tree"])
    def test_what_was_signed_must_hold_and_be_there(self, model, kind):
        statement = stated(model, kind)
        (model / "new").write_bytes(b"new")
        (model / "a" / "z").unlink()
        with pytest.raises(ContentChanged, match=r"^a/z: missing$"):
            check_files(statement, model, CheckOptions(unsigned=True))

    def test_a_root_alone_counts_every_file(self, model):
        with pytest.raises(ConfigInvalid, match="over a root alone"):
            check_files(stated(model, "root"), model, CheckOptions(unsigned=True))


class TestIgnored:
    def test_the_signature_and_git(self, model, alice):
        sig = model / "model.sig"
        (model / ".git").mkdir()
        (model / ".git" / "HEAD").write_bytes(b"1")
        tree = TreeOptions(excluded=(sig,))
        sig.write_bytes(sign_openssf(model, [alice], SigningOptions(tree=tree)))
        (model / ".git" / "HEAD").write_bytes(b"2")
        (model / ".gitattributes").write_bytes(b"*")
        statement = verify_bundle(sig.read_bytes(), [alice.public]).statement
        assert statement.predicate["serialization"]["ignore_paths"][-1] == "model.sig"
        assert check_files(statement, model).files == 5
        (model / "deep" / ".git").write_bytes(b"only at the top")
        with pytest.raises(ContentChanged, match=r"deep/\.git: added"):
            check_files(statement, model)

    def test_a_signature_under_another_name_is_named_by_the_caller(self, model, alice):
        statement = verify_bundle(sign_openssf(model, [alice]), [alice.public]).statement
        (model / "later.sig").write_bytes(b"")
        with pytest.raises(ContentChanged, match=r"later\.sig: added"):
            check_files(statement, model)
        check_files(statement, model, CheckOptions(tree=TreeOptions(excluded=(model / "later.sig",))))

    def with_ignored(self, model, *paths):
        manifest = hash_model(model)
        return Manifest(name="m", ignore_paths=paths, resources=manifest.resources).statement()

    def test_a_folder_that_is_ignored(self, model):
        (model / "cache").mkdir()
        (model / "cache" / "x").write_bytes(b"x")
        manifest = hash_model(model, SigningOptions(tree=TreeOptions(excluded=(model / "cache",))))
        for spelled in ("cache", "cache/", "./cache"):
            said = Manifest(name="m", ignore_paths=(spelled,), resources=manifest.resources)
            assert check_files(said.statement(), model).files == 5

    def test_what_is_there_and_was_left_out_is_said(self, model):
        """Storage may put there what it likes, and the signature holds."""
        statement, told = self.with_ignored(model, "cache", "model.sig", "absent"), []
        (model / "cache").mkdir()
        (model / "cache" / "run.py").write_bytes(b"x")
        (model / "model.sig").write_bytes(b"{}")
        (model / ".git").mkdir()
        tree = TreeOptions(excluded=(model / "model.sig",), warn=told.append)
        assert check_files(statement, model, CheckOptions(tree=tree)).files == 5
        assert told == ["left out by who signed, so not compared: cache"]

    def test_what_is_signed_is_checked_even_where_it_is_ignored(self, model):
        statement = self.with_ignored(model, "a", "a.bin", "deep/er/weights")
        check_files(statement, model)
        (model / "a" / "z").write_bytes(b"y")
        with pytest.raises(ContentChanged, match="a/z: altered"):
            check_files(statement, model)

    @pytest.mark.parametrize(
        "path", ["/", "/etc", "..", "../x", "a/../..", ".", "", "x\0y/z", "\ud800/x", "\udcff", "new\0"]
    )
    def test_paths_that_leave_the_model_ignore_nothing(self, model, path):
        statement = self.with_ignored(model, path)
        check_files(statement, model)
        (model / "new").write_bytes(b"")
        with pytest.raises(ContentChanged, match="new: added"):
            check_files(statement, model)

    def test_no_patterns(self, model):
        statement = self.with_ignored(model, "*", "**/*", "n?w")
        (model / "new").write_bytes(b"")
        with pytest.raises(ContentChanged, match="new: added"):
            check_files(statement, model)


class TestPlaces:
    def test_nothing_there(self, model, kind, tmp_path):
        with pytest.raises(FileMissing):
            check_files(stated(model, kind), tmp_path / "nowhere")

    def test_a_file_for_a_folder(self, model, kind):
        statement = stated(model, kind)
        with pytest.raises(ContentChanged) as caught:
            check_files(statement, model / "a.bin")
        if kind in {"files", "shards"}:
            assert "is one file, and the signature is over a folder" in str(caught.value)
            assert "folder that holds it" in caught.value.advice

    @pytest.mark.parametrize("kind", ["files", "shards"])
    def test_a_folder_for_a_file(self, model, kind):
        with pytest.raises(ContentChanged, match="is a folder, and the signature is over one file"):
            check_files(stated(model / "a.bin", kind), model)

    @pytest.mark.parametrize("kind", ["files", "shards"])
    def test_a_file_under_another_name(self, model, kind):
        statement = stated(model / "a.bin", kind)
        (model / "a.bin").rename(model / "b.bin")
        assert check_files(statement, model / "b.bin").files == 1  # the format does not bind its name

    @pytest.mark.parametrize("kind", ["files", "shards"])
    @pytest.mark.parametrize("now", [b"", b"other", b"0123456789" * 6])
    def test_a_changed_file_is_called_by_its_name(self, model, kind, now):
        statement = stated(model / "a.bin", kind)
        (model / "a.bin").write_bytes(now)
        with pytest.raises(ContentChanged, match=r"^a\.bin: altered$"):
            check_files(statement, model / "a.bin")

    def test_an_emptied_folder(self, model, kind):
        statement = stated(model, kind)
        for file in [p for p in model.rglob("*") if p.is_file()]:
            file.unlink()
        with pytest.raises((ContentChanged, FileMissing)):
            check_files(statement, model)

    def test_a_link_out_of_the_model(self, model, kind, tmp_path):
        statement = stated(model, kind)
        (tmp_path / "secret").write_bytes(b"")
        (model / "link").symlink_to(tmp_path / "secret")
        with pytest.raises(PathUnsafe, match="link out of the folder"):
            check_files(statement, model)

    def test_a_file_replaced_by_a_link_to_its_content(self, model, kind):
        statement = stated(model, kind)
        (model / "config.json").rename(model / "a" / "real")
        (model / "config.json").symlink_to("a/real")
        with pytest.raises(PathUnsafe, match="is a link"):
            check_files(statement, model)

    def test_links_are_followed_where_they_were_signed(self, model):
        (model / "link").symlink_to("a.bin")
        statement = stated(model, "files", links=True)
        assert statement.predicate["serialization"]["allow_symlinks"] is True
        assert check_files(statement, model).files == 6

    def test_a_file_that_grows_while_it_is_read(self, model, monkeypatch):
        statement = stated(model, "files")
        real, grown = os.preadv, []

        def preadv(handle, buffers, offset):
            if not grown:
                grown.append(True)
                with (model / "deep" / "er" / "weights").open("ab") as stream:
                    stream.write(b"more")
            return real(handle, buffers, offset)

        monkeypatch.setattr(os, "preadv", preadv)
        with pytest.raises((ContentUnstable, ContentChanged)):
            check_files(statement, model)


def test_other_predicates_say_nothing_about_files(model):
    statement = Statement(
        subjects=(("m", {}),), predicate_type="https://slsa.dev/provenance/v1", predicate={}
    )
    for ask in (lambda: check_files(statement, model), lambda: read_files(statement)):
        with pytest.raises(SealDamaged, match="slsa"):
            ask()


def test_a_statement_is_read_before_any_file(tmp_path):
    """A statement that contradicts itself is refused even where there is nothing to compare it with."""
    bad = Statement(
        subjects=(("m", {"sha256": "0"}),),
        predicate_type=PREDICATE,
        predicate=Manifest(name="m", resources=(Resource("a", 0, -1, bytes(32)),)).statement().predicate,
    )
    with pytest.raises(SealDamaged):
        check_files(bad, tmp_path / "nowhere")


def test_a_cache_is_not_used(model, kind, tmp_path, monkeypatch):
    """What is verified is read, whatever this user's cache says of it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("modelward.vault.tree.cache._TICK", -(1 << 62))
    statement, read, real = stated(model, kind, cache=True), [], os.preadv
    monkeypatch.setattr(os, "preadv", lambda h, b, o: read.append(len(b[0])) or real(h, b, o))
    assert stated(model, kind, cache=True) == statement
    assert not read
    check_files(statement, model, CheckOptions(tree=TreeOptions(cache=True)))
    assert sum(read) == 10293


def test_progress_reaches_the_whole(model):
    seen = []
    tree = TreeOptions(progress=lambda done, total: seen.append((done, total)))
    check_files(stated(model, "files"), model, CheckOptions(tree=tree))
    assert seen[-1] == (10293, 10293)


def test_the_path_of_verification_loads_no_heavy_library():
    """Neither numerical libraries nor x509 nor a network client are loaded to verify a signature by key."""
    code = (
        "import sys; import modelward.vault.signing.verification, modelward.vault.signing.checking, "
        "modelward.vault.keys.signer; heavy = {'numpy', 'torch', 'scipy', 'onnx', 'onnxruntime', 'pyarrow', 'sigstore', "
        "'requests', 'cryptography.x509', 'model_signing', 'rich', 'yaml', 'blake3', 'sqlite3'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert answer.stdout.strip() == "[]"
