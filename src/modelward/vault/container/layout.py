"""What lies in a sealed folder, and the documents in it, read strictly.

The format is written in docs/formats/container.md. Every document has one spelling: it is read, written again
and compared, so that no byte of it can change unseen.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import msgspec

from modelward.core.canonical import JSON, canonical
from modelward.errors import PathUnsafe, RecipientWrong, SealDamaged
from modelward.vault import dsse
from modelward.vault.container.recipients import Stanza, check_stanzas, unwrap_any
from modelward.vault.hazmat import floe
from modelward.vault.hazmat.hashing import SIZE, Algorithm
from modelward.vault.tree.entries import Entry, Tree, tree_of
from modelward.vault.tree.leaves import CHUNK, FileHasher, Leaves, chunks_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.vault.container.recipients import Identity

Encryption: TypeAlias = Literal["floe-aes256-gcm-hkdf-sha384-1m", "none"]

FORMAT: Final = "modelward.seal/1"
FLOE: Final[Encryption] = "floe-aes256-gcm-hkdf-sha384-1m"
PLAIN: Final[Encryption] = "none"
SEGMENTS: Final = floe.Parameters(CHUNK + floe.OVERHEAD)
"""A segment holds as many bytes as a leaf of the tree: what is decrypted is compared leaf by leaf."""

HEADER: Final = "seal.json"
INDEX: Final = "tree.json"
DATA: Final = "data"
SIGNATURES: Final = "signatures"
ATTESTATIONS: Final = "attestations"
MANIFEST: Final[dict[Encryption, str]] = {FLOE: "manifest.floe", PLAIN: "manifest.json"}

LARGEST_HEADER: Final = 1 << 20
LARGEST_LIST: Final = 1 << 28
"""Bytes of a manifest or of a list of files: two million files of usual names."""
MOST_SIGNATURES: Final = 64
_ID: Final = r"^[0-9a-f]{32}\Z"


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The document `seal.json`: how to open the container, and for whom. It alone changes on a rotation.

    Attributes:
        container: 16 random bytes in hexadecimal; everything in the container is bound to them.
        encryption: of the manifest and the files.
        format: the version of all of this.
        hash: of all trees.
        mac: HMAC-SHA-256 of the rest under a key of the master key, base64; empty where nothing is encrypted.
        recipients: the master key for each of them; none where nothing is encrypted.
    """

    container: Annotated[str, msgspec.Meta(pattern=_ID)]
    encryption: Encryption
    format: Literal["modelward.seal/1"] = "modelward.seal/1"
    hash: Algorithm
    mac: str = ""
    recipients: tuple[Stanza, ...] = ()

    @property
    def id(self) -> bytes:
        """The container's identity, 16 bytes."""
        return bytes.fromhex(self.container)

    def signed(self, manifest: str) -> dict[str, JSON]:
        """What the signed statement says of the container.

        Args:
            manifest: root of the manifest's file.
        """
        return {
            "encryption": self.encryption, "format": self.format, "id": self.container, "manifest": manifest
        }  # fmt: skip


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One file, as the manifest knows it.

    Attributes:
        key: its data key, 32 bytes; empty where nothing is encrypted.
        leaves: hashes of its leaves in their order, where there is more than one.
        length: bytes of plaintext.
        path: POSIX, relative to what was sealed.
        root: over its leaves, 64 hexadecimal digits.
    """

    key: bytes = b""
    leaves: bytes = b""
    length: int
    path: str
    root: str

    def leaf(self, index: int) -> bytes:
        """The hash of one leaf."""
        return self.leaves[index * SIZE : (index + 1) * SIZE] or bytes.fromhex(self.root)

    def __repr__(self) -> str:  # a key never shows in a traceback or a log
        return f"Record({self.path!r})"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was sealed: the document that is encrypted with the files.

    Attributes:
        container: identity of the container it lies in.
        files: in the order of the tree; the place is the number of the data file.
        format: the version of all of this.
        hash: of the tree.
        root: of the tree of plaintext, ``sha256:<hex>`` or ``blake3:<hex>``.
    """

    container: Annotated[str, msgspec.Meta(pattern=_ID)]
    files: tuple[Record, ...]
    format: Literal["modelward.seal/1"] = "modelward.seal/1"
    hash: Algorithm
    root: str

    @property
    def tree(self) -> Tree:
        """The tree of plaintext, with the root that is stated; `parse_manifest` has held it to the files."""
        entries = tuple(Entry(record.path, record.length, record.root) for record in self.files)
        return Tree(algorithm=self.hash, entries=entries, root=self.root)


def data_name(encryption: Encryption, index: int, path: str) -> str:
    """Where a file lies in the container, as a path of the tree that is signed."""
    return f"{DATA}/{index:08d}" if encryption == FLOE else f"{DATA}/{path}"


def manifest_aad(header: Header) -> bytes:
    """What the encrypted manifest is bound to."""
    return f"{FORMAT}\nmanifest\n{header.container}\n{header.hash}\n".encode()


def data_aad(header: Header, index: int) -> bytes:
    """What an encrypted file is bound to."""
    return f"{FORMAT}\ndata\n{header.container}\n{header.hash}\n{index}\n".encode()


def manifest_key(header: Header, master: bytes) -> bytes:
    """The key of the manifest."""
    return _derived(master, "manifest", header.container)


def encode_header(header: Header, master: bytes) -> bytes:
    """Write `seal.json`; its MAC is made here.

    Args:
        header: its own MAC does not matter.
        master: empty where nothing is encrypted.
    """
    mac = _mac(header, master) if master else ""
    return canonical(msgspec.to_builtins(msgspec.structs.replace(header, mac=mac)))


