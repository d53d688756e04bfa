"""Where what belongs to one user lies."""

from __future__ import annotations

import os
from pathlib import Path

from modelward.errors import ConfigInvalid


def home() -> Path:
    """This user's home folder.

    Raises:
        ConfigInvalid: there is none, as for a user of a container whom nobody has named.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigInvalid(
            "this user has no home folder", advice="Export HOME: a folder that is this user's own."
        ) from error


def state_folder() -> Path:
    """Where this user's state lies: ``$XDG_STATE_HOME/modelward``, else ``~/.local/state/modelward``.

    Raises:
        ConfigInvalid: no such folder is named, and there is no home folder.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else home() / ".local" / "state") / "modelward"
