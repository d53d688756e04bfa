"""Kubernetes manifests, those of KServe, Seldon, KubeRay and Kubeflow among them.

A pod is found wherever its containers stand, whatever kind of resource holds it.

Sources: Kubernetes API 1.34 (core/v1), Pod Security Standards; KServe v1beta1 (`storageUri`), Seldon Core v1
(`modelUri`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact import yaml
from modelward.artifact.around import nodes, workload
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_READ_ONLY: Final = frozenset({"configMap", "secret", "projected", "downwardAPI", "image"})
"""Volumes that are mounted read-only whatever the mount says."""
_HOST: Final = {"hostNetwork": "network", "hostPID": "process", "hostIPC": "memory"}


def read(data: Buffer, into: Reading) -> None:
    """Report what each pod and service gives away; the manifest has no verdict."""
    try:
        documents = nodes.documents(data)
    except Malformed as error:
        if data.find(b"{{") >= 0:
            into.note("kubernetes.template", "a template is read only when its values are filled in")
        else:
            into.finding("kubernetes.unreadable", "low", f"the manifest cannot be read: {error}")
        return
    managers = workload.management(bytes(data[: 1 << 20]).decode("utf-8", "replace"))
    for resource in (one for document in documents for one in _resources(document)):
        kind = nodes.text(resource, "kind")
        if kind == "Service":
            _service(resource, managers, into)
        elif kind == "Secret":
            _secret(resource, into)
        for node in yaml.walk(resource):
            into.spend()
            if isinstance(node, yaml.Mapping):
                _storage(node, into)
                if _containers(node, "containers"):
                    _pod(node, into, trains=kind.endswith("Job"))


def _resources(document: yaml.Node) -> Iterator[yaml.Node]:
    """A document, or the items of a list of resources."""
    if nodes.text(document, "kind").endswith("List"):
        yield from nodes.items(nodes.at(document, "items"))
    else:
        yield document


def _containers(pod: yaml.Node, key: str) -> list[yaml.Node]:
    found = nodes.at(pod, key)
    listed = found.items if isinstance(found, yaml.Sequence) else []
    return [one for one in listed if nodes.fields(one).keys() & {"name", "image"}]


def _secret(resource: yaml.Node, into: Reading) -> None:
    for key in ("stringData", "data"):
        for name, (line, value) in nodes.fields(nodes.at(resource, key)).items():
            if isinstance(value, yaml.Scalar) and value.value and not value.value.startswith(("$", "<", "{")):
                into.finding(
                    "kubernetes.secret-in-manifest",
                    "medium",
                    f"the value of the secret {name[:80]} stands in the manifest",
                    line=line,
                    remedy="Use a secret store, or a sealed secret; change the value.",
                )


def _service(service: yaml.Node, managers: tuple[workload.Port, ...], into: Reading) -> None:
    """A service that others than the cluster reach; a cloud's annotations may keep it inside."""
    kind = nodes.text(service, "spec", "type")
    notes = nodes.fields(nodes.at(service, "metadata", "annotations"))
    inside = any("internal" in f"{key} {nodes.text(value)}".lower() for key, (_, value) in notes.items())
    if kind not in {"LoadBalancer", "NodePort"} or inside:
        return
    for one in nodes.items(nodes.at(service, "spec", "ports")):
        into.spend(10)
        ranges = [workload.numbers(nodes.text(one, key)) for key in ("port", "targetPort")]
        for port in managers:
            if any(port.number in numbers for numbers in ranges):
                workload.published(port, f"by a {kind}", one.line, into, severity=port.severity)


def _storage(node: yaml.Mapping, into: Reading) -> None:
    for key in ("storageUri", "modelUri"):
        address = node.text(key) or ""
        if address.startswith("http://"):
            into.finding(
                "kubernetes.plain-http",
                "high",
                f"the model comes over an unencrypted connection: {address[:150]}",
                line=node.line,
                remedy="Use https or an object store.",
            )


