"""Texts that a loader acts on: configurations of Hugging Face, MLflow, Hydra and Lightning."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.format import Sniffed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.yaml import Node

_LARGEST: Final = 256 << 20
"""Largest JSON that is searched beyond its first 64 KiB, in bytes."""
_REACHED: Final = (
    rb"(?:os|posix|nt|subprocess|builtins|__builtin__|pty|runpy|importlib|shutil|ctypes|commands|sys|code|pickle|"
    rb"socket|webbrowser|marshal)\.[A-Za-z_]"
)
_WEAK: Final = (
    rb"""(?:target|type|class|cls|factory|func\w{0,8}|callable|constructor|\(\)|module|handler|loader)"""
)
_ACTS: Final = rb"(?:\bimport\s|\b__\w+__|\b(?:os|subprocess|sys|builtins)\.|\b(?:eval|exec|open|getattr)\()"
_JSON_OBJECTS: Final = re.compile(
    rb'"(?=[_tcfhlmp($])(?:(?:_target_|__target__|class_path|'
    rb'py/(?:object|reduce|function|type|module|repr|newargs\w{0,3}))"[ \t\r\n]{0,4}:'
    rb'|\$[^"{]{0,200}'
    + _ACTS
    + rb"|"
    + _WEAK
    + rb'"[ \t\r\n]{0,4}:[ \t\r\n]{0,4}"(?:ext://)?'
    + _REACHED
    + rb")"
)
_YAML_HINT: Final = re.compile(
    rb"!(?:new|name|apply|applyref|module):|_target_|class_path|py/repr|python/|,2002:|%TAG|![\w!:./-]{0,40}%[2-7]|"
    rb"!!(?:javax?|com|org|sun)\.|"
    rb"\$\{[ \t]*(?:oc\.)?(?:eval|py|python|exec|lambda|pyeval|evaluate|sh|shell|cmd)[ \t]*:|"
    rb"\$(?=[A-Za-z_(\[])[^\n]{0,200}?"
    + _ACTS
    + rb"|\$import\s|"
    + _WEAK
    + rb"[\"']?[ \t\r\n]{0,4}:[\s\S]{0,80}?"
    + _REACHED
)
"""What YAML that makes objects contains, among much that does not: the parsed text decides."""
_LATE: Final = re.compile(
    rb"""(?:\n|\A)[ \t]{0,99}(?:- )?["']?(?:_target_|__target__|class_path|"""
    + _WEAK
    + rb"""(?=["']?[ \t]{0,9}:[ \t]{0,9}["']?(?:ext://)?"""
    + _REACHED
    + rb"""))["']?[ \t]{0,9}:|[\s:\-\[{,]!(?:(?:!|<tag:yaml.org,2002:)python/|"""
    rb"(?:new|name|apply|applyref|module):)"
)
"""What makes YAML that is too large to be parsed worth a report."""
_NEEDED: Final = (b":", b"!", b"$", b"%", b"/", b"\\", b"_target_", b"class_path", b"class_name")
"""What one of the two has to contain: numbers alone, as in protocol 0, are not searched."""
_ESCAPE: Final = re.compile(
    rb"\\(?:x([0-7][0-9a-fA-F])|u00([0-7][0-9a-fA-F])|U000000([0-7][0-9a-fA-F])|\r?\n[ \t]*)"
)
_MLMODEL: Final = re.compile(rb"(?m)^flavors[ \t]*:[ \t]*(?:\{|\r?$|#)")
_MLMODEL_TOO: Final = re.compile(
    rb"(?m)^(?:artifact_path|mlflow_version|run_id|model_uuid|utc_time_created|signature|model_id)[ \t]*:|"
    rb"^[ \t]+(?:python_function|loader_module)[ \t]*:|python_function"
)
_HF: Final = (
    (b'"auto_map"',),
    (b'"model_type"', b'"architectures"'),
    (b'"model_type"', b'"transformers_version"'),
    (b'"tokenizer_class"',),
    (b'"chat_template"',),
    (b'"peft_type"',),
    (b'"_class_name"', b'"_diffusers_version"'),
    (b'"_diffusers_version"',),
    (b'"transformers_version"',),
    (b'"feature_extractor_type"',),
    (b'"image_processor_type"',),
    (b'"processor_class"',),
    (b'"custom_pipelines"',),
    (b'"added_tokens"', b'"normalizer"', b'"model"'),
    (b'"architecture"', b'"pretrained_cfg"'),
)
"""Keys of which all of one line make a JSON text a configuration of Hugging Face's libraries."""
_SENTENCE: Final = re.compile(rb'^\[[ \t\r\n]{0,20}\{[^{}]{0,400}"idx"[^{}]{0,400}"type"')


