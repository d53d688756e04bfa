"""MessagePack: parameters of Flax, with arrays as extension types; parts of spaCy's pipelines.

Loading builds dictionaries and arrays. An array of Flax states its type by name; `object` makes pointers of
bytes. msgpack-numpy writes arrays as maps, and those of objects as pickles; thinc keeps the weights that
PyTorch saved as bytes. So bytes that are another format are read as that format.

Sources: flax 0.10 `flax/serialization.py` (`_MsgpackExtType`, `_ndarray_to_bytes`, `_chunk`); msgpack-numpy
0.4.8 (`decode`: kind `O`); thinc 8.3 `thinc/model.py` (`to_bytes`) and `thinc/shims/pytorch.py`.
"""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING, Final

from modelward.artifact.formats.msgpack import Walk, begins
from modelward.artifact.formats.tally import Tally
from modelward.artifact.reading import Inner, Malformed

if TYPE_CHECKING:
    from modelward.artifact.formats.msgpack import Item
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_TYPE: Final = re.compile(
    r"bool|u?int(?:2|4|8|16|32|64)|b?float(?:16|32|64|128)|complex(?:64|128|256)|float[468]_e\w+|str\d*|bytes\d*"
)
_BITS: Final = re.compile(r"(?:u?int|b?float|complex)(8|16|32|64|128|256)")


_OTHER: Final = re.compile(rb"\x80[\x02-\x05]|PK\x03\x04|\x93NUMPY|\x1f\x8b\x08|\x89HDF|\x7fELF")
"""How bytes start that are a pickle, an archive, an array or a program."""


def read(data: Buffer, into: Reading) -> None:
    """Walk every object; arrays are checked and stepped over."""
    walk = Walk(data)
    tally = Tally()
    key = b""
    pickled = False
    arrays: list[Inner] = []
    for item in walk.items(into):
        if item.kind == "extension":
            _extension(data, item, tally, into)
        elif item.key:
            key = bytes(data[item.start : item.start + min(item.size, 8)]) if item.kind == "text" else b""
            if item.kind == "bytes":
                key = bytes(data[item.start : item.start + min(item.size, 8)])
            elif item.kind not in {"text", "integer", "constant"}:
                into.unproven("flax.key", f"a key at offset {item.start} is no text", pos=item.start)
        elif item.kind in {"bytes", "text"} and item.size:
            pickled = pickled or (key == b"kind" and data[item.start : item.start + item.size] == b"O")
            _bytes(data, item, into, arrays if key == b"data" else None)
    if pickled:
        into.inner += arrays
    if walk.pos != len(data):
        into.missed(f"{len(data) - walk.pos} bytes stand behind the map")
    tally.report(into, "flax")
    into.proven = True


def _bytes(data: Buffer, item: Item, into: Reading, arrays: list[Inner] | None) -> None:
    """Bytes that may be content of another format; those of an array are a pickle if its kind says so."""
    head = bytes(data[item.start : item.start + min(item.size, 16)])
    name = f"offset {item.start}"
    if _OTHER.match(head):
        content = bytes(data[item.start : item.start + item.size])
        into.inner.append(Inner(name, content))
    elif item.kind == "bytes" and (head[0] & 0xF0 == 0x80 or head[0] in {0xDE, 0xDF}):
        content = bytes(data[item.start : item.start + item.size])
        if begins(content):
            into.inner.append(Inner(name, content, "msgpack"))
    elif arrays is not None:
        content = bytes(data[item.start : item.start + item.size])
        arrays.append(Inner(name, content, "pickle"))


def _extension(data: Buffer, item: Item, tally: Tally, into: Reading) -> None:
    if item.code == _COMPLEX:
        parts = list(Walk(data, item.start, item.start + item.size).items(into))
        if [part.kind for part in parts] != ["array", "integer", "integer"]:
            raise Malformed(f"a complex number at offset {item.start} is none")
        return
    if item.code not in {_ARRAY, _SCALAR}:
        said = f"an extension of the unknown type {item.code}"
        into.unproven("flax.extension", said, pos=item.start)
        return
    parts = list(Walk(data, item.start, item.start + item.size).items(into, 200))
    shape = [part.size for part in parts if part.depth == 3 and part.kind == "integer"]
    texts = [part for part in parts if part.depth == 2 and part.kind in {"text", "bytes"}]
    if len(texts) != 2 or parts[0].size != 3 or min(shape, default=0) < 0:
        raise Malformed(f"an array at offset {item.start} is not shape, type and bytes")
    name = bytes(data[texts[0].start : texts[0].start + min(texts[0].size, 80)]).decode(
        "utf-8", "backslashreplace"
    )
    if name.lstrip("|<>=")[:1] == "O" or name.startswith("object"):
        into.dangerous("flax.object", "an array whose bytes become pointers to objects", pos=item.start)
    elif not _TYPE.fullmatch(name):
        into.unproven("flax.type", f"an array of the unknown type {name!r}", pos=item.start)
    elif (bits := _BITS.fullmatch(name)) and prod(shape) * int(bits[1]) != texts[1].size * 8:
        said = f"an array of {name} and shape {shape} has {texts[1].size} bytes"
        into.unproven("flax.extent", said[:300], pos=item.start)
    tally.tensor(name, shape)
