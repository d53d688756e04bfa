"""Array bodies inside a joblib stream: their computed size, so that they are passed over unread.

joblib writes an array as a wrapper object whose BUILD is followed by the raw items (or, for an array of
objects, by a nested pickle). `pickle.load` knows nothing of that and would read the items as opcodes, so
both readings are walked.

Source: joblib/numpy_pickle.py, NumpyArrayWrapper.read_array and NumpyUnpickler.load_build, joblib 1.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.events import Broken, Event
from modelward.artifact.pickle.state import count_of, layout, shape_of
from modelward.artifact.pickle.values import Map, Obj

if TYPE_CHECKING:
    from modelward.artifact.pickle.opcodes import State
    from modelward.artifact.pickle.values import Value

WRAPPERS: Final = frozenset(
    {"joblib.numpy_pickle.NumpyArrayWrapper", "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper"}
)


def body(state: State, wrapper: Obj, pos: int) -> tuple[int, Value]:
    """Position after the array that follows a wrapper's BUILD at `pos`, as joblib reads it, and the array.

    Raises:
        Broken: shape or dtype cannot be determined, or the data ends within the array.
    """
    from modelward.artifact.pickle.machine import nested, second_reading

    if state.limit == pos:
        state.limit = len(state.data)  # the frame ends with the wrapper; joblib reads past it from the file
    second_reading(state, pos)
    fields = _fields(state, wrapper)
    match = state.judge.match
    shape, item = shape_of(match, fields.get("shape")), layout(match, fields.get("dtype"))
    if shape is None or item is None:
        message = "the shape or dtype of an array cannot be determined, so what follows it cannot be found"
        state.judge.record(Event("pickle.array", "unproven", message, pos))
        raise Broken(message)
    if item.objects:
        end, array = nested(state, pos)
        found = _restored(pos, array)
        return end, found
    if (
        "numpy_array_alignment_bytes" in fields
        and match.scalar(fields["numpy_array_alignment_bytes"]) is not None
    ):
        pos = state.bound(pos + 1) + state.data[pos]
    return state.bound(pos + count_of(shape) * item.itemsize), _restored(pos)


def _restored(pos: int, objects: Value | None = None) -> Obj:
    """The array that joblib puts in the place of its wrapper; nothing may change it any more."""
    found = Obj("numpy.ndarray", pos)
    if objects is not None:
        found.held.append(objects)
    return found


def _fields(state: State, wrapper: Obj) -> dict[str, Value]:
    attributes = wrapper.state
    if not isinstance(attributes, Map):
        return {}
    names = (state.judge.match.text(key) for key in attributes.keys)
    return {name: value for name, value in zip(names, attributes.values, strict=False) if name is not None}