def _pod(pod: yaml.Mapping, into: Reading, *, trains: bool) -> None:
    for key, what in _HOST.items():
        if nodes.true(pod, key):
            workload.host("the pod", f"shares the host's {what} namespace", "medium", pod.line, into)
    containers = _containers(pod, "containers")
    started = _containers(pod, "initContainers")
    _volumes(pod, containers + started, into, checked=[] if trains else containers)
    for container in containers + started:
        into.spend(100)
        _container(container, pod, into)
    for container in containers:
        if not any(nodes.text(one, "resources", "limits", "memory") for one in (container, pod)):
            into.finding(
                "kubernetes.no-limits",
                "medium",
                f"{_name(container)} has no memory limit: one request can take the node's memory",
                line=container.line,
                remedy="Set resources.limits.memory and cpu.",
            )


def _volumes(pod: yaml.Node, containers: list[yaml.Node], into: Reading, *, checked: list[yaml.Node]) -> None:
    """Folders of the host; and folders of models in `checked`: whoever downloads or trains models writes."""
    mounts = [mount for one in containers for mount in nodes.items(nodes.at(one, "volumeMounts"))]
    written = {nodes.text(mount, "name") for mount in mounts if not nodes.true(mount, "readOnly")}
    fixed: set[str] = set()
    for volume in nodes.items(nodes.at(pod, "volumes")):
        into.spend()
        name = nodes.text(volume, "name")
        if path := nodes.text(volume, "hostPath", "path"):
            workload.host_path(path, volume.line, into, read_only=name not in written)
        claimed = any(nodes.true(volume, key, "readOnly") for key in ("persistentVolumeClaim", "csi", "nfs"))
        if claimed or nodes.fields(volume).keys() & _READ_ONLY:
            fixed.add(name)
    for mount in (mount for one in checked for mount in nodes.items(nodes.at(one, "volumeMounts"))):
        into.spend()
        if nodes.text(mount, "name") not in fixed and not nodes.true(mount, "readOnly"):
            workload.mount(nodes.text(mount, "mountPath"), mount.line, into)


def _name(container: yaml.Node) -> str:
    return f"the container {nodes.text(container, 'name')}"[:100].rstrip()


def _container(container: yaml.Node, pod: yaml.Node, into: Reading) -> None:
    name, line = _name(container), container.line
    stated = nodes.fields(container)
    workload.image(nodes.text(container, "image"), stated.get("image", (line,))[0], into)
    _privileges(name, container, pod, into)
    command = nodes.joined(nodes.at(container, "command"), nodes.at(container, "args"))
    workload.command(
        command, min((stated[key][0] for key in ("command", "args") if key in stated), default=line), into
    )
    for variable in nodes.items(nodes.at(container, "env")):
        into.spend()
        if "value" in nodes.fields(variable):
            workload.variable(
                nodes.text(variable, "name"), nodes.text(variable, "value"), variable.line, into
            )


def _privileges(name: str, container: yaml.Node, pod: yaml.Node, into: Reading) -> None:
    """What the security context allows; that of the container goes before that of the pod."""
    own, shared = nodes.at(container, "securityContext"), nodes.at(pod, "securityContext")
    line = own.line if own is not None else container.line
    if nodes.true(own, "privileged"):
        workload.host(name, "is privileged, which gives it the node", "high", line, into)
    added = (one.value for one in nodes.texts(nodes.at(own, "capabilities", "add")))
    workload.capabilities(name, added, line, into)
    user = nodes.text(own, "runAsUser") or nodes.text(shared, "runAsUser")
    other = (nodes.text(own, "runAsNonRoot") or nodes.text(shared, "runAsNonRoot")) == "true"
    if user == "0" or not (user or other):
        into.finding(
            "kubernetes.root-user",
            "medium",
            f"{name} runs as root" if user else f"{name} runs as root where its image names no other user",
            line=line,
            remedy="Set securityContext.runAsNonRoot: true.",
        )
    if nodes.text(own, "allowPrivilegeEscalation") != "false" or not nodes.true(
        own, "readOnlyRootFilesystem"
    ):
        into.finding(
            "kubernetes.writable-container",
            "low",
            f"{name} may gain privileges or change its own files",
            line=line,
            remedy="Set allowPrivilegeEscalation: false and readOnlyRootFilesystem: true.",
        )
