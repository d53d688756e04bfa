"""Generate src/modelward/artifact/pickle/gadgets.json: callables through whose call a sink is reached.

    python tools/dangerous.py [--check] [--add] STDLIB SITE_PACKAGES:PACKAGE,PACKAGE ...

Parses every module below the given directories (site-packages, the standard library) without importing any. A
function, a method or a class (by its constructor) is a gadget when an argument of its own flows into a sink: it runs
source text or a program, imports a module, unpickles, loads native code, opens a connection or a file; directly, or
through at most three calls that can be resolved by name. Flow is followed through assignments, containers, formatted
text and attributes of `self`, not through results of calls that are unknown. Only a call of a gadget is dangerous,
never a reference, and the allow-list comes first. `--check` says whether the file holds what these directories give; `--add`
keeps what the file holds of modules that are not below them.
"""

from __future__ import annotations

import ast
import gc
import json
import sys
from multiprocessing import Pool
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from dangerous_sinks import HARMLESS, METHODS, PROGRAM, SINKS, SOURCE

if TYPE_CHECKING:
    from types import UnionType

OUT = Path(__file__).parents[1] / "src/modelward/artifact/pickle/gadgets.json"
ALLOWED = OUT.with_name("allowlist.json")
ROUNDS = 3
"""Calls between a gadget and the sink it reaches, besides the sink's own."""

SKIPPED = frozenset(("site-packages", "tests", "test", "idle_test"))
DEFINED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Function(msgspec.Struct):
    """A function, method or constructor.

    Attributes:
        calls: full names of what it calls with an argument that carries one of its parameters. The object
            of a method counts, as a file gives it any attribute; that of a constructor does not.
        why: what a method of such an object does, whatever its class.
    """

    calls: set[str]
    why: str = ""


class Module(msgspec.Struct):
    """A parsed module: its functions by qualified name, and what its names stand for.

    Attributes:
        exported: names that its top level imports.
        stars: modules of which it imports everything.
        bases: full names of the parents of each class.
        reducers: names that a `__reduce__` of the module refers to: what benign files call.
    """

    functions: dict[str, Function] = {}
    names: dict[str, str] = {}
    package: bool = False
    exported: set[str] = set()
    stars: list[str] = []
    bases: dict[str, list[str]] = {}
    reducers: set[str] = set()


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
    bound = node.name in ("__init__", "__new__", "__post_init__") or any(
        isinstance(mark, ast.Name) and mark.id == "classmethod" for mark in node.decorator_list
    )
    tainted = {name for name in listed if not bound or name != first}
    if not tainted:
        return Function(set())
    flows: list[tuple[set[str], set[str]]] = []
    called: list[tuple[str, set[str], set[str]]] = []
    for statement in node.body:
        for part in ast.walk(statement):
            if (flow := assigned(part)) is not None:
                flows.append(flow)
            elif isinstance(part, ast.Call):
                given = (*part.args, *(word.value for word in part.keywords))
                owned = uses(part.func.value) if isinstance(part.func, ast.Attribute) else set()
                name = dotted(part.func) or (part.func.attr if isinstance(part.func, ast.Attribute) else "")
                called.append((name, set().union(*map(uses, given)), owned))
    for _ in range(2):
        for targets, sources in flows:
            if sources & tainted:
                tainted |= targets
    calls = {
        resolved(name, names, owner, first, home)
        for name, given, owned in called
        if given & tainted or (first and first in owned & tainted)
    }
    last = {name.rpartition(".")[2] for name, given, owned in called if (given | owned) & tainted and owned}
    return Function(calls, next((METHODS[name] for name in sorted(last) if name in METHODS), ""))


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
        if isinstance(node, ast.FunctionDef) and node.name in ("__reduce__", "__reduce_ex__"):
            module.reducers |= {
                name for part in ast.walk(node) if isinstance(part, ast.expr) and (name := dotted(part))
            }
    local = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    top = Module({}, {}, package=module.package)
    for node in definitions(tree.body, ast.Import | ast.ImportFrom):
        imports(node, home, top)
    module.names |= {name: f"{home}.{name}" for name in local}
    renamed = aliases(tree, home, module.names)
    module.exported, module.stars = {*top.names, *renamed} - local, top.stars
    module.names |= renamed
    module.reducers = {resolved(name, module.names, "", "", home) for name in module.reducers}
    for node in definitions(tree.body):
        if isinstance(node, ast.ClassDef):
            parents = [name for base in node.bases if (name := dotted(base))]
            module.bases[node.name] = [resolved(name, module.names, "", "", home) for name in parents]
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
                        known.why = known.why or made.why
                    else:
                        module.functions[f"{node.name}.{inner.name}"] = made
        else:
            module.functions[node.name] = analyse(node, module.names, "", home)
    return module


