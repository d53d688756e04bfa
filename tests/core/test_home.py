"""The folders of one user."""

from __future__ import annotations

import pwd

import pytest

from modelward.core.home import home, state_folder
from modelward.errors import ConfigInvalid


@pytest.fixture
def homeless(monkeypatch):
    """A user whom the system does not know, and for whom no variable says more."""

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


def test_a_state_folder_that_is_named(homeless, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "modelward"


@pytest.mark.parametrize("value", [None, "", "relative"])
def test_no_state_folder_named(monkeypatch, tmp_path, value):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_STATE_HOME", value)
    assert home() == tmp_path
    assert state_folder() == tmp_path / ".local/state/modelward"


@pytest.mark.parametrize("wanted", [home, state_folder])
def test_a_user_without_a_home_is_told(homeless, wanted):
    with pytest.raises(ConfigInvalid, match="no home folder"):
        wanted()
