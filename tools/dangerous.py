"""Generate src/modelward/artifact/pickle/gadgets.json: callables through whose call a sink is reached.

    python tools/dangerous.py [--check] STDLIB SITE_PACKAGES:PACKAGE,PACKAGE ...

Parses every module below the given directories (site-packages, the standard library) without importing any. A
function, a method or a class (by its constructor) is a gadget when an argument of its own flows into a sink: it runs
source text or a program, imports a module, unpickles, loads native code, opens a connection or a file; directly, or
through at most three calls that can be resolved by name. Flow is followed through assignments, containers, formatted
text and attributes of `self`, not through results of calls that are unknown. Only a call of a gadget is dangerous,
never a reference, and the allow-list comes first. `--check` says whether the file holds what these directories give.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import msgspec

OUT = Path(__file__).parents[1] / "src/modelward/artifact/pickle/gadgets.json"
ROUNDS = 3
"""Calls between a gadget and the sink it reaches, besides the sink's own."""
SOURCE, PROGRAM, IMPORT, PICKLE, NATIVE, NET, WRITE, READ = (
    "runs source text", "runs programs", "imports modules", "unpickles again, unchecked", "loads native code",
    "opens connections", "writes or deletes files", "opens files",
)  # fmt: skip
SINKS: dict[str, str] = {
    **dict.fromkeys(("exec", "eval", "compile", "execfile", "builtins.exec", "builtins.eval", "runpy.run_path", "runpy.run_module", "runpy._run_code",
                     "runpy._run_module_code", "code.interact", "code.InteractiveInterpreter", "timeit.timeit", "timeit.Timer", "cProfile.run",
                     "profile.run", "types.FunctionType", "types.CodeType", "torch.compile"), SOURCE),
    **dict.fromkeys(("os.system", "os.popen", "os.execv", "os.execve", "os.execvp", "os.execl", "os.execlp", "os.execvpe", "os.spawnv", "os.spawnvp",
                     "os.spawnve", "os.spawnl", "os.spawnlp", "os.posix_spawn", "os.startfile", "os.kill", "pty.spawn", "subprocess.run", "subprocess.call",
                     "subprocess.Popen", "subprocess.check_call", "subprocess.check_output", "subprocess.getoutput", "subprocess.getstatusoutput",
                     "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell", "webbrowser.open", "_posixsubprocess.fork_exec",
                     "_winapi.CreateProcess", "multiprocessing.Process", "distutils.spawn.spawn"), PROGRAM),
    **dict.fromkeys(("__import__", "importlib.import_module", "importlib.util.spec_from_file_location", "importlib.__import__", "imp.load_source",
                     "imp.load_module", "importlib.reload", "pkgutil.resolve_name", "importlib.util.find_spec"), IMPORT),
    **dict.fromkeys(("pickle.load", "pickle.loads", "pickle.Unpickler", "_pickle.loads", "marshal.load", "marshal.loads", "shelve.open", "dill.load",
                     "dill.loads", "cloudpickle.load", "cloudpickle.loads", "joblib.load", "torch.load", "numpy.load", "pandas.read_pickle",
                     "yaml.load", "yaml.unsafe_load", "yaml.full_load"), PICKLE),
    **dict.fromkeys(("ctypes.CDLL", "ctypes.WinDLL", "ctypes.PyDLL", "ctypes.cdll.LoadLibrary", "ctypes.util.find_library", "_ctypes.dlopen",
                     "torch.ops.load_library", "torch.classes.load_library", "ctypes.string_at", "ctypes.memmove"), NATIVE),
    **dict.fromkeys(("socket.socket", "socket.create_connection", "urllib.request.urlopen", "urllib.request.urlretrieve", "urllib.request.Request",
                     "http.client.HTTPConnection", "http.client.HTTPSConnection", "smtplib.SMTP", "ftplib.FTP", "requests.get", "requests.post",
                     "requests.request", "requests.head", "requests.Session", "socket.getaddrinfo", "socket.gethostbyname", "urllib.request.build_opener"), NET),
    **dict.fromkeys(("os.remove", "os.unlink", "os.rmdir", "os.rename", "os.replace", "os.mkdir", "os.makedirs", "os.chmod", "os.symlink", "os.link",
                     "shutil.rmtree", "shutil.move", "shutil.copy", "shutil.copyfile", "shutil.copy2", "shutil.copytree", "shutil.unpack_archive",
                     "os.removedirs", "os.renames", "os.truncate", "os.putenv", "tarfile.open", "zipfile.ZipFile", "os.chdir"), WRITE),
    **dict.fromkeys(("open", "io.open", "codecs.open", "io.FileIO", "os.open", "gzip.open", "bz2.open", "lzma.open", "tokenize.open", "os.listdir",
                     "os.scandir", "os.walk", "linecache.getlines", "linecache.getline", "mmap.mmap", "os.fdopen", "builtins.open"), READ),
}  # fmt: skip
"""Callable by its full name -> what it does."""