def definitions(body: list[ast.stmt], kinds: UnionType = DEFINED) -> list[ast.stmt]:
    """Statements of these kinds in a body, also below `if` and `try`; functions and classes if not said."""
    found: list[ast.stmt] = []
    for node in body:
        if isinstance(node, kinds):
            found.append(node)
        elif isinstance(node, ast.If):
            found += definitions([*node.body, *node.orelse], kinds)
        elif isinstance(node, ast.Try):
            handled = [inner for handler in node.handlers for inner in handler.body]
            found += definitions([*node.body, *node.orelse, *handled], kinds)
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
            if alias.name == "*":
                module.stars.append(parent)
            else:
                module.names[alias.asname or alias.name] = f"{parent}.{alias.name}"


def aliases(tree: ast.Module, home: str, names: dict[str, str]) -> dict[str, str]:
    """Other names that a module gives to functions and classes at its top level: `_unpickler = pickle.Unpickler`."""
    found: dict[str, str] = {}
    for node in definitions(tree.body, ast.Assign):
        if isinstance(node, ast.Assign) and (value := dotted(node.value)) is not None:
            path = resolved(value, {**names, **found}, "", "", home)
            found |= {
                target.id: path
                for target in node.targets
                if isinstance(target, ast.Name) and target.id not in names
            }
    return found


def modules(root: Path, packages: list[str]) -> dict[str, Module]:
    """The modules of these packages below a directory, or all of them, by name."""
    paths = (
        [
            path
            for name in packages
            for path in ([root / name] if name.endswith(".py") else (root / name).rglob("*.py"))
        ]
        if packages
        else root.rglob("*.py")
    )
    homes: list[tuple[Path, str]] = []
    for path in sorted(paths):
        parts = path.relative_to(root).with_suffix("").parts
        if any(part in SKIPPED or not part.isidentifier() for part in parts):
            continue
        home = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if home:
            homes.append((path, home))
    with Pool(initializer=gc.disable) as pool:
        found = pool.starmap(parse, homes, chunksize=64)
    return {home: module for (_, home), module in zip(homes, found, strict=True) if module is not None}


def reach(found: dict[str, Module]) -> dict[str, str]:
    """Full name of every gadget -> what it reaches."""
    exported = {
        f"{home}.{name}": target for home, module in found.items() for name, target in module.names.items()
    }
    for home, module in found.items():
        for star in module.stars:
            for name in public(found, star):
                exported.setdefault(f"{home}.{name}", f"{star}.{name}")
                module.exported.add(name)
                module.names.setdefault(name, f"{star}.{name}")
    known = dict(SINKS)
    for _ in range(ROUNDS + 1):
        new = {}
        for home, module in found.items():
            for name, function in module.functions.items():
                path = f"{home}.{name}"
                if path in known or path in HARMLESS:
                    continue
                if why := does(function, known, exported):
                    new[path] = why
        known |= new | inherited(found, known | new, exported)
    reducers = {end(name, exported) for module in found.values() for name in module.reducers}
    reducers |= {  # `return type(self), ...`
        f"{home}.{owner}"
        for home, module in found.items()
        for owner, _, method in (name.rpartition(".") for name in module.functions)
        if method in {"__reduce__", "__reduce_ex__"}
    }
    return {path: why for path, why in known.items() if path not in reducers or why in (SOURCE, PROGRAM)}


def public(found: dict[str, Module], star: str, depth: int = 3) -> set[str]:
    """What importing everything of a module gives."""
    module = found.get(star)
    if module is None or not depth:
        return set()
    names = {name for name in (*module.names, *module.functions) if name[0] != "_" and "." not in name}
    return names.union(*(public(found, inner, depth - 1) for inner in module.stars))


def does(function: Function, known: dict[str, str], exported: dict[str, str]) -> str | None:
    """What a function reaches: the first of its calls in alphabetical order that is known."""
    calls = (reached(call, known, exported) for call in sorted(function.calls))
    return next(filter(None, calls), function.why or None)


