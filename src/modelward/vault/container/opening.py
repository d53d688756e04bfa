"""What was sealed, used as it is: verified first, decrypted into memory, never written to a disk.

Nothing is decrypted before somebody who is trusted is known to have signed the container's manifest, and
every segment that is read is held to that manifest. See docs/open-sealed.md.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, final

from modelward.artifact.formats import onnx as onnx_format
from modelward.artifact.reading import Malformed, Reading
from modelward.errors import (
    ExtraMissing,
    FileDamaged,
    FileMissing,
    FormatUnknown,
    SignerMissing,
    UnsafeArtifact,
)
from modelward.vault.container.reading import Container
from modelward.vault.container.stream import SealedStream
from modelward.vault.container.tensors import (
    Header,
    header_of,
    is_safetensors,
    npy_array,
    numpy_array,
    pieces,
    torch_tensor,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import onnxruntime
    import torch
    from numpy.typing import NDArray

    from modelward.vault.container.reading import Opened
    from modelward.vault.container.recipients import Identity
    from modelward.vault.keys.keyring import Keyring
    from modelward.vault.keys.signer import Verifier

_HEADERS: Final = 64
"""Headers of safetensors files that are kept."""
_EXTERNAL: Final = 14
"""Files with tensors of an ONNX model, at most; fewer than its reader asks for, so that none is missed."""
_PICKLES: Final = frozenset((".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill"))
# MemoryError too: numpy asks for what a header states before it looks whether it is there.
_NO_ARCHIVE: Final = (
    ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError
)  # fmt: skip
_ZIP: Final = b"PK\x03\x04"
_NPY: Final = b"\x93NUMPY"


def open_sealed(
    path: Path | str,
    identities: Sequence[Identity] = (),
    *,
    verifiers: Sequence[Verifier] = (),
    keyring: Keyring | None = None,
    threshold: int = 1,
    unsafe_unverified: bool = False,
) -> Sealed:
    """Open a container for use in memory.

    Args:
        path: the container.
        identities: who opens it, tried in order; none where nothing is encrypted.
        verifiers: public keys that are trusted; or else
        keyring: whose valid keys are trusted, and whose revoked keys and roots are refused.
        threshold: how many of the keys must have signed.
        unsafe_unverified: open without asking who signed it: whoever knows a recipient may have written it.

    Returns:
        Its files, decrypted where they are read. Close it, or use it in a `with`.

    Raises:
        SignerMissing: too few trusted keys signed, or none was named.
        SignatureInvalid: a signature by a trusted key is not over this container.
        Revoked: the keyring revokes the signer's key, or what was sealed.
        KeyExpired: the keyring, or the signers' keys, are not valid now.
        RecipientWrong: none of the identities is a recipient's.
        SealDamaged: the container is not of its format, or was altered.
        ContentChanged: its manifest is missing, or not the one that was signed.
        FileMissing: there is no such container.
        ValueError: verifiers, a keyring and `unsafe_unverified` exclude one another.
    """
    if bool(verifiers) + (keyring is not None) + unsafe_unverified > 1:
        raise ValueError("name verifiers, or a keyring, or neither with unsafe_unverified")
    container = Container.open(Path(path))
    signers: tuple[str, ...] = ()
    if not unsafe_unverified:
        signers = _signed(container, verifiers, keyring, threshold)
    opened = container.unlock(identities)
    if keyring is not None:
        keyring.check_root(opened.tree.root)
    return Sealed(opened, signers)


def _signed(
    container: Container, verifiers: Sequence[Verifier], keyring: Keyring | None, threshold: int
) -> tuple[str, ...]:
    if keyring is None and not verifiers:
        raise SignerMissing(
            f"{container.path}: nobody is trusted, so nobody's signature can count",
            advice="Name the signers' public keys, or a keyring; unsafe_unverified=True opens it without.",
        )
    if keyring is None:
        return container.check_signatures(verifiers, threshold).signers
    from modelward.vault.keys.admission import admit_signers, counted_keys

    found, now = container.check_signatures(keyring.known(), threshold), datetime.now(UTC)
    admit_signers(found.signers, container.index.root, keyring, now)
    return counted_keys(found.signers, keyring, now, least=threshold)


@final
class Sealed:
    """An open container.

    Attributes:
        signers: ids of the keys that signed it; empty where that was not asked.
        root: of the tree of plaintext, ``sha256:<hex>`` or ``blake3:<hex>``.
    """

    def __init__(self, opened: Opened, signers: tuple[str, ...]) -> None:
        self._opened = opened
        self._headers: dict[str, Header] = {}
        self.signers: Final = signers
        self.root: Final = opened.tree.root

    def __enter__(self) -> Sealed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:  # keys never show in a traceback or a log
        return f"Sealed({self._opened!r})"

    def close(self) -> None:
        """Forget what was read of headers; arrays and streams that were given out stay."""
        self._headers.clear()

    def names(self) -> tuple[str, ...]:
        """Paths of the files, in the order of the tree."""
        return self._opened.paths

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            FileMissing: nothing was sealed under this path, or it cannot be read.
            SealDamaged: it was cut, altered or moved.
            ContentChanged: it is not what was signed.
        """
        with self._opened.file(name) as file:
            return bytes(file.read(0, file.record.length))

    def open(self, name: str) -> io.BufferedReader:
        """One file as a file object: read-only, seekable, decrypting what is read of it.

        Raises:
            FileMissing: nothing was sealed under this path, or it cannot be read.
            SealDamaged: it has another length, or begins as another file. Its methods raise it too, for
                what they read.
        """
        return io.BufferedReader(SealedStream(self._opened.file(name)))

    def numpy(
        self, name: str, tensors: Sequence[str] | None = None
    ) -> NDArray[Any] | dict[str, NDArray[Any]]:
        """Arrays of a ``.npy``, ``.npz`` or safetensors file.

        Args:
            name: of the file.
            tensors: of a safetensors file, which ones; null for all.

        Returns:
            The array of a ``.npy`` file, else arrays by name. They are writable; all those of one safetensors
            file share memory that is freed with the last of them.

        Raises:
            UnsafeArtifact: only unpickling could load it.
            FormatUnknown: it is of another format, or numpy lacks a type.
            FileDamaged: it is not what its first bytes say, or has no such tensor.
            SealRefused: see `read`.
        """
        with self._opened.file(name) as file:
            begin = bytes(file.read(0, min(16, file.record.length)))
            if begin.startswith(_NPY):
                return npy_array(file, lambda: self.open(name))
            if begin.startswith(_ZIP):
                return self._npz(name)
            self._require_safetensors(name, begin, file.record.length)
            return {p.name: numpy_array(p) for p in pieces(file, self._header(name), tensors)}

    def tensor(self, name: str, tensor: str) -> NDArray[Any]:
        """One tensor of a safetensors file; only its segments, and once the header's, are decrypted.

        Raises:
            FileDamaged: there is no such tensor.
            FormatUnknown: the file is of another format, or numpy lacks the type.
            UnsafeArtifact: only unpickling could load the file.
            SealRefused: see `read`.
        """
        header = self._header(name)
        with self._opened.file(name) as file:
            return numpy_array(next(pieces(file, header, [tensor])))

    def torch(self, name: str, tensors: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
        """Tensors of a safetensors file, decrypted into the memory that holds them.

        Args:
            name: of the file.
            tensors: which ones; null for all, which share memory that is freed with the last of them.

        Raises:
            ExtraMissing: torch is not installed.
            UnsafeArtifact: only unpickling could load it.
            FormatUnknown: it is no safetensors file, or torch lacks a type.
            FileDamaged: there is no such tensor.
            SealRefused: see `read`.
        """
        try:
            import torch  # noqa: F401  (asked before a gigabyte is decrypted)
        except ImportError as error:
            raise ExtraMissing("torch", "torch") from error
        header = self._header(name)
        with self._opened.file(name) as file:
            return {piece.name: torch_tensor(piece) for piece in pieces(file, header, tensors)}

    def onnx(
        self,
        name: str,
        options: onnxruntime.SessionOptions | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> onnxruntime.InferenceSession:
        """A session of ONNX Runtime. Tensors in files beside the model are taken from the container alone.

        Args:
            name: of the model.
            options: of the session; changed where the model has tensors in other files.
            providers: as onnxruntime takes them.

        Raises:
            UnsafeArtifact: the graph asks for more than tensors and known operators.
            FileMissing: a file that it names was not sealed.
            FileDamaged: it is no ONNX model.
            SealRefused: see `read`.
        """
        from modelward.adapters.ort import ERRORS, onnxruntime

        model = self.read(name)
        beside = self._beside(name, model)
        chosen = options or onnxruntime.SessionOptions()
        if beside:
            chosen.add_external_initializers_from_files_in_memory(
                list(beside), list(beside.values()), [len(data) for data in beside.values()]
            )
        try:
            return onnxruntime.InferenceSession(model, chosen, providers=list(providers))
        except ERRORS as error:
            raise FileDamaged(f"{name}: ONNX Runtime does not load it: {str(error)[:200]}") from error

    def _beside(self, name: str, model: bytes) -> dict[str, bytes]:
        """The files that hold tensors of a model; its graph is read first, as for a file that is scanned."""
        folder, found, missing = PurePosixPath(name).parent, dict[str, bytes](), list[str]()

        def take(location: str) -> bytes | None:
            if len(found) + len(missing) >= _EXTERNAL:
                raise UnsafeArtifact(f"{name}: its tensors lie in more than {_EXTERNAL} files")
            path = str(folder / location)
            if path not in self.names():
                missing.append(path)
                return None
            found[location] = self.read(path)
            return found[location]

        into = Reading(name, beside=take)
        try:
            onnx_format.read(model, into)
        except Malformed as error:
            raise FileDamaged(f"{name}: is no ONNX model: {str(error)[:200]}") from error
        reasons = [event.message for event in into.events if event.level != "note"]
        if reasons or not into.proven:
            raise UnsafeArtifact(f"{name}: {(reasons or ['it could not be read whole'])[0][:200]}")
        if missing:
            raise FileMissing(f"{name}: its tensors lie in {missing[0]!r}, and no such file was sealed")
        return found

    def _header(self, name: str) -> Header:
        found = self._headers.get(name)
        if found is None:
            with self._opened.file(name) as file:
                length = file.record.length
                self._require_safetensors(name, bytes(file.read(0, min(16, length))), length)
                found = header_of(file)
            if len(self._headers) >= _HEADERS:
                self._headers.pop(next(iter(self._headers)))
            self._headers[name] = found
        return found

    def _npz(self, name: str) -> dict[str, NDArray[Any]]:
        import numpy as np

        with self.open(name) as stream:
            try:
                names = zipfile.ZipFile(stream).namelist()
                if any(not member.endswith(".npy") for member in names):
                    raise _unsafe(name)
                stream.seek(0)
                with np.load(stream, allow_pickle=False) as stored:
                    return {member: stored[member] for member in stored.files}
            except _NO_ARCHIVE as error:
                if "allow_pickle" in str(error):
                    raise _unsafe(name) from error
                raise FileDamaged(f"{name}: is no .npz: {str(error)[:120]}") from error

    def _require_safetensors(self, name: str, begin: bytes, length: int) -> None:
        if is_safetensors(begin, length):
            return
        if begin.startswith((b"\x80", _ZIP)) or PurePosixPath(name).suffix.lower() in _PICKLES:
            raise _unsafe(name)
        raise FormatUnknown(
            f"{name}: is of no format that is loaded from a container",
            advice="Tensors: safetensors, npy, npz; models: ONNX. `open` and `read` give any file's bytes.",
        )


def _unsafe(name: str) -> UnsafeArtifact:
    return UnsafeArtifact(
        f"{name}: is a pickle, or holds one, so loading it could run code",
        advice="Save it as safetensors or ONNX before it is sealed.",
    )
