"""TorchServe archives (`.mar`, `.war`): a manifest that names a handler, a model, sources and requirements.

The server imports the handler and the model file, so Python that the archive ships runs when the model is
registered. The handlers that TorchServe brings only load what the manifest names.

Source: pytorch/serve model-archiver/model_archiver/manifest_components, ts/model_loader.py,
frontend/archive (Manifest.java, workflow specifications), TorchServe 0.12; ShellTorch (CVE-2023-43654,
CVE-2022-1471).
"""

from __future__ import annotations

import re
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from modelward.artifact.formats.shipped import payload, source
from modelward.artifact.names import join, leads_out
from modelward.artifact.reading import Malformed
from modelward.artifact.tarread import Trouble, entries, is_header
from modelward.artifact.zipread import Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading
    from modelward.artifact.tarread import Entry

MANIFEST: Final = "MAR-INF/MANIFEST.json"
_BUILT_IN: Final = frozenset(
    {
        "image_classifier", "text_classifier", "object_detector", "image_segmenter", "text_handler",
        "vision_handler", "base_handler", "huggingface_handler",
    }
)  # fmt: skip
_SOURCE: Final = 4 << 20
_ENTRIES: Final = 100_000
_URL: Final = re.compile(r"(?:https?|ftp|file|s3|gs|jar|ldap|rmi)://", re.IGNORECASE)
_ELSEWHERE: Final = re.compile(
    r"^\s*(?:-e\b|--editable|-i\b|--(?:extra-)?index-url|-f\b|--find-links|--trusted-host|git\+|https?://|file:)"
    r"|@\s*(?:git\+|https?://|file:)",
    re.MULTILINE,
)
_PLAIN_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp", "binary", "set", "omap")
)
_LOOSE: Final = re.compile(r"!!(?:javax?|com|org|sun|python)[./][\w./:$]+")


class _Part(NamedTuple):
    """A file of the archive: its name, and its content or None when it is too large or cannot be read."""

    name: str
    content: Callable[[], bytes | None]


def read(data: Buffer, into: Reading) -> None:
    """Judge the manifest and what it names."""
    parts = _packed(data) if is_header(bytes(data[:512])) else _zipped(data)
    members = {_unpacked(part): part for part in parts}
    into.facts["framework"] = "torchserve"
    named: set[str] = set()
    for part in parts:
        if _unpacked(part) != MANIFEST:
            continue
        raw = part.content()
        if raw is None:
            raise Malformed("the manifest cannot be decompressed")
        named |= _manifest(into, members, raw)
    for part in parts:
        into.spend()
        lower = part.name.lower()
        if not lower.endswith((".py", ".yaml", ".yml")):
            continue
        raw = part.content()
        if raw is None:
            into.missed(f"{part.name[:200]!r} cannot be read")
        elif not lower.endswith(".py"):
            _yaml(into, part.name, raw)
        elif _unpacked(part) in named and raw.strip():
            source(into, part.name, raw, "the server imports it")
        else:
            payload(into, part.name, raw, "the handler may import it")
    into.proven = True


def _zipped(data: Buffer) -> list[_Part]:
    from modelward.artifact.zips import content

    archive = Archive(data)
    return [_Part(member.name, partial(content, archive, member, _SOURCE)) for member in archive.members]


def _packed(data: Buffer) -> list[_Part]:
    """Files of a tar archive, as the archiver writes with `--archive-format tgz`."""
    found = islice((entry for entry in entries(data) if not isinstance(entry, Trouble)), _ENTRIES)
    return [_Part(entry.name, partial(_file, data, entry)) for entry in found if entry.kind == "file"]


def _file(data: Buffer, entry: Entry) -> bytes | None:
    return bytes(data[entry.start : entry.start + entry.size]) if entry.size <= _SOURCE else None


def _unpacked(member: _Part) -> str:
    """Where a member stands once the server has unpacked the archive."""
    return join("", member.name) or member.name


