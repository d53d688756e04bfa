"""Arrays, frames and tables that a program already holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from modelward.adapters.data.arrays import Arrays, open_arrays
from modelward.adapters.data.options import DataOptions, require_column, require_valid
from modelward.adapters.texts.arrays import texts_of_array
from modelward.adapters.texts.texts import is_texts
from modelward.errors import InputError, ShapeMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from modelward.core.data import Dataset

_DEFAULT = DataOptions()


def from_arrays(
    x: object,
    y: object = None,
    *,
    name: str = "data",
    options: DataOptions = _DEFAULT,
    columns: Sequence[str] | None = None,
) -> Dataset:
    """Make a data set of what a program holds.

    Args:
        x: a numpy array (n, features) or (n, *image), a pandas DataFrame or Series, a pyarrow Table, a torch
            tensor or nested lists. Several texts a row become a table; one text a row is a sample of its
            own, and so is a cell of the column ``options.text`` of a table.
        y: n labels; null when there are none or `options.label` names a column of `x`.
        name: what reports call it.
        options: what the user says about the data.
        columns: names of the features, for arrays and lists.

    Raises:
        InputError: see `modelward.adapters.data.open.open_data`; or the rows have different lengths.
    """
    require_valid(options)
    if type(x).__module__.partition(".")[0] == "pandas" and type(x).__name__ == "Series":
        x = np.asarray(x, dtype=object)
    if is_texts(x):
        labels = None if y is None else _array(y, "y")
        return texts_of_array(name, "texts", list(x), labels, options)  # type: ignore[call-overload]  # is_texts
    table = _table_of(x)
    if table is None:
        array = _array(x, "x")
        if array.dtype.kind not in "OUS" or array.ndim != 2:
            if options.label is not None and y is None:
                require_column(options.label, columns or (), "label")
            labels = None if y is None else _array(y, "y")
            if options.label is None or y is not None:
                found = Arrays(name=name, format="array", x=array, y=labels, columns=columns)
                return open_arrays(found, options)
        table = _table_of_cells(array, columns)
    elif columns is not None:
        raise InputError("columns are named by the table itself", advice="Leave `columns` out.")
    if y is not None:
        label = options.label or "y"
        if label in table.column_names:
            raise InputError(
                f"the table already has a column {label!r}", advice="Name another label, or leave y out."
            )
        table = _with_labels(table, label, y)
        options = msgspec.structs.replace(options, label=label)
    return _opened(table, name, options)


def _opened(table: pa.Table, name: str, options: DataOptions) -> Dataset:
    from modelward.adapters.data.parquet_source import TableSource
    from modelward.adapters.data.tables import open_table
    from modelward.adapters.texts.tables import open_texts

    if not table.num_rows:
        raise InputError(f"{name}: the table has no rows", advice="Give at least one sample.")
    source = TableSource(table, name=name)
    if options.text is not None:
        return open_texts(source, source, options.text, options)
    return open_table(source, options)


def _table_of(x: object) -> pa.Table | None:
    """A pyarrow Table, or a pandas DataFrame as one; null for everything else."""
    package = type(x).__module__.partition(".")[0]
    if package not in {"pandas", "pyarrow"}:
        return None
    import pyarrow as pa

    if isinstance(x, pa.Table):
        return x
    import pandas as pd

    if not isinstance(x, pd.DataFrame):
        return None
    try:
        return pa.Table.from_pandas(x.rename(columns=str), preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            "a column of the DataFrame mixes types", advice="Make each column all numbers or all texts."
        ) from error


def _array(values: object, what: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ShapeMismatch(f"{what} is not an array: {str(error)[:100]}") from error
    if array.dtype.kind in "US" and array.ndim == 2 and not isinstance(values, np.ndarray):
        return np.asarray(values, dtype=object)  # else one text would turn all numbers of a list into texts
    if array.dtype.kind == "O" and array.ndim == 1 and len({type(value) for value in array}) == 1:
        return np.asarray(array.tolist())
    return array


def _table_of_cells(
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], columns: Sequence[str] | None
) -> pa.Table:
    """A table of an array with texts; each column finds its own type."""
    import pyarrow as pa

    names = list(columns) if columns else [f"x{place}" for place in range(array.shape[1])]
    if len(names) != array.shape[1]:
        raise ShapeMismatch(f"{len(names)} column names for {array.shape[1]} columns")
    try:
        return pa.table([pa.array(array[:, place].tolist()) for place in range(len(names))], names=names)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            "a column mixes types", advice="Make each column all numbers or all texts."
        ) from error


def _with_labels(table: pa.Table, label: str, y: object) -> pa.Table:
    import pyarrow as pa

    array = _array(y, "y")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) != table.num_rows:
        raise ShapeMismatch(f"the table has {table.num_rows:,} rows and y has shape {array.shape}")
    try:
        return table.append_column(label, pa.array(array.tolist()))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError("y mixes types", advice="Make the labels all numbers or all texts.") from error
