"""What containers of models have in common: images, variables, commands, mounts, ports.

Rules of our own for what matters to a model: who may change it, who may load another one, who sees answers.

Sources: TorchServe 0.12 (configuration, model API control, token authorisation); Triton (secure deployment
considerations); Ray (security; CVE-2023-48022); MLflow 3 (`mlflow server`); PyTorch 2.13 (`torch.load`);
requests 2.28 (release notes); Docker (capabilities of a container).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.around import credentials
from modelward.artifact.around.python.shell import insecure
from modelward.artifact.events import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelward.artifact.reading import Reading

LONGEST: Final = 4096
"""Characters of one command that are looked at."""


class Port(msgspec.Struct, frozen=True):
    """A port through which a server is controlled.

    Attributes:
        number: of TCP.
        server: pattern that the description must contain, in lower case; others use the number as well.
        severity: `high` where whoever reaches the port controls the server, whatever else is configured.
        what: answers there.
        unless: pattern of an option that asks for a login, or "".
    """

    number: int
    server: str
    severity: Severity
    what: str
    unless: str = ""


PORTS: Final = (
    Port(2375, r"docker|dind", "high", "the Docker daemon, which gives root on the host"),
    Port(
        5000,
        r"mlflow",
        "medium",
        "MLflow, which lets anyone change models unless a login is set up",
        r"basic-auth",
    ),
    Port(
        6379,
        r"redis|valkey",
        "medium",
        "Redis, which has no password unless one is set",
        r"requirepass|aclfile",
    ),
    Port(7071, r"torchserve", "high", "TorchServe's management, which loads models, and so code"),
    Port(8081, r"torchserve", "high", "TorchServe's management, which loads models, and so code"),
    Port(8265, r"\bray\b|rayproject", "high", "Ray's dashboard, which runs any job (CVE-2023-48022)"),
    Port(8786, r"\bdask", "high", "a Dask scheduler, which runs any code"),
    Port(8888, r"jupyter", "medium", "a notebook server, which runs any code of those who have its token"),
    Port(10001, r"\bray\b|rayproject", "high", "Ray's client server, which runs any code"),
)
"""Ports of management, by their servers' defaults."""
ESCAPES: Final = frozenset({"ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH"})
"""Capabilities with which a container's root becomes that of the host."""
_VARIABLES: Final[dict[str, tuple[str, Severity, str]]] = {
    "CURL_CA_BUNDLE": ("", "medium", "requests before 2.28 checks no certificate"),
    "GIT_SSL_NO_VERIFY": (".+", "high", "git checks no certificate"),
    "NODE_TLS_REJECT_UNAUTHORIZED": ("0", "high", "Node checks no certificate"),
    "TRUST_REMOTE_CODE": ("1|true", "high", "code of the model's repository is run"),
    "HF_DATASETS_TRUST_REMOTE_CODE": ("1|true|yes|on", "high", "code of the data set's repository is run"),
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": ("1|true|yes|y", "high", "torch.load runs what a model file names"),
    "TS_MANAGEMENT_ADDRESS": (
        r"https?://(0\.0\.0\.0|\[::\])(:\d+)?/?",
        "high",
        "TorchServe is managed from anywhere",
    ),
    "TS_ALLOWED_URLS": (
        r".*http[^,|]{0,6}://\.[*+]([,|].*)?|\.[*+]",
        "medium",
        "TorchServe loads models from any address",
    ),
    "TS_DISABLE_TOKEN_AUTHORIZATION": ("true", "medium", "TorchServe answers everyone"),
    "TS_ENABLE_MODEL_API": ("true", "medium", "TorchServe loads models on request"),
}
"""Name -> value (whole, without case), severity, and what it does."""


class Option(msgspec.Struct, frozen=True):
    """An option of a command that gives others control.

    Attributes:
        program: pattern of what the command runs; "" for any.
        option: pattern of the option.
        unless: pattern of an option that takes the danger away, or "".
        severity: how bad it is.
        what: it does.
    """

    program: str
    option: str
    unless: str
    severity: Severity
    what: str


