"""The configuration of a Keras model as a text of its own: `model.to_json()`, `model.to_yaml()`, config.json.

Source: keras/src/models/model.py (to_json, model_from_json) of Keras 3.15; keras/models.py (model_from_yaml)
of Keras 2.4, which read YAML with a loader that builds any Python object (CVE-2021-37678).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact import yaml
from modelward.artifact.formats.keras import CONFIG, judge, read_text

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading
    from modelward.core.canonical import JSON

_CLASS: Final = re.compile(rb'"class_name"\s{0,9}:\s{0,9}"')
_CONFIG: Final = re.compile(rb'"config"\s{0,9}:\s{0,9}[\[{"]')
_YAML: Final = (
    re.compile(rb"""(?m)^["']?class_name["']?: ?\S"""),
    re.compile(rb"""(?m)^["']?config["']?:\s"""),
)
_ESCAPE: Final = re.compile(rb"\\u00([2-7][0-9A-Fa-f])")


def looks_like_config(head: bytes) -> bool:
    """Whether a text is the configuration of a Keras object, as JSON or YAML.

    Args:
        head: the first 64 KiB.
    """
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] in {b"{", b"["}:
        if b"\\u00" in start:
            start = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), start)
        return _CLASS.search(start) is not None and _CONFIG.search(start) is not None
    return b"class_name" in start and all(rule.search(start) for rule in _YAML)


def read(data: Buffer, into: Reading) -> None:
    """Judge the configuration.

    Args:
        data: the whole text.
        into: gets the findings and facts.

    Raises:
        Malformed: it is YAML that cannot be read.
        Exhausted: it has more values than are looked at.
    """
    if len(data) > CONFIG:
        into.missed(f"a configuration of {len(data)} bytes is not read")
        return
    text = bytes(data)
    into.proven = True
    if text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}:
        read_text(text.removeprefix(b"\xef\xbb\xbf"), into, "the configuration")
        return
    for document in yaml.parse(text.decode("utf-8", "replace")):
        judge(_value(document, into), into, "the configuration")


def _value(root: yaml.Node, into: Reading) -> JSON:
    """The YAML as JSON values, as a loader without types would take it; tags that name Python are reported.

    Mappings and lists are made once, however many aliases stand for them, so the values share them.
    """
    made: dict[int, JSON] = {}
    order = list(yaml.walk(root))
    for node in order:
        into.spend()
        if "python" in node.tag:
            message = f"old releases of Keras build the Python object {node.tag[:100]}"
            into.dangerous("keras.yaml", message, call=node.tag[:200])
        if isinstance(node, yaml.Scalar):
            made[id(node)] = node.value if node.value not in {"null", "~", ""} or not node.plain else None
        else:
            made[id(node)] = {} if isinstance(node, yaml.Mapping) else []
    for node in order:
        target = made[id(node)]
        if isinstance(node, yaml.Mapping) and isinstance(target, dict):
            for key, value in node.pairs:
                target[key.value if isinstance(key, yaml.Scalar) else ""] = made[id(value)]
        elif isinstance(node, yaml.Sequence) and isinstance(target, list):
            target += [made[id(item)] for item in node.items]
    return made[id(root)]
