"""One pass over a syntax tree: every call and assignment, and what its names stand for.

Statements are taken in the order of the text, branches one after the other; the bodies of functions come
after the module, as they run later. Nothing is recursive, so no nesting can exhaust the stack.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final, final

from modelward.artifact.around.python import origins, values
from modelward.artifact.around.python.scope import KEPT, Scope, Seen, Site
from modelward.artifact.around.python.values import NAMESPACE, UNKNOWN, Value, constant, tags_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES: Final = 600_000
_STARRED: Final = {
    "os": ("system", "popen", "execv", "execl", "environ", "remove"),
    "subprocess": ("run", "Popen", "call", "check_call", "check_output", "getoutput"),
    "pickle": ("load", "loads", "Unpickler"),
    "base64": ("b64decode",),
    "ctypes": ("CDLL", "PyDLL", "cdll"),
    "importlib": ("import_module",),
    "shutil": ("rmtree",),
    "socket": ("socket", "create_connection"),
}
"""Names that `from module import *` brings in, of the modules that matter here."""
_REACHED: Final = frozenset({"os", "sys", "subprocess", "builtins", "importlib", "socket", "posix", "ctypes"})
"""Modules that other modules hold as attributes (`shutil.os`, `collections._sys`)."""


_FRAMES: Final = frozenset(
    {
        "__class__",
        "__base__",
        "__bases__",
        "__mro__",
        "mro",
        "__subclasses__",
        "__globals__",
        "__builtins__",
        "__code__",
    }
)
"""Attributes by which code climbs from any object to the interpreter."""


def walk(tree: ast.Module) -> Seen:
    """Every call and assignment of a module."""
    return _Pass().run(tree)


@final
class _Pass:
    def __init__(self) -> None:
        self.seen = Seen()
        self.later: list[tuple[list[ast.stmt], Scope]] = []
        self.nodes = 0
        self.downloaded: set[str] = set()

    def run(self, tree: ast.Module) -> Seen:
        module = Scope(None, "module", "", "")
        self.block(tree.body, module)
        position = 0
        while position < len(self.later) and self.seen.complete:
            self.block(*self.later[position])
            position += 1
        return self.seen

    def block(self, body: list[ast.stmt], scope: Scope) -> None:
        stack = [(statement, scope) for statement in reversed(body)]
        while stack:
            if self.nodes > NODES:
                self.seen.complete = False
                return
            statement, inner = stack.pop()
            for part, where in reversed(list(self.statement(statement, inner))):
                stack += [(child, where) for child in reversed(part)]

    # --- statements -----------------------------------------------------------------------------------------

    def statement(self, node: ast.stmt, scope: Scope) -> Iterator[tuple[list[ast.stmt], Scope]]:
        """Take one statement; yields the blocks inside it."""
        self.nodes += 1
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.function(node, scope)
        elif isinstance(node, ast.ClassDef):
            self.decorated(node.decorator_list, scope)
            for part in (*node.bases, *(keyword.value for keyword in node.keywords)):
                self.expression(part, scope)
            name = scope.child(node.name)
            scope.names[node.name] = Value(path=f"<{name}>")
            yield node.body, Scope(scope, "class", name, scope.owner)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self.imported(node, scope)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            self.assigned(node, scope)
        elif isinstance(node, ast.If):
            self.expression(node.test, scope)
            yield node.body, self.main(node.test, scope)
            yield node.orelse, scope
        elif isinstance(node, ast.For | ast.AsyncFor):
            source = self.expression(node.iter, scope)
            first = source.items[0] if source.items and len(source.items) == 1 else None
            self.bind(node.target, first or Value(tags=tags_of((source,))), scope)
            yield node.body, scope
            yield node.orelse, scope
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                value = self.expression(item.context_expr, scope)
                if item.optional_vars is not None:
                    self.bind(item.optional_vars, value, scope)
            yield node.body, scope
        else:
            yield from self.other(node, scope)

    def other(self, node: ast.stmt, scope: Scope) -> Iterator[tuple[list[ast.stmt], Scope]]:
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr):
                value = self.expression(part, scope)
                if isinstance(node, ast.Return) and value.path:
                    self.kept(node, [value], scope)
        if isinstance(node, ast.Try | ast.TryStar):
            yield node.body, scope
            for handler in node.handlers:
                yield handler.body, scope
            yield node.orelse, scope
            yield node.finalbody, scope
        elif isinstance(node, ast.While):
            yield node.body, scope
            yield node.orelse, scope
        elif isinstance(node, ast.Match):
            for case in node.cases:
                yield case.body, scope

    def main(self, test: ast.expr, scope: Scope) -> Scope:
        """The scope of `if __name__ == "__main__":`, which shares the names and does not run on import."""
        if (
            isinstance(test, ast.Compare)
            and isinstance(test.left, ast.Name)
            and test.left.id == "__name__"
            and scope.owner == ""
            and isinstance(test.ops[0], ast.Eq)
        ):
            inner = Scope(scope.outer, scope.kind, scope.qualified, "__main__")
            inner.names = scope.names
            return inner
        return scope

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
        arguments = node.args
        self.decorated(node.decorator_list, scope)
        every = (
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            arguments.vararg,
            arguments.kwarg,
        )
        said = [argument.annotation for argument in every if argument is not None]
        for part in (*arguments.defaults, *arguments.kw_defaults, *said, node.returns):
            if part is not None:
                self.expression(part, scope)
        name = scope.child(node.name)
        scope.names[node.name] = Value(path=f"<{name}>")
        self.seen.functions.add(name)
        inner = Scope(scope, "function", name, name)
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            inner.names[argument.arg] = UNKNOWN
        for extra in (arguments.vararg, arguments.kwarg):
            if extra is not None:
                inner.names[extra.arg] = UNKNOWN
        if scope.kind == "class" and arguments.args:
            inner.names[arguments.args[0].arg] = Value(path=f"<{scope.qualified}>")
        if len(self.later) < 50_000:
            self.later.append((node.body, inner))

    def decorated(self, decorators: list[ast.expr], scope: Scope) -> None:
        """A decorator is called with what it decorates."""
        for part in decorators:
            value = self.expression(part, scope)
            if value.path:
                site = Site(value.path, [UNKNOWN], {}, open=False, node=part, owner=scope.owner)
                self.seen.sites.append(site)

    def imported(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.split(".", 1)[0]
                scope.names[bound] = Value(path=alias.name if alias.asname else bound)
            return
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                for name in _STARRED.get(module, ()):
                    scope.names[name] = Value(path=f"{module}.{name}")
            else:
                path = _short(f"{module}.{alias.name}")
                whole = {values.SECRET} if path == "os.environ" else ()
                scope.names[alias.asname or alias.name] = Value(path=path, tags=frozenset(whole))

    def assigned(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, scope: Scope) -> None:
        if isinstance(node, ast.AnnAssign):
            self.expression(node.annotation, scope)
        if node.value is None:
            return
        value = self.expression(node.value, scope)
        if isinstance(node, ast.AugAssign):
            old = self.expression(node.target, scope)
            value = values.add(old, value) if isinstance(node.op, ast.Add) else UNKNOWN
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            self.bind(target, value, scope)

    def bind(self, target: ast.expr, value: Value, scope: Scope) -> None:
        stack = [(target, value)]
        while stack:
            place, given = stack.pop()
            if isinstance(place, ast.Name):
                scope.names[place.id] = given
            elif isinstance(place, ast.Tuple | ast.List):
                parts = given.items if given.items and len(given.items) == len(place.elts) else None
                for number, part in enumerate(place.elts):
                    stack.append((part, parts[number] if parts else Value(tags=tags_of((given,)))))
            elif isinstance(place, ast.Starred):
                stack.append((place.value, Value(tags=given.tags)))
            elif isinstance(place, ast.Attribute | ast.Subscript):
                base = self.expression(place.value, scope)
                if isinstance(place, ast.Attribute):
                    path = f"{base.path or '?'}.{place.attr}"
                    if isinstance(place.value, ast.Name):
                        scope.names[f"{place.value.id}.{place.attr}"] = given
                else:
                    key = self.expression(place.slice, scope)
                    path = f"{base.path or '?'}[{key.string or ''}]"
                self.seen.sites.append(
                    Site(path, [], {}, open=False, node=place, owner=scope.owner, stored=given)
                )

    # --- expressions ----------------------------------------------------------------------------------------

    def expression(self, root: ast.expr, scope: Scope) -> Value:
        """Value of an expression; every call in it is recorded, the innermost first."""
        found: dict[int, Value] = {}
        stack: list[tuple[ast.AST, bool]] = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                found[id(node)] = self.value(node, found, scope)
                continue
            self.nodes += 1
            if self.nodes > NODES:
                self.seen.complete = False
                return UNKNOWN
            stack.append((node, True))
            if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
                parts = [
                    *node.generators,
                    *(part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)),
                ]
                stack += [(part, False) for part in reversed(parts)]
            elif not isinstance(node, ast.expr_context | ast.operator | ast.cmpop | ast.boolop | ast.unaryop):
                stack += [(part, False) for part in reversed(list(ast.iter_child_nodes(node)))]
        return found.get(id(root), UNKNOWN)

    def value(self, node: ast.AST, found: dict[int, Value], scope: Scope) -> Value:
        if isinstance(node, ast.Constant):
            return UNKNOWN if node.value is ... else constant(node.value)
        if isinstance(node, ast.Name):
            return self.mention(scope.find(node.id), scope)
        if isinstance(node, ast.Attribute):
            return self.attribute(node, found, scope)
        if isinstance(node, ast.Call):
            return self.call(node, found, scope)
        if isinstance(node, ast.Subscript):
            return _subscript(node, found, scope)
        if isinstance(node, ast.BinOp):
            return _binary(node, found)
        if isinstance(node, ast.JoinedStr):
            return _joined([found.get(id(part), UNKNOWN) for part in node.values])
        if isinstance(node, ast.FormattedValue | ast.Starred | ast.Await | ast.keyword):
            inner = found.get(id(node.value), UNKNOWN)
            return inner if not isinstance(node, ast.Await) else Value(path=inner.path, tags=inner.tags)
        if isinstance(node, ast.NamedExpr):
            given = found.get(id(node.value), UNKNOWN)
            self.bind(node.target, given, scope)
            return given
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            parts = tuple(found.get(id(part), UNKNOWN) for part in node.elts)
            spread = any(isinstance(part, ast.Starred) for part in node.elts)
            return Value(
                items=None if spread else parts, tags=tags_of(parts), text=parts[0].start if parts else ""
            )
        if isinstance(node, ast.Dict | ast.Lambda):
            held = [found.get(id(part), UNKNOWN) for part in ast.iter_child_nodes(node)]
            self.kept(node, [value for value in held if value.path], scope)
            return Value(tags=tags_of(held))
        if isinstance(node, ast.comprehension):
            source = found.get(id(node.iter), UNKNOWN)
            if isinstance(node.target, ast.Name):
                scope.names[node.target.id] = Value(tags=tags_of((source,)))
            return Value(tags=tags_of((source,)))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            number = found.get(id(node.operand), UNKNOWN).const
            return constant(-number) if isinstance(number, int) else UNKNOWN
        return Value(tags=tags_of(found.get(id(part), UNKNOWN) for part in ast.iter_child_nodes(node)))

    def kept(self, node: ast.AST, held: list[Value], scope: Scope) -> None:
        """Functions are put into a table or returned, and may be called from there."""
        if held:
            self.seen.sites.append(Site(KEPT, held, {}, open=False, node=node, owner=scope.owner))

    def mention(self, value: Value, scope: Scope) -> Value:
        """A local function or class is mentioned: it may be called from here."""
        if value.path.startswith("<"):
            self.seen.edges.setdefault(scope.owner, set()).add(value.path[1:].split(">", 1)[0])
        return value

    def attribute(self, node: ast.Attribute, found: dict[int, Value], scope: Scope) -> Value:
        base = found.get(id(node.value), UNKNOWN)
        if isinstance(node.value, ast.Name):
            known = scope.find(f"{node.value.id}.{node.attr}")
            if known is not UNKNOWN:
                return known
        return self.member(base, node.attr, scope)

    def member(self, base: Value, name: str, scope: Scope) -> Value:
        """`base.name`."""
        if name == "__dict__" and base.path:
            return Value(path=base.path, tags=base.tags | {NAMESPACE})
        local = base.path.removesuffix("()")  # a class, or an instance of it
        if local.startswith("<") and local.endswith(">"):
            return self.mention(Value(path=f"{local[:-1]}.{name}>", tags=base.tags), scope)
        if (name == "__builtins__") or (name == "__self__" and base.path.startswith("builtins.")):
            return Value(path="builtins")
        start = base.path or ("?" if name in _FRAMES else "")
        path = _short(f"{start}.{name}") if start else ""
        whole = {values.SECRET} if path == "os.environ" else set()
        return Value(path=path, tags=(base.tags - {NAMESPACE}) | whole)

    def call(self, node: ast.Call, found: dict[int, Value], scope: Scope) -> Value:
        callee = found.get(id(node.func), UNKNOWN)
        receiver = (
            found.get(id(node.func.value), UNKNOWN) if isinstance(node.func, ast.Attribute) else UNKNOWN
        )
        args: list[Value] = []
        for part in node.args:
            given = found.get(id(part), UNKNOWN)
            args += given.items or (UNKNOWN,) if isinstance(part, ast.Starred) else (given,)
        named = {keyword.arg: found.get(id(keyword), UNKNOWN) for keyword in node.keywords if keyword.arg}
        spread = any(keyword.arg is None for keyword in node.keywords) or any(
            isinstance(part, ast.Starred) and found.get(id(part), UNKNOWN).items is None for part in node.args
        )
        path = callee.path
        if not path and isinstance(node.func, ast.Attribute):
            path = f"?.{node.func.attr}"
        site = Site(path, args, named, spread, node, scope.owner, receiver=receiver)
        self.seen.sites.append(site)
        if isinstance(node.func, ast.Attribute) and receiver.known:
            computed = values.method(receiver, node.func.attr, args)
            if computed is not None:
                return computed
        return self.returned(site, scope)

    def returned(self, site: Site, scope: Scope) -> Value:
        """What a call returns."""
        path, args = site.path, site.args
        first = args[0] if args else UNKNOWN
        second = args[1].string if len(args) > 1 else None
        if (
            path in {"builtins.__import__", "importlib.import_module", "importlib.__import__"}
            and first.string
        ):
            whole = first.string
            return Value(path=whole if "import_module" in path else whole.split(".", 1)[0])
        if path == "builtins.getattr" and second:
            return self.member(first, second, scope) if first.path else Value(path="", tags=first.tags)
        if path == "builtins.vars" and first.path:
            return Value(path=first.path, tags=first.tags | {NAMESPACE})
        if path in {"builtins.globals", "builtins.locals"}:
            return Value(path="builtins", tags=frozenset({NAMESPACE, "scope"}))
        if path.endswith(".__getattribute__") and (named := second or first.string):
            return self.member(first if second else site.receiver, named, scope)
        if path.endswith(".load_module") and first.string in _REACHED:
            return Value(path=first.string or "")
        if NAMESPACE in site.receiver.tags and path.endswith((".get", ".__getitem__")) and first.string:
            return self.member(site.receiver, first.string, scope)
        if path in {"functools.partial", "builtins.staticmethod"}:
            return Value(path=first.path, tags=tags_of(args))
        decoded = values.decode(path, args)
        if decoded is not None:
            code = first.const
            if path == "builtins.chr" and isinstance(code, int) and 0 <= code < 0x110000:
                return constant(chr(code), decoded.tags)
            return decoded
        if path in {"os.getenv", "os.environ.get", "os.environ.pop", "os.environ.setdefault"}:
            return Value(
                f"{path}()", tags=frozenset({values.SECRET}) if origins.secret(first.string) else frozenset()
            )
        origin = tags_of((*args, *site.named.values(), site.receiver))
        kept = self.origin(site) | origin
        if path == "builtins.map" and first.path in values.DECODERS:
            kept |= {values.DECODED}
        place = origins.place(site)
        if place is not None:
            return Value("pathlib.Path()" if "pathlib" in path else "", text=place, tags=kept)
        return Value(f"{path}()" if path else "", tags=kept)

    def origin(self, site: Site) -> frozenset[str]:
        """Where the result of a call comes from."""
        first = site.args[0] if site.args else UNKNOWN
        if site.path in origins.DOWNLOADS or site.path.endswith((".download_file", ".hf_hub_download")):
            target = site.arg(1, "filename")
            if target is not None and target.string:
                self.downloaded.add(target.string)
            return frozenset({values.DOWNLOAD})
        if site.path in origins.SECRETS:
            return frozenset({values.SECRET})
        if first.string and first.string in self.downloaded:
            return frozenset({values.DOWNLOAD})
        return frozenset()


def _short(path: str) -> str:
    """`shutil.os.system` is `os.system`: modules are reached through the modules that import them."""
    parts = path.split(".")
    for position in range(len(parts) - 1, 0, -1):
        bare = parts[position].lstrip("_")
        if bare in _REACHED and parts[0] not in {"", "<"} and "()" not in path and parts[0] not in _REACHED:
            return ".".join([bare, *parts[position + 1 :]])
    return path


def _subscript(node: ast.Subscript, found: dict[int, Value], scope: Scope) -> Value:
    base, key = found.get(id(node.value), UNKNOWN), found.get(id(node.slice), UNKNOWN)
    if isinstance(node.slice, ast.Slice):
        step = node.slice.step
        turned = step is not None and found.get(id(step), UNKNOWN).const == -1
        plain = node.slice.lower is None and node.slice.upper is None
        return values.backwards(base) if turned and plain else Value(tags=base.tags - {NAMESPACE})
    name = key.string
    if name == "__builtins__":
        return Value(path="builtins", tags=frozenset({NAMESPACE}))
    if base.path == "builtins" and name:
        return Value(path=f"builtins.{name}")
    if base.path == "sys.modules" and name:
        return Value(path=name)
    if NAMESPACE in base.tags and name:
        if "scope" in base.tags:
            return scope.find(name)
        return Value(path=_short(f"{base.path}.{name}"))
    if base.path == "os.environ":
        return Value(
            path="os.environ[]", tags=frozenset({values.SECRET}) if origins.secret(name) else frozenset()
        )
    if any(part in base.path for part in _FRAMES if part.startswith("__")):
        return Value(path=f"{base.path}[]", tags=base.tags)
    return values.index(base, key)


def _binary(node: ast.BinOp, found: dict[int, Value]) -> Value:
    left, right = found.get(id(node.left), UNKNOWN), found.get(id(node.right), UNKNOWN)
    if isinstance(node.op, ast.Add):
        return values.add(left, right)
    if isinstance(node.op, ast.Sub | ast.BitXor | ast.Mult):
        return values.numbers(left, right, type(node.op).__name__)
    if isinstance(node.op, ast.Mod) and left.string is not None:
        return Value(text=re.sub(r"%\(?\w*\)?[sdrifx]", "?", left.string[:4096]), tags=tags_of((left, right)))
    if isinstance(node.op, ast.Div) and (left.path or left.start):
        return Value(path=left.path, text=values.pattern((left, right), "/"), tags=tags_of((left, right)))
    return Value(tags=tags_of((left, right)))


def _joined(parts: list[Value]) -> Value:
    plain = [constant(str(part.const)) if part.known and part.string is None else part for part in parts]
    tags = tags_of(parts)
    if all(part.string is not None for part in plain):
        return constant("".join(part.string or "" for part in plain), tags)
    return Value(text=values.pattern(plain), tags=tags)
