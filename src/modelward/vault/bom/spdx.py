"""An inventory as SPDX 3.0 JSON-LD with the AI and Dataset profiles.

Source: SPDX 3.0.1, classes ai_AIPackage, dataset_DatasetPackage, software_File and Relationship; the
bindings are generated from its model and refuse values that it does not allow.
"""

from __future__ import annotations

import io
import re
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, final
from urllib.parse import quote

from modelward.errors import ExtraMissing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from modelward.vault.bom.inventory import Entry, Inventory, Package

_BASE: Final = "urn:modelward:spdx:"
_EXPRESSION: Final = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")
_ODD: Final = re.compile(r"[^A-Za-z0-9.-]+")


def spdx(inventory: Inventory, *, version: str, at: datetime) -> bytes:
    """Write the document.

    Args:
        inventory: what it lists.
        version: of modelward.
        at: the time it states, with a zone.

    Raises:
        ExtraMissing: the bindings are not installed.
    """
    try:
        from spdx_python_model import v3_0_1 as model
    except ImportError as error:
        raise ExtraMissing("spdx-python-model", "bom") from error
    return _Writer(model, inventory, version, at).document()


@final
class _Writer:
    """Collects elements; each has an IRI that the content decides, so that documents compare."""

    def __init__(self, model: Any, inventory: Inventory, version: str, at: datetime) -> None:
        self._model, self._inventory = model, inventory
        self._base = f"{_BASE}{inventory.digest[:32]}/"
        self._elements: dict[str, Any] = {}
        self._info = model.CreationInfo(
            specVersion="3.0.1", created=at.astimezone(UTC).replace(microsecond=0)
        )
        tool = self._make(model.Tool, "tool", f"modelward {version}")
        self._supplier = self._make(model.Organization, "supplier", inventory.supplier or "not stated")
        self._info.createdBy.append(self._supplier)
        self._info.createdUsing.append(tool)
        self._at = self._info.created

    def document(self) -> bytes:
        """All elements, serialised."""
        model, inventory = self._model, self._inventory
        root = self._package(model.software_Package, "root", inventory.name, inventory.version)
        root.software_primaryPurpose = model.software_SoftwarePurpose.model
        for licence in inventory.licences:
            self._licence(root, licence)
        parts = [self._entry(entry) for entry in inventory.entries]
        self._relate(root, "contains", parts)
        trained = [part for part, entry in zip(parts, inventory.entries, strict=True) if entry.training]
        for part, entry in zip(parts, inventory.entries, strict=True):
            if entry.kind == "model":
                self._relate(part, "trainedOn", trained)
        self._relate(root, "dependsOn", [self._library(package) for package in inventory.packages])
        made = self._make(model.software_Sbom, "bom", inventory.name)
        made.software_sbomType.append(model.software_SbomType.analyzed)
        made.rootElement.append(root)
        made.element.extend(element for element in self._elements.values() if element is not made)
        whole = self._make(model.SpdxDocument, "document", inventory.name)
        whole.rootElement.append(made)
        profiles = model.ProfileIdentifierType
        whole.profileConformance.extend(
            [profiles.core, profiles.software, profiles.simpleLicensing, profiles.ai, profiles.dataset]
        )
        objects = model.SHACLObjectSet()
        for element in (self._info, *self._elements.values()):
            objects.add(element)
        buffer = io.BytesIO()
        model.JSONLDSerializer().write(objects, buffer, indent=2)
        return buffer.getvalue() + b"\n"

    def _make(self, kind: Any, ref: str, name: str) -> Any:
        element = kind(_id=self._base + quote(ref), name=name, creationInfo=self._info)
        self._elements[ref] = element
        return element

    def _package(self, kind: Any, ref: str, name: str, version: str) -> Any:
        element = self._make(kind, ref, name)
        element.suppliedBy = self._supplier
        element.software_packageVersion = version or "NOASSERTION"
        element.software_downloadLocation = "urn:spdx:noassertion"
        return element

    def _entry(self, entry: Entry) -> Any:
        model = self._model
        ref = f"{'training' if entry.training else 'file'}/{entry.name}"
        if entry.kind == "model":
            element = self._package(model.ai_AIPackage, ref, entry.name, self._inventory.version)
            element.software_primaryPurpose = model.software_SoftwarePurpose.model
            element.releaseTime = self._at
            framework = entry.facts.get("framework")
            element.ai_typeOfModel.append(framework if isinstance(framework, str) else entry.format)
            element.comment = f"loading it: {entry.verdict or 'no verdict'}"
            for key, value in sorted(entry.facts.items()):
                if isinstance(value, str | int | float):
                    fact = model.DictionaryEntry(key=key, value=str(value)[:500])
                    element.ai_hyperparameter.append(fact)
        elif entry.kind == "data":
            element = self._package(model.dataset_DatasetPackage, ref, entry.name, self._inventory.version)
            element.software_primaryPurpose = model.software_SoftwarePurpose.data
            element.releaseTime = element.builtTime = self._at
            element.originatedBy.append(self._supplier)
            element.dataset_datasetType.append(model.dataset_DatasetType.noAssertion)
            element.dataset_datasetSize = entry.size
        else:
            element = self._make(model.software_File, ref, entry.name)
            element.software_primaryPurpose = model.software_SoftwarePurpose.file
        self._hash(element, entry.sha256)
        licence = entry.facts.get("licence")
        if isinstance(licence, str) and licence:
            self._licence(element, licence)
        return element

    def _library(self, package: Package) -> Any:
        ref = f"package/{package.source}/{package.name}@{package.version}"
        element = self._package(self._model.software_Package, ref, package.name, package.version)
        element.software_primaryPurpose = self._model.software_SoftwarePurpose.library
        pinned = f"@{quote(package.version)}" if package.version else ""
        element.software_packageUrl = f"pkg:pypi/{package.name}{pinned}"
        for text in package.sha256:
            self._hash(element, text)
        return element

    def _hash(self, element: Any, sha256: str) -> None:
        algorithm = self._model.HashAlgorithm.sha256
        element.verifiedUsing.append(self._model.Hash(algorithm=algorithm, hashValue=sha256))

    def _licence(self, element: Any, text: str) -> None:
        """An SPDX expression as it is; anything else by a reference of its own."""
        stated = text if _EXPRESSION.fullmatch(text) else f"LicenseRef-{_ODD.sub('-', text)[:100]}"
        ref = f"licence/{stated}"
        if ref not in self._elements:
            found = self._make(self._model.simplelicensing_LicenseExpression, ref, text)
            found.simplelicensing_licenseExpression = stated
        self._relate(element, "hasDeclaredLicense", [self._elements[ref]])

    def _relate(self, source: Any, how: str, targets: Sequence[Any]) -> None:
        if not targets:
            return
        ref = f"relation/{len(self._elements)}/{how}"
        relation = self._make(self._model.Relationship, ref, f"{source.name} {how}")
        relation.from_ = source
        relation.relationshipType = getattr(self._model.RelationshipType, how)
        relation.to.extend(targets)
