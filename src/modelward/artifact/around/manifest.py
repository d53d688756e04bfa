"""Package manifests and conda environments: what a project asks for, usually in ranges.

Sources: PEP 621 and PEP 735 (pyproject.toml), poetry, setuptools (setup.cfg), Pipfile, npm (package.json),
conda's environment.yml.
"""

from __future__ import annotations

import configparser
import re
import tomllib
from typing import TYPE_CHECKING, Final, cast

import msgspec

from modelward.artifact import yaml
from modelward.artifact.around.packages import Requirement, judge
from modelward.artifact.around.requirements import parse
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_FAULTS: Final = (msgspec.DecodeError, ValueError, configparser.Error)
LONGEST: Final = 8 << 20
_CONDA: Final = re.compile(r"(?:([\w.-]+)::)?([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*(.*)")


def read(data: Buffer, into: Reading) -> None:
    """Judge the packages that the file asks for."""
    text = bytes(data[:LONGEST]).decode("utf-8", "replace")
    leaf = into.name.rsplit("/", 1)[-1].lower()
    try:
        if leaf.endswith((".yml", ".yaml")):
            judge(list(_conda(text, into)), into, pins="low")
            return
        if leaf.endswith(".json"):
            required = list(_npm(msgspec.json.decode(text)))
        elif leaf.endswith(".cfg"):
            required = list(_cfg(text))
        else:
            required = list(_toml(tomllib.loads(text)))
    except (*_FAULTS, RecursionError, Malformed) as error:
        into.finding("dependencies.unreadable", "low", f"the file cannot be read: {str(error)[:200]}")
        return
    judge(required, into, pins=None)


def _dict(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _toml(content: dict[str, object]) -> Iterator[Requirement]:
    project, tool = _dict(content.get("project")), _dict(content.get("tool"))
    listed = _texts(project.get("dependencies")) + _texts(_dict(content.get("build-system")).get("requires"))
    for group in (
        *_dict(project.get("optional-dependencies")).values(),
        *_dict(content.get("dependency-groups")).values(),
    ):
        listed += _texts(group)
    yield from (one for text in listed if (one := parse(text)) is not None)
    poetry = _dict(tool.get("poetry"))
    tables = [poetry.get("dependencies"), poetry.get("dev-dependencies")]
    tables += [_dict(group).get("dependencies") for group in _dict(poetry.get("group")).values()]
    tables += [content.get("packages"), content.get("dev-packages")]  # a Pipfile
    for table in tables:
        for name, stated in _dict(table).items():
            if name != "python":
                yield _stated(name, stated)


def _stated(name: str, stated: object) -> Requirement:
    """A version text, or a table with `version`, `git` and `rev`."""
    table = _dict(stated)
    text = stated if isinstance(stated, str) else str(table.get("version", ""))
    exact = re.fullmatch(r"==?\s*(\d[\w.!+-]*)", text.strip())
    url = ""
    if isinstance(git := table.get("git"), str):
        url = f"git+{git}@{table.get('rev', table.get('ref', ''))}"
    return Requirement(name=name, version=exact[1] if exact else "", url=url)


def _cfg(text: str) -> Iterator[Requirement]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    listed = parser.get("options", "install_requires", fallback="")
    if parser.has_section("options.extras_require"):
        listed += "".join(f"\n{value}" for _, value in parser.items("options.extras_require"))
    yield from (one for line in listed.splitlines() if (one := parse(line)) is not None)


def _npm(content: object) -> Iterator[Requirement]:
    for section in ("dependencies", "devDependencies", "optionalDependencies"):
        for name, stated in _dict(_dict(content).get(section)).items():
            text = stated if isinstance(stated, str) else ""
            exact = re.fullmatch(r"\d[\w.+-]*", text)
            url = text if text.startswith(("git", "http://", "https://")) else ""
            yield Requirement(name=name, version=exact[0] if exact else "", url=url, ecosystem="npm")


def _conda(text: str, into: Reading) -> Iterator[Requirement]:
    for document in yaml.parse(text):
        if not isinstance(document, yaml.Mapping):
            continue
        channels = document.get("channels")
        for channel in channels.items if isinstance(channels, yaml.Sequence) else []:
            if isinstance(channel, yaml.Scalar) and channel.value.startswith("http://"):
                into.finding(
                    "dependencies.plain-http",
                    "high",
                    f"packages come over an unencrypted connection: {channel.value[:150]}",
                    line=channel.line,
                    remedy="Use https.",
                )
        listed = document.get("dependencies")
        for item in listed.items if isinstance(listed, yaml.Sequence) else []:
            into.spend()
            if isinstance(item, yaml.Scalar):
                yield from _spec(item)
            elif isinstance(item, yaml.Mapping) and isinstance(inner := item.get("pip"), yaml.Sequence):
                for one in inner.items:
                    found = parse(one.value, one.line) if isinstance(one, yaml.Scalar) else None
                    if found is not None:
                        yield found


def _spec(item: yaml.Scalar) -> Iterator[Requirement]:
    """`numpy=1.26.4=build`, `numpy==1.26.4`, `numpy>=1.26`. Source: conda's match specification."""
    match = _CONDA.fullmatch(item.value.strip())
    if match is not None and match[2] not in {"python", "pip"}:
        exact = re.fullmatch(r"={1,2}\s*(\d[\w.!+]*)(?:=\S+)?", match[3])
        version = exact[1] if exact and not exact[1].endswith("*") else ""
        yield Requirement(name=match[2], version=version, line=item.line, ecosystem="conda")
