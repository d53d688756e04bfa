"""Configuration of model servers: TorchServe, MLServer, BentoML.

Sources: TorchServe 0.12 (`config.properties`: configuration, model API control, token authorisation;
CVE-2023-43654), MLServer 1.7 (`settings.json`, `model-settings.json`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact import yaml
from modelward.artifact.around import nodes
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.events import Severity
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LONGEST: Final = 1 << 20
"""Bytes of a file that are looked at."""
_PROPERTY: Final = re.compile(r"[ \t\f]*([\w.]+)[ \t\f]*[=: \t\f][ \t\f]*(.*)")
_ANYWHERE: Final = re.compile(r"(?:https?://)?(?:0\.0\.0\.0|\[?::\]?)(?::\d+)?/?", re.IGNORECASE)
_ANY_URL: Final = re.compile(r"http[^,|]{0,6}://\.[*+](?:[,|]|$)|(?:^|[,|])\.[*+](?:[,|]|$)")
_SWITCHES: Final[tuple[tuple[str, str, Severity, str], ...]] = (
    ("disable_token_authorization", "torchserve.no-token", "medium", "the server answers everyone"),
    ("enable_model_api", "torchserve.model-api", "medium", "models, and so code, are loaded on request"),
    (
        "install_py_dep_per_model",
        "torchserve.installs-packages",
        "medium",
        "packages that a model archive names are installed",
    ),
)


def read(data: Buffer, into: Reading) -> None:
    """Report what the server lets others do; the file has no verdict."""
    if len(data) > LONGEST:
        into.note("serving.unread", f"only the first {LONGEST} bytes are looked at")
    text = bytes(data[:LONGEST]).decode("utf-8-sig", "replace")
    leaf = into.name.rsplit("/", 1)[-1].lower()
    if leaf.endswith(".properties"):
        _torchserve(text, into)
    elif leaf.endswith((".json", ".yaml", ".yml")):
        _options(data, into)


def _torchserve(text: str, into: Reading) -> None:
    stated: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        into.spend()
        if not line.lstrip().startswith(("#", "!")) and (match := _PROPERTY.match(line)):
            stated[match[1]] = (match[2].strip(), number)

    def report(rule: str, severity: Severity, what: str, key: str, remedy: str) -> None:
        into.finding(rule, severity, what, line=stated[key][1], remedy=remedy)

    managed: list[str] = [
        key
        for key in ("management_address", "grpc_management_address")
        if key in stated and _ANYWHERE.fullmatch(stated[key][0])
    ]
    for key in managed:
        what = "the server is managed from anywhere: whoever reaches it loads a model, which is code"
        report("torchserve.management-address", "high", what, key, f"Bind {key} to 127.0.0.1.")
    allowed: str = "allowed_urls" if "allowed_urls" in stated else "management_address"
    if _ANY_URL.search(stated["allowed_urls"][0]) if "allowed_urls" in stated else allowed in managed:
        what = "models are loaded from any address (CVE-2023-43654)" + (
            "" if "allowed_urls" in stated else ", which is the default of allowed_urls"
        )
        remedy = "List the addresses of your own model store in allowed_urls."
        report("torchserve.allowed-urls", "high" if managed else "medium", what, allowed, remedy)
    for key, rule, severity, what in _SWITCHES:
        if key in stated and stated[key][0].lower() == "true":
            report(rule, severity, f"{what} ({key}=true)", key, f"Remove {key}.")
    if "cors_allowed_origin" in stated and stated["cors_allowed_origin"][0] == "*":
        what = "any website may send requests from a visitor's browser"
        report("torchserve.any-origin", "low", what, "cors_allowed_origin", "Name the website.")


def _options(data: Buffer, into: Reading) -> None:
    """Options of servers written in YAML or JSON, wherever they stand."""
    try:
        documents = nodes.documents(data)
    except Malformed as error:
        into.finding("serving.unreadable", "low", f"the file cannot be read: {error}")
        return
    for node in (one for document in documents for one in yaml.walk(document)):
        into.spend()
        for key, (line, value) in nodes.fields(node).items():
            if key == "trust_remote_code" and nodes.true(value):
                into.finding(
                    "serving.trust-remote-code",
                    "high",
                    "the server runs code of the model's repository",
                    line=line,
                    remedy="Remove trust_remote_code, or keep a reviewed copy of the code.",
                )
            if key == "cors_settings" and any(
                one.value == "*" for one in nodes.texts(nodes.at(value, "allow_origins"))
            ):
                into.finding(
                    "mlserver.any-origin",
                    "low",
                    "any website may send requests from a visitor's browser",
                    line=line,
                    remedy="List the origins that may.",
                )
