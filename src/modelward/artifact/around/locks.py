"""Lock files: poetry, uv, pdm, pylock, Pipfile, conda-lock, npm.

Sources: PEP 751 (pylock.toml); poetry 2, uv 0.9, pdm 2, pipenv, conda-lock 3 and npm 11 as they write them.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Final, cast

import msgspec

from modelward.artifact.around.packages import Requirement, judge
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LONGEST: Final = 32 << 20


def read(data: Buffer, into: Reading) -> None:
    """Judge the packages that the file locks."""
    text = bytes(data[:LONGEST]).decode("utf-8", "replace")
    leaf = into.name.rsplit("/", 1)[-1].lower()
    try:
        if leaf.endswith(".json") or text.lstrip().startswith("{"):
            required = list(_json(msgspec.json.decode(text)))
        elif leaf.endswith((".yml", ".yaml")):
            required = list(_conda_lock(text))
        else:
            required = list(_toml(tomllib.loads(text)))
    except (msgspec.DecodeError, ValueError, RecursionError, Malformed) as error:
        into.finding("dependencies.unreadable", "low", f"the lock file cannot be read: {str(error)[:200]}")
        return
    judge(required, into, pins="medium")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _dict(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _toml(content: dict[str, object]) -> Iterator[Requirement]:
    """`[[package]]` of poetry, uv and pdm, `[[packages]]` of pylock."""
    files = _dict(_dict(content.get("metadata")).get("files"))  # poetry 1 lists them apart
    for item in _list(content.get("package")) + _list(content.get("packages")):
        one = _dict(item)
        name, source = _text(one.get("name")), _dict(one.get("source"))
        if not name or source.get("editable") or source.get("virtual") or source.get("directory"):
            continue
        listed = [*_list(one.get("files")), *_list(one.get("wheels")), one.get("sdist"), one.get("archive")]
        listed += _list(files.get(name))
        yield Requirement(
            name=name,
            version=_text(one.get("version")),
            hashes=tuple(_hashes(listed)),
            url=_source(one, source),
        )


def _source(one: dict[str, object], source: dict[str, object]) -> str:
    """A version control address with its commit, or a plain URL."""
    vcs = _dict(one.get("vcs"))
    url = (
        _text(source.get("git"))
        or _text(vcs.get("url"))
        or (_text(source.get("url")) if source.get("type") == "git" else "")
    )
    if url:
        commit = _text(vcs.get("commit-id")) or _text(source.get("resolved_reference"))
        commit = commit or (url.rsplit("#", 1)[1] if "#" in url else "")
        return f"git+{url.split('#')[0].split('?')[0]}@{commit}"
    return ""


def _hashes(listed: list[object]) -> Iterator[str]:
    for item in listed:
        one = _dict(item)
        stated = _text(one.get("hash"))
        yield from (
            [stated]
            if stated
            else [f"sha256:{v}" for v in [_text(_dict(one.get("hashes")).get("sha256"))] if v]
        )


def _json(content: object) -> Iterator[Requirement]:
    """`Pipfile.lock` and `package-lock.json`."""
    whole = _dict(content)
    for section in ("default", "develop"):
        for name, item in _dict(whole.get(section)).items():
            one = _dict(item)
            hashes = tuple(_text(value) for value in _list(one.get("hashes")))
            url = f"git+{_text(one.get('git'))}@{_text(one.get('ref'))}" if one.get("git") else ""
            version = _text(one.get("version")).removeprefix("==")
            yield Requirement(name=name, version=version, hashes=hashes, url=url)
    for path, item in _dict(whole.get("packages")).items():
        one = _dict(item)
        name = path.rsplit("node_modules/", 1)[-1]
        if name and not one.get("link"):
            resolved = _text(one.get("resolved"))
            yield Requirement(
                name=name,
                version=_text(one.get("version")),
                hashes=tuple(value for value in [_text(one.get("integrity"))] if value),
                url=resolved if resolved.startswith(("http://", "git")) else "",
                ecosystem="npm",
            )


def _conda_lock(text: str) -> Iterator[Requirement]:
    from modelward.artifact import yaml

    for document in yaml.parse(text):
        listed = document.get("package") if isinstance(document, yaml.Mapping) else None
        for one in listed.items if isinstance(listed, yaml.Sequence) else []:
            if not isinstance(one, yaml.Mapping) or not (name := one.text("name")):
                continue
            stated = one.get("hash")
            sha256 = stated.text("sha256") if isinstance(stated, yaml.Mapping) else None
            yield Requirement(
                name=name,
                version=one.text("version") or "",
                hashes=(f"sha256:{sha256}",) if sha256 else (),
                line=one.line,
                ecosystem="pypi" if one.text("manager") == "pip" else "conda",
            )
