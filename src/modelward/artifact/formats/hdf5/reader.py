"""Every object of an HDF5 file is visited: links, external data, pickled attributes, Keras configurations.

Opening a file runs no code of the file. Loaders act on its content in four ways: links, external raw data and
virtual datasets make them read other files (so a model's weights may be `/etc/passwd`); a filter that is not
built in is loaded as a native library by its number; PyTables and hickle unpickle attributes and arrays;
Keras builds classes from `model_config` and `training_config`.

Sources: HDF5 File Format Specification version 3.0; tables/attributeset.py and tables/vlarray.py of PyTables
3.11; keras/src/legacy/saving/legacy_h5_format.py of Keras 3.15 (CVE-2025-9905).
"""

from __future__ import annotations

import re
from collections import Counter
from math import prod
from typing import TYPE_CHECKING, Final, final

from modelward.artifact.formats.hdf5 import messages
from modelward.artifact.formats.hdf5.store import LARGEST, Store
from modelward.artifact.formats.hdf5.trees import FractalHeap, records, symbols
from modelward.artifact.formats.paths import escapes
from modelward.artifact.pickle.streams import scan
from modelward.artifact.reading import Inner, Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.cursor import Cursor
    from modelward.artifact.formats.hdf5.messages import Attribute, Layout, Link, Type
    from modelward.artifact.formats.hdf5.store import Message
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

FILTERS: Final = frozenset((*range(1, 7), 32000))
"""Filters that libhdf5 or h5py brings: deflate, shuffle, fletcher32, szip, nbit, scaleoffset, lzf."""
PLUGINS: Final = frozenset(range(305, 309)) | frozenset(range(32001, 32032))
"""Filters registered with the HDF Group (bzip2, blosc, lz4, bitshuffle, zfp, zstd and so on)."""
FLOOR: Final = 1 << 34
EXPANSION: Final = 1000
"""A dataset that declares more bytes than `FLOOR`, and so many times the file's, exhausts its reader."""
_CONFIGS: Final = frozenset({"model_config", "training_config"})
_BYTES: Final = frozenset({"opaque", "uint8", "int8", "string"})
"""Types of data that may be bytes of anything."""
_PICKLE: Final = re.compile(rb"\x80[\x02-\x05]|[(\[\]}cNIKVS]")
_MOST: Final = 1 << 62
_TOLD: Final = 50
"""Most findings of one kind that are kept."""


def read(data: Buffer, into: Reading) -> None:
    """Read an HDF5 file.

    Args:
        data: the whole content.
        into: gets the findings, the facts and the pickles found inside.

    Raises:
        Malformed: the superblock cannot be read.
        Exhausted: there are more objects than are visited.
    """
    walk = _Walk(Store(data, into.spend), into)
    walk.run()
    walk.finish()


