"""What code does by being imported, built or called by a loader: the judgement behind a verdict.

`dangerous` is what no model code has a reason to do: hidden text that is run, shells, connections that carry
secrets away, files of the account that are changed. `unproven` is what it may have a reason to do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from modelward.artifact.around.python.scope import KEPT
from modelward.artifact.around.python.shell import insecure
from modelward.artifact.around.python.values import DECODED, DOWNLOAD, SECRET, UNKNOWN, tags_of

if TYPE_CHECKING:
    from modelward.artifact.around.python.scope import Seen, Site
    from modelward.artifact.around.python.values import Value

Level: TypeAlias = Literal["dangerous", "unproven"]


class Effect(msgspec.Struct, frozen=True):
    """Something that running the code does.

    Attributes:
        line: from 1.
        call: reconstructed, at most 200 characters.
        level: `dangerous` or `unproven`.
        message: one sentence.
        entry: "" when it happens on import, else the function that a loader or server calls.
    """

    line: int
    call: str
    level: Level
    message: str
    entry: str = ""


ENTRIES: Final = frozenset(
    {
        "__init__", "__new__", "__call__", "__reduce__", "__reduce_ex__", "__setstate__", "__getstate__",
        "__getattr__", "__getattribute__", "__del__", "__init_subclass__", "__set_name__", "__post_init__",
        "__enter__", "__class_getitem__", "__prepare__", "__getitem__", "__iter__", "__len__", "__repr__",
        "initialize", "handle", "preprocess", "inference", "postprocess", "predict", "predict_stream",
        "load_context", "load_model", "_load_model", "load", "_load_pyfunc", "load_pyfunc", "init", "execute",
        "initialize_model", "from_pretrained", "_from_pretrained", "from_config", "forward", "call", "build",
        "setup", "model_fn", "input_fn", "predict_fn", "output_fn", "finalize", "get_config", "_init_weights",
        "hubconf", "restore_from", "configure", "main",
    }
)  # fmt: skip
"""Functions that loaders and servers call (Transformers, TorchServe, MLflow, Triton, SageMaker)."""


def effects(seen: Seen, entries: frozenset[str] = ENTRIES) -> list[Effect]:
    """Effects of all code that runs on import or is reached from an entry, in order."""
    reached = _reached(seen, entries)
    found: list[Effect] = []
    for site in seen.sites:
        entry = reached.get(site.owner)
        if entry is None:
            continue
        judged = _judge(site, imported=entry == "")
        if judged is not None:
            level, message = judged
            found.append(Effect(site.line, call_text(site), level, message, entry))
    return _connected(seen, reached, found)


def _reached(seen: Seen, entries: frozenset[str]) -> dict[str, str]:
    """Function -> the entry it is reached from ("" for import); the import wins."""
    reached: dict[str, str] = {"": ""}
    _spread(seen, reached, [""], "")
    for name in sorted(seen.functions):
        if name.rsplit(".", 1)[-1] in entries and name not in reached:
            reached[name] = name
            _spread(seen, reached, [name], name)
    return reached


def _spread(seen: Seen, reached: dict[str, str], start: list[str], entry: str) -> None:
    stack = list(start)
    while stack:
        for target in seen.edges.get(stack.pop(), ()):
            for name in (target, f"{target}.__init__", f"{target}.__new__", f"{target}.__call__"):
                if name in seen.functions and name not in reached:
                    reached[name] = entry
                    stack.append(name)


def _connected(seen: Seen, reached: dict[str, str], found: list[Effect]) -> list[Effect]:
    """A connection whose descriptor becomes a shell's is dangerous as a whole."""
    paths = {site.path for site in seen.sites if site.owner in reached}
    if "os.dup2" in paths and any(path.startswith("socket.") for path in paths):
        site = next(site for site in seen.sites if site.path == "os.dup2" and site.owner in reached)
        message = "a network connection becomes the input of a shell"
        found.append(Effect(site.line, call_text(site), "dangerous", message, reached[site.owner]))
    return found


