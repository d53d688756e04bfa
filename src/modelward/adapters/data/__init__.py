"""Open npz, npy, csv and parquet files, and live arrays and tables, as data sets."""

from modelward.adapters.data.align import with_training_range
from modelward.adapters.data.live import from_arrays
from modelward.adapters.data.open import open_data
from modelward.adapters.data.options import DataOptions

__all__ = ["DataOptions", "from_arrays", "open_data", "with_training_range"]
