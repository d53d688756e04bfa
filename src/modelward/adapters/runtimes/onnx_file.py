"""ONNX files, run by onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import msgspec
import numpy as np

from modelward.adapters.runtime import Facts, RuntimeSpec, as_numbers, class_text
from modelward.errors import FileDamaged, ModelRaised, ShapeMismatch

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}


@final
class OnnxRuntime:
    """A session on one file."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        inputs = session.get_inputs()
        self._strings = len(inputs) == 1 and inputs[0].type == "tensor(string)"
        if not self._strings and (len(inputs) != 1 or inputs[0].type not in _TYPES):
            kinds = ", ".join(f"{i.name}: {i.type}" for i in inputs)
            raise ShapeMismatch(
                f"the model takes {len(inputs)} inputs ({kinds}); one tensor of numbers or texts is supported"
            )
        self._input = inputs[0]
        self._type = np.object_ if self._strings else _TYPES[inputs[0].type]
        dims = [d if isinstance(d, int) and d > 0 else None for d in inputs[0].shape]
        self._batch = dims[0] if dims else None
        self._output = _choose_output(session)
        self._zipmap = self._output.type.startswith("seq(map(")
        self._classes: tuple[str, ...] | None = None
        shape = () if self._strings else tuple(dims[1:])
        self._columns = tuple(d or 1 for d in dims[1:])
        if self._strings and self._columns not in {(), (1,)}:
            raise ShapeMismatch(f"the model takes texts of shape {self._columns} a sample; one is supported")
        self._facts = Facts(
            n_features=shape[0] if len(shape) == 1 else None,
            shape=shape or None,
            kind="probabilities" if self._zipmap else None,
            origin=f"output {self._output.name!r} of type {self._output.type}",
            whole=not self._strings and not np.issubdtype(self._type, np.floating),
            strings=self._strings,
        )

    @property
    def facts(self) -> Facts:
        """Input shape and, for a ZipMap, the classes."""
        shape = self._facts.shape
        if self._zipmap and self._classes is None and self._strings:
            self.raw(np.array(["text"], dtype=np.object_))
        elif self._zipmap and self._classes is None and shape and None not in shape:
            self.raw(np.zeros((1, *[d or 1 for d in shape])))
        return msgspec.structs.replace(self._facts, classes=self._classes)

    def raw(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """Run the session; a fixed batch size is filled up with the last sample."""
        batch = _as_strings(x, self._columns) if self._strings else as_numbers(x, self._type)
        if self._batch is None or batch.ndim == 0 or len(batch) == self._batch:
            return self._run(batch)
        parts = []
        for start in range(0, len(batch), self._batch):
            part = batch[start : start + self._batch]
            missing = self._batch - len(part)
            filled = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            parts.append(self._run(filled)[: len(part)])
        return np.concatenate(parts)

    def _run(self, batch: NDArray[np.generic]) -> NDArray[np.generic]:
        from modelward.adapters.ort import ERRORS

        try:
            answer = self._session.run([self._output.name], {self._input.name: batch})[0]
        except UnicodeEncodeError as error:
            raise ModelRaised("onnxruntime takes valid Unicode alone, and a text is none") from error
        except ERRORS as error:
            raise ModelRaised(f"onnxruntime refused the input: {str(error).splitlines()[0][:300]}") from error
        if not self._zipmap:
            return np.asarray(answer)
        keys = list(answer[0])
        self._classes = tuple(class_text(key) for key in keys)
        return np.array([[row[key] for key in keys] for row in answer], dtype=np.float64)


def _as_strings(x: NDArray[np.generic], columns: tuple[int, ...]) -> NDArray[np.generic]:
    if x.dtype.kind != "O" or x.ndim != 1:
        raise ModelRaised(f"the model takes one text a sample, not {x.dtype} of shape {x.shape}")
    return x.reshape(len(x), *columns)


def load(spec: RuntimeSpec) -> OnnxRuntime:
    """Open an ONNX file on the CPU.

    Raises:
        FileDamaged: onnxruntime does not accept it.
        ShapeMismatch: it does not take one tensor of numbers or texts.
    """
    from modelward.adapters.ort import ERRORS, onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(spec.path, options, providers=["CPUExecutionProvider"])
    except ERRORS as error:
        reason = str(error).splitlines()[0][:200]
        raise FileDamaged(f"{spec.path}: onnxruntime cannot open it ({reason})") from error
    return OnnxRuntime(session)


def _choose_output(session: onnxruntime.InferenceSession) -> onnxruntime.NodeArg:
    """Scores are worth more than labels: a ZipMap or float matrix, then a float vector, then labels."""

    def worth(output: onnxruntime.NodeArg) -> int:
        if output.type.startswith("seq(map("):
            return 0
        floating = output.type in {"tensor(float)", "tensor(double)", "tensor(float16)"}
        return (1 if len(output.shape or ()) == 2 else 2) if floating else 3

    return min(session.get_outputs(), key=worth)