_ANY_HOST: Final = r"[= ]['\"]?(?:0\.0\.0\.0|::)(?![\w.:])"
_OPTIONS: Final = (
    Option("", r"--trust[-_]remote[-_]code(?![\w-])(?![= ]['\"]?(?i:false|0)\b)", "", "high",
           "the server runs code of the model's repository"),
    Option(r"\btorchserve\b", r"--disable-token(?:-auth)?(?![\w-])", "", "medium",
           "TorchServe answers everyone"),
    Option(r"\btorchserve\b", r"--enable-model-api(?![\w-])", "", "medium",
           "TorchServe loads models on request"),
    Option(r"\bray\s+start\b", r"--dashboard-host" + _ANY_HOST, r"RAY_AUTH_MODE=token", "medium",
           "whoever reaches Ray's dashboard runs any job (CVE-2023-48022)"),
    Option(r"\bjupyter", r"--[\w.]{0,40}token=(?:''|\"\"|(?=[\s\"']|$))", r"password=['\"]?[\w:$]", "high",
           "the notebook server runs code of anyone"),
    Option(r"\bmlflow\s+(?:server|ui)\b", r"(?:--host|-h)" + _ANY_HOST, r"--app-name", "medium",
           "whoever reaches MLflow changes models, because no login is asked for"),
    Option(r"\btritonserver\b", r"--model-control-mode[= ]explicit",
           r"--(?:http-restricted-api|grpc-restricted-protocol)", "medium",
           "whoever reaches Triton loads and unloads its models"),
    Option(r"\bflask\b", r"--debug(?![\w-])", "", "medium", "Flask's debugger runs code that its page sends"),
    Option(r"\bchmod\s", r"\s(?:0?777|a\+rwx|[oa]\+w)\s", "", "low", "everyone may change the files"),
    Option(r"\b(?:curl|wget|git\s+clone)\b", r"\shttp://(?!localhost\b|127\.|\[::1\]|169\.254\.|[\w-]+[:/\s])[\w-]+\.",
           r"\$\(|\|", "medium", "it comes over an unencrypted connection"),
)  # fmt: skip
_MODELS: Final = re.compile(
    r"(?i)(?:^|/)(?:models?|model[-_]?(?:store|repository|repo|dir|data)|weights)(?:/|$)"
)
_SOCKET: Final = re.compile(r"(?:^|/)(?:docker|containerd|crio|podman)\.sock$")
_HOST: Final = re.compile(
    r"/(?:(?:etc|root|home|boot|lib|usr|proc|sys|run|var(?:/run|/lib(?:/docker|/kubelet)?)?)/?)?"
)


def image(name: str, line: int | None, into: Reading) -> None:
    """Report an image that can change without anyone noticing.

    Args:
        name: as written; one with a variable says nothing.
        line: where it stands.
        into: what is found.
    """
    last = name.rsplit("/", 1)[-1]
    if not name or "@sha256:" in name or "$" in name or "{{" in name or name == "scratch":
        return
    if ":" not in last or last.endswith(":latest"):
        into.finding(
            "workload.moving-image",
            "low",
            f"the image {name[:150]} names no version, so another one may run tomorrow",
            line=line,
            remedy="Name a version, best with its digest (@sha256:...).",
        )


def variable(name: str, value: str, line: int | None, into: Reading) -> None:
    """Report a variable that holds a secret, or that switches off a protection."""
    value = value.strip("\"' ")
    known = _VARIABLES.get(name.upper())
    if known is not None and re.fullmatch(known[0], value, re.IGNORECASE):
        _, severity, what = known
        message = f"{name.upper()}={value[:60]}: {what}"
        into.finding(
            "workload.unsafe-variable", severity, message, line=line, remedy=f"Remove {name.upper()}."
        )
    elif credentials.secret(name, value):
        into.finding(
            "workload.secret-in-variable",
            "medium",
            f"{name[:80]} has its value in the file",
            line=line,
            remedy="Take it from a secret store, and change it: whoever read the file or the image knows it.",
        )


