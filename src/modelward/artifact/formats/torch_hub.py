"""`hubconf.py`, which `torch.hub.load`, `list` and `help` import, with the modules of its repository.

Source: torch/hub.py, 2.13 (`_load_local`: puts the folder in `sys.path` and imports `hubconf.py`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

MODULES: Final = 64
"""Most modules of the repository that are read."""
_IMPORT: Final = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import|import[ \t]+([\w., \t]+))", re.MULTILINE
)
_WHEN: Final = "torch.hub runs it when it loads the repository"


def read(data: Buffer, into: Reading) -> None:
    """Dangerous where a module runs a payload, else unproven: all of it is Python that runs."""
    from modelward.artifact import encoding
    from modelward.artifact.formats import shipped

    own = bytes(data)
    pending, seen, bad = [("hubconf", own)], {"hubconf"}, False
    while pending:
        stem, raw = pending.pop()
        bad = shipped.payload(into, f"{stem}.py", raw, _WHEN) or bad
        folder = stem.rsplit("/", 1)[0] + "/" if "/" in stem else ""
        for name in _imported(encoding.source(raw), folder):
            into.spend()
            if name in seen or len(seen) >= MODULES:
                continue
            seen.add(name)
            content = into.beside(f"{name}.py")
            if content is not None:
                pending.append((name, content))
    if not bad:
        into.unproven("torch-hub.source", f"hubconf.py is Python that the repository ships; {_WHEN}")


def _imported(text: str, folder: str) -> list[str]:
    """Paths without suffix at which the modules that a source imports may stand in the repository."""
    found: list[str] = []
    for match in _IMPORT.finditer(text):
        for given in (match[1] or match[2]).split(","):
            name = given.split(" as ")[0].strip()
            dots = len(name) - len(name.lstrip("."))
            base = folder
            for _ in range(dots - 1):
                base = base.rstrip("/").rpartition("/")[0]
                base += "/" if base else ""
            parts = [part for part in name.split(".") if part]
            start = base if dots else ""
            stems = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
            found += [start + stem + end for stem in stems for end in ("", "/__init__")]
            if dots and not parts:
                found.append(f"{base}__init__")
    return found
