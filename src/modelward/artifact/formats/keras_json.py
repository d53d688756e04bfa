"""The configuration of a Keras model as a text of its own: `model.to_json()`, or config.json of a folder.

Source: keras/src/models/model.py (to_json, model_from_json) of Keras 3.15; keras/models.py (model_from_yaml) of
Keras 2.4, whose YAML was read by a loader that builds any Python object.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.formats.keras import CONFIG, read_text

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_START: Final = re.compile(
    rb'\s*\{\s*"(?:class_name|config|module|backend|keras_version|registered_name|build_config|compile_config)"'
)
_CLASS: Final = re.compile(rb'"class_name"\s*:\s*"')
_CONFIG: Final = re.compile(rb'"config"\s*:\s*[\[{"]')


def looks_like_config(head: bytes) -> bool:
    """Whether a text is the configuration of a Keras object as JSON.

    Args:
        head: the first 64 KiB.
    """
    start = head.removeprefix(b"\xef\xbb\xbf")
    return _START.match(start) is not None and bool(_CLASS.search(start)) and bool(_CONFIG.search(start))


def read(data: Buffer, into: Reading) -> None:
    """Judge the configuration.

    Args:
        data: the whole text.
        into: gets the findings and facts.
    """
    if len(data) > CONFIG:
        into.missed(f"a configuration of {len(data)} bytes is not read")
        return
    read_text(bytes(data), into, "the configuration")
    into.proven = True
