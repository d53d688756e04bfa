"""Mutated seeds through every parser, in the normal tests: no fault but the promised ones, and never endless work."""

import random
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import targets  # noqa: E402 - a script beside this file, shared with the atheris harness

SEEDS = {path.name: path.read_bytes() for path in sorted((HERE / "seeds").glob("*.seed"))}
CALLS = 3_000_000
"""Most calls, of Python and of C, that one small input may cost: more is work that grows out of proportion."""
EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1]


class Spent(BaseException):
    """The input costs more calls than any small input may; no handler of a parser catches it."""


def within_budget(target, data):
    """Run a target and count calls; what it promises to raise is no fault."""
    spent = 0

    def count(frame, event, argument):
        nonlocal spent
        if event in {"call", "c_call"}:
            spent += 1
            if spent > CALLS:
                raise Spent

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        target(data)
    except targets.ALLOWED:
        pass
    finally:
        sys.setprofile(before)


def mutated(data, rng):
    raw = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(raw)) if raw else 0
        action = rng.randrange(7)
        if action == 0 and raw:
            raw[at] = rng.randrange(256)
        elif action == 1 and raw:
            raw[at] ^= 1 << rng.randrange(8)
        elif action == 2:
            del raw[at : at + rng.choice((1, 2, 4, 30))]
        elif action == 3:
            raw[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 4, 9))))
        elif action == 4:
            width = rng.choice(["<B", "<H", "<I", "<Q", ">I", ">Q"])
            size = struct.calcsize(width)
            raw[at : at + size] = struct.pack(width, rng.choice(EDGES) & (1 << 8 * size) - 1)
        elif action == 5:
            del raw[at:]
        else:
            other = rng.choice(list(SEEDS.values()))
            raw[at : at + rng.randrange(40)] = other[rng.randrange(len(other)) :][:200]
    return bytes(raw)


@pytest.mark.parametrize("name", sorted(targets.PARSERS))
def test_every_seed_through_every_parser(name):
    for data in SEEDS.values():
        within_budget(targets.PARSERS[name], data)


@pytest.mark.parametrize("name", sorted(set(targets.TARGETS) - set(targets.PARSERS)))
def test_every_seed_through_every_format(name):
    for data in SEEDS.values():
        within_budget(targets.TARGETS[name], data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(SEEDS)), st.integers(0, 2**32))
def test_mutated_seeds_through_the_whole_inspection(seed, draw):
    within_budget(targets.whole, mutated(SEEDS[seed], random.Random(draw)))


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(targets.TARGETS)), st.sampled_from(sorted(SEEDS)), st.integers(0, 2**32))
def test_mutated_seeds_through_one_parser(name, seed, draw):
    within_budget(targets.TARGETS[name], mutated(SEEDS[seed], random.Random(draw)))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(targets.TARGETS)), st.binary(max_size=200))
def test_random_bytes_through_one_parser(name, data):
    within_budget(targets.TARGETS[name], data)


def test_the_budget_stops_endless_work():
    def endless(data):
        while True:
            len(data)

    with pytest.raises(Spent):
        within_budget(endless, b"x")


def test_faults_are_not_swallowed():
    def broken(data):
        raise KeyError(data)

    with pytest.raises(KeyError):
        within_budget(broken, b"x")


def test_there_is_a_seed_for_every_format_with_a_reader():
    from modelward.artifact.formats import table

    found = set()
    for name, data in SEEDS.items():
        try:
            found.add(targets.inspect_bytes(data, name).format)
        except targets.InputError:
            continue
    missing = set(table._FORMATS) - found - NAMED
    assert missing == set()


NAMED: set[str] = {
    # told apart by the name of the file, or larger than a seed should be
    "chat-template", "triton", "shard-index", "yaml", "mlflow", "hf-config", "native-code", "ggml", "torch-export", "torchscript", "model-json",
    "torch-package", "xgboost-binary", "xgboost-json", "object-yaml", "ort",
}  # fmt: skip
