"""What all tests share: no deadline by the clock, names that are the same in every process, a state of their own."""

from __future__ import annotations

import pytest
from hypothesis import settings

# A machine that does something else meanwhile is no fault of what is tested.
settings.register_profile("modelward", deadline=None)
settings.load_profile("modelward")


@pytest.fixture(scope="session", autouse=True)
def _state_home(tmp_path_factory):
    """Caches and what was seen of keyrings are those of the tests, and never of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state-home")))
        yield


def pytest_make_parametrize_id(val, argname):
    """Long bytes and bare objects are named by what they are; times, addresses and even lengths differ by run."""
    if isinstance(val, bytes) and len(val) > 16:
        return f"{argname}-bytes"
    if type(val) is object:
        return f"{argname}-object"
    return None