class Function(msgspec.Struct):
    """A function, method or constructor.

    Attributes:
        params: its parameters; `self` and `cls` are not among them.
        calls: full name of what it calls -> whether an argument carries one of the parameters.
    """

    params: set[str]
    calls: set[str]


class Module(msgspec.Struct):
    """A parsed module: its functions by qualified name, and what its names stand for."""

    functions: dict[str, Function] = {}
    names: dict[str, str] = {}
    package: bool = False


def dotted(node: ast.expr) -> str | None:
    """`a.b.c` of an expression of names and attributes, else None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def uses(node: ast.AST) -> set[str]:
    """Names and attributes that the value of an expression is made of: not those that are only compared."""
    found: set[str] = set()
    todo = [node]
    while todo:
        part = todo.pop()
        if isinstance(part, ast.Compare | ast.Lambda):
            continue
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.Attribute) and (name := dotted(part)) is not None:
            found |= {name, name.split(".", 1)[0]}
            continue
        todo += [part.body, part.orelse] if isinstance(part, ast.IfExp) else ast.iter_child_nodes(part)
    return found


def analyse(
    node: ast.FunctionDef | ast.AsyncFunctionDef, names: dict[str, str], owner: str, home: str
) -> Function:
    """Calls of a function that get one of its parameters."""
    args = node.args
    listed = [
        arg.arg
        for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg)))
    ]
    first = listed[0] if owner and listed else ""
    tainted = {name for name in listed if name != first}
    params = set(tainted)
    if not tainted:
        return Function(params, set())
    flows: list[tuple[set[str], set[str]]] = []
    called: list[tuple[str, set[str]]] = []
    for statement in node.body:
        for part in ast.walk(statement):
            if (flow := assigned(part)) is not None:
                flows.append(flow)
            elif isinstance(part, ast.Call) and (name := dotted(part.func)) is not None:
                given = (*part.args, *(word.value for word in part.keywords))
                called.append((name, set().union(*map(uses, given))))
    for _ in range(2):
        for targets, sources in flows:
            if sources & tainted:
                tainted |= targets
    calls = {resolved(name, names, owner, first, home) for name, given in called if given & tainted}
    return Function(params, calls)


def assigned(part: ast.AST) -> tuple[set[str], set[str]] | None:
    """What is assigned, and what it is made of."""
    if isinstance(part, ast.Assign):
        targets, value = part.targets, part.value
    elif isinstance(part, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        targets, value = [part.target], part.value
    elif isinstance(part, ast.For | ast.comprehension):
        targets, value = [part.target], part.iter
    elif isinstance(part, ast.withitem) and part.optional_vars is not None:
        targets, value = [part.optional_vars], part.context_expr
    else:
        return None
    flat = [
        inner
        for target in targets
        for inner in (target.elts if isinstance(target, ast.Tuple | ast.List) else [target])
    ]
    return {name for inner in flat if (name := dotted(inner)) is not None}, uses(
        value
    ) if value is not None else set()


def resolved(name: str, names: dict[str, str], owner: str, first: str, home: str) -> str:
    """The full name of what is called: an import, a function of the module, a method of the same class."""
    head, _, rest = name.partition(".")
    if owner and head == first and rest and "." not in rest:
        return f"{home}.{owner}.{rest}"
    known = names.get(head)
    return f"{known}.{rest}" if known and rest else known or name


def parse(path: Path, home: str) -> Module | None:
    """A module's functions; None when it cannot be read."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, OSError):
        return None
    module = Module({}, {}, package=path.name == "__init__.py")
    for node in ast.walk(tree):
        imports(node, home, module)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            module.names[node.name] = f"{home}.{node.name}"
    for node in definitions(tree.body):
        if isinstance(node, ast.ClassDef):
            for inner in definitions(node.body):
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    static = any(
                        isinstance(mark, ast.Name) and mark.id == "staticmethod"
                        for mark in inner.decorator_list
                    )
                    made = analyse(inner, module.names, "" if static else node.name, home)
                    if inner.name in ("__init__", "__new__", "__post_init__"):
                        known = module.functions.setdefault(node.name, made)
                        known.calls |= made.calls
                    else:
                        module.functions[f"{node.name}.{inner.name}"] = made
        else:
            module.functions[node.name] = analyse(node, module.names, "", home)
    return module


