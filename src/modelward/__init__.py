"""modelward: is this model safe? Claims with a bracket, evidence, and a policy that is enforced.

    import modelward

    result = modelward.audit("model.onnx", "test.npz")
    result.verdict.enforce()                              # raises PolicyRefused

Public names are loaded when they are used, so importing modelward imports nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelward.core.policy import Policy, Threshold
    from modelward.errors import ModelwardError
    from modelward.reporting.result import AuditResult
    from modelward.verbs.audit import audit
    from modelward.verbs.bom import BomOptions, bom
    from modelward.verbs.config import read_policy
    from modelward.verbs.init import init
    from modelward.verbs.options import AuditOptions
    from modelward.verbs.report import report
    from modelward.verbs.scan import ScanOptions, scan

__all__ = [
    "AuditOptions",
    "AuditResult",
    "BomOptions",
    "ModelwardError",
    "Policy",
    "ScanOptions",
    "Threshold",
    "audit",
    "bom",
    "init",
    "read_policy",
    "report",
    "scan",
]

_HOME = {
    "AuditOptions": "modelward.verbs.options",
    "AuditResult": "modelward.reporting.result",
    "BomOptions": "modelward.verbs.bom",
    "ModelwardError": "modelward.errors",
    "Policy": "modelward.core.policy",
    "ScanOptions": "modelward.verbs.scan",
    "Threshold": "modelward.core.policy",
    "audit": "modelward.verbs.audit",
    "bom": "modelward.verbs.bom",
    "init": "modelward.verbs.init",
    "read_policy": "modelward.verbs.config",
    "report": "modelward.verbs.report",
    "scan": "modelward.verbs.scan",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
