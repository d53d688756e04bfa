"""Rules on running text: eval, shells, archives and temporary files.

Sources: the security notes of the subprocess, tarfile (PEP 706), zipfile and tempfile documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.around.python.shell import insecure
from modelward.artifact.around.python.values import DECODED, DOWNLOAD, UNKNOWN, tags_of
from modelward.artifact.around.python.weakness import Weakness, is_true, weak

if TYPE_CHECKING:
    from modelward.artifact.around.python.scope import Site
    from modelward.artifact.around.python.values import Value
    from modelward.artifact.around.python.weakness import Rule
    from modelward.artifact.events import Severity


def _first(site: Site) -> Value:
    return site.args[0] if site.args else next(iter(site.named.values()), UNKNOWN)


def _evaluates(site: Site) -> Weakness | None:
    given = _first(site)
    bare = site.path.rsplit(".", 1)[-1]
    hidden = given.tags & {DECODED, DOWNLOAD}
    if hidden:
        message = f"{bare} runs text that is {' and '.join(sorted(hidden))}ed".replace("decodeded", "decoded")
        return weak(
            site, "runs-hidden-text", "critical", message, "remove it; code belongs in reviewed files"
        )
    if given.known or not (site.args or site.named):
        return None
    if bare == "compile" and given.path.startswith(("ast.", "builtins.compile")):
        return None
    message = f"{bare} runs text that is made while the program runs"
    remedy = "use ast.literal_eval for data, or a table of functions for choices"
    return weak(site, "evaluates", "medium", message, remedy)


def _shell(site: Site) -> Weakness | None:
    """`os.system(text)`: always a shell."""
    given = _first(site)
    if given.string is not None:
        return _constant(site, given.string)
    message = f"{site.path} runs a command in a shell, and its text is made while the program runs"
    return weak(
        site, "shell-injection", "high", message, "use subprocess.run([...]) with a list and no shell"
    )


def _subprocess(site: Site) -> Weakness | None:
    given = _first(site)
    if given.string is not None:
        return _constant(site, given.string)
    if given.items is not None:
        words = " ".join(item.start for item in given.items)
        return _constant(site, words)
    if not is_true(site, "shell"):
        return None
    message = f"{site.path} with shell=True runs text that is made while the program runs"
    return weak(site, "shell-injection", "high", message, "pass a list of arguments, without shell=True")


def _constant(site: Site, command: str) -> Weakness | None:
    for rule, severity, message, remedy in insecure(command):
        return weak(site, rule, severity, message, remedy)
    return None


def _tar(site: Site) -> Weakness | None:
    if "filter" in site.named or site.open or "members" in site.named:
        return None
    severity: Severity = "high" if DOWNLOAD in site.receiver.tags else "medium"
    message = "a tar archive is extracted without a filter: members may be written outside the folder"
    return weak(site, "tar-extract", severity, message, "pass filter='data'")


def _unpack(site: Site) -> Weakness | None:
    if "filter" in site.named or site.open:
        return None
    first = _first(site)
    if not (DOWNLOAD in first.tags or ".tar" in first.start or first.start.endswith((".tgz", ".tbz"))):
        return None
    message = "shutil.unpack_archive extracts a tar archive without a filter"
    return weak(site, "tar-extract", "medium", message, "pass filter='data'")


def _zip(site: Site) -> Weakness | None:
    if DOWNLOAD not in tags_of((site.receiver,)):
        return None
    message = "a downloaded zip archive is extracted whole: its size and its names are not checked"
    return weak(site, "zip-extract", "low", message, "check names and sizes first, or extract named members")


def _mktemp(site: Site) -> Weakness:
    message = "tempfile.mktemp names a file that another program may create first"
    return weak(site, "temporary-file", "medium", message, "use tempfile.NamedTemporaryFile or mkstemp")


_SHELLS: Final = (
    "os.system", "os.popen", "posix.system", "subprocess.getoutput", "subprocess.getstatusoutput",
    "commands.getoutput", "commands.getstatusoutput", "asyncio.create_subprocess_shell", "popen2.popen2",
)  # fmt: skip
_RUNNERS: Final = (
    "subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call",
    "subprocess.check_output",
)  # fmt: skip

RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(("builtins.eval", "builtins.exec", "builtins.compile", "builtins.execfile"), _evaluates),
    **dict.fromkeys(_SHELLS, _shell),
    **dict.fromkeys(_RUNNERS, _subprocess),
    "tarfile.open().extractall": _tar,
    "tarfile.TarFile().extractall": _tar,
    "tarfile.TarFile.open().extractall": _tar,
    "shutil.unpack_archive": _unpack,
    "zipfile.ZipFile().extractall": _zip,
    "tempfile.mktemp": _mktemp,
}
"""Called name -> rule."""
