"""How many bytes rows take once nothing in them is shared: what a small file can expand to.

Dictionaries, runs and views let a few bytes stand for megabytes, and lists of them for any number of those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VIEW: Final = 4
"""Words of 32 bits in a view; the first is the length of its value."""
_VARYING: Final = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary
)  # fmt: skip


def is_view(kind: pa.DataType) -> bool:
    """Whether values of a type are places in buffers, which several may share."""
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def shares(kind: pa.DataType) -> bool:
    """Whether values of a type can stand for more bytes than they take."""
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return shares(kind.storage_type)
    return bool(
        types.is_dictionary(kind)
        or types.is_run_end_encoded(kind)
        or is_view(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
        or any(shares(kind.field(place).type) for place in range(kind.num_fields))
    )


def widths(array: pa.Array) -> NDArray[np.float64]:
    """Bytes of each cell, about. What nulls hide may be counted.

    Args:
        array: validated; of a type whose canonical form is known (`rows.type_name`).

    Returns:
        (n,) float64, for the product of a few lengths exceeds 64 bits.
    """
    kind, types = array.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return widths(array.storage)
    if types.is_dictionary(kind):
        places = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
        return _present(array, _taken(widths(array.dictionary), places))
    if types.is_run_end_encoded(kind):
        places = np.arange(array.offset, array.offset + len(array))
        return _taken(widths(array.values), np.searchsorted(array.run_ends.to_numpy(), places, "right"))
    if is_view(kind):
        words = np.frombuffer(array.buffers()[1] or b"", "<i4").reshape(-1, _VIEW)
        return _present(array, words[array.offset : array.offset + len(array), 0].astype(np.float64))
    if types.is_struct(kind):
        found = np.ones(len(array))
        for part in array.flatten():
            found += widths(part)
        return found
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        start = array.offsets.to_numpy().astype(np.int64)
        ends = np.concatenate([np.zeros(1), np.cumsum(widths(array.values))])
        return _present(array, ends[start + array.sizes.to_numpy()] - ends[start])
    if kind.num_fields:  # lists and maps whose elements lie one after another
        if types.is_map(kind):
            array = array.cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        inner = np.concatenate([np.zeros(1), np.cumsum(widths(array.flatten()))])
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        return _present(array, inner[ends[1:]] - inner[ends[:-1]])
    if any(asked(kind) for asked in _VARYING):
        return _present(array, pc.binary_length(array).to_numpy(zero_copy_only=False))
    return np.full(len(array), 0.0 if types.is_null(kind) else kind.bit_width / 8, np.float64)


def _taken(values: NDArray[np.float64], places: NDArray[np.integer]) -> NDArray[np.float64]:
    """The widths at some places; of an empty dictionary, nulls alone."""
    return values[places] if len(values) else np.zeros(len(places))


def _present(array: pa.Array, found: NDArray[np.floating]) -> NDArray[np.float64]:
    """Widths, 0 under a null."""
    return np.where(array.is_valid().to_numpy(zero_copy_only=False), found, 0.0)
