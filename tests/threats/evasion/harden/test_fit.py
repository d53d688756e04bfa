"""The loop: repeatable, resumable, within its budget, and not fooled."""

from __future__ import annotations

import itertools

import pytest
import torch

from modelward.core.budget import Budget
from modelward.errors import ConfigInvalid, LedgerUnwritable
from modelward.threats.evasion.harden import progress
from modelward.threats.evasion.harden.methods import METHODS
from modelward.threats.evasion.harden.watch import overfitted


def weights(module):
    return torch.cat([tensor.detach().flatten() for tensor in module.state_dict().values()])


@pytest.mark.parametrize("method", [name for name in METHODS if name not in {"trees", "normalise"}])
def test_every_method_learns_and_repeats_itself(build, method):
    norm = "l2" if method == "noise" else "linf"
    ended = []
    for _ in range(2):
        task = build.task(method=method, norm=norm, eps=0.05, epochs=6, rate=0.05)
        state = build.fit(task)
        ended.append(weights(task.net.module))
        assert state.done
        assert state.epoch == 6
        assert state.history[-1]["clean"] >= 0.9
    assert torch.equal(*ended)


def test_another_seed_is_another_training(build):
    one, other = build.task(seed=1), build.task(seed=2)
    build.fit(one)
    build.fit(other)
    assert not torch.equal(weights(one.net.module), weights(other.net.module))


@pytest.mark.parametrize("stopped_after", [1, 3])
@pytest.mark.parametrize("method", ["pgd", "ibp", "fast"])
def test_a_killed_training_ends_as_if_it_had_not_been(build, tmp_path, monkeypatch, method, stopped_after):
    straight = build.task(method=method, epochs=5)
    build.fit(straight)

    killed = build.task(method=method, epochs=5, checkpoint=(tmp_path / "c", "same"))
    saves = itertools.count(1)

    write = progress.save

    def save(*given):
        write(*given)
        if next(saves) == stopped_after:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress, "save", save)
    with pytest.raises(KeyboardInterrupt):
        build.fit(killed)
    monkeypatch.undo()

    resumed = build.task(build.small_net(9), method=method, epochs=5, checkpoint=(tmp_path / "c", "same"))
    state = build.fit(resumed)
    assert torch.equal(weights(straight.net.module), weights(resumed.net.module))
    assert len(state.history) == 5
    assert state.spent[1] > 0  # what the killed process spent is not forgotten


def test_a_finished_training_is_not_repeated(build, tmp_path):
    first = build.task(checkpoint=(tmp_path / "c", "same"))
    build.fit(first)
    again = build.task(build.small_net(5), checkpoint=(tmp_path / "c", "same"))
    build.fit(again)
    assert again.meter.cost.forward == 0
    assert torch.equal(weights(first.net.module), weights(again.net.module))


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_checkpoint_that_is_damaged_or_of_another_training_is_not_used(build, tmp_path, damage):
    """Training starts anew, ends as if there had been none, and leaves a sound checkpoint."""
    build.fit(build.task(checkpoint=(tmp_path / "c", "other")))
    if damage is not None:
        (tmp_path / "c").write_bytes(damage)
    task, alone = build.task(checkpoint=(tmp_path / "c", "mine")), build.task()
    build.fit(task)
    build.fit(alone)
    assert task.meter.cost.forward == alone.meter.cost.forward > 0
    assert torch.equal(weights(task.net.module), weights(alone.net.module))
    again = build.task(checkpoint=(tmp_path / "c", "mine"))
    build.fit(again)
    assert again.meter.cost.forward == 0


def test_a_checkpoint_cannot_run_code(build, tmp_path):
    import hashlib
    import pickle

    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    bare = pickle.dumps({"identity": "mine", "x": Payload()}, protocol=2)
    signed = b"modelward training 2\n" + hashlib.sha256(b"mine\n" + bare).digest() + bare
    for content in (bare, signed):
        (tmp_path / "c").write_bytes(content)
        task = build.task(checkpoint=(tmp_path / "c", "mine"))
        build.fit(task)
        assert task.meter.cost.forward > 0
        assert not (tmp_path / "ran").exists()


def test_a_place_that_cannot_be_written_is_named(build, tmp_path):
    with pytest.raises(LedgerUnwritable, match="cannot be written"):
        build.fit(build.task(checkpoint=(tmp_path / "absent" / "c", "same")))


def test_the_budget_of_passes_is_never_overrun(build):
    limit = Budget(passes=4000)
    task = build.task(epochs=50, limit=limit)
    state = build.fit(task)
    cost = task.meter.cost
    assert cost.forward + cost.backward <= 4000
    assert state.cut == "passes"
    assert state.done
    assert state.epoch < 50


def test_a_budget_of_time_shortens_the_schedule(build):
    """A clock that ticks with every look: all radii are reached before it runs out."""
    ticks = itertools.count()
    task = build.task(epochs=1000, ramp=0.4, limit=Budget(seconds=600.0), clock=lambda: float(next(ticks)))
    state = build.fit(task)
    assert state.cut == "seconds"
    assert state.epoch < 1000
    assert state.history[-1]["radius"] == pytest.approx(0.1)
    assert state.best is not None


