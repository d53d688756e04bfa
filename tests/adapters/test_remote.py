"""The near end of a sandboxed model, facing a process that lies."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.adapters import remote
from modelward.adapters.models import RuntimeModel
from modelward.adapters.outputs import Reading
from modelward.adapters.runtime import Facts, RuntimeSpec
from modelward.core.subject import Subject
from modelward.errors import FileDamaged, ModelHung, ModelRaised, SandboxDied, SandboxTimeout
from modelward.sandbox import RawArray, RemoteFailure

FACTS = msgspec.json.encode(Facts())


class Liar:
    """A sandbox whose process answers what the test says."""

    def __init__(self, *answers, opening=FACTS):
        self.answers, self.opening, self.closed, self.asked = list(answers), opening, 0, []

    def call(self, method, *arguments):
        self.asked.append((method, arguments))
        answer = self.opening if method == "open" else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed += 1


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "m").write_bytes(b"model")
    return RuntimeSpec(path=str(tmp_path / "m"), format="pickle", digest="sha256:0")


@pytest.fixture
def lying(spec, monkeypatch):
    """Open a runtime in front of a liar."""

    def lying(*answers, opening=FACTS):
        box = Liar(*answers, opening=opening)
        monkeypatch.setattr(remote.Sandbox, "start", lambda *args, **more: box)
        return remote.RemoteRuntime(spec), box

    return lying


def packed(array):
    plain = np.asarray(array, order="C")
    return RawArray(plain.dtype.str, plain.shape, plain.tobytes())


def test_arrays_come_back_as_they_went():
    for array in (np.arange(6.0).reshape(2, 3), np.array(["a", "bc"]), np.array([True]), np.zeros((0, 2))):
        back = remote.unpack(remote.pack(array))
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)
    assert remote.unpack(remote.pack(np.array(["a", 1], dtype=object))).tolist() == ["a", "1"]
    assert remote.unpack(remote.pack(np.array([], dtype=object))).shape == (0,)


@given(st.binary(min_size=8, max_size=8), st.sampled_from(["<U2", ">U2", "<f8", "|S8", "<i8", "|b1", "<c8"]))
def test_whatever_bytes_arrive_they_are_values_or_refused(data, dtype):
    array = RawArray(dtype, (8,) if dtype == "|b1" else (1,), data)
    numbers = np.frombuffer(data, f"{dtype[0]}u4") if dtype[1] == "U" else np.zeros(1)
    if numbers.max() > 0x10FFFF:
        with pytest.raises(ModelRaised, match="no text"):
            remote.unpack(array)
    else:
        assert len(remote.unpack(array).tolist()) == array.shape[0]


@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_that_are_no_characters(order, lying):
    bad = np.array([0x110000], np.dtype(np.uint32).newbyteorder(order)).tobytes()
    runtime, _ = lying(RawArray(f"{order}U1", (1,), bad))
    with pytest.raises(ModelRaised, match="text that is no text"):
        runtime.raw(np.ones((1, 2)))


@pytest.mark.parametrize("answer", [None, 1, "x", b"", [1.0], {"a": 1}])
def test_what_is_no_array_is_refused(answer, lying):
    runtime, _ = lying(answer)
    with pytest.raises(ModelRaised, match="no array"):
        runtime.raw(np.ones((1, 2)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.ones((4, 2)), np.ones((2, 3))),
        (np.ones(4), np.ones((2, 1))),
        (np.array(1.0), np.array(2.0)),
        (np.ones((4, 2)), np.array(2.0)),
    ],
)
def test_parts_of_one_batch_in_different_shapes(first, second, lying, monkeypatch):
    monkeypatch.setattr(remote, "_ROWS", 4)
    runtime, _ = lying(packed(first), packed(second))
    with pytest.raises(ModelRaised, match="different shapes"):
        runtime.raw(np.ones((6, 2)))


def test_parts_of_one_batch_are_put_together(lying, monkeypatch):
    monkeypatch.setattr(remote, "_ROWS", 4)
    runtime, box = lying(packed(np.zeros((4, 2))), packed(np.ones((2, 2))))
    assert runtime.raw(np.ones((6, 2))).tolist() == [[0, 0]] * 4 + [[1, 1]] * 2
    assert [argument[0].shape for _, argument in box.asked[1:]] == [(4, 2), (2, 2)]


@pytest.mark.parametrize("rows", [0, 2, 4])
def test_another_number_of_answers_than_rows(rows, lying):
    runtime, _ = lying(packed(np.ones((rows, 2))))
    subject = Subject(kind="model", name="m", digest="sha256:0")
    model = RuntimeModel(
        subject, runtime, Reading("logits", "stated", 2), classes=("a", "b"), spec=None
    )  # fmt: skip
    with pytest.raises(ModelRaised, match="to 3 samples"):
        model.scores(np.ones((3, 2)))


@pytest.mark.parametrize(
    ("error", "raised", "why"),
    [
        (RemoteFailure("ValueError", "out of order"), ModelRaised, "raised ValueError: out of order"),
        (RemoteFailure("ModelRaised", "the model raised X: y"), ModelRaised, "^the model raised X: y$"),
        (SandboxTimeout("raw did not answer within 60 s"), ModelHung, "did not answer"),
        (SandboxDied("the answer to raw is malformed: no message"), ModelRaised, "malformed"),
    ],
)
def test_how_a_process_ends_is_an_answer(error, raised, why, lying):
    runtime, box = lying(error, packed(np.ones((1, 2))))
    with pytest.raises(raised, match=why):
        runtime.raw(np.ones((1, 2)))
    assert box.closed == (not isinstance(error, RemoteFailure))
    assert runtime.raw(np.ones((1, 2))).tolist() == [[1, 1]]  # it is started again, or lives on


@pytest.mark.parametrize(
    "opening",
    [
        None,
        1,
        packed(np.ones(1)),
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"features": ["\xff"]}',
        b'{"features": 3}',
        b'{"n_features": "many"}',
        b'{"classes": [1]}',
        b'{"kind": "guess"}',
        b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"classes": ["\\ud800"]}',
        RemoteFailure("KeyError", "x"),
        RemoteFailure("FileDamaged", "m: is truncated"),
        SandboxDied("the sandboxed process was ended by SIGKILL"),
        SandboxTimeout("open did not answer within 60 s"),
    ],
)
def test_a_process_that_describes_no_model(opening, lying):
    with pytest.raises(FileDamaged):
        lying(opening=opening)


def test_a_probe_sees_answers_and_no_traceback(spec, monkeypatch):
    box = Liar(
        packed(np.array([[np.nan, 1.0]])),
        packed(np.array(["a"])),
        RawArray("<U1", (1,), b"\xff" * 4),
        packed(np.array([1e300], np.longdouble) * 1e300),
        packed(np.array([3 + 4j])),
        7,
        SandboxDied("the sandboxed process was ended by SIGSEGV during raw"),
        SandboxTimeout("raw did not answer"),
    )
    monkeypatch.setattr(remote.Sandbox, "start", lambda *args, **more: box)
    probe = remote.RemoteProbe(spec, 1.0)
    answers = [probe.ask(np.ones((1, 2))) for _ in range(8)]
    kinds = ["answered", "answered", "raised", "answered", "answered", "raised", "crashed", "hung"]
    assert [answer.kind for answer in answers] == kinds
    assert answers[0].finite is False
    assert answers[0].scores == [None, 1.0]
    assert answers[3].scores == [None]
    assert answers[4].scores == [5.0]
    probe.close()
    assert box.closed == 3
