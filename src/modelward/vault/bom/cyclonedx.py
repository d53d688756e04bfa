"""An inventory as CycloneDX 1.6, the format of ML-BOMs.

Source: ECMA-424 (CycloneDX 1.6), components, modelCard and componentData. The library writes the document; it
knows no model cards and no component data yet; they are added to its JSON, and its validator judges all.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

import msgspec

from modelward.errors import DocumentInvalid, ExtraMissing

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import LicenseRepository

    from modelward.core.canonical import JSON
    from modelward.vault.bom.inventory import Entry, Inventory, Package


def cyclonedx(inventory: Inventory, *, version: str, at: datetime) -> bytes:
    """Write and validate the document.

    Args:
        inventory: what it lists.
        version: of modelward.
        at: the time it states, with a zone.

    Raises:
        ExtraMissing: the library is not installed.
        DocumentInvalid: the document is not valid by the official schema.
    """
    try:
        from cyclonedx.output import make_outputter
        from cyclonedx.schema import OutputFormat, SchemaVersion
    except ImportError as error:
        raise ExtraMissing("cyclonedx-python-lib", "bom") from error
    text = make_outputter(_bom(inventory, version, at), OutputFormat.JSON, SchemaVersion.V1_6)
    content = msgspec.json.decode(text.output_as_string())
    _add_machine_learning(content, inventory)
    made = msgspec.json.format(msgspec.json.encode(content, order="sorted")) + b"\n"
    validate(made)
    return made


def validate(document: bytes) -> None:
    """Compare a document with the official schema, which the library carries.

    Raises:
        ExtraMissing: the library is not installed.
        DocumentInvalid: it is not valid.
    """
    try:
        from cyclonedx.exception import MissingOptionalDependencyException
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError as error:
        raise ExtraMissing("cyclonedx-python-lib", "bom") from error
    try:
        problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode())
    except MissingOptionalDependencyException as error:
        raise ExtraMissing("cyclonedx-python-lib", "bom") from error
    if problem is not None:
        raise DocumentInvalid(f"the document is no valid CycloneDX 1.6: {str(problem.data)[:300]}")


def _bom(inventory: Inventory, version: str, at: datetime) -> Bom:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.contact import OrganizationalEntity

    root = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL
        if any(entry.kind == "model" for entry in inventory.entries)
        else ComponentType.APPLICATION,
        name=inventory.name,
        version=inventory.version or None,
        bom_ref="root",
        licenses=_licences(inventory.licences),
        supplier=OrganizationalEntity(name=inventory.supplier) if inventory.supplier else None,
    )
    files = [_file(entry) for entry in inventory.entries]
    packages = [_package(package) for package in inventory.packages]
    # The same content gives the same serial number (a version-8 UUID, RFC 9562), so that documents compare.
    serial = UUID(int=int(inventory.digest[:32], 16) & ~(0xF << 76 | 0x3 << 62) | (8 << 76 | 0x2 << 62))
    bom = Bom(serial_number=serial, components=[*files, *packages])
    bom.metadata.component = root
    bom.metadata.timestamp = at
    bom.metadata.tools.components.add(
        Component(type=ComponentType.APPLICATION, name="modelward", version=version, bom_ref="modelward")
    )
    bom.register_dependency(root, [*files, *packages])
    trained = [file for file, entry in zip(files, inventory.entries, strict=True) if entry.training]
    for file, entry in zip(files, inventory.entries, strict=True):
        bom.register_dependency(file, trained if entry.kind == "model" else [])
    return bom


def _file(entry: Entry) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    kinds = {
        "model": ComponentType.MACHINE_LEARNING_MODEL,
        "data": ComponentType.DATA,
        "file": ComponentType.FILE,
    }
    stated: dict[str, object] = {
        "format": entry.format,
        "bytes": entry.size,
        "load-verdict": entry.verdict or "none",
        **{f"findings:{severity}": count for severity, count in sorted(entry.findings.items())},
        **{key: value for key, value in entry.facts.items() if isinstance(value, str | int | float)},
    }
    dtypes = entry.facts.get("dtypes")
    if isinstance(dtypes, dict):
        stated |= {f"dtypes:{name}": count for name, count in sorted(dtypes.items())}
    licence = entry.facts.get("licence")
    return Component(
        type=kinds[entry.kind],
        name=entry.name,
        bom_ref=_ref(entry),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=entry.sha256)],
        licenses=_licences((licence,) if isinstance(licence, str) and licence else ()),
        properties=[Property(name=f"modelward:{key}", value=_text(value)) for key, value in stated.items()],
    )


def _ref(entry: Entry) -> str:
    return f"{'training' if entry.training else 'file'}:{entry.name}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:500]


def _package(package: Package) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version or None,
        bom_ref=f"package:{package.source}:{package.name}@{package.version}",
        purl=PackageURL("pypi", None, package.name, package.version or None),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=text) for text in package.sha256],
    )


def _licences(stated: tuple[str, ...]) -> LicenseRepository:
    """SPDX expressions where they are some, else names; an expression stands alone (schema 1.6)."""
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.license import LicenseExpression, LicenseRepository

    made = [LicenseFactory().make_from_string(text) for text in stated]
    if len(made) > 1:
        made = [LicenseFactory().make_with_name(text) if isinstance(one, LicenseExpression) else one
                for one, text in zip(made, stated, strict=True)]  # fmt: skip
    return LicenseRepository(made)


def _add_machine_learning(content: dict[str, JSON], inventory: Inventory) -> None:
    entries = {_ref(entry): entry for entry in inventory.entries}
    trained: list[JSON] = [{"ref": ref} for ref, entry in entries.items() if entry.training]
    trained += [{"type": "dataset", "name": name} for name in inventory.datasets]
    for component in cast("list[dict[str, JSON]]", content.get("components", [])):
        entry = entries.get(str(component["bom-ref"]))
        if entry is not None and entry.kind == "model":
            component["modelCard"] = _card(entry, trained)
        elif entry is not None and entry.kind == "data":
            component["data"] = [{"type": "dataset", "name": entry.name}]


def _card(entry: Entry, trained: list[JSON]) -> dict[str, JSON]:
    parameters: dict[str, JSON] = {}
    framework, architecture = entry.facts.get("framework"), entry.facts.get("architecture")
    if isinstance(framework, str):
        parameters["architectureFamily"] = framework
    if isinstance(architecture, str):
        parameters["modelArchitecture"] = architecture
    for key in ("inputs", "outputs"):
        names = entry.facts.get(key)
        if isinstance(names, list):
            parameters[key] = [{"format": str(name)[:200]} for name in names]
    if trained:
        parameters["datasets"] = trained
    return {"modelParameters": parameters}


def stated_time() -> datetime:
    """Now, or SOURCE_DATE_EPOCH (seconds since 1970) for documents that are made again bit by bit."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
