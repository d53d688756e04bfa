"""The list of files that a model is split into (`model.safetensors.index.json` and its kin).

Source: transformers 4.57, modeling_utils.py (`weight_map`: tensor -> file of the same folder).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.formats.paths import escapes
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LONGEST: Final = 64 << 20


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def read(data: Buffer, into: Reading) -> None:
    """Every file must stand in the folder: a loader opens whatever the list names."""
    if len(data) > LONGEST:
        into.missed(f"the list of files has {len(data)} bytes; {LONGEST} are read")
        return
    try:
        index = msgspec.json.decode(bytes(data), type=_Index)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the list of files cannot be read: {error}") from error
    into.spend(len(index.weight_map))
    for name in sorted(set(index.weight_map.values())):
        if (why := escapes(name)) is not None:
            into.dangerous("shard-index.path", f"the file {name[:200]!r} {why}: loading opens it")
    into.facts["tensors"] = len(index.weight_map)
    into.proven = True
