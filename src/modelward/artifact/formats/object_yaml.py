"""YAML and JSON that make objects: Hydra, Lightning, jsonargparse, detectron2, jsonpickle, YAML's tags.

Sources: Hydra 1.3, "Instantiating objects" (`_target_`, `_args_`, `_partial_`), and 0.11 (`cls`, `class`);
jsonargparse 4 and Lightning, "LightningCLI" (`class_path`, `init_args`);
PyYAML 6.0, constructor.py (`!!python/object/apply` and its kin);
HyperPyYAML 1.2, core.py (`!new:`, `!apply:` and their kin);
jsonpickle 3, tags.py (`py/object`, `py/reduce`); logging.config, "User-defined objects" (`()`), `ext://`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.formats import interpolate, targets
from modelward.artifact.pickle import rules
from modelward.artifact.reading import Malformed
from modelward.artifact.yaml import Mapping, Node, Scalar, Sequence, parse, walk

if TYPE_CHECKING:
    from modelward.artifact.formats.targets import Verdict
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LARGEST: Final = 32 << 20
"""Largest JSON that is read for objects, in bytes."""
DEPTH: Final = 200
KEPT: Final = 200
_LONGEST: Final = 1 << 16
_TRIED: Final = 200
"""Longest expression that is looked at, and most that are looked at one by one."""
"""Most notes on names that are kept."""

NODES: Final = 500_000
"""Most values of a JSON text that makes objects; such a text takes two seconds to read."""
_TARGETS: Final = ("_target_", "__target__", "class_path", "py/object", "py/function", "py/type")
"""Keys whose value is imported and called."""
_WEAK: Final = (
    "target", "type", "class", "factory", "func", "function", "callable", "constructor", "()", "handler",
    "module", "loader", "_class_", "_type_", "cls",
)  # fmt: skip
"""Keys that name code in some libraries and mean something else in most: only payloads count."""
_NAMING: Final = frozenset((*_TARGETS, *_WEAK, "py/repr", "py/reduce"))
_ARGUMENTS: Final = ("_args_", "init_args", "dict_kwargs", "params", "args", "kwargs", "kwds")
_EXPRESSION: Final = re.compile(r"\$[^{$]")
"""How an expression of a MONAI bundle begins."""
_ACTS: Final = re.compile(
    r"\$(?!\{).*?(?:\bimport\s|\b__\w+__|\b(?:os|subprocess|sys|builtins)\.|\b(?:eval|exec|open|getattr)\()"
)
_OWN: Final = frozenset((*_TARGETS, "_partial_", "_recursive_", "_convert_", *_ARGUMENTS))
_RUNS: Final = ("runs ", "evaluates ", "builds a function", "executes", "compiles")
"""How the effects begin of gadgets that run what they are given."""
_TAG: Final = re.compile(r"(?:tag:yaml\.org,2002:|!)?python/([a-z]+(?:/[a-z]+)?)(?::(.*))?$")
_JAVA: Final = re.compile(r"(?:tag:yaml\.org,2002:|!)((?:javax?|com|org|sun)\.[\w.$]+)")
_HYPER: Final = re.compile(r"!(new|name|apply|applyref|module):([\w.]+)$")
"""Tags of HyperPyYAML, which SpeechBrain reads: what they name is imported, and called if no module."""
_DATA_TAGS: Final = frozenset(
    {"none", "bool", "str", "unicode", "bytes", "int", "long", "float", "complex", "list", "tuple", "dict"}
)
_INLINE: Final = re.compile(r"\$\{[^{}]{0,200}\{[^{}]{0,2000}?_target_[\s'\"]*:[\s'\"]*([\w.:]+)")
"""An object that an interpolation makes: `${oc.create:{_target_: os.system}}`."""
_RESOLVER: Final = re.compile(
    r"\$\{\s*(?:oc\.)?(eval|py|python|exec|lambda|pyeval|evaluate|sh|shell|cmd)\s*:(.*)\}\s*$", re.DOTALL
)


def read(data: Buffer, into: Reading) -> None:
    """Judge every name that making the objects would import."""
    roots = documents(data)
    for root in roots:
        judge(root, into)
    into.proven = True


def documents(data: Buffer) -> list[Node]:
    """The documents of a JSON or YAML text as nodes."""
    if len(data) > LARGEST:
        raise Malformed(f"{len(data)} bytes; {LARGEST} are read")
    text = bytes(data[:]).decode("utf-8-sig", "replace")
    if text.lstrip()[:1] in {"{", "["}:
        try:
            return [node(json.loads(text))]
        except (ValueError, RecursionError):
            pass  # flow mappings are YAML as well
    return parse(text)


def node(value: object) -> Node:
    """A decoded JSON value as nodes.

    Raises:
        Malformed: it is nested too deeply, or has more than `NODES` values.
    """
    root = Sequence([], "", 0)
    count = 0
    stack: list[tuple[object, list[Node] | list[tuple[Node, Node]], Node | None, int]] = [
        (value, root.items, None, 0)
    ]
    while stack:
        item, into, key, depth = stack.pop()
        count += 1
        if depth > DEPTH or count > NODES:
            raise Malformed(f"the JSON has more than {DEPTH} levels or {NODES} values")
        made: Node
        if isinstance(item, dict):
            made = Mapping([], "", 0)
            stack += [
                (part, made.pairs, Scalar(str(name), "", 0, plain=False), depth + 1)
                for name, part in reversed(item.items())
            ]
        elif isinstance(item, list):
            made = Sequence([], "", 0)
            stack += [(part, made.items, None, depth + 1) for part in reversed(item)]
        else:
            text = item if isinstance(item, str) else json.dumps(item)
            made = Scalar(text, "", 0, plain=not isinstance(item, str))
        _put(into, key, made)
    return root.items[0]


def _put(into: list[Node] | list[tuple[Node, Node]], key: Node | None, made: Node) -> None:
    into.append(made if key is None else (key, made))  # type: ignore[arg-type]  # the list fits the key, by construction


def names_objects(root: Node) -> bool:
    """Whether a document has a key or a tag that names code."""
    for part in walk(root):
        if isinstance(part, Scalar) and (
            _INLINE.search(part.value) or _ACTS.match(part.value) or _RESOLVER.match(part.value.strip())
        ):
            return True
        if part.tag and (_TAG.match(part.tag) or _JAVA.match(part.tag) or _HYPER.match(part.tag)):
            return True
        if isinstance(part, Mapping):
            if any(part.get(key) is not None for key in (*_TARGETS, "py/repr")):
                return True
            names = ((part.text(key) or "").removeprefix("ext://") for key in _WEAK)
            if any("." in name and targets.meaning(name)[0] == "dangerous" for name in names):
                return True
    return False


def judge(root: Node, into: Reading) -> None:
    """Judge the names in one document.

    Args:
        root: the document.
        into: takes the findings; rules start with `object-yaml.`.
    """
    said: set[str] = set()
    _expressions(root, into)
    for part in walk(root):
        into.spend()
        if part.tag:
            _tag(part, into, said)
        if isinstance(part, Mapping):
            into.spend(4)
            _mapping(part, root, into, said)
        elif isinstance(part, Scalar) and "${" in part.value:
            _interpolation(part, into)
            if made := _INLINE.search(part.value):
                _name(made[1], Mapping([], "", part.line), into, said)


def _expressions(root: Node, into: Reading) -> None:
    """Texts that begin with `$`, which a MONAI bundle evaluates, as one program with its imports first."""
    from modelward.artifact.around.source import analyse

    scalars = (part.value for part in walk(root) if isinstance(part, Scalar))
    texts = {value[1:] for value in scalars if value[:1] == "$" and _EXPRESSION.match(value)}
    lines = sorted(re.sub(r"@[\w:#]+", "reference", text) for text in texts if len(text) < _LONGEST)
    lines.sort(key=lambda line: not line.lstrip().startswith(("import ", "from ")))
    imports = [line for line in lines if line.lstrip().startswith(("import ", "from "))]
    for program in ("\n".join(lines), *("\n".join([*imports, line]) for line in lines[:_TRIED])):
        analysis = analyse(program)
        into.spend(1 + len(program) // 100)
        worst = next((effect for effect in analysis.payload if effect.level == "dangerous"), None)
        if worst is not None:
            message = f"an expression is evaluated: {worst.message}"
            into.dangerous("object-yaml.payload", message, call=worst.call)
        if worst is not None or (analysis.problem is None and program == "\n".join(lines)):
            return


def _mapping(part: Mapping, root: Node, into: Reading, said: set[str]) -> None:
    named = {key.value for key, _ in part.pairs if isinstance(key, Scalar)}
    if named.isdisjoint(_NAMING):
        return
    for key in _TARGETS:
        name = part.text(key) if key in named else None
        if name is not None and "${" in name:
            name, asked = interpolate.resolved(name, root, part)
            if asked is not None:
                message = f"{key} is what ${{{asked[:100]}}} gives where the file is read{_at(part)}"
                report("unproven", message, into, said)
        if name is not None and not name.startswith(interpolate.UNKNOWN):  # else it is said elsewhere
            _name(name, part, into, said)
    evaluated = part.text("py/repr")
    if evaluated is not None:
        code = evaluated.partition("/")[2]
        into.dangerous("object-yaml.jsonpickle", "jsonpickle evaluates what py/repr says", call=code[:200])
    reduced = part.get("py/reduce")
    if reduced is not None and part.text("py/object") is None:
        into.unproven("object-yaml.jsonpickle", "jsonpickle calls what py/reduce names", pos=-1)
    for key in _WEAK:
        name = part.text(key) if key in named else None
        if name is not None and "." in name and len(name) < 300 and (told := f"{key} {name}") not in said:
            said.add(told)
            bare = name.removeprefix("ext://")
            level, why = targets.meaning(bare)
            top = bare.replace(":", ".").split(".", 1)[0]
            if level == "dangerous" and top not in _COMMON:
                call = _call(bare, part)
                into.dangerous(
                    "object-yaml.payload",
                    f"{bare} {why}, where a loader takes the name under {key!r}{_at(part)}",
                    call=call,
                )


_COMMON: Final = frozenset(
    {"code", "site", "commands", "invoke", "sh", "resource", "http", "profile", "trace", "conda", "pip"}
)
"""Modules whose names are ordinary words: under a key that need not name code they say nothing."""


def _name(name: str, part: Mapping, into: Reading, said: set[str]) -> None:
    level, why = targets.meaning(name, _given(part))
    if level == "note":
        level, why = targets.beside(name, into) or (level, why)
    if level == "note" and (danger := _suspicious(part)):
        module, _, last = name.replace(":", ".").rpartition(".")
        runs = (rules.gadget(module, last) or "").startswith(_RUNS)
        level, why = "dangerous" if runs else "unproven", f"is given the text {danger!r}"
    report(level, f"{name} {why}{_at(part)}", into, said, call=_call(name, part))


def report(level: Verdict, message: str, into: Reading, said: set[str], *, call: str | None = None) -> None:
    """Record a judgement on a name, once per message."""
    if message in said or level == "inert":
        return
    said.add(message)
    if level == "dangerous":
        into.dangerous("object-yaml.payload", message, call=call)
    elif level == "unproven":
        into.unproven("object-yaml.unknown-name", message, call=call)
    elif len(said) <= KEPT:
        into.note("object-yaml.own-code", message)


def _at(part: Node) -> str:
    return f" (line {part.line})" if part.line else ""


def _given(part: Mapping) -> dict[str, str]:
    """Arguments that are texts: of the mapping itself, and of those under `init_args` and the like."""
    found: dict[str, str] = {}
    for key, value in _arguments(part):
        if isinstance(value, Scalar) and key:
            found[key] = value.value
        elif isinstance(value, Scalar):
            found.setdefault("0", value.value)
    return found


def _arguments(part: Mapping) -> list[tuple[str, Node]]:
    """(name or "", value) of every argument."""
    found: list[tuple[str, Node]] = []
    for key, value in part.pairs[:100]:
        name = key.value if isinstance(key, Scalar) else ""
        if name in _ARGUMENTS:
            if isinstance(value, Mapping):
                found += [(k.value, v) for k, v in value.pairs[:100] if isinstance(k, Scalar)]
            elif isinstance(value, Sequence):
                found += [("", item) for item in value.items[:100]]
            else:
                found.append(("", value))
        elif name not in _OWN:
            found.append((name, value))
    return found


def _call(name: str, part: Mapping) -> str:
    """`os.system('id')`."""
    shown = [f"{key}={_shown(value)}" if key else _shown(value) for key, value in _arguments(part)[:10]]
    text = f"{name}({', '.join(shown)})"
    return text if len(text) <= 200 else text[:197] + "..."


def _shown(value: Node) -> str:
    if isinstance(value, Scalar):
        return (
            value.value[:80]
            if value.plain and re.fullmatch(r"-?[\d.]+|true|false|null|~", value.value)
            else repr(value.value[:120])
        )
    if isinstance(value, Sequence):
        return (
            f"[{', '.join(_shown(item) if isinstance(item, Scalar) else '...' for item in value.items[:6])}]"
        )
    return "{...}"


def _suspicious(part: Mapping) -> str | None:
    """A text among the arguments that is a command or code."""
    texts = rules_arguments()
    for _, value in _arguments(part):
        if isinstance(value, Scalar) and (
            found := next((text for text in texts if text in value.value), None)
        ):
            return found
    return None


def rules_arguments() -> tuple[str, ...]:
    """Texts that are code or commands wherever they stand; ordinary words of configurations left out."""
    from modelward.artifact.pickle.rules import dangers

    return tuple(
        text
        for text in dangers().arguments
        if text not in {"lambda: ", "open(", "subprocess.", "pip install"}
    )


def _hyper(part: Node, kind: str, name: str, into: Reading, said: set[str]) -> None:
    """`!apply:os.system [id]`: as with `_target_`, a name of the user's own adds no danger to its project."""
    path = f"{name}.x" if kind == "module" else name
    if isinstance(part, Mapping) and kind != "module":
        _name(path, part, into, said)
        return
    given = Mapping([(Scalar("_args_", "", 0, plain=True), part)], "", part.line)
    _name(path, given if kind != "module" else Mapping([], "", part.line), into, said)


