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
    from modelward.reporting.comparison import Comparison
    from modelward.reporting.result import AuditResult
    from modelward.reporting.verification import Verification
    from modelward.threats.evasion.harden.methods import Training
    from modelward.verbs.amend import AmendOptions, amend
    from modelward.verbs.audit import audit
    from modelward.verbs.bom import BomOptions, bom
    from modelward.verbs.config import read_policy
    from modelward.verbs.gathering import Attesting
    from modelward.verbs.harden import HardenOptions, harden
    from modelward.verbs.init import init
    from modelward.verbs.options import AuditOptions
    from modelward.verbs.report import report
    from modelward.verbs.scan import ScanOptions, scan
    from modelward.verbs.seal import SealOptions, seal
    from modelward.verbs.sign import SignOptions, sign
    from modelward.verbs.talk import Talk
    from modelward.verbs.trust import TrustOptions
    from modelward.verbs.unseal import OpenOptions, open_sealed, unseal
    from modelward.verbs.verify import VerifyOptions, verify

__all__ = [
    "AmendOptions",
    "Attesting",
    "AuditOptions",
    "AuditResult",
    "BomOptions",
    "Comparison",
    "HardenOptions",
    "ModelwardError",
    "OpenOptions",
    "Policy",
    "ScanOptions",
    "SealOptions",
    "SignOptions",
    "Talk",
    "Threshold",
    "Training",
    "TrustOptions",
    "Verification",
    "VerifyOptions",
    "amend",
    "audit",
    "bom",
    "harden",
    "init",
    "open_sealed",
    "read_policy",
    "report",
    "scan",
    "seal",
    "sign",
    "unseal",
    "verify",
]

_HOME = {
    "AmendOptions": "modelward.verbs.amend",
    "Attesting": "modelward.verbs.gathering",
    "AuditOptions": "modelward.verbs.options",
    "AuditResult": "modelward.reporting.result",
    "BomOptions": "modelward.verbs.bom",
    "Comparison": "modelward.reporting.comparison",
    "HardenOptions": "modelward.verbs.harden",
    "ModelwardError": "modelward.errors",
    "OpenOptions": "modelward.verbs.unseal",
    "Policy": "modelward.core.policy",
    "ScanOptions": "modelward.verbs.scan",
    "SealOptions": "modelward.verbs.seal",
    "SignOptions": "modelward.verbs.sign",
    "Talk": "modelward.verbs.talk",
    "Threshold": "modelward.core.policy",
    "Training": "modelward.threats.evasion.harden.methods",
    "TrustOptions": "modelward.verbs.trust",
    "Verification": "modelward.reporting.verification",
    "VerifyOptions": "modelward.verbs.verify",
    "amend": "modelward.verbs.amend",
    "audit": "modelward.verbs.audit",
    "bom": "modelward.verbs.bom",
    "harden": "modelward.verbs.harden",
    "init": "modelward.verbs.init",
    "open_sealed": "modelward.verbs.unseal",
    "read_policy": "modelward.verbs.config",
    "report": "modelward.verbs.report",
    "scan": "modelward.verbs.scan",
    "seal": "modelward.verbs.seal",
    "sign": "modelward.verbs.sign",
    "unseal": "modelward.verbs.unseal",
    "verify": "modelward.verbs.verify",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
