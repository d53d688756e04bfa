"""Repositories of a Hugging Face hub: which files a revision has, and what the hub says their digests are.

Source: the HTTP API that huggingface_hub 1.0 uses: `GET /api/models/{name}/revision/{revision}?blobs=true`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import msgspec

from modelward.errors import RemoteRefused

if TYPE_CHECKING:
    from modelward.artifact.remote.client import Client

_SOURCE: Final = re.compile(
    r"hf://(?P<name>[\w.-]{1,96}(?:/[\w.-]{1,96})?)(?:@(?P<revision>[\w./-]{1,200}?))?(?:/(?P<path>[^@]{1,1000}))?"
)
_LISTING: Final = 32 << 20
FILES: Final = 20_000


class Large(msgspec.Struct, frozen=True):
    """What the hub says of a file that it keeps outside git."""

    sha256: str = ""


class Listed(msgspec.Struct, frozen=True, rename={"name": "rfilename", "blob": "blobId"}):
    r"""One file of a repository.

    Attributes:
        name: path in the repository.
        size: in bytes, or None.
        blob: git's digest of a small file: SHA-1 over `blob <size>\0` and the content.
        lfs: of a large file.
    """

    name: str
    size: int | None = None
    blob: str = ""
    lfs: Large | None = None


class Listing(msgspec.Struct, frozen=True):
    """A revision.

    Attributes:
        sha: commit, to which all files are pinned.
        siblings: its files.
    """

    sha: str
    siblings: tuple[Listed, ...]


class Repository(msgspec.Struct, frozen=True):
    """What `hf://owner/name@revision/path` names; `path` may be a file, a folder, or empty for all."""

    name: str
    revision: str
    path: str


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def token() -> str | None:
    """The user's token from the environment; it is sent to the hub alone."""
    return os.environ.get("HF_TOKEN") or None


def parse(source: str) -> Repository:
    """Read `hf://owner/name[@revision][/path]`.

    Raises:
        RemoteRefused: it has another shape.
    """
    match = _SOURCE.fullmatch(source)
    if match is None or ".." in source.split("/"):
        raise RemoteRefused(
            f"{source[:200]!r} is no repository",
            advice="Write hf://owner/name, hf://owner/name@revision or hf://owner/name@revision/file.",
        )
    return Repository(match["name"], match["revision"] or "main", (match["path"] or "").strip("/"))


def listing(client: Client, repository: Repository) -> Listing:
    """The files of a revision.

    Raises:
        RemoteRefused: there is no such repository, or the answer cannot be read.
    """
    url = (
        f"{endpoint()}/api/models/{repository.name}/revision/{quote(repository.revision, safe='')}?blobs=true"
    )
    answer, _ = client.get(url)
    if answer.status != 200:
        answer.close()
        raise RemoteRefused(
            f"hf://{repository.name}@{repository.revision}: the hub answers {answer.status} {answer.reason}",
            advice="Check the name; set HF_TOKEN for a private or gated repository.",
        )
    try:
        found = msgspec.json.decode(client.body(answer, _LISTING), type=Listing)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteRefused(f"hf://{repository.name}: the hub's answer cannot be read: {error}") from error
    if not re.fullmatch(r"[0-9a-f]{6,64}", found.sha) or len(found.siblings) > FILES:
        raise RemoteRefused(f"hf://{repository.name}: the hub's answer has no commit, or over {FILES} files")
    return found


def address(repository: Repository, commit: str, name: str) -> str:
    """URL of a file's content at a commit."""
    return f"{endpoint()}/{repository.name}/resolve/{commit}/{quote(name)}"


def home() -> str:
    """Host and port that the token belongs to."""
    return urlsplit(endpoint()).netloc