def _judge(site: Site, *, imported: bool) -> tuple[Level, str] | None:
    if site.stored is not None:
        return _handed([site.stored], f"stored in {site.path}", now=imported)
    for rule in (_text, _commands, _native, _files, _network, _arguments):
        judged = rule(site, imported=imported)
        if judged is not None:
            return judged
    return None


# --- text that becomes code ---------------------------------------------------------------------------------

_CODE: Final = frozenset({"builtins.eval", "builtins.exec", "builtins.compile", "builtins.execfile"})
_RUN_TEXT: Final = frozenset(
    {
        "timeit.timeit", "timeit.repeat", "timeit.Timer", "cProfile.run", "profile.run", "pdb.run",
        "pdb.runeval",
        "bdb.Bdb().run", "trace.Trace().run", "code.InteractiveInterpreter().runsource",
        "code.InteractiveInterpreter().runcode", "numpy.f2py.crackfortran.myeval", "sympy.sympify",
        "pandas.eval", "doctest.script_from_examples",
    }
)  # fmt: skip
"""Functions that run a text as code, when it is one."""
_RUN_FILES: Final = (".exec_module", "SourceFileLoader().load_module", "SourcelessFileLoader().load_module")
_LOADS: Final = frozenset(
    {
        "runpy.run_path", "runpy.run_module", "imp.load_source", "imp.load_compiled", "pip.main",
        "pip._internal.main",
        "torch.utils.cpp_extension.load_inline", "torch.utils.cpp_extension.load", "yaml.unsafe_load",
    }
)  # fmt: skip
"""Functions that run the code of another file, or build it."""
_CLIMBS: Final = re.compile(
    r"__(?:base|bases|mro)__.*__subclasses__|object\.__subclasses__|__builtins__|"
    r"__globals__(?:\[\]|\.(?:get|pop|__getitem__)\(\))"
)
"""Paths from any object to the interpreter's own names."""
_PICKLES: Final = frozenset(
    {"pickle.loads", "_pickle.loads", "cPickle.loads", "dill.loads", "cloudpickle.loads", "marshal.loads"}
)


def _text(site: Site, *, imported: bool) -> tuple[Level, str] | None:
    first = site.args[0] if site.args else UNKNOWN
    if site.path in _CODE or (site.path in _RUN_TEXT and first.string is not None):
        return _evaluated(first, imported=imported)
    if site.path.endswith(_RUN_FILES) or site.path in _LOADS:
        return "unproven", "code of another file is run"
    if site.path.startswith(("operator.methodcaller()", "operator.attrgetter()")) and first.path in _MODULES:
        return "dangerous", f"an attribute of {first.path} is reached by its name"
    if site.path in _PICKLES:
        if first.tags & {DOWNLOAD, DECODED}:
            return "dangerous", "a pickle or code object that is hidden in the text or downloaded is loaded"
        if first.known:
            return "dangerous", "a pickle or code object inside the source is loaded"
        return ("unproven", "a code object is loaded") if site.path == "marshal.loads" else None
    if site.path in {"types.FunctionType", "types.CodeType", "types.LambdaType"}:
        hidden = "marshal" in " ".join(arg.path for arg in site.args) or DECODED in tags_of(site.args)
        return ("dangerous" if hidden else "unproven"), "a function is made of a code object"
    if site.path == "builtins.getattr" and len(site.args) > 1 and site.args[1].string is None:
        owner = site.args[0].path
        if owner in _MODULES:
            return "unproven", f"an attribute of {owner} is read by a name made while the code runs"
    if _CLIMBS.search(site.path):
        return "dangerous", "code reaches the interpreter through an object's internals"
    return None


def _evaluated(given: Value, *, imported: bool) -> tuple[Level, str] | None:
    if given.tags & {DECODED, DOWNLOAD}:
        return "dangerous", "text that is hidden by an encoding or downloaded is run as code"
    if given.string is not None:
        return _inner(given.string)
    if given.path.startswith(("builtins.compile", "ast.")):
        return ("unproven", "code that is made while the code runs is run") if imported else None
    return "unproven", "text that is made while the code runs is run as code"


