"""Write the names of the operators of OpenVINO's own operator sets, for the reader of its graphs.

Run in an environment that has openvino: `python tools/openvino_ops.py`. The headers that the package brings list
them; an operator that is not on the list is no part of the set, whatever set a layer names.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Final

OUT: Final = Path(__file__).parents[1] / "src/modelward/artifact/formats/openvino_ops.json"
WRITTEN: Final = {"Constant": "Const", "PRelu": "PReLU", "Relu": "ReLU", "Softmax": "SoftMax"}
"""Names that the serialiser writes differently: src/core/src/pass/serialize.cpp, `translate_type_name`."""


def main() -> None:
    """Freeze the operator sets of the installed OpenVINO."""
    import openvino

    headers = Path(openvino.__file__).parent / "include/openvino"
    tables = sorted((headers / "opsets").glob("opset*_tbl.hpp"))
    names = {
        name for table in tables for name in re.findall(r"_OPENVINO_OP_REG\(([A-Z]\w+),", table.read_text())
    }
    for header in (headers / "op").glob("**/*.hpp"):
        names |= set(re.findall(r"OPENVINO_OP\(\s*\"(\w+)\",\s*\"opset\d+\"", header.read_text()))
    document = {"openvino": version("openvino"), "operators": sorted(names | set(WRITTEN.values()))}
    OUT.write_text(json.dumps(document, indent=0) + "\n", encoding="utf-8")
    print(f"{len(names)} operators of OpenVINO {document['openvino']} in {len(tables)} sets")


if __name__ == "__main__":
    main()
