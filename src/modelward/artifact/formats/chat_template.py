"""Chat templates in files of their own: Jinja text, or JSON with the key `chat_template`.

Source: transformers 4.57, `processing_utils.py` and `tokenization_utils_base.py` (`chat_template.jinja`,
`chat_template.json`, `additional_chat_templates/*.jinja`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from modelward.artifact.formats.hf_config import template
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LARGEST: Final = 8 << 20


def read(data: Buffer, into: Reading) -> None:
    """Judge the template."""
    if len(data) > LARGEST:
        raise Malformed(f"{len(data)} bytes of template; {LARGEST} are read")
    text = bytes(data[:]).decode("utf-8-sig", "replace")
    name = into.name.rsplit("/", 1)[-1] or "the template"
    texts = _texts(text)
    whole = [] if name.lower().endswith(".json") or texts == [text] else [text]
    for number, found in enumerate([*whole, *texts]):
        template(found, into, name if number == 0 else f"{name}[{number}]")
    into.proven = True


def _texts(text: str) -> list[str]:
    """The templates of the file."""
    if not text.lstrip().startswith(("{\n", '{"', "{ ", "{\r", "{\t")):
        return [text]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    found: list[str] = []
    stack = [value]
    while stack and len(found) < 100:
        item = stack.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict | list):
            stack += list(item.values() if isinstance(item, dict) else item)
    return found
