"""Write the names of all operators that TensorFlow itself registers, for the reader of its graphs.

Run in an environment that has tensorflow-cpu: `python tools/tensorflow_ops.py`. An operator that is not on
the list needs a native library of somebody else. What a CPU build lacks is named here, with its source.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tensorflow.core.framework import op_def_pb2

OUT: Final = Path(__file__).parents[1] / "src/modelward/artifact/formats/tensorflow_ops.json"
GPU: Final = (
    "CreateTRTResourceHandle", "GetCalibrationDataOp", "InitializeTRTResource", "NcclAllReduce",
    "NcclBroadcast", "NcclReduce", "SerializeTRTResource", "TRTEngineOp", "_NcclBroadcastRecv",
    "_NcclBroadcastSend", "_NcclReduceRecv", "_NcclReduceSend",
)  # fmt: skip
"""tensorflow/compiler/tf2tensorrt/ops and tensorflow/core/ops/nccl_ops.cc."""
PLACE: Final = re.compile(
    r"(?:^|_)(?:file|filenames?|files|path|paths|dir|directory|logdir|address|urls?|uri|patterns?|prefix|host|"
    r"target|library|module|token|descriptor_source|data_source_name|stream|spec|basename|state|request|graph_def|"
    r"destination_prefix|checkpoint_prefixes|region_name|report_uuid|protocol)(?:s|_name|_path|_prefix)?$"
)
"""Names of inputs and attributes that may say where to read or write, or what to run."""


def placed(op: op_def_pb2.OpDef) -> bool:
    """Whether an operator is given a text (7 is DT_STRING) that is called like a place."""
    texts = [each.name for each in op.input_arg if each.type == 7]
    texts += [each.name for each in op.attr if each.type in {"string", "list(string)"}]
    return any(PLACE.search(name) for name in texts)


def main() -> None:
    """Freeze the registry of the installed TensorFlow."""
    import tensorflow as tf
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session as session

    registered = op_def_pb2.OpList.FromString(session.TF_GetBuffer(session.TF_GetAllOpList()))
    names = sorted({op.name for op in registered.op} | set(GPU))
    places = sorted(op.name for op in registered.op if placed(op))
    document = {"tensorflow": tf.__version__, "operators": names, "placed": places}
    OUT.write_text(json.dumps(document, indent=0) + "\n", encoding="utf-8")
    print(f"{len(names)} operators of TensorFlow {tf.__version__}")


if __name__ == "__main__":
    main()