def check_mac(header: Header, master: bytes) -> None:
    """Check that a header was written by someone who holds the master key.

    Raises:
        SealDamaged: it was not.
    """
    if not hmac.compare_digest(header.mac.encode(), _mac(header, master).encode()):
        raise SealDamaged(f"{HEADER}: was altered; its recipients are not those that were written")


def parse_header(data: bytes) -> Header:
    """Read `seal.json`. Nothing of it is authentic before `check_mac` and the signature's words on it.

    Raises:
        SealDamaged: it is not of this version of the format.
    """
    if len(data) > LARGEST_HEADER:
        raise SealDamaged(f"{HEADER}: more than {LARGEST_HEADER} bytes")
    value = dsse.load(data, HEADER)
    if isinstance(value, dict) and value.get("format") != FORMAT:
        raise SealDamaged(f"{HEADER}: format {str(value.get('format'))[:60]!r} is not {FORMAT}")
    try:
        header = msgspec.convert(value, Header)
        again = canonical(value)
    except (msgspec.ValidationError, ValueError) as error:
        raise SealDamaged(f"{HEADER}: {str(error)[:200]}") from error
    if again != data:
        raise SealDamaged(f"{HEADER}: is not canonical JSON with every field")
    if header.recipients:
        check_stanzas(list(header.recipients))
    sealed = header.encryption == FLOE
    if sealed != bool(header.recipients) or sealed != bool(header.mac):
        raise SealDamaged(f"{HEADER}: encryption {header.encryption!r} with other recipients than that needs")
    return header


def encode_manifest(manifest: Manifest) -> bytes:
    """Write the manifest, canonical JSON; what comes back is secret where files are encrypted."""
    return msgspec.json.encode(manifest, order="sorted")


def manifest_entry(header: Header, data: bytes) -> Entry:
    """The manifest's file as an entry of the tree that is signed."""
    name = MANIFEST[header.encryption]
    hasher = FileHasher(header.hash, name, len(data))
    hasher.update(data)
    return Entry(name, len(data), hasher.root().hex())


def parse_manifest(data: bytes, header: Header) -> Manifest:
    """Read the manifest and hold it to its container and to itself.

    Raises:
        SealDamaged: it is none, it is of another container, or its roots do not fit.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        again = encode_manifest(manifest)
        stated = manifest.tree
        tree = tree_of(stated.entries, stated.algorithm)
    except (msgspec.DecodeError, ValueError, PathUnsafe, RecursionError) as error:
        raise SealDamaged(f"the manifest: {str(error)[:200]}") from error
    if again != data:
        raise SealDamaged("the manifest: is not canonical JSON with every field")
    if (manifest.container, manifest.hash) != (header.container, header.hash):
        raise SealDamaged("the manifest: belongs to another container")
    if stated != tree:
        raise SealDamaged("the manifest: does not have the root that it states, or is out of order")
    for record in manifest.files:
        _check_record(record, header)
    return manifest


def parse_index(data: bytes) -> Tree:
    """Read `tree.json`, the list of what is signed.

    Raises:
        SealDamaged: it is none.
    """
    try:
        stated = msgspec.json.decode(data, type=Tree)
        if encode_index(stated) != data:
            raise SealDamaged(f"{INDEX}: is not canonical JSON")
        tree = tree_of(stated.entries, stated.algorithm)
    except (msgspec.DecodeError, ValueError, PathUnsafe, RecursionError) as error:
        raise SealDamaged(f"{INDEX}: {str(error)[:200]}") from error
    if stated != tree:
        raise SealDamaged(f"{INDEX}: does not have the root that it states, or is out of order")
    return tree


def encode_index(tree: Tree) -> bytes:
    """Write `tree.json`."""
    return msgspec.json.encode(tree, order="sorted")


def master_of(header: Header, identities: Sequence[Identity]) -> bytes:
    """The master key, by the first identity that opens a recipient's part.

    Raises:
        RecipientWrong: none does, or nothing is encrypted.
        SealDamaged: what is there for an identity, or the list of recipients, was altered.
        KeyServiceFailed: a server that unwraps does not.
    """
    if header.encryption == PLAIN:
        raise RecipientWrong("nothing is encrypted, so nobody is a recipient")
    master = unwrap_any(list(header.recipients), identities, header.id)
    check_mac(header, master)
    return master


def _check_record(record: Record, header: Header) -> None:
    count = chunks_in(record.length)
    if len(record.key) != (floe.KEY if header.encryption == FLOE else 0):
        raise SealDamaged(f"the manifest: {record.path!r} has no key of the right size")
    if len(record.leaves) != (count * SIZE if count > 1 else 0):
        raise SealDamaged(f"the manifest: {record.path!r} has not {count} leaves")
    root = Leaves(header.hash, record.path, record.length).root(record.leaf(i) for i in range(count))
    if root.hex() != record.root:
        raise SealDamaged(f"the manifest: the leaves of {record.path!r} do not have its root")


def _mac(header: Header, master: bytes) -> str:
    rest = canonical(msgspec.to_builtins(msgspec.structs.replace(header, mac="")))
    found = hmac.digest(_derived(master, "header", header.container), rest, hashlib.sha256)
    return base64.b64encode(found).decode()


def _derived(master: bytes, purpose: str, container: str) -> bytes:
    return floe.expand(master, f"{FORMAT}\n{purpose}\n{container}\n".encode(), 32)
