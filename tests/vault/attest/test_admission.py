from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.policy import Threshold
from modelward.errors import ConfigInvalid, FileMissing, KeyUnusable, ModelwardError, PolicyInvalid
from modelward.vault.attest.admission import (
    Admission,
    AuditTable,
    read_admission,
    read_with_keys,
    validate_admission,
)

WHOLE = """
name = "fraud, production"
roots = ["sha256:{digits}"]

[signers]
keys = ["keys/alice.pem", "keys/bob.pem", "{digits}"]
threshold = 2

[attestations]
required = ["evidence", "scan", "bom", "provenance", "release"]
keys = ["keys/alice.pem"]

[audit]
max-age = "30d"
max-severity = "medium"
grace = "4w"
required-checks = ["quality", "evasion.certified"]

[scan]
verdict = "inert"
max-severity = "low"
max-age = "48h"

[release]
environment = "production"

[[require]]
claim = "robust-accuracy"
scope = {{ norm = "linf", eps = 0.1 }}
at-least = 0.6

[[require]]
claim = "accounted-epsilon"
at-most = 3
""".format(digits="9f" * 32)


@pytest.fixture
def policy(tmp_path, verifiers):
    """Writes a policy beside two public keys."""

    def policy(text):
        (tmp_path / "keys").mkdir(exist_ok=True)
        for name, key in zip(("alice", "bob"), verifiers, strict=False):
            (tmp_path / "keys" / f"{name}.pem").write_bytes(key.pem)
        path = tmp_path / "policy.toml"
        path.write_text(text)
        return path

    return policy


def test_a_whole_policy(policy, verifiers):
    found = read_admission(policy(WHOLE))
    alice, bob, _ = (key.key_id for key in verifiers)
    assert found.name == "fraud, production"
    assert found.signers.keys == (alice, bob, "9f" * 32)
    assert found.signers.threshold == 2
    assert found.attestations.required == ("evidence", "scan", "bom", "provenance", "release")
    assert found.attestations.keys == (alice,)
    assert found.audit == AuditTable(
        max_age="30d", max_severity="medium", grace="4w", required_checks=("quality", "evasion.certified")
    )
    assert (found.scan.verdict, found.scan.max_severity, found.scan.max_age) == ("inert", "low", "48h")
    assert found.release.environment == "production"
    assert found.require == (
        Threshold(claim="robust-accuracy", scope={"norm": "linf", "eps": 0.1}, at_least=0.6),
        Threshold(claim="accounted-epsilon", at_most=3),
    )


def test_the_keys_that_a_policy_names_by_path_are_given(policy, verifiers):
    found = read_with_keys(policy(WHOLE))
    assert found.pems == tuple(key.pem for key in verifiers[:2])
    assert found.auditors == (verifiers[0].pem,)
    assert found.policy == read_admission(policy(WHOLE))


def test_a_key_that_may_attest_may_not_seal(policy, verifiers):
    found = read_with_keys(policy('[attestations]\nrequired = ["bom"]\nkeys = ["keys/bob.pem"]'))
    assert found.pems == ()
    assert found.auditors == (verifiers[1].pem,)


@pytest.mark.parametrize(
    "text",
    [
        'roots = ["blake3:' + "00" * 32 + '"]',
        '[signers]\nkeys = ["' + "00" * 32 + '"]',
        '[attestations]\nrequired = ["bom"]',
        '[audit]\nmax-age = "1h"',
        '[audit]\nmax-severity = "high"',
        '[audit]\nrequired-checks = ["evasion"]',
        '[scan]\nverdict = "inert"',
        '[scan]\nmax-severity = "info"',
        '[scan]\nmax-age = "2w"',
        '[release]\nenvironment = "staging"',
        '[[require]]\nclaim = "accuracy"\nmin-n = 1',
    ],
)
def test_one_requirement_is_a_policy(policy, text):
    assert read_admission(policy(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        'name = "mine"',
        "[audit]",
        "[scan]",
        "[attestations]\nrequired = []",
        '[attestations]\nkeys = ["' + "00" * 32 + '"]',
        "require = []",
        "roots = []",
        '[audit]\nmax-severity = "critical"',
        '[scan]\nmax-severity = "critical"',
        '[audit]\nmax-severity = "critical"\n[scan]\nmax-severity = "critical"',
    ],
)
def test_a_policy_that_would_admit_everything_is_invalid(policy, text):
    with pytest.raises(PolicyInvalid, match="states no requirement"):
        read_admission(policy(text))


