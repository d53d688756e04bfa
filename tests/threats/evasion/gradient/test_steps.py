"""Faster ways to ask the same: what they answer, when they are compared, when they are given up."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from modelward.threats.evasion.gradient.losses import logarithms, loss, margin
from modelward.threats.evasion.gradient.steps import (
    Checked,
    Full,
    Plain,
    Question,
    Recorded,
    Seen,
    agree,
    bucket,
    joined,
)

KINDS = (None, "margin", "ratio", "entropy")


def net_of(seed=0, *tail):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(96, 5), *tail).eval()


def question(rows=20, seed=0):
    random = torch.Generator().manual_seed(seed)
    return Question(
        torch.rand((rows, 1, 6, 6), generator=random),
        torch.randint(0, 5, (rows,), generator=random),
        torch.randint(-1, 5, (rows,), generator=random),
    )


def always(forward, backward):
    del forward, backward
    return True


class Booked:
    """Says yes to so many requests, and writes all of them down."""

    def __init__(self, grants=10**9):
        self.grants, self.asked = grants, []

    def __call__(self, forward, backward):
        self.asked.append((forward, backward))
        return len(self.asked) <= self.grants


class Spoiled:
    """A way that is right so many times, and then does something to its answers, or raises."""

    def __init__(self, way, good, change):
        self.way, self.good, self.change, self.calls = way, good, change, 0

    def __call__(self, asked, kind):
        self.calls += 1
        seen = self.way(asked, kind)
        return seen if self.calls <= self.good else self.change(seen)


class Tape:
    """Recording as CUDA graphs do it: the same operations on the same memory, answers in the same memory."""

    def __init__(self):
        self.records = self.plays = 0

    def __call__(self, work):
        self.records += 1
        fixed = work().each(lambda values: values.clone())

        def play():
            self.plays += 1
            fresh = work()
            names = ("wrong", "margin", "value", "slope")
            for old, new in ((getattr(fixed, name), getattr(fresh, name)) for name in names):
                if old is not None:
                    old.copy_(new)
            return fixed

        return play


def equal(one, other):
    names = ("wrong", "margin", "value", "slope")
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_step_is_the_derivative_of_the_loss(kind):
    net, asked = net_of(), question()
    seen = Plain(net)(asked, kind)
    x = asked.x.clone().requires_grad_()
    scores = net(x)
    assert torch.equal(seen.margin, margin(scores, asked.target, asked.goal).detach())
    assert torch.equal(seen.wrong, scores.argmax(dim=1) != asked.target)
    if kind is None:
        assert seen.slope is None
        assert torch.equal(seen.value, seen.margin)
        return
    value = loss(kind, scores, asked.target, asked.goal)
    assert torch.equal(seen.value, value.detach())
    (slope,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(seen.slope, slope)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_last_changes_the_memory_and_not_the_answer(kind):
    asked = question()
    layouts = []

    class Sees(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            layouts.append(x.is_contiguous(memory_format=torch.channels_last) and x.stride()[1] == 1)
            return self.net(x)

    torch.manual_seed(4)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).eval()
    wide = Question(asked.x.expand(-1, 3, -1, -1).contiguous(), asked.target, asked.goal)
    last, plain = Plain(Sees(net), last=True)(wide, kind), Plain(Sees(net))(wide, kind)
    assert layouts == [True, False]
    assert agree(last, plain)
    if kind is not None:
        assert last.slope.is_contiguous()
        torch.testing.assert_close(last.slope, plain.slope, rtol=1e-4, atol=1e-6)


def test_a_module_without_slopes_has_slopes_of_zero():
    class Steps(nn.Module):
        def forward(self, x):
            return (x.flatten(1)[:, :5] * 4).round()

    asked = question()
    assert (Plain(Steps())(asked, "margin").slope == 0).all()

    class Deaf(nn.Module):
        def forward(self, x):
            return torch.ones(len(x), 5)

    assert (Plain(Deaf())(asked, "entropy").slope == 0).all()


@pytest.mark.parametrize("kind", ["margin", "ratio", "entropy"])
def test_probabilities_are_asked_as_logarithms_without_waiting_for_the_device(kind):
    """The decision is a tensor: `bool` of one would stop a recording."""
    asked = question()
    logits, sure = Plain(net_of(3))(asked, kind), Plain(net_of(3, nn.Softmax(dim=1)))(asked, kind)
    torch.testing.assert_close(logits.slope, sure.slope, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(logits.margin, sure.margin, rtol=1e-4, atol=1e-5)


def test_scores_that_are_no_probabilities_keep_their_slopes():
    scores = torch.tensor([[0.2, 0.5, -1.0], [torch.inf, 0.0, 3.0]], requires_grad=True)
    kept = logarithms(scores)
    assert torch.equal(kept, scores)
    (slope,) = torch.autograd.grad(kept[:, 1].sum(), scores)
    assert slope.tolist() == [[0, 1, 0], [0, 1, 0]]
    certain = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    assert logarithms(certain).detach()[0, 1].item() == pytest.approx(-69.08, abs=0.01)
    (slope,) = torch.autograd.grad(logarithms(certain)[0, 0], certain)
    assert slope.isfinite().all()


@given(st.integers(1, 5000))
def test_buckets_are_powers_of_two_that_hold_the_rows(rows):
    size = bucket(rows)
    assert size >= rows
    assert size & (size - 1) == 0
    assert size == 8 or size < 2 * rows


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.sampled_from(KINDS))
def test_parts_joined_are_the_whole(sizes, kind):
    asked = question(sum(sizes))
    whole = Plain(net_of())(asked, kind)
    parts = joined([Plain(net_of())(part, kind) for part in asked.parts(max(sizes))])
    assert agree(parts, whole)
    assert parts.wrong.shape == whole.wrong.shape


def answer(rows=32, slope=True):
    seen = Plain(net_of())(question(rows), "margin")
    return seen if slope else Seen(seen.wrong, seen.margin, seen.value, None)


def replaced(seen, **parts):
    names = ("wrong", "margin", "value", "slope")
    return Seen(**{name: parts.get(name, getattr(seen, name)) for name in names})


def first_rows(values, count, change):
    changed = values.clone()
    changed[:count] = change(changed[:count])
    return changed


def test_answers_agree_up_to_rounding():
    seen = answer()
    assert agree(seen, seen)
    assert agree(replaced(seen, margin=seen.margin * (1 + 1e-5), slope=seen.slope * (1 + 1e-4)), seen)
    nothing = replaced(seen, margin=torch.full_like(seen.margin, torch.nan))
    assert agree(nothing, nothing)
    infinite = replaced(seen, margin=torch.full_like(seen.margin, torch.inf))
    assert agree(infinite, infinite)
    assert not agree(infinite, seen)
    assert not agree(nothing, seen)


def test_one_wrong_margin_is_a_disagreement():
    seen = answer()
    assert not agree(replaced(seen, margin=first_rows(seen.margin, 1, lambda part: part + 0.01)), seen)


@pytest.mark.parametrize(("rows", "same"), [(1, True), (2, True), (3, False), (32, False)])
@pytest.mark.parametrize("change", [lambda part: -part, lambda part: part * 1.05, torch.zeros_like])
def test_one_slope_in_sixteen_may_differ(rows, same, change):
    """A ReLU at its corner may fall to either side; a slope that is wrong everywhere may not."""
    seen = answer()
    assert agree(replaced(seen, slope=first_rows(seen.slope, rows, change)), seen) is same
    assert agree(replaced(seen, value=first_rows(seen.value, rows, lambda part: part + 0.1)), seen) is same


def test_in_a_few_rows_no_slope_may_differ():
    seen = answer(15)
    assert not agree(replaced(seen, slope=first_rows(seen.slope, 1, torch.neg)), seen)


def test_an_answer_without_slopes_is_another_answer():
    assert not agree(answer(slope=False), answer())
    assert agree(answer(slope=False), answer(slope=False))


@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_step_answers_as_the_plain_one(kind):
    """From the fourth question of a size on; rows that fill up are no part of the answer."""
    plain, tape, booked = Plain(net_of()), Tape(), Booked()
    recorded = Recorded(plain, tape, booked)
    kept = []
    for seed, rows in enumerate([20, 17, 32, 20, 18, 31, 5, 5, 8, 3, 20]):
        asked = question(rows, seed)
        seen = recorded(asked, kind)
        assert len(seen.margin) == rows
        kept.append((seen, plain(asked, kind)))
    assert all(agree(seen, sure) for seen, sure in kept)  # none was written over by a later one
    assert tape.records == 2
    assert tape.plays == 5 + 2  # each was compared at first
    assert booked.asked == [(5 * size, 0 if kind is None else 5 * size) for size in (32, 8)]
    assert recorded.filled == 12 + 14 + 1 + 5 + 12


def test_what_is_recorded_holds_for_one_loss_and_one_size():
    tape = Tape()
    recorded = Recorded(Plain(net_of()), tape, always)
    for number in range(4):
        for kind in KINDS:
            recorded(question(9, number), kind)
            recorded(question(40, number), kind)
    assert tape.records == 8


@pytest.mark.parametrize("name", ["stale", "flat", "margin"])
def test_a_recording_that_answers_otherwise_is_refused_at_once(name):
    changes = {
        "stale": lambda seen: seen.each(lambda values: values.flip(0)),
        "flat": lambda seen: replaced(seen, slope=torch.zeros_like(seen.slope)),
        "margin": lambda seen: replaced(seen, margin=seen.margin + 1),
    }

    def record(work):
        return lambda: changes[name](work())

    recorded = Recorded(Plain(net_of()), record, always)
    for _ in range(3):
        recorded(question(30), "margin")
    with pytest.raises(RuntimeError, match="recording of 32 samples"):
        recorded(question(30), "margin")
    checked = Checked(Plain(net_of()), [("recorded", Recorded(Plain(net_of()), record, always))], always)
    for number in range(6):
        asked = question(30, number)
        assert equal(checked(asked, "margin"), Plain(net_of())(asked, "margin"))
    assert checked.notes == [
        "recorded: given up, a recording of 32 samples answers otherwise than what it is of"
    ]


def test_without_budget_nothing_is_recorded():
    tape, booked = Tape(), Booked(grants=0)
    recorded = Recorded(Plain(net_of()), tape, booked)
    for number in range(7):
        asked = question(12, number)
        assert equal(recorded(asked, "margin"), Plain(net_of())(asked, "margin"))
    assert tape.records == 0
    assert booked.asked == [(80, 80)] * 4


def test_a_full_batch_goes_its_own_way():
    went = Counter()

    def way(name):
        def ask(asked, kind):
            went[name] += len(asked.x)
            return Plain(net_of())(asked, kind)

        return ask

    split = Full(way("full"), way("rest"), 16)
    for rows in (16, 15, 3, 16, 17):
        split(question(rows), None)
    assert went == {"full": 32, "rest": 35}


@pytest.mark.parametrize("kind", ["margin", None])
def test_a_way_that_is_right_is_used_and_compared_less_and_less(kind):
    booked = Booked()
    way = Spoiled(Plain(net_of()), 10**9, None)
    checked = Checked(Plain(net_of()), [("fast", way)], booked)
    for number in range(70):
        asked = question(40, number)
        assert equal(checked(asked, kind), Plain(net_of())(asked, kind))
    assert way.calls == 70
    assert booked.asked == [(16, 16 if kind else 0)] * 4  # questions 1, 4, 16 and 64
    assert (checked.name, checked.notes) == ("fast", [])


CHANGES = {
    "slope": lambda seen: replaced(seen, slope=-seen.slope),
    "flat": lambda seen: replaced(seen, slope=torch.zeros_like(seen.slope)),
    "late": lambda seen: replaced(seen, slope=seen.slope.roll(1, 0)),
    "margin": lambda seen: replaced(seen, margin=seen.margin + 1),
    "value": lambda seen: replaced(seen, value=seen.value * 2 + 1),
    "stale": lambda seen: seen.each(lambda values: values.flip(0)),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("good", [0, 3, 15])
def test_a_way_that_goes_wrong_is_found_out_at_the_next_comparison(name, good):
    way = Spoiled(Plain(net_of()), good, CHANGES[name])
    checked = Checked(Plain(net_of()), [("fast", way)], always)
    for number in range(30):
        asked = question(24, number)
        seen = checked(asked, "margin")
        if number == good:  # the first wrong one is the 1st, 4th or 16th question
            assert equal(seen, Plain(net_of())(asked, "margin"))
    assert way.calls == good + 1
    assert checked.name == "plain"
    assert checked.notes == ["fast: given up, its answers differ from those of the plain step"]


@pytest.mark.parametrize("error", [RuntimeError, TypeError, ValueError, ImportError, OSError])
def test_a_way_that_raises_gives_place_to_the_next(error):
    def fails(seen):
        raise error("view size is not compatible\nwith input tensor's size")

    ways = [("first", Spoiled(Plain(net_of()), 2, fails)), ("second", Plain(net_of()))]
    checked = Checked(Plain(net_of()), ways, always)
    for number in range(6):
        asked = question(10, number)
        assert equal(checked(asked, "ratio"), Plain(net_of())(asked, "ratio"))
    assert checked.name == "second"
    assert checked.notes == ["first: given up, view size is not compatible"]


def test_an_error_of_the_module_itself_is_raised():
    class Breaks(nn.Module):
        def forward(self, x):
            raise ValueError("no such input")

    checked = Checked(Plain(Breaks()), [("fast", Plain(Breaks()))], always)
    with pytest.raises(ValueError, match="no such input"):
        checked(question(), "margin")
    assert checked.name == "plain"


def test_a_way_is_not_used_until_a_comparison_can_be_paid():
    way = Spoiled(Plain(net_of()), 0, CHANGES["slope"])
    checked = Checked(Plain(net_of()), [("fast", way)], Booked(grants=0))
    for number in range(20):
        asked = question(24, number)
        assert equal(checked(asked, "margin"), Plain(net_of())(asked, "margin"))
    assert way.calls == 0


def test_each_loss_and_size_is_compared_for_itself():
    booked = Booked()
    checked = Checked(Plain(net_of()), [("fast", Plain(net_of()))], booked)
    for kind in KINDS:
        for rows in (3, 12, 100):
            checked(question(rows), kind)
    forward = [rows for rows, _ in booked.asked]
    assert forward == [3, 12, 16] * 4
    assert [backward for _, backward in booked.asked] == [0] * 3 + forward[:3] * 3


def test_a_way_that_does_not_know_sizes_is_compared_for_each_loss():
    booked = Booked()
    checked = Checked(Plain(net_of()), [("fast", Plain(net_of()))], booked, sized=False)
    for kind in KINDS:
        for rows in (3, 12, 100, 40, 7):
            checked(question(rows), kind)
    assert [rows for rows, _ in booked.asked] == [3, 16] * 4  # the 1st and the 4th


def test_a_preferred_way_is_compared_anew():
    booked = Booked()
    checked = Checked(Plain(net_of()), [("fast", Plain(net_of()))], booked)
    for _ in range(3):
        checked(question(), "margin")
    wrong = Spoiled(Plain(net_of()), 0, CHANGES["flat"])
    checked.prefer("faster", wrong)
    assert checked.name == "faster"
    assert equal(checked(question(), "margin"), Plain(net_of())(question(), "margin"))
    assert checked.name == "fast"
    assert len(booked.asked) == 2


def test_rows_all_over_the_batch_are_compared():
    """A way that is wrong only in its last rows is found out."""

    def spoil(seen):
        slope = seen.slope.clone()
        slope[-8:] = 0
        return replaced(seen, slope=slope)

    checked = Checked(Plain(net_of()), [("fast", Spoiled(Plain(net_of()), 0, spoil))], always)
    checked(question(64), "margin")
    assert checked.name == "plain"


def test_a_net_that_mixes_rows_is_never_filled_up():
    """What fills a batch up would change the answers of the others."""

    class Mixes(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net_of()

        def forward(self, x):
            return self.net(x - x.mean(dim=0, keepdim=True))

    plain = Plain(Mixes())
    checked = Checked(plain, [("recorded", Recorded(plain, Tape(), always))], always)
    for number in range(6):
        asked = question(11, number)
        seen = checked(asked, "margin")
        assert equal(seen, plain(asked, "margin"))
    assert checked.name == "plain"