def command(text: str, line: int | None, into: Reading) -> None:
    """Report what a command line gives others, each thing once.

    Args:
        text: one or more commands of a shell, or a list of arguments joined.
        line: where it stands.
        into: what is found.
    """
    seen: set[str] = set()
    for part in re.split(r"\n|&&|;", text):
        into.spend(1 + 20 * min(len(part), LONGEST))  # what the patterns cost, in the worst case
        found: list[tuple[str, Severity, str, str]] = [
            (
                "workload.unsafe-command",
                one.severity,
                one.what,
                "Remove the option, or let only those reach it who may.",
            )
            for one in _OPTIONS
            if _applies(one, f" {part[:LONGEST]} ")
        ]
        found += [
            (f"source.{rule}", severity, what, remedy) for rule, severity, what, remedy in insecure(part)
        ]
        for rule, severity, what, remedy in found:
            if what not in seen:
                seen.add(what)
                message = f"{what}: {' '.join(part[:LONGEST].split())[:120]}"
                into.finding(rule, severity, message, line=line, remedy=remedy)


def _applies(one: Option, text: str) -> bool:
    return bool(
        re.search(one.option, text)
        and re.search(one.program, text)
        and not (one.unless and re.search(one.unless, text))
    )


def mount(path: str, line: int | None, into: Reading) -> None:
    """Report a writable folder of the container if it is one of models."""
    if _MODELS.search(path):
        into.finding(
            "workload.writable-models",
            "medium",
            f"the models in {path[:150]} can be changed from inside the container",
            line=line,
            remedy="Mount it read-only.",
        )


def host_path(path: str, line: int | None, into: Reading, *, read_only: bool) -> None:
    """Report a folder of the host that gives the container the host; a read-only one only shows it."""
    if _SOCKET.search(path):
        severity: Severity = "high"  # a socket is used by connecting to it, read-only or not
    elif _HOST.fullmatch(path):
        severity = "medium" if read_only else "high"
    else:
        return
    what = (
        "shows the container what is on the host" if severity == "medium" else "gives the container the host"
    )
    into.finding("workload.host-path", severity, f"{path[:150]} {what}", line=line, remedy="Use a volume.")


def host(who: str, what: str, severity: Severity, line: int | None, into: Reading) -> None:
    """Report that a container is not kept apart from its host: privileges, namespaces, capabilities."""
    into.finding("workload.host-access", severity, f"{who} {what}", line=line, remedy="Remove it.")


def capabilities(who: str, added: Iterable[str], line: int | None, into: Reading) -> None:
    """Report capabilities that give the host."""
    held = sorted({name.upper().removeprefix("CAP_") for name in added} & ESCAPES)
    if held:
        host(who, f"has capabilities that give it the host: {', '.join(held)}", "high", line, into)


def numbers(text: str) -> range:
    """The ports of `8080`, `8080/tcp` or `8080-8082`; none of a variable or of another protocol."""
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?(?:/tcp)?", text.strip().lower(), re.ASCII)
    return range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)


def management(context: str) -> tuple[Port, ...]:
    """The ports of management of the servers that a description names.

    Args:
        context: image, command, names; at most 1 MiB of it is looked at.
    """
    text = context[: 1 << 20].lower()
    return tuple(
        port
        for port in PORTS
        if re.search(port.server, text) and not (port.unless and re.search(port.unless, text))
    )


def published(port: Port, how: str, line: int | None, into: Reading, *, severity: Severity) -> None:
    """Report a port of management that others reach."""
    into.finding(
        "workload.management-port",
        severity,
        f"port {port.number} is published {how}: {port.what}",
        line=line,
        remedy="Publish the port of inference alone; bind management to 127.0.0.1.",
    )
