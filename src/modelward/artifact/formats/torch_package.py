"""torch.package: pickles, and the Python sources of the modules that they need, which loading imports.

Source: torch/package/package_importer.py, package_exporter.py, PyTorch 2.13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.formats.shipped import source
from modelward.artifact.pickle import rules
from modelward.artifact.zipread import Archive

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_SOURCE: Final = 8 << 20


def read(data: Buffer, into: Reading) -> None:
    """Judge the sources; importing an object from the package runs them."""
    from modelward.artifact.zips import content

    archive = Archive(data)
    into.facts["framework"] = "pytorch"
    for member in archive.members:
        into.spend()
        inside = f"/{member.name}"
        if member.name.endswith(".py") and "/.data/" not in inside:
            raw = content(archive, member, _SOURCE)
            if raw is None:
                into.missed(f"the source {member.name[:200]!r} cannot be read")
            elif raw.strip():
                source(into, member.name, raw, "importing an object from the package runs it")
        elif inside.endswith("/.data/extern_modules"):
            raw = content(archive, member, 1 << 20) or b""
            named = [line.strip() for line in raw.decode("utf-8", "backslashreplace").splitlines()]
            bad = [name for name in named if name and rules.payload(name, "*")]
            if bad:
                into.note(
                    "torch-package.extern", f"the package imports {', '.join(bad[:10])[:200]} from outside"
                )
    into.proven = True
