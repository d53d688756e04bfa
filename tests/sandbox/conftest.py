from pathlib import Path

import pytest

from modelward import errors
from modelward.sandbox import kernel

INSIDE = Path(__file__).parent / "inside"


@pytest.fixture(autouse=True)
def _inside_is_importable(monkeypatch):
    """The entry modules of these tests live in one folder that only these tests put on the path."""
    monkeypatch.syspath_prepend(INSIDE)


@pytest.fixture(autouse=True, scope="session")
def _kernel():
    try:
        kernel.protection()
    except errors.SandboxUnavailable as error:
        pytest.skip(f"the sandbox cannot run here: {error}", allow_module_level=True)