def _manifest(into: Reading, members: dict[str, _Part], raw: bytes) -> set[str]:
    """Judge what a manifest says; gives the sources that the server imports."""
    try:
        manifest = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the manifest cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise Malformed("the manifest holds no object")
    runtime = manifest.get("runtime")
    if runtime not in {None, "python", "python2", "python3", "LSP"}:
        into.unproven("mar.runtime", f"the manifest asks for the runtime {str(runtime)[:100]!r}")
    named: set[str] = set()
    for part in ("model", "workflow"):
        fields = manifest.get(part)
        if not isinstance(fields, dict):
            continue
        for key, value in _texts(into, fields):
            if _URL.search(value):
                message = f"{part}.{key} is fetched from {value[:200]!r}"
                into.dangerous("mar.url", message)
            elif key not in {"description", "handler"} and leads_out(value):
                into.dangerous("mar.path", f"{part}.{key} leads out of the archive: {value[:200]!r}")
        into.facts["metadata"] = {
            key: str(fields[key])[:200] for key in ("modelName", "modelVersion") if key in fields
        }
        named |= _handler(into, fields.get("handler"), members)
        model = fields.get("modelFile")
        if isinstance(model, str) and model:
            named.add(join("", model) or model)
        _requirements(into, members, fields.get("requirementsFile"))
    return named


def _texts(into: Reading, fields: dict[str, object]) -> Iterator[tuple[str, str]]:
    stack: list[tuple[str, object]] = list(fields.items())
    while stack:
        key, value = stack.pop()
        into.spend()
        if isinstance(value, str):
            for part in value.split(",") if key == "extraFiles" else [value]:
                yield key, part
        elif isinstance(value, list):
            stack += [(key, item) for item in value]
        elif isinstance(value, dict):
            stack += value.items()


def _handler(into: Reading, handler: object, members: dict[str, _Part]) -> set[str]:
    if not isinstance(handler, str) or not handler:
        return set()
    path = join("", handler.split(":", 1)[0]) or handler
    bare = path.removesuffix(".py")
    for name in (path, f"{bare}.py", f"{bare.replace('.', '/')}.py"):
        if name in members:
            return {name}
    if bare in _BUILT_IN or bare.startswith("ts.torch_handler."):
        return set()
    if leads_out(path) or "/" in path:
        into.dangerous("mar.handler", f"the handler {handler[:200]!r} is a file outside of the archive")
    else:
        into.unproven("mar.handler", f"the handler {handler[:200]!r} is neither built in nor in the archive")
    return set()


def _requirements(into: Reading, members: dict[str, _Part], name: object) -> None:
    member = members.get(name) if isinstance(name, str) else None
    if member is None:
        return
    text = (member.content() or b"").decode("utf-8", "backslashreplace")
    into.note("mar.requirements", "the server may install the packages that the archive asks for")
    if found := _ELSEWHERE.search(text):
        line = text[found.start() :].lstrip().split("\n", 1)[0][:200]
        into.unproven("mar.requirements", f"a requirement is installed from elsewhere: {line!r}")


def _yaml(into: Reading, name: str, raw: bytes) -> None:
    """Specifications of workflows, which the server's Java code constructed with any tag (CVE-2022-1471)."""
    from modelward.artifact.yaml import Mapping, Scalar, parse, walk

    text = raw.decode("utf-8", "backslashreplace")
    try:
        nodes = [node for root in parse(text) for node in walk(root)]
    except Malformed as error:
        into.note("mar.yaml", f"{name[:200]}: {error}")
        if found := _LOOSE.search(text):
            into.dangerous("mar.tag", f"{name[:200]} constructs {found[0][:200]}")
        return
    for node in nodes:
        into.spend()
        if node.tag and node.tag not in _PLAIN_TAGS and node.tag != "!":
            into.dangerous("mar.tag", f"{name[:200]}, line {node.line}: it constructs {node.tag[:200]}")
        if isinstance(node, Mapping):
            url = node.get("url")
            if isinstance(url, Scalar) and _URL.search(url.value):
                into.unproven("mar.url", f"{name[:200]}: a model is fetched from {url.value[:200]!r}")