def test_the_empty_policy_of_the_api_is_invalid():
    with pytest.raises(PolicyInvalid, match="states no requirement"):
        validate_admission(Admission())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[scan]\nverdit = "inert"', "unknown key 'verdit' in [scan]; did you mean 'verdict'?"),
        ('[audit]\nmax-agee = "1d"', "did you mean 'max-age'?"),
        ('[audit]\nmax_age = "1d"', "did you mean 'max-age'?"),
        ("[signer]\nkeys = []", "did you mean 'signers'?"),
        ('[[requires]]\nclaim = "accuracy"', "did you mean 'require'?"),
        ('[[require]]\nclaim = "accuracy"\nat-lest = 0.5', "did you mean 'at-least'?"),
        ('[[require]]\nclaim = "accuracy"\nat_least = 0.5', "did you mean 'at-least'?"),
        ('[attestations]\nrequire = ["bom"]', "did you mean 'required'?"),
        ('[release]\nenvironment = "p"\nenviroment = "q"', "did you mean 'environment'?"),
        ("xyz = 1", "known: name, roots, signers, attestations, audit, scan, release, require"),
        ('[policy]\nmax-severity = "low"', "unknown key 'policy'"),
        ('[scan]\nverdict = "dangerous"', "Invalid enum value 'dangerous'"),
        ('[audit]\nmax-severity = "fatal"', "Invalid enum value 'fatal'"),
        ('[attestations]\nrequired = ["sbom"]', "Invalid enum value 'sbom'"),
        ("[signers]\nthreshold = 1", "missing required field `keys`"),
        ('[signers]\nkeys = ["' + "00" * 32 + '"]\nthreshold = 0', ">= 1"),
        ('[signers]\nkeys = ["' + "00" * 32 + '"]\nthreshold = 1.5', "Expected `int`"),
        ("[release]", "missing required field `environment`"),
        ("[audit]\nmax-age = 30", "Expected `str | null`"),
        ('[[require]]\nclaim = "accuracy"\nat-least = "0.5"', "Expected `float | null`"),
        ("[[require]]\nat-least = 0.5", "missing required field `claim`"),
        ("= 1", "is not TOML"),
        (f"a = {'1' * 5000}", "is not TOML"),
        ('name = "a"\nname = "b"', "is not TOML"),
    ],
)
def test_what_is_misspelt_is_an_error_that_helps(policy, text, words):
    with pytest.raises(ConfigInvalid, match=re.escape(words)):
        read_admission(policy(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[audit]\nmax-age = "30"', "no span of time"),
        ('[audit]\nmax-age = "0d"', "no span of time"),
        ('[scan]\nmax-age = "soon"', "no span of time"),
        ('[audit]\nmax-severity = "low"\ngrace = "30 days"', "no span of time"),
        ('[audit]\nmax-age = "1d"\ngrace = "1d"', "no max-severity"),
        ('[audit]\nmax-age = "1d"\nmax-severity = "critical"\ngrace = "1d"', "no max-severity"),
        ('[audit]\nrequired-checks = ["evasoin"]', "did you mean 'evasion'?"),
        ('[audit]\nrequired-checks = ["zzz"]', "no check is called 'zzz'"),
        ('[audit]\nrequired-checks = [""]', "no check is called ''"),
        ('[release]\nenvironment = ""', "names no environment"),
        ('roots = ["latest"]', "is no root"),
        ('roots = ["sha256:' + "0" * 63 + '"]', "is no root"),
        ("[signers]\nkeys = []", "[signers] names no key"),
        ('[signers]\nkeys = ["' + "00" * 32 + '", "' + "00" * 32 + '"]', "names one key twice"),
        ('[signers]\nkeys = ["' + "00" * 32 + '"]\nthreshold = 2', "2 signers are asked of 1 keys"),
        ('[signers]\nkeys = ["keys/alice.pem", "keys/../keys/alice.pem"]', "names one key twice"),
        ('[attestations]\nrequired = ["bom"]\nkeys = ["keys/bob.pem", "keys/bob.pem"]', "one key twice"),
        ('[[require]]\nclaim = "robust-acuracy"\nat-least = 0.5', "did you mean 'robust-accuracy'?"),
        ('[[require]]\nclaim = "acounted-epsilon"\nat-most = 3', "did you mean 'accounted-epsilon'?"),
        ('[[require]]\nclaim = "vibes"\nat-least = 0.5', "unknown claim 'vibes'"),
        ('[[require]]\nclaim = "accuracy"', "states no at-least, at-most or min-n"),
        ('[[require]]\nclaim = "accuracy"\nat-least = 60', "accepts all or nothing"),
        ('[[require]]\nclaim = "accuracy"\nat-least = 0', "accepts all or nothing"),
        ('[[require]]\nclaim = "accuracy"\nat-least = nan', "not a finite number"),
        ('[[require]]\nclaim = "accounted-epsilon"\nat-most = inf', "not a finite number"),
        ('[[require]]\nclaim = "accounted-epsilon"\nat-most = -1', "below 0"),
        ('[[require]]\nclaim = "accuracy"\nat-least = 0.9\nat-most = 0.8', "at-least above at-most"),
        ('[[require]]\nclaim = "auc"\nat-least = 0.9\n[[require]]\nclaim = "auc"\nat-most = 0.8',
         "no value of 'auc' is at least 0.9 and at most 0.8"),
    ],
)  # fmt: skip
def test_a_policy_that_contradicts_itself_or_names_nothing_is_invalid(policy, text, words):
    with pytest.raises(PolicyInvalid, match=re.escape(words)):
        read_admission(policy(text))