def _tag(part: Node, into: Reading, said: set[str]) -> None:
    java = _JAVA.match(part.tag)
    if java:
        into.dangerous(
            "object-yaml.payload", f"the tag {part.tag} makes a {java[1]} in Java's SnakeYAML{_at(part)}"
        )
        return
    if hyper := _HYPER.match(part.tag):
        _hyper(part, hyper[1], hyper[2], into, said)
        return
    found = _TAG.match(part.tag)
    if found is None or found[1] in _DATA_TAGS:
        return
    kind, name = found[1], found[2] or ""
    if "." not in name and kind != "module" and targets.meaning(name)[0] == "note":
        name = f"builtins.{name}" if name else ""  # as PyYAML takes a name without a module
    if not name:
        into.unproven("object-yaml.tag", f"the tag {part.tag} names nothing{_at(part)}")
        return
    mapping = (
        part if isinstance(part, Mapping) else Mapping([(Scalar("_args_", "", 0, plain=True), part)], "", 0)
    )
    call = name if kind in {"name", "module"} else _call(name, mapping)
    if kind == "module":
        level, why = targets.meaning(f"{name}.x")
        why = f"is imported: {why}"
    else:
        level, why = targets.meaning(name, _given(mapping))
    if level == "note":
        level, why = targets.beside(name, into) or ("unproven", "is imported, and its code is unknown")
    report(level, f"{name} {why}, named by a tag{_at(part)}", into, said, call=call)


def _interpolation(part: Scalar, into: Reading) -> None:
    """A resolver of the user's own that evaluates its text is common; what it is given must be harmless."""
    found = _RESOLVER.match(part.value.strip())
    if found is None:
        return
    from modelward.artifact.around.source import analyse

    text = found[2].strip().strip("\"'")
    analysis = analyse(text)
    if analysis.level == "dangerous" or (
        analysis.problem and any(word in text for word in rules_arguments())
    ):
        message = f"the resolver {found[1]} is given code{_at(part)}"
        into.dangerous("object-yaml.payload", message, call=text[:200])