def definitions(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions and classes of a body, also below `if` and `try`."""
    found: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef] = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node)
        elif isinstance(node, ast.If):
            found += definitions([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            found += definitions(
                [*node.body, *node.orelse, *(inner for handler in node.handlers for inner in handler.body)]
            )
    return found


def imports(node: ast.AST, home: str, module: Module) -> None:
    """Record what an import binds."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            module.names[alias.asname or alias.name.split(".")[0]] = (
                alias.name if alias.asname else alias.name.split(".")[0]
            )
    elif isinstance(node, ast.ImportFrom):
        base = home.split(".") if module.package else home.split(".")[:-1]
        base = base[: len(base) - node.level + 1] if node.level else []
        parent = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            module.names[alias.asname or alias.name] = f"{parent}.{alias.name}"


def modules(root: Path, packages: list[str]) -> dict[str, Module]:
    """The modules of these packages below a directory, or all of them, by name."""
    found = {}
    paths = (
        [path for name in packages for path in (root / name).rglob("*.py")]
        if packages
        else root.rglob("*.py")
    )
    for path in sorted(paths):
        parts = path.relative_to(root).with_suffix("").parts
        if any(
            part in ("site-packages", "tests", "test", "idle_test") or not part.isidentifier()
            for part in parts
        ):
            continue
        home = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        module = parse(path, home) if home else None
        if module is not None:
            found[home] = module
    return found


def reach(found: dict[str, Module]) -> dict[str, str]:
    """Full name of every gadget -> what it reaches."""
    exported = {
        f"{home}.{name}": target for home, module in found.items() for name, target in module.names.items()
    }
    known = dict(SINKS)
    for _ in range(ROUNDS + 1):
        new = {}
        for home, module in found.items():
            for name, function in module.functions.items():
                path = f"{home}.{name}"
                if path in known or not function.params:
                    continue
                why = next(
                    (why for call in sorted(function.calls) if (why := reached(call, known, exported))), None
                )
                if why is not None:
                    new[path] = why
        known |= new
    return {path: why for path, why in known.items() if path not in SINKS}


def reached(call: str, known: dict[str, str], exported: dict[str, str]) -> str | None:
    """What a call reaches, through at most four re-exports."""
    for _ in range(5):
        if why := known.get(call):
            return why
        if call not in exported or exported[call] == call:
            return None
        call = exported[call]
    return None


def listed(found: dict[str, Module], gadgets: dict[str, str]) -> dict[str, dict[str, str]]:
    """Module -> reason -> names, with the names that packages re-export."""
    table: dict[str, dict[str, set[str]]] = {}
    for home, module in found.items():
        for name in module.functions:
            if why := gadgets.get(f"{home}.{name}"):
                table.setdefault(home, {}).setdefault(why, set()).add(name)
        for name, target in module.names.items() if module.package else ():
            if target != f"{home}.{name}" and (why := gadgets.get(target)):
                table.setdefault(home, {}).setdefault(why, set()).add(name)
    return {
        home: {why: " ".join(sorted(names)) for why, names in sorted(reasons.items())}
        for home, reasons in sorted(table.items())
    }


def releases(root: Path, packages: list[str]) -> list[str]:
    """Names and versions of the packages whose modules were read."""
    if not packages:
        return [f"python {sys.version.split()[0]}"]
    found = []
    for path in sorted(root.glob("*.dist-info")):
        name, _, version = path.name.removesuffix(".dist-info").partition("-")
        if PACKAGES.get(name.lower(), name.lower()) in [package.lower() for package in packages]:
            found.append(f"{name} {version}")
    return found


PACKAGES = {"scikit_learn": "sklearn", "xgboost_cpu": "xgboost"}


def main() -> int:
    """Write the file, or compare it."""
    found: dict[str, Module] = {}
    libraries: list[str] = []
    for argument in sys.argv[1:]:
        root, _, names = argument.partition(":")
        if argument != "--check":
            packages = names.split(",") if names else []
            found |= {
                home: module for home, module in modules(Path(root), packages).items() if home not in found
            }
            libraries += releases(Path(root), packages)
    table = listed(found, reach(found))
    lines = ",\n".join(
        f"  {json.dumps(home)}: {json.dumps(reasons, separators=(',', ':'))}"
        for home, reasons in table.items()
    )
    head = json.dumps({"schema": "modelward.pickle-gadgets/1", "libraries": libraries}, indent=1)
    text = head[:-2] + ',\n "modules": {\n' + lines + "\n }\n}\n"
    if "--check" in sys.argv:
        return int(OUT.read_text() != text)
    OUT.write_text(text)
    print(
        f"{sum(len(names.split()) for reasons in table.values() for names in reasons.values())} names, {len(text)} bytes"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
