"""The locked-down child process in which untrusted models are loaded and run.

No network, no writes, no other processes, only named paths readable; README.md beside this file says what
denies what, and what remains.
"""

from modelward.sandbox.box import RemoteFailure, Sandbox
from modelward.sandbox.limits import Limits
from modelward.sandbox.wire import Message, RawArray

__all__ = ["Limits", "Message", "RawArray", "RemoteFailure", "Sandbox"]