def sign(data: Buffer, head: bytes) -> Sniffed | None:
    """Format of the content, or None when no rule of this group applies.

    Args:
        data: the whole content.
        head: its first 64 KiB.
    """
    if b"\0" in head[:4096]:
        return None
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] in {b"{", b"["} and re.match(rb'[{\[][ \t\r\n]{0,4096}["{\[}\]]', start):
        return _json(data, head, start)
    return _yaml(data, head, start)


def _json(data: Buffer, head: bytes, start: bytes) -> Sniffed | None:
    whole = _whole(data, head)
    if _JSON_OBJECTS.search(_plain(whole)):
        return Sniffed("object-yaml", "JSON that names objects to be made")
    if b'"learner"' in head or b'"gradient_booster"' in head or b'"nbformat"' in head:
        return None
    if any(all(key in whole for key in keys) for keys in _HF) or _SENTENCE.match(start):
        return Sniffed("hf-config", "JSON with the keys of a Hugging Face configuration")
    if b"class_name" in whole or b"\\u00" in head:
        return _keras(whole)
    return None


def _keras(head: bytes) -> Sniffed | None:
    from modelward.artifact.formats.keras_json import looks_like_config

    return Sniffed("model-json", "the configuration of a Keras object") if looks_like_config(head) else None


def _whole(data: Buffer, head: bytes) -> bytes:
    """The text as far as it is searched; whole, since a key may stand behind other content."""
    return head if len(data) <= len(head) or len(data) > _LARGEST else bytes(data[:])


def _yaml(data: Buffer, head: bytes, start: bytes) -> Sniffed | None:
    if start[:1] < b" ":
        return None
    if _MLMODEL.search(head) and _MLMODEL_TOO.search(head):
        return Sniffed("mlflow", "YAML with flavors")
    if not any(data.find(sign) >= 0 for sign in _NEEDED):
        return None
    whole = head if len(data) <= len(head) else bytes(data[: 4 << 20])
    if len(whole) < len(data) <= _LARGEST and _LATE.search(data, len(whole) - 256):
        return Sniffed("object-yaml", "YAML that names objects to be made, far from its start")
    if _YAML_HINT.search(_plain(whole)) and _makes_objects(whole):
        return Sniffed("object-yaml", "YAML that names objects to be made")
    return _keras(head) if b"class_name" in head and _parsed(whole) else None


def _plain(text: bytes) -> bytes:
    """The text with escaped characters of ASCII as themselves: a key may be written with them."""
    if b"\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: bytes.fromhex((found[1] or found[2] or found[3] or b"").decode()), text)


def _makes_objects(whole: bytes) -> bool:
    """Whether the text is YAML that makes objects: source code and prose that speak of it do not."""
    from modelward.artifact.formats.object_yaml import names_objects

    documents = _parsed(whole)
    if documents is None:
        return _LATE.search(whole) is not None
    return any(names_objects(root) for root in documents)


def _parsed(whole: bytes) -> list[Node] | None:
    """The documents of a YAML text; none when it is no YAML, None when it is too large to tell."""
    from modelward.artifact.reading import Malformed
    from modelward.artifact.yaml import parse

    try:
        return parse(whole.decode("utf-8-sig", "replace"))
    except Malformed as error:
        return None if "characters of YAML" in str(error) or "nodes or" in str(error) else []