def _inner(text: str) -> tuple[Level, str] | None:
    """The effects of a constant that is run as code."""
    from modelward.artifact.around.source import analyse

    if len(text) > 1 << 16:
        return "unproven", f"text of {len(text)} characters is run as code"
    analysis = analyse(text.strip(), inner=True)
    if analysis.problem is not None:
        return "unproven", f"text is run as code: {analysis.problem}"
    worst = next((effect for effect in analysis.payload if effect.level == "dangerous"), None)
    if worst is not None:
        return "dangerous", f"text is run as code, in which {worst.message}"
    return (
        ("unproven", f"text is run as code, in which {analysis.payload[0].message}")
        if analysis.payload
        else None
    )


# --- programs -----------------------------------------------------------------------------------------------

_SHELLS: Final = frozenset(
    {
        "os.system", "os.popen", "posix.system", "nt.system", "subprocess.getoutput", "pty.spawn",
        "subprocess.getstatusoutput", "commands.getoutput", "asyncio.create_subprocess_shell",
        "ctypes.CDLL().system", "ctypes.cdll.LoadLibrary().system", "popen2.popen2", "platform.popen",
    }
)  # fmt: skip
_TAILS: Final = ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")
_RUNNERS: Final = frozenset(
    {
        "subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call",
        "subprocess.check_output", "asyncio.create_subprocess_exec", "os.posix_spawn", "os.posix_spawnp",
        "os.startfile", "_posixsubprocess.fork_exec",
        *(f"os.{kind}{tail}" for kind in ("exec", "spawn") for tail in _TAILS),
    }
)  # fmt: skip
_ASKING: Final = re.compile(
    r"(?:nvidia-smi|nvcc|rocm-smi|git\s+(?:rev-parse|describe|log|status|config)|which|where|uname|lscpu|gcc|g\+\+|c\+\+|"
    r"ffmpeg|ffprobe|sox|espeak|java|hostname|free|nproc|lspci|sysctl|ldconfig|locale|\S+\s+--version|echo|"
    r"cat\s+/proc/(?:cpuinfo|meminfo|version))\b[^;&|`$><]*$"
)
"""Commands that only tell something, or convert media."""
_INSTALLS: Final = re.compile(
    r"(?:\S*python[\d.]*\s+-m\s+)?(?:pip[\d.]*|conda|apt|apt-get|uv)\s+(?:\S+\s+)*?install\b[^;&|`$><]*$"
)
_SHELL_NAMES: Final = re.compile(
    r"(?:^|/)(?:ba|z|da|k|c|tc)?sh$|^(?:cmd(?:\.exe)?|powershell(?:\.exe)?|pwsh)$", re.IGNORECASE
)


def _commands(site: Site, *, imported: bool) -> tuple[Level, str] | None:
    if site.path not in _SHELLS and site.path not in _RUNNERS:
        return None
    first = site.args[0] if site.args else site.named.get("args", site.named.get("cmd", UNKNOWN))
    words, whole = _words(first)
    if DECODED in tags_of((first,)) or (first.items and DECODED in tags_of(first.items)):
        return "dangerous", "a program is run whose name is hidden by an encoding"
    if not words and not whole:
        shell = site.path in _SHELLS or _shell(site)
        level: Level = "dangerous" if shell else "unproven"
        return level, "a program is run that is named while the code runs"
    if not words:
        known = first.items is not None or site.path not in _SHELLS
        return ("unproven" if known and not _shell(site) else "dangerous"), "a program is run"
    if _ASKING.match(words):
        return ("unproven", "a program is asked for information") if imported and not whole else None
    if _INSTALLS.match(words) and not any(insecure(words)) and "://" not in words:
        return "unproven", "packages are installed, which runs their code"
    if _SHELL_NAMES.search(words.split()[0]) or whole or site.path in _SHELLS:
        return "dangerous", "a program is run"
    return "unproven", "a program is run"


def _shell(site: Site) -> bool:
    given = site.named.get("shell")
    return given is not None and given.known and bool(given.const)


def _words(given: Value) -> tuple[str, bool]:
    """The command line as far as it is known, and whether that is all of it."""
    if given.string is not None:
        return given.string.strip(), True
    if given.items is None:
        return given.text.strip(), False
    parts = ["python" if item.path == "sys.executable" else item.start for item in given.items]
    complete = all(item.known or item.path == "sys.executable" for item in given.items)
    return " ".join(parts).strip(), complete


