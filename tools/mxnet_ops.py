"""Write the names of all operators that MXNet registers itself, for the reader of its symbols.

Run as `python tools/mxnet_ops.py CHECKOUT` with a checkout of apache/mxnet: the first argument of every macro
that registers an operator, and every alias. Names that macros put together, and operators of MXNet 1 that MXNet 2
dropped, are named here.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Final

OUT: Final = Path(__file__).parents[1] / "src/modelward/artifact/formats/mxnet_ops.json"
_MACRO: Final = re.compile(r"\b(?:NNVM_REGISTER_OP|MXNET_\w*REGISTER\w*)\(\s*([A-Za-z_]\w*)")
_ALIAS: Final = re.compile(r'(?:add_alias|\.set_attr_alias)\(\s*"(\w+)"')
_MADE: Final = re.compile(r"MXNET_OPERATOR_REGISTER_(?:SAMPLE|PDF)(?:1|2)?\(\s*(\w+)")
OLD: Final = (
    "Activation", "BatchNorm_v1", "BilinearSampler", "Cast", "Concat", "Convolution_v1", "Correlation", "Crop",
    "CuDNNBatchNorm", "ElementWiseSum", "GridGenerator", "IdentityAttachKLSparseReg", "InstanceNorm",
    "L2Normalization", "LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput", "MakeLoss",
    "Pad", "Pooling_v1", "ROIPooling", "SVMOutput", "SequenceLast", "SequenceMask", "SequenceReverse", "SliceChannel",
    "Softmax", "SoftmaxActivation", "SoftmaxOutput", "SpatialTransformer", "SwapAxis", "UpSampling", "_Div",
    "_DivScalar", "_Minus", "_MinusScalar", "_Mul", "_MulScalar", "_Plus", "_PlusScalar", "_RDivScalar",
    "_RMinusScalar", "_contrib_CTCLoss", "_contrib_DeformableConvolution", "_contrib_DeformablePSROIPooling",
    "_contrib_MultiBoxDetection", "_contrib_MultiBoxPrior", "_contrib_MultiBoxTarget", "_contrib_MultiProposal",
    "_contrib_PSROIPooling", "_contrib_Proposal", "_contrib_box_nms", "_contrib_count_sketch", "_contrib_fft",
    "_contrib_ifft", "_copyto", "_equal", "_foreach", "_cond", "_while_loop", "_imdecode", "crop", "ctc_loss",
    "mean", "sum_axis", "tile", "uniform", "normal",
)  # fmt: skip
"""MXNet 1.9, src/operator."""
NOT: Final = frozenset(("Custom", "_CustomFunction", "_Native", "_NDArray"))
"""Operators that call back, which the reader judges itself."""


def main() -> None:
    """Collect the names from the sources."""
    names: set[str] = set(OLD)
    for path in sorted((Path(sys.argv[1]) / "src").rglob("*")):
        if path.suffix in {".cc", ".cu", ".h"}:
            text = path.read_text(encoding="utf-8", errors="replace")
            names.update(_MACRO.findall(text), _ALIAS.findall(text))
            names.update(
                f"{start}{name}" for name in _MADE.findall(text) for start in ("_sample_", "_random_pdf_")
            )
    document = {"mxnet": "2.0, 1.9", "operators": sorted(names - NOT)}
    OUT.write_text(json.dumps(document, indent=0) + "\n", encoding="utf-8")
    print(f"{len(names)} operators of MXNet")


if __name__ == "__main__":
    main()
