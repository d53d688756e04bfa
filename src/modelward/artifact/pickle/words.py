"""What the name of a callable that is on no list says it does, when a constant argument of the call fits.

A name alone proves nothing: `execute` may run a query, `load` may read numbers. So a word counts only
together with an argument of its own kind: source text that calls something for `eval`, a command line for
`shell`, a library for `dlopen`, an address for `download`, an absolute path for `save`. Nothing here runs for
a name that is on the allow-list, and nothing for a reference without a call.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+")
LONGEST: Final = 4000
"""Characters of an argument that are looked at as source text."""
_SOURCE: Final = frozenset((
    "exec", "execute", "executes", "eval", "evaluate", "compile", "sympify", "lambdify", "interpret",
    "runsource",
))  # fmt: skip
_SHELL: Final = frozenset((
    "system", "popen", "spawn", "shell", "subprocess", "bash", "powershell", "terminal", "getoutput", "sh",
    "cmd", "command", "commands",
))  # fmt: skip
_RUN: Final = frozenset((
    "exec", "execute", "run", "call", "launch", "start", "process", "invoke", "submit",
))  # fmt: skip
_IMPORT: Final = frozenset((
    "import", "imports", "importer", "locate", "resolve", "symbol", "module", "qualname",
))  # fmt: skip
_NATIVE: Final = frozenset((
    "dlopen", "cdll", "dll", "lib", "library", "libraries", "plugin", "extension", "ops", "op",
))  # fmt: skip
_LOAD: Final = frozenset((
    "load", "loads", "loader", "read", "open", "register", "from",
))  # fmt: skip
_PICKLE: Final = frozenset((
    "unpickle", "unpickler", "pickle", "joblib", "dill", "cloudpickle", "marshal", "loads", "deserialize",
))  # fmt: skip
_FETCH: Final = frozenset((
    "urlopen", "urlretrieve", "download", "downloads", "fetch", "request", "browse", "launch", "wget",
    "curl", "webbrowser",
))  # fmt: skip
_WRITE: Final = frozenset((
    "write", "save", "dump", "export", "delete", "remove", "unlink", "rmtree", "copy", "move", "mkdir",
    "makedirs", "chmod", "extract", "savefig", "imsave", "imwrite", "touch", "symlink", "unzip",
    "untar", "unpack", "truncate", "rename", "rmdir", "render",
))  # fmt: skip
_CHANGES: Final = frozenset((
    "write", "save", "dump", "delete", "unlink", "rmtree", "mkdir", "makedirs", "chmod", "savefig", "imsave",
    "imwrite", "symlink", "symlinkto", "rmdir", "unzip", "untar", "tofile", "extractall", "savetxt", "savez",
))  # fmt: skip
"""Verbs that change files in whatever module they are found, so that any name of a file counts."""
_OBJECTS: Final = frozenset((
    "text", "bytes", "file", "files", "to", "path", "tree", "dir", "model", "state", "data", "json", "csv",
    "all", "pickle", "image", "log", "dict", "array", "arrays", "weights", "checkpoint", "txt", "line",
    "lines", "as",
))  # fmt: skip
"""What such a verb may be followed by: `save_format` names a format and saves nothing."""
_METHODS: Final = _CHANGES | {"touch", "rm", "hardlink", "popen", "spawn", "edit", "cmdloop"}
"""The same of methods, whose object may hold what they act on."""
_READ: Final = frozenset((
    "open", "load", "read", "imread", "import", "include",
))  # fmt: skip
_TABLES: Final = frozenset(
    ("csv", "json", "parquet", "excel", "html", "hdf", "feather", "sql", "netcdf", "zarr", "file", "pickle",
     "stata", "orc", "disk", "clipboard", "xml", "latex", "markdown", "numpy", "memmap")
)  # fmt: skip
_FILES: Final = frozenset(
    ("csv", "parquet", "excel", "hdf", "feather", "netcdf", "zarr", "pickle", "stata", "orc")
)
"""Formats that a function named after them writes to the file that it is given, and to nothing else."""
_PROGRAM: Final = re.compile(
    r"(?:/\S*/)?(?:id|sh|bash|zsh|dash|ls|cat|curl|wget|rm|touch|nc|ncat|netcat|echo|chmod|chown|whoami|uname|ping|python[\d.]*|perl|ruby|node|"
    r"pip|kill|ssh|scp|sudo|su|env|xterm|calc|gnome-calculator|powershell|cmd|nslookup|dig|base64|crontab|mkfifo|telnet|java|make|gcc|git|"
    r"sleep|true|ps|ifconfig|hostname|open)(?:\.exe)?(?:[\s;|&<>]|$)"
)
_META: Final = re.compile(r"[;|&`<>]\s*\w|\$\(|\$\{?\w|>\s*/")
_LINE: Final = re.compile(r"\s--?\w|/|[;|&<>`]")
_URL: Final = re.compile(r"(?:https?|ftp|file|s3|gs)://\S", re.IGNORECASE)
_PATH: Final = re.compile(r"(?:/|~/|\.\./|[A-Za-z]:[\\/])[\w.~-]")
_NAME: Final = re.compile(r"[\w.~-][\w.~/ -]{0,254}")
"""A file beside the program: no mark tells its name from another short text."""
_REPOSITORY: Final = re.compile(r"[\w.-]+/[\w.-]+")
_DOTTED: Final = re.compile(r"[A-Za-z_]\w*(?:[.:][A-Za-z_]\w*)+")
_OBJECT: Final = re.compile(r"\S+\.(?:so(?:\.\d+)*|dll|dylib|pyd)")


def split(name: str) -> frozenset[str]:
    """The words of an identifier in snake or camel case, in lower case."""
    return frozenset(word.lower() for word in _WORD.findall(name))


def meaning(module: str, name: str, texts: Sequence[str]) -> str | None:
    """What a call would do by the words of its name, if one of its constant arguments fits.

    Args:
        module: module of the callable; only its last part counts, and only for verbs such as `run`.
        name: qualified name of the callable; only its last part counts.
        texts: the constant texts among its arguments.
    """
    words = split(name.rpartition(".")[2])
    where = split(".".join([module, *name.split(".")[:-1]]).rpartition(".")[2])
    function = name.rpartition(".")[2][:1].islower() or name.rpartition(".")[2][:1] == "_"
    shell = words & _SHELL or (words & _RUN and where & _SHELL)
    for text in texts:
        if (shell or words & _RUN) and _command(text, sure=bool(shell)):
            return f"runs the command {text[:60]!r}, by its name"
        if (words & _SOURCE or words >= {"parse", "expr"}) and _calls(text):
            return f"runs the source text {text[:60]!r}, by its name"
        if (
            _PICKLE & words
            and (_LOAD & words or "unpickle" in words)
            and (_URL.match(text) or _PATH.match(text) or text.startswith("\x80"))
        ):
            return f"unpickles {text[:60]!r}, by its name"
        if words & _NATIVE and (words & _LOAD or words & {"dlopen", "cdll"}) and _OBJECT.fullmatch(text):
            return f"loads the native library {text[:60]!r}, by its name"
        if (words & _FETCH or words >= {"open", "url"} or words >= {"get", "url"}) and _URL.match(text):
            return f"opens {text[:60]!r}, by its name"
        if function and words & _READ and (_PATH.match(text) or _URL.match(text)) and not _META.search(text):
            return f"opens {text[:60]!r}, by its name"
        if function and words >= {"from", "pretrained"} and _REPOSITORY.fullmatch(text):
            return f"fetches and loads {text[:60]!r}, by its name"
        if function and "to" in words and words & _TABLES and _PATH.match(text):
            return f"changes the file {text[:60]!r}, by its name"
        changes = words & _CHANGES and words <= _CHANGES | _OBJECTS
        if function and (changes or ("to" in words and words & _FILES)) and _NAME.fullmatch(text):
            return f"changes the file {text[:60]!r}, by its name"
        if words & _WRITE and _PATH.match(text) and not _META.search(text):
            return f"changes the file {text[:60]!r}, by its name"
    return None


def method(name: str, texts: Sequence[str]) -> str | None:
    """What the call of a method that was fetched by name does, in whatever class it is found.

    Args:
        name: of the method.
        texts: the constant texts among the arguments of the call.
    """
    words = split(name)
    for text in texts:
        changes = words & _METHODS and words <= _METHODS | _OBJECTS
        if changes or words >= {"pipe", "file"} or ("to" in words and words & (_FILES | {"file"})):
            return f"is called with {text[:60]!r}, which changes a file or runs a program, by its name"
    return meaning("", name, texts)


def imports(name: str, texts: Sequence[str]) -> bool:
    """Whether a call gives, by its name, what a dotted text among its arguments names."""
    return bool(split(name.rpartition(".")[2]) & _IMPORT) and any(_DOTTED.fullmatch(text) for text in texts)


def _command(text: str, *, sure: bool) -> bool:
    """Whether a text is a command line: a program alone only if the callable runs some."""
    if len(text) > LONGEST or "\n" in text.strip():
        return False
    found = _PROGRAM.match(text)
    if found is not None and (sure or _LINE.search(text) is not None):
        return True
    return sure and (_META.search(text) is not None or text.startswith(("/bin/", "/usr/bin/", "./")))


def _calls(text: str) -> bool:
    """Whether a text parses as Python and holds a call or an import."""
    if len(text) > LONGEST or not ("(" in text or "import" in text):
        return False
    import ast  # only for a call that is on no list

    try:
        tree = ast.parse(text.strip())
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return any(isinstance(node, ast.Call | ast.Import | ast.ImportFrom) for node in ast.walk(tree))
