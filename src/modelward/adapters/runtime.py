"""What runs a model file, and what is known about it before it is asked."""

from __future__ import annotations

import hashlib
import re
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from modelward.core.model import OutputKind
from modelward.errors import ModelRaised, UnsafeArtifact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelward.core.trees import Forest


class RuntimeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to open a model file, here or in the sandbox.

    Attributes:
        path: the file.
        format: content format, as `artifact.sniff` names it.
        digest: of the file's bytes; a format whose loading can run code is loaded from these bytes alone.
        beside: other files that the model file names as parts of itself.
        factory: ``package.module:function`` that builds the torch module; trusted, because the user named it.
        import_from: folder put first on the import path for the factory.
        categories: column name to category texts, for models that were trained on text columns.
    """

    path: str
    format: str
    digest: str
    beside: tuple[str, ...] = ()
    factory: str | None = None
    import_from: str | None = None
    categories: dict[str, list[str]] = {}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says about itself.

    Attributes:
        features: feature names in input order; null when it does not know.
        n_features: length of one row; null when it does not say or does not take rows.
        shape: shape of one sample with null for free dimensions; null when it does not say.
        classes: class labels in output order; null when it does not know.
        kind: meaning of the outputs, when the model states it.
        origin: where `kind` and `classes` come from.
        missing: it takes NaN for a missing value by design.
        texts: it is given texts for the columns of categories, and has a dictionary of its own.
        whole: it takes whole numbers alone.
        strings: it takes one text a sample; null when it does not say.
    """

    features: tuple[str, ...] | None = None
    n_features: int | None = None
    shape: tuple[int | None, ...] | None = None
    classes: tuple[str, ...] | None = None
    kind: OutputKind | None = None
    origin: str = ""
    missing: bool = False
    texts: bool = False
    whole: bool = False
    strings: bool | None = None


class Runtime(Protocol):
    """A loaded model file or live object."""

    @property
    def facts(self) -> Facts:
        """What it says about itself."""
        ...

    def raw(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """Ask it.

        Args:
            x: (n, *shape) numbers, or (n,) objects that are all str.

        Returns:
            Its own answer: (n,), (n, 1) or (n, k) numbers, or (n,) labels (integers or text).

        Raises:
            ModelRaised: it raised.
            ModelHung: it did not answer in time.
        """
        ...


@runtime_checkable
class Grown(Protocol):
    """A runtime that may have trees."""

    def forest(self) -> Forest:
        """Its trees.

        Raises:
            OperatorUnsupported: it has none, or they are of a kind that is not read.
            FileDamaged: what it holds forms no trees.
        """
        ...


def inspected_bytes(spec: RuntimeSpec) -> bytes:
    """The bytes of a model file whose loading can run code.

    Between inspection and now the file may have become another; what was inspected has the specification's
    digest.

    Raises:
        UnsafeArtifact: the file is not the one that was inspected.
    """
    content = Path(spec.path).read_bytes()
    if "sha256:" + hashlib.sha256(content).hexdigest() != spec.digest:
        raise UnsafeArtifact(f"{spec.path}: is not the file that was inspected")
    return content


def reason(complaint: object) -> str:
    """A library's complaint as one line, without the values it quotes: they can be of a person's row."""
    said = next((line.strip() for line in str(complaint).splitlines() if line.strip()), "")
    for quoted in (r"'[^']*'", r'"[^"]*"', r"\[[^\]]*\]?"):
        said = re.sub(quoted, "…", said)
    return said[:200]


def as_numbers(x: NDArray[np.generic], dtype: type[np.generic]) -> NDArray[np.generic]:
    """The input in the type a runtime takes, refusing what numpy would silently make numbers of.

    Raises:
        ModelRaised: it is text, complex or an object.
    """
    if x.dtype.kind not in "fiub":
        raise ModelRaised(f"the model takes numbers, not {x.dtype}")
    return x.astype(dtype, copy=False)


def class_text(value: object) -> str:
    """A class label as text: ``1`` for 1, 1.0 and "1", so that labels of data and model can be matched."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    item = getattr(value, "item", None)  # numpy scalars
    if item is None or isinstance(value, str):
        return str(value)
    plain = item()
    if type(plain) is not type(value):
        return class_text(plain)
    return class_text(float(plain)) if isinstance(plain, Real) else str(plain)  # beyond double precision
