"""What must grow or shrink with what: larger sets, dearer methods, smaller budgets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget
from modelward.threats.evasion.bounds.branch import Effort
from modelward.threats.evasion.bounds.cascade import KINDS
from modelward.threats.evasion.bounds.propagate import propagate, traced
from modelward.threats.evasion.bounds.refine import refiner

GROWING = {"linf": (0.001, 0.01, 0.05, 0.2), "l2": (0.01, 0.1, 0.5, 2.0), "l1": (0.01, 0.2, 1.0, 4.0)}


def images(lab, seed, points=2):
    return torch.rand((points, *lab.shape), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["relu", "sigmoid", "gelu", "max pool", "attention", "layer norm", "powers"])
@pytest.mark.parametrize("norm", GROWING)
def test_intervals_of_a_larger_set_contain_those_of_a_smaller(lab, name, norm):
    net, x = lab.network(name, 4), images(lab, 4)
    found = []
    for eps in GROWING[norm]:
        with torch.no_grad():
            found.append(propagate(traced(net), lab.around(x, norm, eps)))
    for small, large in itertools.pairwise(found):
        spare = 1e-9 * (1 + large.largest)
        assert (large.lower <= small.lower + spare).all()
        assert (small.upper <= large.upper + spare).all()


@pytest.mark.parametrize("name", ["deep relu", "tanh", "residual", "layer norm", "gated"])
def test_margins_fall_as_the_set_grows_and_rise_with_the_steps(lab, name):
    net, x = lab.network(name, 2), images(lab, 2)
    with torch.no_grad():
        target = net(x).argmax(1)
    before = None
    for eps in (1e-4, 1e-3, 1e-2, 0.1):
        found = [lab.margins(net, x, target, "linf", eps, steps=steps).amin(1) for steps in (0, 4)]
        assert (found[1] >= found[0] - 1e-9).all()  # what was found is kept
        if before is not None:
            assert (found[0] <= before + 1e-3).all()
        before = found[0]


@pytest.mark.parametrize("name", ["relu", "sigmoid", "attention", "layer norm", "larger", "batch norm"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_refinement_never_widens_a_score(lab, name, norm):
    net, x = lab.network(name, 7), images(lab, 7)
    with torch.no_grad():
        plain = propagate(traced(net), lab.around(x, norm, 0.05))
        for ascent, work in ((0, 1e5), (0, float("inf")), (2, float("inf"))):
            fine = propagate(traced(net), lab.around(x, norm, 0.05), refiner(lambda rows: True, ascent, work))
            assert (fine.lower >= plain.lower - 1e-9).all()
            assert (fine.upper <= plain.upper + 1e-9).all()
            assert (fine.lower <= net(x).double()).all()
            assert (net(x).double() <= fine.upper).all()


@pytest.mark.parametrize("name", ["deep relu", "layer norm"])
def test_a_refusal_at_any_stage_takes_proofs_away_and_adds_none(lab, name):
    net, x = lab.network(name, 6), images(lab, 6, 6)
    with torch.no_grad():
        target = net(x).argmax(1)

    def proofs(allowed):
        asked = itertools.count()
        found = lab.cascade(
            net, x, target, eps=0.03, preset="thorough",
            spend=lambda forward=0, backward=0, bounds=0: next(asked) < allowed,
        )  # fmt: skip
        with torch.no_grad():
            if found.cheap(torch.arange(6)):
                left = (found.proved < 0).nonzero()[:, 0]
                margins = found.dear(left) if len(left) else None
                if margins is not None:
                    found.search(margins, left, Effort(domains=40, batch=16, steps=2))
        return found.proved, found.bounded, next(asked)

    whole, _, asked = proofs(10**9)
    assert asked > 4
    for allowed in sorted({0, 1, 2, 3, 4, 5, 7, asked // 2, asked - 2}):
        proved, bounded, _ = proofs(allowed)
        assert not ((proved >= 0) & (whole < 0)).any()
        assert not ((proved >= 0) & ~bounded).any()
        assert bool(bounded.all()) == (allowed > 0)


def smooth(seed, sharp=2):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(3, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2)
    )
    with torch.no_grad():
        net[0].weight.mul_(sharp)
        net[3].weight.mul_(sharp)
        scores = net(torch.rand(400, 3))
        net[5].bias[0] -= (scores[:, 0] - scores[:, 1]).median()
    return net


def test_a_smooth_model_of_a_table_is_decided_from_both_sides(room):
    """Without a ReLU: every point ends proved, or with a witness that the runtime itself gets wrong."""
    model = room.torch(smooth(0, sharp=4))
    x = np.random.default_rng(0).random((24, 3))
    table = room.table(x, [0] * 24, ["real", "real", "real"], immutable=(2,))
    points = room.labelled(model, x, columns=table.columns, bounds=table.box)
    found = room.run("certified", model, points, eps=(0.1,), preset="thorough")
    outcome = found.first.outcome
    proved, broken = set(outcome["certified"]), set(outcome.get("broken", []))
    assert not proved & broken
    assert len(proved | broken) >= 23
    assert broken
    assert outcome["proofs"]["branch and bound"]
    assert sorted(row for rows in outcome["proofs"].values() for row in rows) == outcome["certified"]
    assert set(outcome["proofs"]) == set(KINDS)
    kept = room.witnesses(found)
    assert kept["index"].tolist() == outcome["broken"]
    assert (kept["x"][:, 2] == x[kept["index"], 2]).all()  # what may not change has not
    assert (model.scores(kept["x"]).argmax(axis=1) != points.y[kept["index"]]).all()


@pytest.mark.parametrize("preset", ["quick", "thorough"])
def test_presets_prove_no_less_from_cheap_to_dear_and_twice_the_same(room, preset):
    model = room.torch(smooth(1))
    points = room.labelled(model, np.random.default_rng(1).random((12, 3)).astype(np.float32))
    one, two, cheap = (
        room.run("certified", model, points, eps=(0.04,), preset=each).first.outcome
        for each in (preset, preset, "quick")
    )
    assert one == two
    assert set(cheap["certified"]) <= set(one["certified"])


@pytest.mark.parametrize("passes", [1, 24, 200, 5000])
def test_a_pass_budget_is_kept_while_inputs_are_split(room, passes):
    model = room.torch(smooth(2))
    points = room.labelled(model, np.random.default_rng(2).random((12, 3)).astype(np.float32))
    whole = room.run("certified", model, points, eps=(0.08,), preset="thorough").first
    cut = room.run(
        "certified", model, points, eps=(0.08,), preset="thorough", budget=Budget(passes=passes)
    ).evidence
    for item in cut:
        assert set(item.outcome["certified"]) <= set(whole.outcome["certified"])
        assert item.cost.passes <= passes
