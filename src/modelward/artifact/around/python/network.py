"""Rules on connections: certificates, timeouts, what is opened to the world, weak hashes.

Sources: documentation of ssl, requests ("SSL Cert Verification", "Timeouts"), hashlib, Flask ("Debug Mode")
and Gradio (`share`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.around.python.weakness import Weakness, is_false, is_true, weak

if TYPE_CHECKING:
    from modelward.artifact.around.python.scope import Site
    from modelward.artifact.around.python.weakness import Rule

_CHECKING: Final = re.compile("check|verif|integr|valid|download|fetch|sum", re.IGNORECASE)
"""Functions in whose names a weak hash is likely to decide whether a file is the right one."""
_TLS: Final = "leave certificates checked; for an authority of your own pass its file (verify='ca.pem')"
_VERBS: Final = ("get", "post", "put", "patch", "delete", "head", "options", "request")


def _requests(site: Site) -> Weakness | None:
    if is_false(site, "verify"):
        return _unchecked(site)
    if site.path.startswith("requests.") and "timeout" not in site.named and not site.open:
        message = f"{site.path} has no timeout: a silent server stops the program for ever"
        return weak(site, "no-timeout", "low", message, "pass timeout=(5, 60)")
    return None


def _unchecked(site: Site) -> Weakness:
    message = "certificates are not checked: anyone on the way can replace what is downloaded"
    return weak(site, "tls-disabled", "high", message, _TLS)


def _verify(site: Site) -> Weakness | None:
    return _unchecked(site) if is_false(site, "verify") or is_false(site, "ssl") else None


def _unverified(site: Site) -> Weakness:
    return _unchecked(site)


def _bound(site: Site) -> Weakness | None:
    """`app.run(...)`, `uvicorn.run(...)`, `demo.launch(...)`: what is opened to whom."""
    if site.path in {"flask.Flask().run", "?.run"} and is_true(site, "debug"):
        message = "debug=True gives everyone who can reach the server a Python console"
        return weak(site, "debug-server", "high", message, "leave debug off, and serve with a WSGI server")
    if site.path.endswith(".launch") and is_true(site, "share"):
        message = "share=True opens the demo to the internet through a tunnel"
        return weak(site, "shared-demo", "medium", message, "leave share off, or set auth=")
    host = site.named.get("host") or site.named.get("server_name")
    if host is not None and host.string in {"0.0.0.0", "::"} and site.path != "?.run":  # noqa: S104  the very text that the rule looks for
        message = f"{site.path.replace('()', '')} listens on every network interface"
        return weak(
            site,
            "listens-everywhere",
            "medium",
            message,
            "bind 127.0.0.1 behind a gateway that authenticates",
        )
    return None


def _weak_hash(site: Site) -> Weakness | None:
    if is_false(site, "usedforsecurity") or not _CHECKING.search(site.owner):
        return None
    name = site.path.rsplit(".", 1)[-1]
    chosen = site.args[0].string if name == "new" and site.args else name
    if chosen not in {"md5", "sha1"}:
        return None
    message = f"{chosen} does not show that a file is unchanged: two files with the same hash can be made"
    return weak(
        site, "weak-hash", "low", message, "use sha256 (or usedforsecurity=False where it is no check)"
    )


def stored(site: Site) -> Weakness | None:
    """Assignments that switch checks off."""
    path, value = site.path, site.stored
    if value is None:
        return None
    if path == "ssl._create_default_https_context" and "unverified" in value.path:
        return _unchecked(site)
    if path.endswith(".verify_mode") and value.path.endswith("CERT_NONE"):
        return _unchecked(site)
    off = value.known and value.const is not None and value.const == 0
    if path.endswith(".check_hostname") and off:
        return _unchecked(site)
    if path in {"requests.Session().verify", "requests.session().verify"} and off:
        return _unchecked(site)
    name = path.removeprefix("os.environ[").removesuffix("]")
    if name in _SWITCHES and value.string is not None and value.string.lower() in _SWITCHES[name]:
        return _unchecked(site)
    return None


_ON: Final = frozenset({"1", "true", "yes", "on"})
_OFF: Final = frozenset({"0", "", "false"})
_SWITCHES: Final[dict[str, frozenset[str]]] = {
    "PYTHONHTTPSVERIFY": _OFF,
    "CURL_CA_BUNDLE": frozenset({""}),
    "REQUESTS_CA_BUNDLE": frozenset({""}),
    "SSL_CERT_FILE": frozenset({""}),
    "HF_HUB_DISABLE_SSL_VERIFICATION": _ON,
    "HF_HUB_DISABLE_SSL_VERIFY": _ON,
    "HF_HUB_DISABLE_SSL": _ON,
    "GIT_SSL_NO_VERIFY": _ON,
    "NODE_TLS_REJECT_UNAUTHORIZED": frozenset({"0"}),
}
"""Environment variables that switch the check of certificates off, and the values that do."""

_CLIENTS: Final = (
    "requests",
    "requests.Session()",
    "requests.session()",
    "httpx",
    "httpx.Client()",
    "httpx.AsyncClient()",
)
_SERVERS: Final = (
    "flask.Flask().run", "uvicorn.run", "gradio.Interface().launch", "gradio.Blocks().launch", "?.run",
    "gradio.ChatInterface().launch", "gradio.TabbedInterface().launch", "?.launch", "waitress.serve",
    "aiohttp.web.run_app", "bottle.run", "http.server.HTTPServer",
)  # fmt: skip

RULES: Final[dict[str, Rule]] = {
    **{f"{client}.{verb}": _requests for client in _CLIENTS for verb in _VERBS},
    **dict.fromkeys(_SERVERS, _bound),
    **dict.fromkeys(("hashlib.md5", "hashlib.sha1", "hashlib.new"), _weak_hash),
    "ssl._create_unverified_context": _unverified,
    "httpx.Client": _verify,
    "httpx.AsyncClient": _verify,
    "aiohttp.TCPConnector": _verify,
}
"""Called name -> rule."""