def test_thresholds_on_different_scopes_do_not_cross(policy):
    one = '[[require]]\nclaim = "robust-accuracy"\nscope = {eps = 0.1}\nat-least = 0.9\n'
    two = '[[require]]\nclaim = "robust-accuracy"\nscope = {eps = 0.5}\nat-most = 0.8\n'
    assert len(read_admission(policy(one + two)).require) == 2


def test_a_key_file_that_is_not_there(policy):
    with pytest.raises(FileMissing, match=r"carol\.pem"):
        read_admission(policy('[signers]\nkeys = ["keys/carol.pem"]'))
    with pytest.raises(FileMissing, match="cannot be read"):
        read_admission(policy('[signers]\nkeys = ["keys"]'))
    with pytest.raises(FileMissing, match=r"'a\\x00b' cannot be read"):
        read_admission(policy('[signers]\nkeys = ["a\\u0000b"]'))


def test_a_file_that_holds_no_public_key(policy, tmp_path):
    path = policy('[signers]\nkeys = ["keys/dave.pem"]')
    (tmp_path / "keys" / "dave.pem").write_text("hello")
    with pytest.raises(KeyUnusable, match="no public key"):
        read_admission(path)


@pytest.mark.parametrize("digits", ["9F" * 32, "9f" * 31, "9f" * 33])
def test_what_is_no_key_id_is_a_path(policy, digits):
    with pytest.raises(FileMissing):
        read_admission(policy(f'[signers]\nkeys = ["{digits}"]'))


def test_a_policy_that_cannot_be_read(tmp_path):
    with pytest.raises(FileMissing, match="cannot be read"):
        read_admission(tmp_path / "none.toml")
    with pytest.raises(FileMissing, match="cannot be read"):
        read_admission(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigInvalid, match="not TOML"):
        read_admission(tmp_path / "binary.toml")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 5000)
    with pytest.raises(ConfigInvalid, match="not TOML"):
        read_admission(tmp_path / "deep.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigInvalid, match="longer than"):
        read_admission(tmp_path / "long.toml")


KEYS = st.sampled_from(
    ["name", "roots", "signers", "keys", "threshold", "attestations", "required", "audit", "max-age", "grace",
     "max-severity", "required-checks", "scan", "verdict", "release", "environment", "require", "claim",
     "at-least", "at-most", "min-n", "scope", "x"]
)  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(['"inert"', '"30d"', '"medium"', '"bom"', '"accuracy"', '"quality"', f'"{"00" * 32}"']),
    st.integers(-5, 5).map(str),
    st.floats(-2, 2).map(repr),
    st.sampled_from(["true", "nan", "inf", "1979-05-27", "{}", "[]", '[""]', "{ a = 1 }"]),
)
LINES = st.one_of(
    st.tuples(KEYS, SCALARS).map(" = ".join),
    KEYS.map("[{}]".format),
    KEYS.map("[[{}]]".format),
    st.text(max_size=10),
)


@given(lines=st.lists(LINES, max_size=8))
def test_any_text_is_a_policy_that_requires_something_or_is_refused(lines, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / f"policy-{os.getpid()}.toml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    try:
        found = read_admission(path)
    except ModelwardError as error:
        assert isinstance(error, (ConfigInvalid, PolicyInvalid, FileMissing))  # noqa: PT017  (any of three)
        return
    validate_admission(found)
    assert found != Admission(name=found.name)


def test_a_policy_is_a_value(policy):
    found = read_admission(policy(WHOLE))
    assert msgspec.convert(msgspec.to_builtins(found), Admission) == found
    with pytest.raises(AttributeError):
        found.name = "other"


def test_policies_in_the_docs_are_valid(policy):
    """Every block that is marked as a policy is read as a user's file would be."""
    docs = Path(__file__).parents[3] / "docs" / "admission.md"
    blocks = re.findall(r"```toml admission\n(.*?)```", docs.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        assert read_admission(policy(block))


@pytest.mark.parametrize("text", ["{} = 1", "[{}]\na = 1", "[scan]\n{} = 'x'", "[[require]]\n{} = 1"])
def test_a_long_key_is_cut_in_the_sentence(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text.format("k" * 9000), encoding="utf-8")
    with pytest.raises(ConfigInvalid, match="unknown key 'kkkk") as refused:
        read_admission(path)
    assert len(str(refused.value)) < 600
