from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import ConfigInvalid, FileMissing, PolicyInvalid, SealDamaged
from modelward.vault.attest.provenance import (
    PROVENANCE,
    TRAINING,
    Provenance,
    Run,
    StatedClaim,
    read_provenance,
    read_stated,
    to_predicate,
)
from modelward.vault.tree.hashing import hash_tree

STATED = """
type = "https://example.org/fine-tuning/v1"

[code]
uri = "https://example.org/train.git"
commit = "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"

[[data]]
name = "sales"
uri = "s3://data/sales.parquet"
digest = { sha256 = "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1" }

[[data]]
path = "train.csv"

[parameters]
epochs = 10
optimizer = { name = "adam", lr = 0.001 }

[environment]
python = "3.11.2"

[run]
builder = "https://example.org/cluster"
invocation = "job-7"
started = 2026-11-17T12:00:00Z
finished = 2026-11-18T12:00:00Z

[[claims]]
id = "accounted-epsilon"
value = 2.4
n = 60000
scope = { delta = 1e-5, accountant = "pld" }
"""


@pytest.fixture
def stated(tmp_path):
    """Writes a provenance.toml beside a file of data."""

    def stated(text=STATED):
        (tmp_path / "train.csv").write_bytes(b"a,b\n1,2\n")
        path = tmp_path / "provenance.toml"
        path.write_text(text)
        return path

    return stated


def test_what_a_file_states(stated):
    found = read_stated(stated())
    assert found.code.commit == "c0" * 20
    assert [source.name for source in found.data] == ["sales", "train.csv"]
    assert found.data[1].digest == {"sha256": hashlib.sha256(b"a,b\n1,2\n").hexdigest()}
    assert found.parameters["optimizer"] == {"name": "adam", "lr": 0.001}
    assert found.run.started == datetime(2026, 11, 17, 12, tzinfo=UTC)
    assert found.claims[0].value == 2.4
    found.check()


def test_a_folder_of_data_is_named_by_its_tree(stated, tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "0").write_bytes(b"x")
    found = read_stated(stated('[run]\nbuilder = "b"\n[[data]]\npath = "shards"\n'))
    root = hash_tree(tmp_path / "shards").root
    assert found.data[0].digest == {"modelwardTree": root.removeprefix("sha256:")}


def test_the_predicate_is_what_slsa_says(stated):
    predicate = to_predicate(read_stated(stated()))
    definition, details = predicate["buildDefinition"], predicate["runDetails"]
    assert definition["buildType"] == "https://example.org/fine-tuning/v1"
    assert definition["externalParameters"]["epochs"] == 10
    assert definition["internalParameters"] == {"environment": {"python": "3.11.2"}}
    assert definition["resolvedDependencies"][0] == {
        "name": "code", "uri": "https://example.org/train.git", "digest": {"gitCommit": "c0" * 20}
    }  # fmt: skip
    assert [one["name"] for one in definition["resolvedDependencies"]] == ["code", "sales", "train.csv"]
    assert details["builder"] == {"id": "https://example.org/cluster"}
    assert details["metadata"] == {
        "invocationId": "job-7", "startedOn": "2026-11-17T12:00:00Z", "finishedOn": "2026-11-18T12:00:00Z"
    }  # fmt: skip
    assert PROVENANCE == "https://slsa.dev/provenance/v1"


def test_it_is_read_back(stated):
    found = read_stated(stated())
    assert read_provenance(to_predicate(found)) == found


def test_a_commit_of_sha256_and_changes_beside_it(provenance):
    code = msgspec.structs.replace(provenance.code, commit="ab" * 32, modified=True)
    found = msgspec.structs.replace(provenance, code=code)
    dependency = to_predicate(found)["buildDefinition"]["resolvedDependencies"][0]
    assert dependency["digest"] == {"sha256": "ab" * 32}
    assert dependency["annotations"] == {"modified": True}
    assert read_provenance(to_predicate(found)) == found


def test_claims_of_training_rest_on_who_signed_them(stated):
    (claim,) = read_stated(stated()).judged()
    assert (claim.id, claim.value, claim.n, claim.basis) == ("accounted-epsilon", 2.4, 60_000, "attested")
    assert claim.scope == {"delta": 1e-5, "accountant": "pld"}
    assert claim.status is None
    assert "2.4" in claim.statement


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (StatedClaim(id="robust-accuracy", value=1.0, n=9), "cannot state the claim 'robust-accuracy'"),
        (StatedClaim(id="accounted-epsilon", value=-1.0, n=9), "below 0"),
        (StatedClaim(id="accounted-epsilon", value=float("nan"), n=9), "not finite"),
        (StatedClaim(id="accounted-epsilon", value=float("inf"), n=9), "not finite"),
    ],
)
def test_training_cannot_claim_what_an_audit_finds(claim, words, provenance):
    with pytest.raises(PolicyInvalid, match=words):
        msgspec.structs.replace(provenance, claims=(claim,)).check()


def test_a_claim_of_an_audit_in_somebody_elses_provenance_is_refused(provenance):
    predicate = to_predicate(provenance)
    predicate["runDetails"]["modelward_claims"] = [{"id": "robust-accuracy", "value": 0.99, "n": 9}]
    with pytest.raises(SealDamaged, match="cannot state"):
        read_provenance(predicate)
    predicate["runDetails"]["modelward_claims"] = [{"id": "accounted-epsilon", "value": "low", "n": 9}]
    with pytest.raises(SealDamaged, match="not as SLSA"):
        read_provenance(predicate)


