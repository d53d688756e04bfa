"""The text of a checkpoint: the specification's example, both ways, and everything that is none."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import SealDamaged
from modelward.ledger.checkpoint import (
    EMPTY_ROOT,
    LARGEST,
    Checkpoint,
    decimal,
    decode64,
    hash_of,
    parse_checkpoint,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "seal" / "ledger" / "published.json").read_text(encoding="utf-8")
)
TEXT = VECTORS["spec"]["checkpoint"].split("\n\n")[0] + "\n"
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="

origins = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(bool)
checkpoints = st.builds(
    lambda origin, size, root, extensions: Checkpoint(
        origin=origin, size=size, root=root if size else EMPTY_ROOT, extensions=tuple(extensions)
    ),
    origins,
    st.integers(0, LARGEST - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(origins, max_size=3),
)


def test_the_example_of_the_specification():
    found = parse_checkpoint(TEXT)
    assert found == Checkpoint(
        origin="example.com/behind-the-sofa", size=20852163, root=base64.b64decode(ROOT)
    )
    assert found.text() == TEXT


@pytest.mark.parametrize("which", ["first", "next"])
def test_the_checkpoints_of_another_implementation(which):
    text = VECTORS["witness"][which].split("\n\n")[0] + "\n"
    found = parse_checkpoint(text)
    assert found.origin == "monkeys"
    assert found.size == {"first": 5, "next": 8}[which]
    assert found.text() == text


@given(checkpoints)
def test_what_is_written_is_read_back(checkpoint):
    assert parse_checkpoint(checkpoint.text()) == checkpoint


@given(st.text())
def test_any_text_is_a_checkpoint_or_refused(text):
    try:
        found = parse_checkpoint(text)
    except SealDamaged:
        return
    assert found.text() == text


@given(checkpoints, st.data())
def test_a_changed_letter_is_another_checkpoint_or_refused(checkpoint, data):
    text = checkpoint.text()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(exclude_categories=["Cs"]).filter(lambda c: c != text[place]))
    changed = text[:place] + letter + text[place + 1 :]
    try:
        found = parse_checkpoint(changed)
    except SealDamaged:
        return
    assert found != checkpoint
    assert found.text() == changed


def test_extension_lines_are_kept():
    found = parse_checkpoint(f"log\n1\n{ROOT}\nfirst\nsecond\n")
    assert found.extensions == ("first", "second")
    assert found.text() == f"log\n1\n{ROOT}\nfirst\nsecond\n"


def test_an_empty_log_has_the_root_of_nothing():
    empty = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    assert parse_checkpoint(f"log\n0\n{empty}\n").size == 0
    with pytest.raises(SealDamaged, match="empty"):
        parse_checkpoint(f"log\n0\n{ROOT}\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "log",
        "log\n1\n",
        f"log\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"log\n\n{ROOT}\n",
        "log\n1\n\n",
        f"log\n1\n{ROOT}\n\n",
        f"log\n1\n{ROOT}\n\nafter\n",
        f"log\n01\n{ROOT}\n",
        f"log\n+1\n{ROOT}\n",
        f"log\n-1\n{ROOT}\n",
        f"log\n1_0\n{ROOT}\n",
        f"log\n 1\n{ROOT}\n",
        f"log\n\uff11\n{ROOT}\n",
        f"log\n1.0\n{ROOT}\n",
        f"log\n0x1\n{ROOT}\n",
        f"log\n{LARGEST}\n{ROOT}\n",
        f"log\n{'9' * 5000}\n{ROOT}\n",
        f"log\n1\n{ROOT[:-1]}\n",
        f"log\n1\n{ROOT}=\n",
        f"log\n1\n{ROOT[:-2]}J=\n",  # the same bytes in another spelling
        f"log\n1\n {ROOT}\n",
        f"log\n1\n{ROOT[:40]}\n",
        f"log\n1\n{base64.b64encode(bytes(33)).decode()}\n",
        f"log\n1\n{ROOT.replace('+', '-')[:-4]}_-I=\n",
        "log\n1\n" + "é" * 44 + "\n",
    ],
)
def test_what_is_no_checkpoint(text):
    with pytest.raises(SealDamaged):
        parse_checkpoint(text)


@pytest.mark.parametrize("text", ["0", "1", "9", "10", str(LARGEST - 1)])
def test_plain_numbers(text):
    assert decimal(text, "it") == int(text)


@pytest.mark.parametrize("text", ["", "00", "01", "1 ", "1\n", "٣", "1e3", str(LARGEST), "9" * 40])
def test_other_numbers(text):
    with pytest.raises(SealDamaged, match="it is"):
        decimal(text, "it")


@given(st.binary(max_size=100))
def test_base64_both_ways(data):
    assert decode64(base64.b64encode(data).decode()) == data


@given(st.text("ABab01+/=-_ \n", max_size=12))
def test_each_value_has_one_spelling(text):
    try:
        value = decode64(text)
    except SealDamaged:
        return
    assert base64.b64encode(value).decode() == text


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_a_hash_has_32_bytes(length):
    with pytest.raises(SealDamaged, match="bytes"):
        hash_of(base64.b64encode(bytes(length)).decode())
    assert hash_of(base64.b64encode(bytes(32)).decode()) == bytes(32)
