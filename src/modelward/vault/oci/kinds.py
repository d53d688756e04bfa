"""Which layer a file becomes, and the configuration of an artifact: ModelPack and KitOps.

Sources: CNCF ModelPack model-spec v1 (docs/spec.md, docs/config.md, docs/annotations.md); KitOps ModelKit
specification (pkg/artifact/spec.md) and Kitfile format.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelward.core.canonical import JSON

Profile: TypeAlias = Literal["modelpack", "kitops"]
Kind: TypeAlias = Literal["weight", "weight.config", "doc", "code", "dataset"]

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"

MODELPACK: Final = "application/vnd.cncf.model.manifest.v1+json"
MODELPACK_CONFIG: Final = "application/vnd.cncf.model.config.v1+json"
KITOPS_CONFIG: Final = "application/vnd.kitops.modelkit.config.v1+json"

TITLE: Final = "org.opencontainers.image.title"
REF_NAME: Final = "org.opencontainers.image.ref.name"
FILEPATH: Final = "org.cncf.model.filepath"
UNTESTED: Final = "org.cncf.model.file.mediatype.untested"

_KITOPS: Final[dict[Kind, str]] = {
    "weight": "model", "weight.config": "modelpart", "doc": "docs", "code": "code", "dataset": "dataset"
}  # fmt: skip
_ENDINGS: Final[dict[Kind, str]] = {
    "weight.config": ".json .yaml .yml .toml .txt .jinja .cfg .ini .spm .tiktoken .floe .sig",
    "doc": ".md .rst .pdf .html .adoc",
    "code": ".py .ipynb .sh .js .ts .c .cc .cpp .h .cu .rs .go .jl .r",
    "dataset": ".csv .tsv .parquet .arrow .feather .jsonl .gz",
}
_KINDS: Final[dict[str, Kind]] = {
    ending: kind for kind, endings in _ENDINGS.items() for ending in endings.split()
}
_DOCUMENTS: Final = ("LICENSE", "LICENCE", "NOTICE", "README", "COPYING", "CHANGELOG")


def kind_of(path: str) -> Kind:
    """What a file is, by its name; what is not known is weights."""
    name = PurePosixPath(path)
    if name.stem.upper() in _DOCUMENTS:
        return "doc"
    return _KINDS.get(name.suffix.lower(), "weight")


def layer_type(profile: Profile, kind: Kind) -> str:
    """Media type of a layer with one file: raw for ModelPack, a tar archive for KitOps."""
    if profile == "modelpack":
        return f"application/vnd.cncf.model.{kind}.v1.raw"
    return f"application/vnd.kitops.modelkit.{_KITOPS[kind]}.v1.tar"


def modelpack_config(name: str, version: str, layers: Iterable[str]) -> dict[str, JSON]:
    """The configuration of a ModelPack artifact.

    Args:
        name: of the model; may be empty.
        version: of the model; may be empty.
        layers: digests of the layers' content, in order.
    """
    said: dict[str, JSON] = {key: text for key, text in (("name", name), ("version", version)) if text}
    return {"config": {}, "descriptor": said, "modelfs": {"diffIds": list(layers), "type": "layers"}}


def kitops_config(name: str, version: str, layers: Iterable[tuple[str, Kind, str]]) -> dict[str, JSON]:
    """The Kitfile of a ModelKit, as JSON.

    Args:
        name: of the model; may be empty.
        version: of the model; may be empty.
        layers: path, kind and digest of each layer, in order; the first of weights is the model.
    """
    sections: dict[Kind, list[JSON]] = {kind: [] for kind in _KITOPS}
    for path, kind, digest in layers:
        sections[kind].append({"path": path, "digest": digest, "diffId": digest})
    package = {key: text for key, text in (("name", name), ("version", version)) if text}
    found: dict[str, JSON] = {"manifestVersion": "1.0.0"}
    if package:
        found["package"] = dict(package)
    weights = sections["weight"]
    parts = [*weights[1:], *sections["weight.config"]]
    if weights and isinstance(weights[0], dict):
        found["model"] = {**weights[0], **({"parts": parts} if parts else {})}
    elif parts:
        found["model"] = {"parts": parts}
    for key, kind in (("code", "code"), ("datasets", "dataset"), ("docs", "doc")):
        if sections[kind]:
            found[key] = sections[kind]
    return found


def kitops_order(kind: Kind) -> int:
    """Place of a kind among the layers: a Kitfile lists the model's parts after the model."""
    return list(_KITOPS).index(kind)
