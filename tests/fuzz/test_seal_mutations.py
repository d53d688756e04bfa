"""Mutated vectors through every reader of a seal: what is refused is refused by the right error, and soon."""

import copy
import json
import random
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import seal_seeds  # noqa: E402 - scripts beside this file, shared with the atheris harness
import seal_targets  # noqa: E402

from modelward.errors import ConfigInvalid, InputError, KeyUnusable, SealDamaged  # noqa: E402

CALLS = 400_000
"""Most calls, of Python and of C, that one small input may cost."""
MEMORY = 64 << 20
"""Most bytes that one small input may make a reader hold: the largest table that a header may announce is less."""
ODD = [None, True, 0, -1, 1, 2**53, 2**64, 10**400, 1.5, 1e308, "", "..", "/", "a/../b", "\0", "\ud800", "\u202e",
       "é", "e\u0301", "A" * 300, [], {}, [[]], {"": ""}, "0" * 64, "9" * 40, "9999-12-31T23:59:59Z", "0000-00-00"]  # fmt: skip
EDGES = [b"", b"\0", b"\xff", b"\n", b"{", b"[" * 5000, b'"', b"\\ud800", b"\xed\xa0\x80", b"1e999", b"NaN", b"-",
         b"9" * 5000, b"\xff\xff\xff\xff", b"\x80\0\0\0", b"=", b" ", b"\xe2\x80\x94 ", b"+", b"%00", b"\r\n"]  # fmt: skip
NAMES = sorted(seal_targets.SEALS)


class Spent(BaseException):
    """The input costs more calls than any small input may; no handler of a reader catches it."""


def within_budget(target, data):
    spent = 0

    def count(frame, event, argument):
        nonlocal spent
        if event in {"call", "c_call"}:
            spent += 1
            if spent > CALLS:
                raise Spent(data[:200])

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        target(data)
    finally:
        sys.setprofile(before)


def bitten(data, rng, name):
    """Bytes changed, cut, doubled, and mixed with another seed."""
    raw = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(7):
            case 0:
                raw[at : at + 1] = bytes([rng.randrange(256)])
            case 1 if at < len(raw):
                raw[at] ^= 1 << rng.randrange(8)
            case 2:
                del raw[at : at + rng.choice((1, 2, 4, 40))]
            case 3:
                raw[at:at] = rng.choice(EDGES)
            case 4:
                del raw[at:]
            case 5:
                raw[at:at] = raw[max(0, at - rng.randrange(60)) : at]
            case _:
                other = rng.choice(seal_seeds.seeds()[rng.choice((name, rng.choice(NAMES)))])
                begin = rng.randrange(len(other) + 1)
                raw[at : at + rng.randrange(40)] = other[begin : begin + 80]
    return bytes(raw)


def grafted(value, rng):
    """One place of a JSON value replaced by something odd, removed, doubled or moved."""
    places = list(_places(value))
    if not places:
        return copy.deepcopy(rng.choice(ODD))
    holder, key = rng.choice(places)
    match rng.randrange(5):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(0, copy.deepcopy(holder[key]))
        case 2 if isinstance(holder, dict):
            holder["more"] = copy.deepcopy(holder[key])
        case 3:
            other, source = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[source])) if source in range(len(other)) or (
                isinstance(other, dict) and source in other) else None  # fmt: skip
        case _:
            holder[key] = copy.deepcopy(rng.choice(ODD))
    return value


def _places(value):
    if isinstance(value, dict):
        for key, inner in list(value.items()):
            yield value, key
            yield from _places(inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield value, index
            yield from _places(inner)


@pytest.fixture(autouse=True, scope="module")
def warm():
    """Modules that are loaded on the first use cost calls that are not the input's."""
    for name in NAMES:
        for data in seal_seeds.seeds()[name]:
            seal_targets.SEALS[name](data)


def test_every_reader_has_seeds():
    assert set(seal_seeds.seeds()) == set(NAMES)
    assert all(seal_seeds.seeds().values())


@pytest.mark.parametrize("name", NAMES)
def test_seeds_and_edges(name):
    for data in (*seal_seeds.seeds()[name], *EDGES):
        within_budget(seal_targets.SEALS[name], data)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(NAMES), st.integers(0, 2**32))
def test_mutated_bytes(name, draw):
    rng = random.Random(draw)
    within_budget(seal_targets.SEALS[name], bitten(rng.choice(seal_seeds.seeds()[name]), rng, name))


JSON = [name for name in NAMES if any(data.startswith((b"{", b"[")) for data in seal_seeds.seeds()[name])]


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(JSON), st.integers(0, 2**32))
def test_mutated_documents(name, draw):
    """As its readers want it otherwise: canonical where the seed is."""
    rng = random.Random(draw)
    data = rng.choice([data for data in seal_seeds.seeds()[name] if data.startswith((b"{", b"["))])
    end = b"\n" if data.endswith(b"\n") else b""
    try:
        value = json.loads(data)
    except ValueError:
        return  # TOML, or a keyring of several lines
    for _ in range(rng.randint(1, 3)):
        value = grafted(value, rng)
    dense = b": " not in data
    text = json.dumps(
        value, sort_keys=dense, ensure_ascii=rng.random() < 0.3, separators=(",", ":") if dense else None
    )
    within_budget(seal_targets.SEALS[name], text.encode("utf-8", "surrogatepass") + end)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(NAMES), st.binary(max_size=200))
def test_random_bytes(name, data):
    within_budget(seal_targets.SEALS[name], data)


@pytest.mark.parametrize("name", [name for name in NAMES if "oci" not in name])
def test_small_inputs_hold_little_memory(name):
    rng = random.Random(name)
    tracemalloc.start()
    try:
        for _ in range(8):
            seal_targets.SEALS[name](bitten(rng.choice(seal_seeds.seeds()[name]), rng, name))
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def test_another_branch_of_errors_is_a_fault():
    def refuses(error):
        def read(data):
            raise error

        return seal_targets.promised(SealDamaged)(read)

    refuses(SealDamaged("cut short"))(b"")
    for error in (
        KeyUnusable("no key"),
        ConfigInvalid("x"),
        InputError("x"),
        SealDamaged(""),
        ValueError("x"),
    ):
        with pytest.raises((AssertionError, ValueError)):
            refuses(error)(b"")
    with pytest.raises(AssertionError):
        refuses(SealDamaged("x" * 5000))(b"")