def test_a_provenance_must_pin_something():
    empty = Provenance(run=Run(builder="b"))
    assert not empty.pinned
    with pytest.raises(PolicyInvalid, match="neither code nor data"):
        empty.check()


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", ConfigInvalid, "run"),
        ("[run", ConfigInvalid, "not TOML"),
        ("[run]\n", ConfigInvalid, "builder"),
        ('[run]\nbuilder = "b"\nstart = 2026-01-01T00:00:00Z\n', ConfigInvalid, "did you mean 'started'"),
        ('[run]\nbuilder = "b"\n[paramters]\n', ConfigInvalid, "did you mean 'parameters'"),
        ('[run]\nbuilder = "b"\nstarted = 2026-01-01T00:00:00\n', ConfigInvalid, "started"),
        ('[run]\nbuilder = "b"\n[code]\ncommit = "HEAD"\n', ConfigInvalid, "commit"),
        ('[run]\nbuilder = "b"\n[code]\ncommit = "C0C0"\n', ConfigInvalid, "commit"),
        ('[run]\nbuilder = "b"\n[[data]]\nname = "x"\n', PolicyInvalid, "either a digest or a path"),
        ('[run]\nbuilder = "b"\n[[data]]\npath = "train.csv"\ndigest = {sha256 = "' + "0" * 64 + '"}\n',
         PolicyInvalid, "either a digest or a path"),
        ('[run]\nbuilder = "b"\n[[data]]\ndigest = {sha256 = "' + "0" * 64 + '"}\n', PolicyInvalid, "a name"),
        ('[run]\nbuilder = "b"\n[[data]]\npath = "none.csv"\n', FileMissing, "none.csv"),
        ('[run]\nbuilder = "b"\n[[data]]\nname = "x"\ndigest = {sha256 = "xyz"}\n', ConfigInvalid, "digest"),
        ('[run]\nbuilder = "b"\n[[claims]]\nid = "accounted-epsilon"\nvalue = 1\nn = 0\n', ConfigInvalid, "n`"),
    ],
)  # fmt: skip
def test_what_a_file_cannot_state(stated, text, error, words):
    with pytest.raises(error, match=words):
        read_stated(stated(text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileMissing, match="cannot be read"):
        read_stated(tmp_path / "provenance.toml")


def test_a_file_without_end(tmp_path):
    path = tmp_path / "provenance.toml"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigInvalid, match="longer than"):
        read_stated(path)


OTHERS = {
    "github": {
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {
                "workflow": {"ref": "refs/heads/main", "path": ".github/workflows/train.yml"}
            },
            "internalParameters": {"github": {"event_name": "push"}},
            "resolvedDependencies": [
                {
                    "uri": "git+https://github.com/octo/train@refs/heads/main",
                    "digest": {"gitCommit": "1f" * 20},
                }
            ],
        },
        "runDetails": {
            "builder": {"id": "https://github.com/actions/runner/github-hosted", "version": {"a": "1"}},
            "metadata": {"invocationId": "https://github.com/octo/train/actions/runs/1/attempts/1"},
            "byproducts": [{"name": "log"}],
        },
    },
    "sparse": {
        "buildDefinition": {"buildType": "https://example.org/b", "externalParameters": {}},
        "runDetails": {"builder": {"id": "https://example.org/c"}},
    },
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_other_builders_write_is_read(name):
    found = read_provenance(OTHERS[name])
    assert found.run.builder.startswith("https://")
    assert found.pinned is (name == "github")
    if name == "github":
        assert found.code.commit == "1f" * 20
        assert found.code.uri.startswith("git+https://github.com/octo")
        assert found.type != TRAINING


@pytest.mark.parametrize(
    "predicate",
    [
        {},
        {"buildDefinition": {}, "runDetails": {}},
        {"buildDefinition": OTHERS["sparse"]["buildDefinition"]},
        {**OTHERS["sparse"], "runDetails": {"builder": {}}},
        {**OTHERS["sparse"], "runDetails": {"builder": {"id": "b"}, "metadata": {"startedOn": "now"}}},
        {**OTHERS["sparse"], "buildDefinition": {"buildType": "b", "externalParameters": []}},
        {
            **OTHERS["sparse"],
            "buildDefinition": {"buildType": "b", "externalParameters": {}, "resolvedDependencies": [3]},
        },
    ],
)
def test_a_predicate_that_is_none(predicate):
    with pytest.raises(SealDamaged, match="not as SLSA"):
        read_provenance(predicate)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda v: (
        st.lists(v, max_size=3)
        | st.dictionaries(
            st.sampled_from(["digest", "name", "builder", "id", "buildType", "x"]), v, max_size=4
        )
    ),
)


@given(value=st.fixed_dictionaries({"buildDefinition": ANY, "runDetails": ANY}))
def test_no_predicate_is_a_crash(value):
    with suppress(SealDamaged):
        read_provenance(value)


@given(
    dependencies=st.lists(
        st.fixed_dictionaries(
            {}, optional={"name": st.text(max_size=4), "uri": st.text(max_size=4), "digest": ANY,
                          "annotations": ANY}
        ),
        max_size=3,
    )
)  # fmt: skip
def test_no_dependency_is_a_crash(dependencies):
    definition = {**OTHERS["sparse"]["buildDefinition"], "resolvedDependencies": dependencies}
    with suppress(SealDamaged):
        read_provenance({**OTHERS["sparse"], "buildDefinition": definition})
