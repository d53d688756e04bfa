"""What all tests share: no deadline by the clock, and names that are the same in every process."""

from __future__ import annotations

from hypothesis import settings

# A machine that does something else meanwhile is no fault of what is tested.
settings.register_profile("modelward", deadline=None)
settings.load_profile("modelward")


def pytest_make_parametrize_id(val, argname):
    """Long bytes and bare objects are named by what they are; times and addresses in them differ by run."""
    if isinstance(val, bytes) and len(val) > 16:
        return f"{argname}-{len(val)}-bytes"
    if type(val) is object:
        return f"{argname}-object"
    return None
