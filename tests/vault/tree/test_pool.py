"""Threads that take tasks from one generator: each task once, the first error ends them all."""

from __future__ import annotations

import threading
import time

import pytest

from modelward.vault.tree.pool import MOST, Meter, cores, run


def numbered(count, act):
    for number in range(count):
        yield lambda view, number=number: act(number, view)


@pytest.mark.parametrize("jobs", [0, 1, 2, 7, MOST + 5])
def test_every_task_once(jobs):
    done, lock = [], threading.Lock()

    def act(number, view):
        with lock:
            done.append((number, len(view)))

    run(numbered(200, act), jobs=jobs, buffer=8)
    assert sorted(done) == [(number, 8) for number in range(200)]


def test_no_task_at_all():
    run(iter(()), jobs=3, buffer=0)


def test_buffers_belong_to_one_thread():
    """Each task fills its buffer, lets others run, and finds it as it was."""
    wrong = []

    def act(number, view):
        view[:] = bytes([number % 256]) * len(view)
        time.sleep(0)
        if bytes(view) != bytes([number % 256]) * len(view):
            wrong.append(number)

    run(numbered(300, act), jobs=4, buffer=64)
    assert not wrong


def test_the_generator_is_advanced_by_one_thread_at_a_time():
    inside, worst = [0], [0]

    def tasks():
        for _ in range(100):
            inside[0] += 1
            worst[0] = max(worst[0], inside[0])
            time.sleep(0)
            inside[0] -= 1
            yield lambda _view: None

    run(tasks(), jobs=4, buffer=0)
    assert worst == [1]


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_an_error_of_a_task_ends_all(jobs):
    done = []

    def act(number, _view):
        if number == 10:
            raise RuntimeError("ten")
        done.append(number)

    with pytest.raises(RuntimeError, match="ten"):
        run(numbered(10_000_000, act), jobs=jobs, buffer=0)
    assert len(done) < 9_000_000
    assert threading.active_count() < 3 + MOST
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_error_of_the_generator_comes_out(jobs):
    def tasks():
        yield lambda _view: None
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        run(tasks(), jobs=jobs, buffer=0)


def test_an_interrupt_ends_all():
    def act(number, _view):
        if number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(numbered(1000, act), jobs=3, buffer=0)


def test_a_meter_counts_under_threads():
    told = []
    meter = Meter(4000, lambda done, total: told.append((done, total)))
    run(numbered(400, lambda _number, _view: meter.add(10)), jobs=4, buffer=0)
    assert told == [(10 * step, 4000) for step in range(1, 401)]
    Meter(1, None).add(1)


def test_cores():
    assert 1 <= cores() <= MOST
