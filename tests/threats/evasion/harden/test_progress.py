"""Checkpoints: what is read back is what was written, or nothing at all."""

from __future__ import annotations

import hashlib
import io
import pickle
import stat

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.threats.evasion.harden import progress

MARK = b"modelward training 2\n"


@pytest.fixture(scope="module")
def trained():
    """A network and its optimiser, which made two steps."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(2):
        optimiser.zero_grad()
        module(torch.rand(4, 3)).square().sum().backward()
        optimiser.step()
    return module, optimiser


@pytest.fixture(scope="module")
def state(trained):
    module, optimiser = trained
    weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    return progress.State(
        epoch=3,
        weights=weights,
        optimiser=optimiser.state_dict(),
        steps=4,
        best=(0.75, weights),
        history=[{"clean": 1.0, "epoch": 3, "event": "none"}],
        spent=(1.5, 20, 10),
        cut="passes",
    )


@pytest.fixture
def place(tmp_path):
    return tmp_path / "c"


def fresh():
    """The same training before its first step."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    return module, torch.optim.Adam(module.parameters(), lr=0.01)


def forged(place, content, identity="mine"):
    """Whoever can compute a digest can put it in front of anything."""
    place.write_bytes(MARK + hashlib.sha256(identity.encode() + b"\n" + content).digest() + content)


def saved(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def plain(state):
    return {name: getattr(state, name) for name in state.__slots__}


def test_a_state_comes_back_as_it_went(place, state):
    progress.save(place, "mine", state)
    back = progress.load(place, "mine", *fresh())
    assert (back.epoch, back.steps, back.done, back.cut) == (3, 4, False, "passes")
    assert (back.spent, back.history) == (state.spent, state.history)
    assert back.best[0] == 0.75
    for name, tensor in state.weights.items():
        assert torch.equal(back.weights[name], tensor)
        assert torch.equal(back.best[1][name], tensor)
    moments = back.optimiser["state"][0]
    assert torch.equal(moments["exp_avg"], state.optimiser["state"][0]["exp_avg"])
    fresh()[1].load_state_dict(back.optimiser)


def test_a_state_before_the_first_step_comes_back(place):
    module, optimiser = fresh()
    begun = progress.State(weights=dict(module.state_dict()), optimiser=optimiser.state_dict())
    progress.save(place, "mine", begun)
    back = progress.load(place, "mine", *fresh())
    assert back.best is None
    assert back.optimiser["state"] == {}


def test_what_is_written_is_for_its_owner_alone(place, state):
    progress.save(place, "mine", state)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_the_state_of_another_training_is_left_alone(place, state):
    progress.save(place, "theirs", state)
    assert progress.load(place, "mine", *fresh()) is None
    assert progress.load(place, "theirs", *fresh()) is not None


def test_no_file_and_a_folder_are_no_state(place):
    assert progress.load(place, "mine", *fresh()) is None
    place.mkdir()
    assert progress.load(place, "mine", *fresh()) is None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_goes_unseen(place, state, data):
    """Any byte that changed, and any end that is missing or was added."""
    progress.save(place, "mine", state)
    whole = place.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "more"]))
    if kind == "flip":
        mask = data.draw(st.integers(1, 255))
        place.write_bytes(whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])
    else:
        place.write_bytes(whole[:at] if kind == "cut" else whole + bytes(1 + at % 7))
    assert progress.load(place, "mine", *fresh()) is None


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=120), value=st.sampled_from([1, [1], {"epoch": 1}, "x", None, {1: 2}]))
def test_no_forged_content_breaks_the_reader(place, noise, value):
    for content in (noise, pickle.dumps(value, 2) + noise, b"PK\x03\x04" + noise, saved(value)):
        forged(place, content)
        assert progress.load(place, "mine", *fresh()) is None


@pytest.mark.parametrize("opcode", [b"0", b"R", b"b", b"a", b"s", b"t", b"Q", b"\x85", b"h\x07"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_that_asks_of_an_empty_stack_is_no_state(place, opcode):
    forged(place, b"\x80\x02" + opcode + b".")
    assert progress.load(place, "mine", *fresh()) is None


def test_a_forged_state_of_the_right_kind_is_a_state(place, state):
    """So that the refusals below are of the one thing that each of them changes."""
    forged(place, saved(plain(state)))
    assert progress.load(place, "mine", *fresh()) is not None


WRONG = {
    "epoch": [-1, 1.5, True, None, "1", 2**60, torch.ones(())],
    "steps": [0, -1, 2.0, "7"],
    "history": [1, {}, [1], [{1: 2}], [{"a": torch.ones(1)}], "abc"],
    "spent": [1, (1.0, 2), (-1.0, 0, 0), (float("nan"), 0, 0), (float("inf"), 0, 0), (0.0, 0.5, 0)],
    "done": [0, None, "no"],
    "best": [1, (1.0,), (1, {}), (0.5, {}), (0.5, {"0.weight": torch.ones(2, 3)})],
    "weights": [1, {}, [], {"0.weight": torch.ones(2, 3)}],
    "optimiser": [1, {}, {"state": {}}, {"state": {}, "param_groups": []}, {"state": 1, "param_groups": 1}],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_a_value_of_the_wrong_kind_is_no_state(place, state, name, value):
    forged(place, saved(plain(state) | {name: value}))
    assert progress.load(place, "mine", *fresh()) is None


def test_a_field_too_few_or_too_many_is_no_state(place, state):
    for name in state.__slots__:
        forged(place, saved({key: value for key, value in plain(state).items() if key != name}))
        assert progress.load(place, "mine", *fresh()) is None
    forged(place, saved(plain(state) | {"more": 1}))
    assert progress.load(place, "mine", *fresh()) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.double(),
        lambda t: t.reshape(-1),
        lambda t: t[:1],
        lambda t: t.tolist(),
    ],
)
def test_weights_of_another_shape_or_type_are_no_state(place, state, change):
    weights = state.weights | {"0.weight": change(state.weights["0.weight"])}
    forged(place, saved(plain(state) | {"weights": weights}))
    assert progress.load(place, "mine", *fresh()) is None


@pytest.mark.parametrize(
    "change",
    [
        {0: {}},
        {0: 1},
        {9: {"step": torch.tensor(1.0), "exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.ones(2, 3)}},
        {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(3, 2), "exp_avg_sq": torch.ones(2, 3)}},
        {0: {"step": torch.ones(5), "exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.ones(2, 3)}},
        {0: {"step": 1.0, "exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.ones(2, 3)}},
    ],
)
def test_moments_that_do_not_fit_the_weights_are_no_state(place, state, change):
    optimiser = state.optimiser | {"state": state.optimiser["state"] | change}
    forged(place, saved(plain(state) | {"optimiser": optimiser}))
    assert progress.load(place, "mine", *fresh()) is None


def test_another_number_of_weights_is_no_state(place, state):
    progress.save(place, "mine", state)
    wider = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    assert progress.load(place, "mine", wider, torch.optim.Adam(wider.parameters())) is None
    deeper = torch.nn.Sequential(*fresh()[0], torch.nn.Linear(2, 2))
    assert progress.load(place, "mine", deeper, torch.optim.Adam(deeper.parameters())) is None