def inherited(found: dict[str, Module], known: dict[str, str], exported: dict[str, str]) -> dict[str, str]:
    """Constructors and methods that a class has from a parent, which need be a class itself."""
    new = {}
    classes = {f"{home}.{name}" for home, module in found.items() for name in module.bases}.union(SINKS)
    methods: dict[str, list[str]] = {}
    for home, module in found.items():
        for name in module.functions:
            owner, dot, method = name.rpartition(".")
            if dot:
                methods.setdefault(f"{home}.{owner}", []).append(method)
    for home, module in found.items():
        for name, bases in module.bases.items():
            for base in (end(base, exported) for base in bases):
                if name not in module.functions and base in classes and (why := known.get(base)):
                    new[f"{home}.{name}"] = why
                for method in methods.get(base, ()):
                    path = f"{home}.{name}.{method}"
                    if f"{name}.{method}" not in module.functions and (why := known.get(f"{base}.{method}")):
                        new[path] = why
    return {path: why for path, why in new.items() if path not in known}


def end(name: str, exported: dict[str, str]) -> str:
    """Where a name is defined, through at most four re-exports."""
    for _ in range(5):
        if exported.get(name, name) == name:
            break
        name = exported[name]
    return name


def reached(call: str, known: dict[str, str], exported: dict[str, str]) -> str | None:
    """What a call reaches, through at most four re-exports."""
    call = call.removesuffix(".__init__")
    for _ in range(5):
        if why := known.get(call):
            return why
        if call not in exported or exported[call] == call:
            return None
        call = exported[call]
    return None


def listed(found: dict[str, Module], gadgets: dict[str, str]) -> dict[str, dict[str, str]]:
    """Module -> reason -> names, with the names that modules re-export."""
    table: dict[str, dict[str, set[str]]] = {}
    exported = {
        f"{home}.{name}": target for home, module in found.items() for name, target in module.names.items()
    }
    owned: dict[str, list[str]] = {}
    for path in gadgets:
        home, _, name = path.rpartition(".")
        owned.setdefault(home, []).append(name)
    for home, module in found.items():
        for path in owned.get(home, ()):
            table.setdefault(home, {}).setdefault(gadgets[f"{home}.{path}"], set()).add(path)
        for name in {*module.bases, *(known.partition(".")[0] for known in module.functions if "." in known)}:
            for method in owned.get(f"{home}.{name}", ()):
                why = gadgets[f"{home}.{name}.{method}"]
                table.setdefault(home, {}).setdefault(why, set()).add(f"{name}.{method}")
        for name in module.exported:
            if why := gadgets.get(end(f"{home}.{name}", exported)):
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


PACKAGES = {
    "scikit_learn": "sklearn",
    "xgboost_cpu": "xgboost",
    "pillow": "PIL",
    "attrs": "attr",
    "hydra_core": "hydra",
    "pyro_ppl": "pyro",
    "zope_dottedname": "zope",
    "pyyaml": "yaml",
    "tensorflow_cpu": "tensorflow",
    "paddlepaddle": "paddle",
    "orbax_checkpoint": "orbax",
    "autogluon_core": "autogluon",
}


def main() -> int:
    """Write the file, or compare it."""
    found: dict[str, Module] = {}
    libraries: list[str] = []
    for argument in sys.argv[1:]:
        root, _, names = argument.partition(":")
        if argument not in {"--check", "--add"}:
            packages = names.split(",") if names else []
            found |= {
                home: module for home, module in modules(Path(root), packages).items() if home not in found
            }
            libraries += releases(Path(root), packages)
    table = listed(found, reach(found))
    if "--add" in sys.argv:
        known = json.loads(OUT.read_text())
        libraries = list(dict.fromkeys([*known["libraries"], *libraries]))
        kept = {home: reasons for home, reasons in known["modules"].items() if home not in found}
        table = dict(sorted({**table, **kept}.items()))
    allowed = json.loads(ALLOWED.read_text())["modules"]
    for home, reasons in table.items():  # what may be called in some way is on the other list
        called = {
            name
            for name, entry in allowed.get(home, {}).items()
            if isinstance(entry, dict) and "call" in entry
        }
        for why, names in reasons.items():
            reasons[why] = " ".join(sorted(set(names.split()) - called))
    table = {
        home: left for home, reasons in table.items() if (left := {w: n for w, n in reasons.items() if n})
    }
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
