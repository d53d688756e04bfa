"""Model cards: what the front matter of a README states about licence, data and base model.

Source: model card metadata of the Hugging Face hub (YAML between two lines of `---`), by its documentation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from modelward.artifact import yaml
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading
    from modelward.core.canonical import JSON

_FRONT: Final = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.{0,200000}?)\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_SPDX: Final = {
    name.lower(): name
    for name in (
        "AFL-3.0", "AGPL-3.0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
        "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0",
        "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0",
        "CDLA-Permissive-2.0", "ECL-2.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2", "GFDL-1.3", "GPL-2.0",
        "GPL-3.0", "ISC", "LGPL-2.1", "LGPL-3.0", "MIT", "MPL-2.0", "MS-PL", "ODbL-1.0", "PDDL-1.0",
        "PostgreSQL", "Unlicense", "WTFPL", "Zlib",
    )
}  # fmt: skip
_OPEN: Final = frozenset({"", "other", "unknown"})


def read(data: Buffer, into: Reading) -> None:
    """Keep what the card states; a card without a licence is a finding."""
    text = bytes(data[: 4 << 20]).decode("utf-8", "replace")
    match = _FRONT.match(text)
    if match is None:
        return
    try:
        documents = yaml.parse(match[1])
    except Malformed as error:
        into.finding("card.unreadable", "low", f"the card's front matter cannot be read: {error}", line=1)
        return
    front = documents[0] if documents and isinstance(documents[0], yaml.Mapping) else None
    if front is None:
        return
    _licence(front, into)
    for key, fact in (("datasets", "datasets"), ("base_model", "base_model"), ("library_name", "framework")):
        texts = _texts(front.get(key))
        if texts:
            into.facts[fact] = cast("JSON", texts) if fact == "datasets" else texts[0]


def _licence(front: yaml.Mapping, into: Reading) -> None:
    stated = _texts(front.get("license")) or _texts(front.get("license_name"))
    named = front.text("license_name") or ""
    licence = stated[0] if stated else ""
    if licence.lower() in _OPEN and not named:
        into.finding(
            "licence.absent",
            "low",
            "the model card states no licence, so nobody knows what may be done with the model",
            line=1,
            remedy="State `license:` in the front matter.",
        )
    else:
        licence = named if licence.lower() in _OPEN else licence
        into.facts["licence"] = _SPDX.get(licence.lower(), f"LicenseRef-{_plain(licence)}")


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text)[:80]


def _texts(node: yaml.Node | None) -> list[str]:
    nodes = node.items if isinstance(node, yaml.Sequence) else [node]
    return [one.value[:200] for one in nodes if isinstance(one, yaml.Scalar) and one.value][:100]
