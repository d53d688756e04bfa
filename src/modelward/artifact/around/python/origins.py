"""Where values come from: downloads, secrets of the machine, paths of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.around.python.values import pattern

if TYPE_CHECKING:
    from modelward.artifact.around.python.scope import Site

DOWNLOADS: Final = frozenset(
    {
        "requests.get", "requests.post", "requests.request", "requests.Session().get",
        "requests.session().get",
        "urllib.request.urlopen", "urllib.request.urlretrieve", "urllib.urlopen", "urllib.urlretrieve",
        "urllib2.urlopen", "httpx.get", "httpx.post", "wget.download", "gdown.download", "urllib3.request",
        "huggingface_hub.hf_hub_download", "huggingface_hub.snapshot_download",
        "huggingface_hub.cached_download", "torch.hub.download_url_to_file", "keras.utils.get_file",
        "tensorflow.keras.utils.get_file", "transformers.utils.cached_file", "urllib3.PoolManager().request",
        "aiohttp.ClientSession().get", "http.client.HTTPSConnection().getresponse",
        "http.client.HTTPConnection().getresponse",
    }
)  # fmt: skip
"""Functions whose result comes from the network."""
SECRETS: Final = frozenset(
    {"getpass.getuser", "socket.gethostname", "platform.node", "os.uname", "platform.uname", "os.getlogin"}
)
"""Functions that tell about the machine; with `os.environ` what an exfiltration sends."""


def place(site: Site) -> str | None:
    """How the path that a call returns begins; None when it returns no path."""
    name, first = site.path, site.args[0].start if site.args else ""
    if name in {"pathlib.Path.home", "pathlib.Path().home"}:
        return "~"
    if name in {"pathlib.Path", "pathlib.PosixPath", "pathlib.PurePath", "os.path.join", "builtins.str"}:
        return pattern(site.args, "/")
    if name == "pathlib.Path().joinpath":
        return pattern((site.receiver, *site.args), "/")
    if name in {
        "os.path.expanduser",
        "os.path.abspath",
        "os.path.realpath",
        "os.path.expandvars",
        "os.fspath",
    }:
        return first
    if name in {"pathlib.Path().expanduser", "pathlib.Path().resolve", "pathlib.Path().absolute"}:
        return site.receiver.start
    return None


def secret(name: str | None) -> bool:
    """Whether an environment variable is worth stealing."""
    upper = (name or "").upper()
    return any(part in upper for part in ("KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL"))
