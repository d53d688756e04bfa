"""Native code: a library or program among models runs whatever it holds as soon as it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading


def read(data: Buffer, into: Reading) -> None:
    """Nothing of it is understood."""
    into.unproven("native.code", f"{len(data)} bytes of native code, which runs when it is loaded")
