"""CatBoost models (`cbm`): a flatbuffer with the trees, then parts with statistics of categories.

Loading builds trees and tables of numbers; native code follows their offsets.
Source: CatBoost 1.2 `catboost/libs/model/model.cpp` (`TFullModel::Load`), `flatbuffers/model.fbs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.formats.flatbuffer import Flat
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.formats.flatbuffer import Table
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading


_NO_LEAF: Final = (1 << 32) - 1
_DEEPEST: Final = 16
"""Deepest symmetric tree (`depth`)."""


def read(data: Buffer, into: Reading) -> None:
    """Read the core and compare its offsets."""
    into.facts["framework"] = "catboost"
    size = int.from_bytes(data[4:8], "little")
    if size > len(data) - 8:
        raise Malformed(f"a core of {size} bytes in {len(data) - 8}")
    core = Flat(data, into, start=8, end=8 + size).root()
    version = core.text(0, 80)
    into.facts["format_version"] = version
    if not version.startswith("FlabuffersModel"):
        into.unproven("catboost.version", f"the unknown version {version!r}")
    parts = [name.rstrip("\0") for name in core.texts(3, 200)]
    if parts:
        into.facts["operators"] = list(parts[:200])  # statistics of categories, texts and embeddings: data
    elif 8 + size != len(data):
        into.missed(f"{len(data) - 8 - size} bytes stand behind the model")
    trees = core.table(1)
    if trees is not None:
        _trees(trees, into)
    into.proven = True


def _trees(trees: Table, into: Reading) -> None:
    """`TModelTrees`: the splits of tree i are `TreeSizes[i]` from `TreeStartOffsets[i]` on."""
    _, splits = trees.vector(1, 4)
    sizes, starts = trees.integers(2), trees.integers(3)
    if len(sizes) != len(starts) or any(
        size < 0 or start < 0 or start + size > splits for size, start in zip(sizes, starts, strict=False)
    ):
        into.unproven("catboost.index", f"trees take splits outside the {splits} of the model")
    _, leaves = trees.vector(8, 8)
    _, steps = trees.vector(10, 4)
    _, ids = trees.vector(11, 4)
    width = trees.number(0, "i", 1)
    whole = (
        max(sizes, default=0) <= _DEEPEST and sum(1 << size for size in sizes if size >= 0) * width == leaves
    )
    if (steps and not steps == ids == splits) or (not steps and not whole):
        into.unproven("catboost.index", f"the trees do not end at the {leaves} leaves of the model")
    elif steps and any(leaves <= at < _NO_LEAF for at in trees.integers(11, "I")):
        into.unproven("catboost.index", f"nodes end at leaves outside the {leaves} of the model")
    into.facts["tensors"], into.facts["parameters"] = len(sizes), leaves
