"""Write the names of all operators that TensorFlow itself registers, for the reader of its graphs.

Run in an environment that has tensorflow-cpu: `python tools/tensorflow_ops.py`. An operator that is not on
the list needs a native library of somebody else. What a CPU build lacks is named here, with its source.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

OUT: Final = Path(__file__).parents[1] / "src/modelward/artifact/formats/tensorflow_ops.json"
GPU: Final = (
    "CreateTRTResourceHandle", "GetCalibrationDataOp", "InitializeTRTResource", "NcclAllReduce",
    "NcclBroadcast", "NcclReduce", "SerializeTRTResource", "TRTEngineOp", "_NcclBroadcastRecv",
    "_NcclBroadcastSend", "_NcclReduceRecv", "_NcclReduceSend",
)  # fmt: skip
"""tensorflow/compiler/tf2tensorrt/ops and tensorflow/core/ops/nccl_ops.cc."""


def main() -> None:
    """Freeze the registry of the installed TensorFlow."""
    import tensorflow as tf
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session as session

    registered = op_def_pb2.OpList.FromString(session.TF_GetBuffer(session.TF_GetAllOpList()))
    names = sorted({op.name for op in registered.op} | set(GPU))
    document = {"tensorflow": tf.__version__, "operators": names}
    OUT.write_text(json.dumps(document, indent=0) + "\n", encoding="utf-8")
    print(f"{len(names)} operators of TensorFlow {tf.__version__}")


if __name__ == "__main__":
    main()
