"""Names of parametrised tests that are the same in every process, so that several can share the work."""

from __future__ import annotations


def pytest_make_parametrize_id(val, argname):
    """Long bytes and bare objects are named by what they are; times and addresses in them differ by run."""
    if isinstance(val, bytes) and len(val) > 16:
        return f"{argname}-{len(val)}-bytes"
    if type(val) is object:
        return f"{argname}-object"
    return None
