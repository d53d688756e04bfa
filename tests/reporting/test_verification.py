"""How a seal stands, for machines and for people."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.claim import Bracket, Claim
from modelward.core.evidence import Cost
from modelward.core.policy import Reason
from modelward.errors import SealRefused
from modelward.reporting.verification import (
    SHOWN,
    SignedBy,
    Verification,
    verification_json,
    verification_text,
)

KEY = "3fa9" * 16


def claim(name="robust-accuracy", **changes):
    values = {
        "id": name,
        "statement": "It stays right.",
        "scope": {"norm": "linf", "eps": 0.1},
        "bracket": Bracket(0.71, 0.9),
        "n": 200,
        "cost": Cost(seconds=1.0),
        "evidence": ("ab" * 32,),
    }
    return Claim(**{**values, **changes})


def holding(**changes):
    values = {
        "subject": "model.sealed",
        "kind": "seal",
        "verified": True,
        "root": "sha256:" + "12" * 32,
        "signers": (SignedBy(key_id=KEY, algorithm="ed25519", name="release"),),
        "files": 3,
        "bytes": 12345,
        "encrypted": True,
        "attestations": ("evidence", "release"),
        "claims": (claim(),),
        "reasons": (Reason(requirement="signed by 1 key", status="holds", detail="release"),),
        "moment": "2026-11-21T12:00:00+00:00",
    }
    return Verification(**{**values, **changes})


def refused(**changes):
    reasons = (
        Reason(requirement="the content is what was signed", status="refuted", detail="a.bin was altered"),
        Reason(requirement="verdict inert", status="unknown", detail="no scan is attested"),
    )
    values = {"verified": False, "reasons": reasons, "claims": (), "refusal": "ContentChanged"}
    return holding(**{**values, **changes})


def test_the_json_has_the_documented_fields():
    document = json.loads(verification_json(holding()))
    assert document["schema"] == "modelward.verify/1"
    assert document["verified"] is True
    assert document["signers"] == [{"key_id": KEY, "algorithm": "ed25519", "name": "release"}]
    assert document["claims"][0]["bracket"] == {"lower": 0.71, "upper": 0.9}
    assert document["reasons"] == [{"requirement": "signed by 1 key", "status": "holds", "detail": "release"}]
    assert document["refusal"] is None


def test_every_field_is_in_the_documentation(root_of_checkout):
    text = (root_of_checkout / "docs" / "formats" / "verify-json.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`([a-z_]+)`", text))
    assert set(json.loads(verification_json(holding()))) <= documented


@pytest.fixture
def root_of_checkout(request):
    return request.config.rootpath


def test_a_refusal_names_its_error_and_is_false():
    document = json.loads(verification_json(refused()))
    assert document["verified"] is False
    assert document["refusal"] == "ContentChanged"


@given(st.text(max_size=60))
def test_the_json_is_plain_ascii_whatever_a_file_is_called(name):
    encoded = verification_json(holding(subject=name, missing=(name,)))
    assert encoded.isascii()
    assert b"\x1b" not in encoded
    assert json.loads(encoded)["subject"] == name.encode("utf-8", "backslashreplace").decode()


def test_the_text_says_first_how_it_stands():
    text = verification_text(holding())
    assert text.splitlines()[0] == "✔ VERIFIED  model.sealed"
    assert "3 files, 12,345 bytes compared, encrypted" in text
    assert f"signed by {KEY[:16]}… ed25519 (release)" in text
    assert "attested: evidence, release" in text
    assert "1 claim attested" in text


def test_the_text_of_a_refusal_names_every_requirement():
    lines = verification_text(refused()).splitlines()
    assert lines[0] == "✘ REFUSED  model.sealed"
    assert any("✘ refuted" in line and "a.bin was altered" in line for line in lines)
    assert any("? unknown" in line and "no scan is attested" in line for line in lines)


def test_colour_adds_no_word():
    plain = verification_text(refused())
    painted = verification_text(refused(), color=True)
    assert painted != plain
    assert re.sub("\x1b\\[[0-9;]*m", "", painted) == plain


def test_names_cannot_steer_the_terminal():
    text = verification_text(holding(subject="a\x1b[2Jb\u202e", missing=("c\x1b]0;x\x07",)))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_long_lists_are_counted():
    claims = tuple(claim(n=i + 1) for i in range(SHOWN + 3))
    missing = tuple(f"f{i}" for i in range(SHOWN + 2))
    text = verification_text(holding(claims=claims, missing=missing))
    assert f"{SHOWN + 3} claims attested" in text
    assert "and 2 more" in text
    assert f"f{SHOWN - 1}" in text
    assert f"f{SHOWN}," not in text


def test_nothing_known_is_not_printed():
    bare = Verification(subject="x", kind="signature", verified=False, moment="now")
    assert verification_text(bare) == "✘ REFUSED  x\n"


def test_enforce_returns_when_everything_holds():
    holding().enforce()


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (refused(), "the content is what was signed"),
        (holding(verified=False), "nothing was shown"),
    ],
)
def test_enforce_refuses_and_says_why(result, words):
    with pytest.raises(SealRefused, match=words):
        result.enforce()
