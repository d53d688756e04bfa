"""Standard streams that are closed, full or left, and signals that end a command."""

from __future__ import annotations

import signal
import time

import pytest

SEAL = ("seal", "model", "-o", "model.sealed", "--key", "release.pem", "--no-scan")
OPEN = ("open", "model.sealed", "-o", "opened", "--public-key", "release.pub")
VERIFY = ("verify", "model.sealed", "--public-key", "release.pub")
NEW = ("keys", "new", "made.pem", "--passphrase-file", "phrase")


def shell(redirection):
    return ["sh", "-c", f'exec "$@" {redirection}', "sh"]


@pytest.mark.parametrize(
    ("words", "closed"),
    [(SEAL, "<&-"), (SEAL, ">&-"), (SEAL, "2>&-"), (SEAL, "<&- >&- 2>&-"), (VERIFY, ">&-"), (NEW, "<&-")],
)
def test_a_closed_stream_changes_nothing_else(here, fine, spawned, words, closed):
    if words is VERIFY:
        fine(*SEAL)
    ended = spawned(*words, prefix=shell(closed))
    assert ended.code == 0, ended
    if words is SEAL:
        fine(*VERIFY)  # nothing that was said went into a file


@pytest.mark.parametrize("full", [">/dev/full", ">/dev/full 2>/dev/full"])
def test_a_result_that_cannot_be_said_is_no_success(here, fine, spawned, full):
    fine(*SEAL)
    ended = spawned(*VERIFY, prefix=shell(full))
    assert ended.code == 2
    assert ended.err.count("No space left on device") == (1 if full == ">/dev/full" else 0), ended


def test_a_refusal_that_cannot_be_said_is_one(here, fine, spawned):
    fine(*SEAL)
    assert spawned("open", *OPEN[1:4], prefix=shell("2>/dev/full")).code == 2
    stranger = (*VERIFY[:-1], "next.pub")
    assert spawned(*stranger, prefix=shell("2>/dev/full")).code == 1


def started(process, folder):
    """Wait until the command has begun to write."""
    while not list(folder.glob(".*.modelward-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("words", [SEAL, OPEN])
def test_who_is_asked_to_end_cleans_up(here, fine, spawned, asked, words):
    """Above all, no plaintext stays behind."""
    with (here / "model" / "weights.bin").open("wb") as stream:
        stream.truncate(1 << 27)  # a tenth of a second of work at the least
    if words is OPEN:
        fine(*SEAL)

    def interrupt(process):
        started(process, here)
        process.send_signal(asked)

    ended = spawned(*words, before=interrupt)
    assert ended.code == 1, ended
    assert "modelward: interrupted" in ended.err
    assert not (here / words[3]).exists()
    assert not list(here.glob(".*.modelward-*"))


def test_a_command_that_shall_outlive_its_terminal_does(here, fine, spawned):
    def hang_up(process):
        started(process, here)
        process.send_signal(signal.SIGHUP)

    with (here / "model" / "weights.bin").open("wb") as stream:
        stream.truncate(1 << 27)
    ended = spawned(*SEAL, before=hang_up, prefix=["sh", "-c", 'trap "" HUP; exec "$@"', "sh"])
    assert ended.code == 0, ended
    fine(*VERIFY)
