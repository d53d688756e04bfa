"""Compose files. Source: Compose Specification (compose-spec), services, deploy, fragments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact import yaml
from modelward.artifact.around import nodes, workload
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.events import Severity
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_LOCAL: Final = re.compile(r"127\.|\[?::1(?!\w)|localhost\b")
_NAMESPACES: Final[tuple[tuple[str, Severity], ...]] = (
    ("network_mode", "medium"),
    ("pid", "medium"),
    ("ipc", "low"),  # usual for shared memory between processes of PyTorch
)


def read(data: Buffer, into: Reading) -> None:
    """Report what each service gives away; the file has no verdict."""
    try:
        documents = nodes.documents(data)
    except Malformed as error:
        into.finding("compose.unreadable", "low", f"the file cannot be read: {error}")
        return
    for document in documents:
        for name, (line, service) in nodes.fields(nodes.at(document, "services")).items():
            if isinstance(service, yaml.Mapping):
                into.spend(100 + len(service.pairs))
                _service(name[:100], line, service, into)


def _service(name: str, line: int, service: yaml.Mapping, into: Reading) -> None:
    stated = nodes.fields(service)

    def value(key: str) -> yaml.Node | None:
        return stated[key][1] if key in stated else None

    def where(key: str) -> int:
        return stated[key][0] if key in stated else line

    image, words = nodes.text(value("image")), nodes.joined(value("entrypoint"), value("command"))
    workload.image(image, where("image"), into)
    if nodes.true(value("privileged")):
        workload.host(name, "runs privileged, which gives it the host", "high", where("privileged"), into)
    added = (one.value for one in nodes.texts(value("cap_add")))
    workload.capabilities(name, added, where("cap_add"), into)
    for key, severity in _NAMESPACES:
        if nodes.text(value(key)) == "host":
            workload.host(
                name, f"shares the host's {key.split('_')[0]} namespace", severity, where(key), into
            )
    if nodes.text(value("user")).split(":")[0] in {"root", "0"}:
        into.finding(
            "compose.root-user",
            "medium",
            f"{name} runs as root",
            line=where("user"),
            remedy="Name another user.",
        )
    limit = nodes.text(value("deploy"), "resources", "limits", "memory") or nodes.text(value("mem_limit"))
    if not limit and "extends" not in stated:
        into.finding(
            "compose.no-limits",
            "low",
            f"{name} may use all memory: one request can end everything on the host",
            line=line,
            remedy="Set deploy.resources.limits.memory.",
        )
    workload.command(words, where("command" if "command" in stated else "entrypoint"), into)
    for variable, content, at in _environment(value("environment")):
        into.spend()
        workload.variable(variable, content, at, into)
    for one in nodes.items(value("volumes")):
        into.spend()
        _volume(one, into)
    managers = workload.management(f"{name} {image} {words}")
    for one in nodes.items(value("ports")):
        into.spend(10)
        _port(one, managers, into)


def _environment(node: yaml.Node | None) -> Iterator[tuple[str, str, int]]:
    """Name, value and line; a name without a value takes the one of the host."""
    for name, (line, value) in nodes.fields(node).items():
        if isinstance(value, yaml.Scalar) and not (value.plain and value.value in {"", "~", "null"}):
            yield name, value.value, line
    for one in nodes.texts(node):
        name, given, content = one.value.partition("=")
        if given:
            yield name, content, one.line


def _volume(node: yaml.Node, into: Reading) -> None:
    """`[source:]target[:options]`, or a mapping."""
    if isinstance(node, yaml.Scalar):
        parts = node.value.split(":")
        source, target = (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])
        read_only = len(parts) > 2 and "ro" in parts[2].split(",")
    else:
        source, target = nodes.text(node, "source"), nodes.text(node, "target")
        read_only = nodes.true(node, "read_only")
    workload.host_path(source, node.line, into, read_only=read_only)
    if not read_only:
        workload.mount(target, node.line, into)


def _port(node: yaml.Node, managers: tuple[workload.Port, ...], into: Reading) -> None:
    """`[host ip:][host port:]port[/protocol]`, or a mapping; the host's own address publishes nothing."""
    if isinstance(node, yaml.Scalar):
        address, _, target = node.value.rpartition(":")
    else:
        address, target = nodes.text(node, "host_ip"), nodes.text(node, "target")
    numbers = workload.numbers(target)
    for port in managers:
        if port.number in numbers and not _LOCAL.match(address):
            workload.published(port, "to the network", node.line, into, severity=port.severity)
