"""What was seen before: older keyrings and clocks are refused, and the file that says so is read strictly."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.errors import FileMissing, RolledBack, SealDamaged
from modelward.vault.keys.seen import LARGEST, TOLERANCE, Seen, default_path

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def seen(tmp_path):
    return Seen(tmp_path / "state" / "seen.json")


def test_the_first_is_believed_and_remembered(seen, ring):
    seen.admit(ring(version=3), NOON)
    assert json.loads(seen.path.read_bytes()) == {
        "format": "modelward.seen/1",
        "moment": "2026-11-21T12:00:00Z",
        "rings": {
            ring().ring: {"version": 3, "digest": hashlib.sha256(ring(version=3).encode()).hexdigest()}
        },
    }
    assert seen.path.stat().st_mode & 0o777 == 0o600
    assert seen.path.parent.stat().st_mode & 0o777 == 0o700


def test_an_older_version_is_refused(seen, ring):
    seen.admit(ring(version=3), NOON)
    seen.admit(ring(version=3), NOON)
    seen.admit(ring(version=7), NOON)
    for version in (1, 3, 6):
        with pytest.raises(RolledBack, match=f"version {version} of the keyring; version 7"):
            seen.admit(ring(version=version), NOON)
    seen.admit(ring(version=7), NOON)


def test_another_ring_of_the_same_version_is_refused(seen, ring, entry):
    seen.admit(ring(version=3), NOON)
    with pytest.raises(RolledBack, match="another version 3"):
        seen.admit(ring(version=3, keys=(entry("anna"),)), NOON)


def test_rings_are_kept_apart(seen, ring):
    seen.admit(ring(version=9), NOON)
    seen.admit(ring(version=2, ring="ab" * 16), NOON)
    with pytest.raises(RolledBack):
        seen.admit(ring(version=1, ring="ab" * 16), NOON)
    with pytest.raises(RolledBack):
        seen.admit(ring(version=8), NOON)


def test_a_clock_put_back_is_refused(seen, ring):
    latest = NOON + timedelta(days=3)
    seen.admit(ring(), latest)
    seen.admit(ring(), latest - TOLERANCE)
    for moment in (latest - TOLERANCE - timedelta(seconds=1), NOON, datetime(1970, 1, 1, tzinfo=UTC)):
        with pytest.raises(RolledBack, match="the clock says"):
            seen.admit(ring(), moment)


@pytest.mark.parametrize("step", [0, 1])
def test_small_steps_back_do_not_add_up(seen, ring, step):
    """Nor where each comes with a newer keyring, which is written down."""
    latest = NOON + timedelta(days=1)
    seen.admit(ring(), latest)
    seen.admit(ring(version=1 + step), latest - 4 * MINUTE)
    with pytest.raises(RolledBack):
        seen.admit(ring(version=1 + 2 * step), latest - 8 * MINUTE)


def test_a_ring_from_the_future_means_a_wrong_clock(seen, ring):
    seen.admit(ring(issued=NOON + TOLERANCE), NOON)
    with pytest.raises(RolledBack, match="was issued at"):
        seen.admit(ring(issued=NOON + TOLERANCE + timedelta(seconds=1)), NOON)


def test_a_refusal_leaves_the_file_as_it_was(seen, ring):
    seen.admit(ring(version=3), NOON)
    before = seen.path.read_bytes()
    with pytest.raises(RolledBack):
        seen.admit(ring(version=2), NOON + timedelta(days=1))
    assert seen.path.read_bytes() == before


def test_nothing_new_is_not_written(seen, ring):
    seen.admit(ring(), NOON)
    inode = seen.path.stat().st_ino
    seen.admit(ring(), NOON + timedelta(seconds=59))
    assert seen.path.stat().st_ino == inode
    seen.admit(ring(), NOON + MINUTE)
    assert seen.path.stat().st_ino != inode
    assert b"12:01:00Z" in seen.path.read_bytes()


def test_fractions_of_seconds_are_cut(seen, ring):
    seen.admit(ring(), NOON.replace(microsecond=999_999))
    seen.admit(ring(), NOON)
    assert b"12:00:00Z" in seen.path.read_bytes()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_says_nothing(seen, ring, mode):
    seen.admit(ring(), NOON)
    seen.path.chmod(mode)
    with pytest.raises(SealDamaged, match="others may write"):
        seen.admit(ring(), NOON)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_says_nothing(seen, ring):
    seen.admit(ring(), NOON)
    os.chown(seen.path, 12345, -1)
    with pytest.raises(SealDamaged, match="others may write"):
        seen.admit(ring(), NOON)


def test_every_altered_byte_is_damage_or_another_state(seen, ring):
    """The file is no secret and not signed: what matters is that no byte of it makes a traceback."""
    seen.admit(ring(version=3), NOON)
    good = seen.path.read_bytes()
    refused = 0
    for at in range(len(good)):
        for mask in (1, 128):
            data = bytearray(good)
            data[at] ^= mask
            seen.path.write_bytes(data)
            try:
                seen.admit(ring(version=3), NOON)
            except (SealDamaged, RolledBack):
                refused += 1
    assert refused > 1.7 * len(good)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: data.replace(b"seen/1", b"seen/2"),
        lambda data: data.replace(b"12:00:00Z", b"12:00:00+00:00"),
        lambda data: data.replace(b'"version":1', b'"version":0'),
        lambda data: data.replace(b'"version":1', b'"version":1,"x":2'),
        lambda data: b"[" * 50_000,
        lambda data: b'{"a": "\\ud800"}',
        lambda data: b" " * (LARGEST + 1) + data,
    ],
)
def test_a_damaged_file_is_refused(seen, ring, spoil):
    seen.admit(ring(), NOON)
    seen.path.write_bytes(spoil(seen.path.read_bytes()))
    with pytest.raises(SealDamaged, match="what was seen before is damaged"):
        seen.admit(ring(), NOON)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_damage(seen, ring, data):
    seen.path.parent.mkdir(exist_ok=True)
    seen.path.write_bytes(data)
    with pytest.raises(SealDamaged):
        seen.admit(ring(), NOON)


def test_a_folder_that_cannot_be_written(tmp_path, ring):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileMissing, match="cannot be read or kept"):
        Seen(tmp_path / "file" / "seen.json").admit(ring(), NOON)
    with pytest.raises(FileMissing, match="cannot be read or kept"):
        Seen(tmp_path).admit(ring(), NOON)


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from modelward.vault.keys.keyring import parse
from modelward.vault.keys.seen import Seen
import msgspec
ring = parse(Path(sys.argv[2]).read_bytes())
for version in range(1, 30):
    one = msgspec.structs.replace(ring, ring=sys.argv[3] * 32, version=version)
    Seen(Path(sys.argv[1])).admit(one, datetime(2026, 11, 21, 12, tzinfo=UTC))
"""


def test_two_processes_forget_nothing_of_each_other(seen, ring, tmp_path):
    base = tmp_path / "ring"
    base.write_bytes(ring(keys=()).encode())
    words = [[sys.executable, "-c", WRITER, str(seen.path), str(base), name] for name in "ab"]
    running = [subprocess.Popen(w) for w in words]
    assert [process.wait(30) for process in running] == [0, 0]
    rings = json.loads(seen.path.read_bytes())["rings"]
    assert {name[0]: entry["version"] for name, entry in rings.items()} == {"a": 29, "b": 29}


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "modelward" / "seen.json"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".local" / "state" / "modelward" / "seen.json"
