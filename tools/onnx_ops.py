"""Write the names of the operators of ONNX's own sets, for the reader of its graphs.

Run in an environment that has onnx and onnxruntime: `python tools/onnx_ops.py`. An operator that is not on the list,
of a model that asks for no newer set, needs a library that the application registers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

OUT: Final = Path(__file__).parents[1] / "src/modelward/artifact/formats/onnx_ops.json"
DOMAINS: Final = ("", "ai.onnx.ml")
EXPERIMENTAL: Final = (
    "Affine", "ConstantFill", "Crop", "DynamicSlice", "GRUUnit", "GivenTensorFill", "ImageScaler",
    "ParametricSoftplus", "Scale", "ScaledTanh", "ThresholdedRelu",
)  # fmt: skip
"""onnx/defs/experiments of ONNX 1.0 to 1.4: models of that time have them."""


def main() -> None:
    """Freeze the registries of the installed ONNX and ONNX Runtime."""
    import onnx
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names: dict[str, set[str]] = {domain: set() for domain in DOMAINS}
    for schema in (*onnx.defs.get_all_schemas_with_history(), *state.get_all_operator_schema()):
        if schema.domain in names:
            names[schema.domain].add(schema.name)
    names[""] |= set(EXPERIMENTAL)
    versions = dict.fromkeys(DOMAINS, 0)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain in versions:
            versions[schema.domain] = max(versions[schema.domain], schema.since_version)
    document = {
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "versions": versions,
        "operators": {domain: sorted(found) for domain, found in names.items()},
    }
    OUT.write_text(json.dumps(document, indent=0) + "\n", encoding="utf-8")
    print({domain or "ai.onnx": len(found) for domain, found in names.items()})


if __name__ == "__main__":
    main()