@pytest.mark.parametrize(
    ("limit", "more"), [(Budget(passes=30_000), 0), (Budget(passes=31_000), 1), (Budget(seconds=400.0), 0)]
)
def test_what_a_budget_ends_is_judged_within_it(build, limit, more):
    """The last steps have the smallest rate and the best weights: some budget is left to measure them."""
    ticks = itertools.count()
    task = build.task(epochs=1000, limit=limit, clock=lambda: float(next(ticks)))
    state = build.fit(task)
    judged = [entry["epoch"] for entry in state.history]
    assert judged == list(range(1, len(judged) + 1))
    assert len(judged) - state.epoch == more
    cost = task.meter.cost
    assert limit.passes is None or cost.forward + cost.backward <= limit.passes
    assert state.history[-1]["radius"] == pytest.approx(0.1)
    assert state.cut == ("passes" if limit.seconds is None else "seconds")


def test_of_two_limits_the_one_that_is_reached_is_named(build):
    ticks = itertools.count()
    both = Budget(passes=10**9, seconds=200.0)
    task = build.task(epochs=1000, limit=both, clock=lambda: float(next(ticks)))
    assert build.fit(task).cut == "seconds"
    task = build.task(epochs=1000, limit=Budget(passes=8000, seconds=1e6))
    assert build.fit(task).cut == "passes"


def test_the_time_of_earlier_processes_counts(build, tmp_path, monkeypatch):
    """Killed at two thirds, a training goes on there: the radius does not fall back, nor does the limit move."""
    ticks, saves = itertools.count(), itertools.count(1)
    write = progress.save

    def save(*given):
        write(*given)
        if next(saves) == 12:
            raise KeyboardInterrupt

    def task(limit):
        return build.task(
            epochs=1000, checkpoint=(tmp_path / "c", "same"), limit=limit, clock=lambda: float(next(ticks))
        )

    limit = Budget(seconds=600.0)
    monkeypatch.setattr(progress, "save", save)
    with pytest.raises(KeyboardInterrupt):
        build.fit(task(limit))
    monkeypatch.undo()
    resumed = task(limit)
    state = build.fit(resumed)
    assert 0 < state.spent[0] < 600
    assert state.spent[0] + resumed.meter.cost.seconds < 620
    radii = [entry["radius"] for entry in state.history]
    assert radii == sorted(radii)


def test_what_cut_a_training_is_remembered(build, tmp_path):
    given = {"epochs": 50, "checkpoint": (tmp_path / "c", "same"), "limit": Budget(passes=8000)}
    assert build.fit(build.task(**given)).cut == "passes"
    again = build.task(build.small_net(5), **given)
    assert build.fit(again).cut == "passes"
    assert again.meter.cost.forward == 0


def test_the_best_epoch_is_the_one_that_is_kept(build, monkeypatch):
    """Scores are made up: the second epoch at the full radius is the best."""
    scores = iter([0.9, 0.3, 0.8, 0.5])
    kept = []

    def measure(self, net, grown, meter):
        score = next(scores)
        kept.append(weights(net.module))
        return {"clean": 1.0, "one step": score, "attacked": score}

    task = build.task(epochs=4, ramp=0.2)
    monkeypatch.setattr(type(task.held_out), "measure", measure)
    state = build.fit(task)
    # The first epoch starts at radius 0, so it has to be beaten among the later ones only.
    assert state.best[0] == pytest.approx(0.8 + 1e-3)
    assert torch.equal(weights(task.net.module), kept[2])


def test_catastrophic_overfitting_is_taken_back(build, monkeypatch):
    answers = iter([(0.9, 0.85), (0.99, 0.1), (0.9, 0.8), (0.9, 0.82)])
    seen = []

    def measure(self, net, grown, meter):
        once, many = next(answers)
        seen.append(weights(net.module))
        return {"clean": 0.95, "one step": once, "attacked": many}

    task = build.task(method="fast", epochs=4, ramp=0.0)
    monkeypatch.setattr(type(task.held_out), "measure", measure)
    state = build.fit(task)
    assert "catastrophic overfitting" in state.history[1]["event"]
    assert state.steps == 4
    assert "event" not in state.history[2]
    # The epoch after starts from the weights of the one before the fall: far from the fallen ones.
    assert torch.equal(weights(task.net.module), seen[0])  # the best was the first


@pytest.mark.parametrize(
    ("once", "many", "answer"), [(0.9, 0.8, False), (0.9, 0.66, False), (0.9, 0.6, True)]
)
def test_the_gap_tells_overfitting(once, many, answer):
    assert overfitted({"one step": once, "attacked": many}) is answer


def test_a_loss_that_is_no_number_ends_the_training(build):
    module = build.small_net()
    with torch.no_grad():
        module[0].weight.fill_(float("nan"))
    with pytest.raises(ConfigInvalid, match="loss of pgd is nan in epoch 1"):
        build.fit(build.task(module))


def test_held_out_shares_of_a_known_model(build):
    """A threshold at 0.5 with margins of 0.1 to 0.3: all right at eps 0.05, none at 0.35."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
        module[0].bias.copy_(torch.tensor([1.0, 0.0]))
    for eps, share in ((0.05, 1.0), (0.35, 0.0)):
        task = build.task(module, method="ibp", eps=eps)
        found = task.held_out.measure(task.net, 1.0, task.meter)
        assert found["clean"] == 1.0
        assert found["attacked"] == found["proved"] == share
        half = task.held_out.measure(task.net, 0.0, task.meter)
        assert half["attacked"] == 1.0


def test_modes_and_statistics_survive_a_measurement(build):
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2)).train()
    task = build.task(module)
    before = weights(module)
    task.held_out.measure(task.net, 1.0, task.meter)
    assert torch.equal(before, weights(module))
    assert module.training


def test_the_global_generator_is_left_as_it_was(build):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    build.fit(_seeded(build))
    assert torch.equal(before, torch.get_rng_state())


def _seeded(build):
    state = torch.get_rng_state()
    task = build.task()
    torch.set_rng_state(state)
    return task