@final
class _Walk:
    """One visit of all objects."""

    def __init__(self, store: Store, into: Reading) -> None:
        self.store = store
        self.into = into
        self.seen: set[int] = set()
        self.stack: list[tuple[int, str]] = []
        self.told: Counter[str] = Counter()
        self.types: Counter[str] = Counter()
        self.tensors = self.parameters = 0
        self.texts: dict[str, str] = {}
        self.objects = False
        self.pickles: set[bytes] = set()

    def run(self) -> None:
        """Visit what the superblock reaches."""
        if self.store.driver is not None:
            self._unproven("driver", "the file names a driver that keeps its data in several files")
        self._push(self.store.root, "/")
        self._push(self.store.extension, "(superblock extension)")
        while self.stack:
            address, path = self.stack.pop()
            try:
                self._visit(address, path)
            except Malformed as error:
                self._missed(f"the object {path[:200]} cannot be read: {error}")

    def finish(self) -> None:
        """State the facts, now that all is known."""
        if self.objects:
            self._heaps()
        facts = self.into.facts
        facts["format_version"] = f"superblock {self.store.version}"
        facts["tensors"], facts["parameters"] = self.tensors, self.parameters
        facts["dtypes"] = dict(self.types)
        if self.texts:
            facts["metadata"] = dict(self.texts)
        keras = self.texts.get("keras_version")
        if keras:
            facts["framework"] = f"keras {keras}"
        self.into.proven = True

    # --- reporting ----------------------------------------------------------------------------------------

    def _again(self, rule: str) -> bool:
        self.told[rule] += 1
        return self.told[rule] > _TOLD

    def _unproven(self, rule: str, message: str) -> None:
        if not self._again(rule):
            self.into.unproven(f"hdf5.{rule}", message)

    def _missed(self, message: str) -> None:
        if not self._again("missed"):
            self.into.missed(message)

    def _other_file(self, rule: str, name: bytes, what: str, path: str) -> None:
        """Loading reads another file: which one decides how bad it is."""
        if self._again(rule):
            return
        text = name.decode("utf-8", "backslashreplace")[:200]
        message = f"{what} {path[:200]} is read from the file {text}"
        if (why := escapes(text)) is not None:
            self.into.dangerous(f"hdf5.{rule}", f"{message}, which {why}")
        else:
            self.into.unproven(f"hdf5.{rule}", f"{message}, which may hold anything")

    # --- objects ------------------------------------------------------------------------------------------

    def _push(self, address: int | None, path: str) -> None:
        if address is not None and address not in self.seen:
            self.seen.add(address)
            self.stack.append((address, path))

    def _visit(self, address: int, path: str) -> None:
        found = self.store.header(address)
        attributes: list[Attribute] = []
        for message in found:
            self.into.spend()
            try:
                self._message(message, path, attributes)
            except Malformed as error:
                self._missed(f"a part of {path[:200]} cannot be read: {error}")
        by_kind = {message.kind: message for message in reversed(found)}
        for attribute in attributes:
            self._attribute(attribute, path)
        if 8 in by_kind:
            self._dataset(by_kind, path, attributes)

    def _message(self, message: Message, path: str, attributes: list[Attribute]) -> None:
        store, kind = self.store, message.kind
        shared = bool(message.flags & 2)
        if kind == 0x06:
            self._link(messages.link(store, store.body(message)), path)
        elif kind == 0x0C:
            if shared:
                raise Malformed("an attribute is shared between objects")
            attributes.append(messages.attribute(store, store.body(message)))
        elif kind == 0x11:
            body = store.body(message)
            tree, heap = store.address(body), store.address(body)
            if tree is not None and heap is not None:
                self._symbols(tree, heap, path)
        elif kind == 0x02:
            self._dense_links(store.body(message), path)
        elif kind == 0x15:
            self._dense_attributes(store.body(message), attributes)
        elif kind == 0x07:
            for name in messages.external_files(store, store.body(message)):
                self._other_file("external-data", name, "the data of", path)
        elif kind == 0x08 and not shared:
            self._virtual(messages.layout(store, store.body(message)), path)
        elif kind == 0x0B and not shared:
            self._filters(messages.filters(store.body(message)), path)
        elif kind == 0x14:
            self._unproven("driver", "the file names a driver that keeps its data in several files")

    # --- links --------------------------------------------------------------------------------------------

    def _symbols(self, tree: int, heap: int, path: str) -> None:
        for entry in symbols(self.store, tree, heap):
            if entry.soft is None:
                self._push(entry.address, _join(path, entry.name))

    def _link(self, link: Link, path: str) -> None:
        name = _join(path, link.name)
        if link.kind == 0:
            self._push(link.address, name)
        elif link.kind == 64:
            self._other_file("external-link", link.file, "the object", name)
        elif link.kind != 1:
            self._unproven(
                "user-link", f"{name[:200]} is a link of kind {link.kind}, which a program must know"
            )

    def _dense_links(self, body: Cursor, path: str) -> None:
        body.need(1)
        flags = body.number("B")
        body.need(8 * bool(flags & 1))
        for heap, identifier in self._dense(body, orders=bool(flags & 2), skip=(4, 8)):
            try:
                self._link(messages.link(self.store, heap.find(identifier)), path)
            except Malformed as error:
                self._missed(f"a link of {path[:200]} cannot be read: {error}")

    def _dense_attributes(self, body: Cursor, attributes: list[Attribute]) -> None:
        body.need(1)
        flags = body.number("B")
        body.need(2 * bool(flags & 1))
        for heap, identifier in self._dense(body, orders=bool(flags & 2), skip=(0, 0)):
            try:
                attributes.append(messages.attribute(self.store, heap.find(identifier)))
            except Malformed as error:
                self._missed(f"an attribute cannot be read: {error}")

    def _dense(
        self, body: Cursor, *, orders: bool, skip: tuple[int, int]
    ) -> Iterator[tuple[FractalHeap, bytes]]:
        """Identifiers in a heap, by both indices, each once."""
        store = self.store
        place = store.address(body)
        trees = [store.address(body), store.address(body) if orders else None]
        if place is None:
            return
        heap = FractalHeap(store, place)
        seen: set[bytes] = set()
        for tree, before in zip(trees, skip, strict=True):
            for record in records(store, tree) if tree is not None else ():
                record.need(before)
                identifier = record.take(min(heap.size, record.left))
                if identifier not in seen:
                    seen.add(identifier)
                    if skip == (0, 0) and record.left and record.number("B") & 2:
                        self._missed("an attribute is shared between objects")
                        continue
                    yield heap, identifier

    # --- attributes ---------------------------------------------------------------------------------------

    def _attribute(self, attribute: Attribute, path: str) -> None:
        name, texts = attribute.name, attribute.texts
        if name in _CONFIGS:
            if texts is None or len(texts) != 1:
                self._missed(f"the attribute {name} is no text")
            else:
                self._config(texts[0].rstrip(b"\0"), name)
        for text in texts or ():
            if len(text) > 1 and text.rstrip(b"\0").endswith(b"."):
                self._pickled(text.rstrip(b"\0"), f"{path}@{name}")
        if attribute.type is not None and attribute.type.sequence:
            self.objects = True
        elif attribute.type is not None and attribute.type.name in _BYTES:
            self._perhaps(attribute.raw, f"{path}@{name}")
        told = path in {"/", "/model_weights"} and name not in _CONFIGS and len(self.texts) < 30
        if told and texts and len(texts) == 1 and len(texts[0]) <= 200:
            self.texts.setdefault(name[:200], texts[0].decode("utf-8", "backslashreplace").rstrip("\0")[:200])

    def _config(self, text: bytes, name: str) -> None:
        from modelward.artifact.formats.keras import read_text

        self.into.spend(len(text) >> 4)
        read_text(text, self.into, name, legacy=True)

    def _pickled(self, content: bytes, place: str) -> None:
        """A text that PyTables would unpickle: it tries every one that ends with a full stop."""
        if content in self.pickles:
            return
        self.pickles.add(content)
        self.into.spend(len(content) >> 4)
        result = scan(content)
        broken = any(event.rule == "pickle.broken" for event in result.events)
        if not broken or any(event.level == "dangerous" for event in result.events):
            self.into.inner.append(Inner(place.lstrip("/"), content, "pickle"))

    # --- datasets -----------------------------------------------------------------------------------------

    def _filters(self, found: list[tuple[int, str]], path: str) -> None:
        for number, name in found:
            said = f"{number} ({name[:60]})" if name else f"{number}"
            if number in FILTERS:
                continue
            if number in PLUGINS:
                if not self._again(f"plugin {number}"):
                    self.into.note(
                        "hdf5.filter", f"{path[:200]} is read through the registered filter {said}"
                    )
            else:
                self._unproven(
                    "filter",
                    f"{path[:200]} is read through the filter {said}, a library loaded by its number",
                )

    def _virtual(self, place: Layout, path: str) -> None:
        if place.heap is not None:
            for file, _ in messages.virtual_sources(self.store, place.heap):
                if file != b".":
                    self._other_file("virtual-dataset", file, "the data of", path)

    def _dataset(self, found: dict[int, Message], path: str, attributes: list[Attribute]) -> None:
        store = self.store
        kind = self._type(found.get(3))
        space = found.get(1)
        shape = messages.dataspace(store, store.body(space)) if space and not space.flags & 2 else (0,)
        place = messages.layout(store, store.body(found[8]))
        if kind is None:
            return
        self.tensors += 1
        self.parameters = min(self.parameters + prod(shape), _MOST)
        self.types[kind.name] += 1
        declared = min(prod(shape) * kind.size, _MOST)
        if declared > FLOOR and declared > EXPANSION * len(store.data):
            self._unproven("bomb", f"{path[:200]} declares {declared} bytes in a file of {len(store.data)}")
        self._object_array(kind, place, path, attributes, min(declared, LARGEST + 1))

    def _type(self, message: Message | None) -> Type | None:
        if message is None:
            return None
        body = self.store.body(message)
        if not message.flags & 2:
            return messages.datatype(body)
        address = messages.committed(self.store, body)
        for inner in self.store.header(address) if address is not None else ():
            if inner.kind == 3 and not inner.flags & 2:
                return messages.datatype(self.store.body(inner))
        return None

    def _object_array(
        self, kind: Type, place: Layout, path: str, attributes: list[Attribute], size: int
    ) -> None:
        """Data that is unpickled: object arrays of PyTables, pickles of hickle, bytes that are a pickle."""
        if _says(attributes, "PSEUDOATOM") == b"object" or (_says(attributes, "FLAVOR") and kind.sequence):
            self.objects = True
        if _says(attributes, "base_type") in {b"pickle", b"b'pickle'"}:
            if place.start is None or size > LARGEST:
                self._missed(f"the pickle in {path[:200]} is not read")
            else:
                self.into.spend(size >> 4)
                content = bytes(self.store.data[place.start : place.start + size])
                self.into.inner.append(Inner(path.lstrip("/"), content, "pickle"))

        elif kind.sequence or kind.text == "variable":
            self.objects = True
        elif place.start is not None and kind.name in _BYTES and size <= LARGEST:
            head = bytes(self.store.data[place.start : place.start + min(size, 2)])
            if _PICKLE.match(head):
                self.into.spend(size >> 4)
                self._perhaps(bytes(self.store.data[place.start : place.start + size]), path)

    def _perhaps(self, content: bytes, place: str) -> None:
        """Bytes or a text that a program may unpickle: padded ones end where the pickle does."""
        content = content.rstrip(b"\0")
        if _PICKLE.match(content) and content.endswith(b"."):
            self._pickled(content, place)

    def _heaps(self) -> None:
        """The rows of object arrays stand in the global heap, whatever the filters of their dataset."""
        data, at = self.store.data, 0
        while (at := data.find(b"GCOL", at)) >= 0:
            try:
                found = self.store.collection(at - self.store.base)
            except Malformed:
                found = {}
            for index, (start, size) in found.items():
                if size > LARGEST:
                    self._missed(f"an object of {size} bytes in the global heap is not read")
                    continue
                content = bytes(self.store.data[start : start + size])
                self._perhaps(content, f"heap{at}/{index}")
            at += 4


def _join(path: str, name: bytes) -> str:
    text = name.decode("utf-8", "backslashreplace")
    return f"{path.rstrip('/')}/{text}"[:2000]


def _says(attributes: list[Attribute], name: str) -> bytes | None:
    found = [one.texts[0] for one in attributes if one.name == name and one.texts]
    return found[-1].rstrip(b"\0") if found else None