def _native(site: Site, *, imported: bool) -> tuple[Level, str] | None:
    del imported
    if site.path in {"ctypes.CDLL", "ctypes.cdll.LoadLibrary", "ctypes.PyDLL", "cffi.FFI().dlopen"}:
        first = site.args[0] if site.args else UNKNOWN
        if first.tags & {DOWNLOAD, DECODED}:
            return "dangerous", "a native library is loaded that was downloaded or hidden"
        return "unproven", "a native library is loaded"
    if site.path in {"ctypes.CFUNCTYPE()", "ctypes.memmove", "ctypes.windll.kernel32.VirtualAlloc"}:
        return "unproven", "native code may be placed in memory"
    return None


# --- files --------------------------------------------------------------------------------------------------

_ACCOUNT: Final = re.compile(
    r"\.ssh(?:/|$)|authorized_keys|id_rsa|id_ed25519|\.aws/|\.netrc|\.kube/config|\.docker/config|\.gnupg|\.bashrc|\.bash_profile|"
    r"\.zshrc|/\.profile|crontab|/etc/(?:passwd|shadow|cron|sudoers|ld\.so|profile|rc|systemd|init)|systemd/system|LaunchAgents|"
    r"\.git/hooks|sitecustomize|usercustomize|\.pth$|/proc/self/(?:environ|mem)|huggingface/token|\.pypirc|\.config/autostart|"
    r"Start Menu|\\Startup"
)
_SCRATCH: Final = ("/tmp/", "/var/tmp/", "/dev/shm/")  # noqa: S108  paths that are looked for, not used
_WRITES: Final = frozenset(
    {"pathlib.Path().write_text", "pathlib.Path().write_bytes", "os.remove", "os.unlink"}
)
_REMOVES: Final = frozenset({"shutil.rmtree", "os.removedirs", "os.rmdir", "os.remove", "os.unlink"})


def _files(site: Site, *, imported: bool) -> tuple[Level, str] | None:
    method = site.path.startswith("pathlib.Path()")
    where = site.receiver.start if method else (site.args[0] if site.args else UNKNOWN).start
    if site.path in {"builtins.open", "io.open", "codecs.open", "os.open", "builtins.file"}:
        mode = site.arg(1, "mode")
        how = (mode.string if mode is not None else None) or "r"
        if _ACCOUNT.search(where):
            return "dangerous", "a file of the account or the system is opened"
        if not any(letter in how for letter in "wax+"):
            return None
        return _written(where, imported=imported)
    if site.path.startswith("pathlib.Path()") and site.path.endswith((".read_text", ".read_bytes", ".open")):
        return (
            ("dangerous", "a file of the account or the system is opened") if _ACCOUNT.search(where) else None
        )
    if site.path in _REMOVES:
        if where.startswith(("/", "~")) and not where.startswith(_SCRATCH):
            return "dangerous", "files outside the model's folder are deleted"
        return ("unproven", "files are deleted") if imported else None
    if site.path in _WRITES:
        return _written(where, imported=imported)
    if site.path in {"os.kill", "os.fork", "os.chmod", "os.setuid", "os.symlink", "os.rename"} and imported:
        return "unproven", "the process or its files are changed"
    if site.path in {"shutil.copy", "shutil.copyfile", "shutil.move", "os.replace"}:
        target = (site.arg(1, "dst") or UNKNOWN).start
        return (
            ("dangerous", "a file of the account or the system is replaced")
            if _ACCOUNT.search(target)
            else None
        )
    return None


def _written(where: str, *, imported: bool) -> tuple[Level, str] | None:
    if _ACCOUNT.search(where):
        return "dangerous", "a file of the account or the system is written"
    outside = where.startswith(("/", "~", "..", "C:\\"))
    if imported:
        return ("dangerous" if outside else "unproven"), "a file is written when the code is imported"
    if outside and not where.startswith(_SCRATCH):
        return "unproven", "a file outside the model's folder is written"
    return None


# --- network ------------------------------------------------------------------------------------------------

_SENDING: Final = re.compile(
    r"^(?:requests|httpx|requests\.Session\(\)|requests\.session\(\)|httpx\.Client\(\)|aiohttp\.ClientSession\(\)|urllib3|"
    r"urllib3\.PoolManager\(\))\.(?:get|post|put|patch|request|delete|head)$|^urllib\.request\.(?:urlopen|urlretrieve|Request)$|"
    r"^urllib2?\.(?:urlopen|urlretrieve)$|^http\.client\.HTTPS?Connection\(\)\.request$|^socket\.socket\(\)\.(?:send|sendall|sendto|connect)$|"
    r"^socket\.create_connection$|^smtplib\.SMTP(?:_SSL)?\(\)\.sendmail$|^socket\.(?:gethostbyname|getaddrinfo)$|^\w*\.?wget\.download$"
)
_CONNECTS: Final = frozenset({"socket.socket().connect", "socket.create_connection", "socket.socket().bind"})
_SERVES: Final = frozenset({"socket.socket().listen", "http.server.HTTPServer", "socketserver.TCPServer"})


def _network(site: Site, *, imported: bool) -> tuple[Level, str] | None:
    if not _SENDING.match(site.path) and site.path not in _SERVES:
        return None
    if SECRET in tags_of((*site.args, *site.named.values())) - _harmless(site):
        return "dangerous", "secrets or facts about the machine are sent away"
    if site.path in _CONNECTS and imported and site.args and site.path != "socket.socket().bind":
        return "dangerous", "a connection is opened when the code is imported"
    if imported or site.path in _CONNECTS:
        return "unproven", "a connection is opened"
    return None


def _harmless(site: Site) -> set[str]:
    """A token in the header of a request to a hub is what tokens are for."""
    start = site.args[0].start if site.args else ""
    hubs = ("https://huggingface.co/", "https://api.openai.com/", "https://api.github.com/")
    return {SECRET} if start.startswith(hubs) else set()


# --- callables handed on ------------------------------------------------------------------------------------

_MODULES: Final = frozenset({"os", "builtins", "subprocess", "sys", "importlib", "posix", "ctypes", "socket"})
_HARMLESS: Final = frozenset(
    {"builtins.isinstance", "builtins.print", "builtins.hasattr", "builtins.callable", "builtins.type"}
)


def _arguments(site: Site, *, imported: bool) -> tuple[Level, str] | None:
    """`Thread(target=os.system, ...)`, `map(exec, ...)`, `atexit.register(os.system, ...)`."""
    if site.path in _HARMLESS or site.path == "builtins.getattr":
        return None
    # a resolver that evaluates is common in projects with Hydra; what it evaluates is judged there
    now = imported and not site.path.endswith((KEPT, "register_new_resolver", "register_resolver"))
    return _handed([*site.args, *site.named.values()], f"handed to {site.path or 'a call'}", now=now)


def _handed(given: list[Value], where: str, *, now: bool) -> tuple[Level, str] | None:
    for value in given:
        bare = value.path
        if bare in _SHELLS or bare in _CODE - {"builtins.compile"} or bare in _RUNNERS:
            return "dangerous" if now else "unproven", f"{bare} is {where}, which may call it"
    return None


# --- text of a call -----------------------------------------------------------------------------------------


def call_text(site: Site) -> str:
    """`os.system('id')`, whatever the source wrote it as."""
    parts = [_shown(arg) for arg in site.args]
    parts += [f"{name}={_shown(arg)}" for name, arg in site.named.items()]
    parts += ["..."] if site.open else []
    text = f"{site.path.replace('builtins.', '').lstrip('?.') or 'call'}({', '.join(parts)})"
    return text if len(text) <= 200 else text[:197] + "..."


def _shown(value: Value) -> str:
    if value.known:
        return repr(value.const[:120]) if isinstance(value.const, str | bytes) else repr(value.const)
    if value.items is not None:
        return f"[{', '.join(map(_shown, value.items[:8]))}{', ...' if len(value.items) > 8 else ''}]"
    if value.path:
        return value.path.replace("()", "(...)").replace("builtins.", "")
    return repr(value.text[:80]) if value.text else "..."
