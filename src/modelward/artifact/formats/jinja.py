"""Chat templates in Jinja: whether rendering one can leave the data it is given.

A template is dangerous when an expression reaches Python's internals (`__class__`, `__globals__`), also by a
name that is put together, or calls what runs code. Every value is followed as the set of strings it can be:
constants are folded through `~`, `join`, `format`, slices, `replace`, variables, macros and loops.
Source of the ways: CVE-2024-34359 (llama-cpp-python), CVE-2025-27516 and CVE-2024-56326 (`attr` and `format`
in Jinja's sandbox), and the internals in Python's data model, section "Standard type hierarchy".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from modelward.artifact.formats.fold import Values
from modelward.artifact.formats.template import parse
from modelward.artifact.reading import Exhausted, Malformed

if TYPE_CHECKING:
    from modelward.artifact.formats.fold import Value
    from modelward.artifact.formats.template import Constant, Node, Tag
    from modelward.artifact.reading import Reading

LONGEST: Final = 1 << 20
"""Longest template that is read, in characters."""
ROUNDS: Final = 1_000_000
"""Most rounds of loops over constant ranges before the template counts as a bomb."""

_INTERNAL: Final = frozenset(
    (
        "mro", "gi_frame", "gi_code", "gi_yieldfrom", "cr_frame", "cr_code", "cr_await", "ag_frame",
        "ag_code", "f_globals", "f_locals", "f_builtins", "f_back", "f_code", "tb_frame", "tb_next",
        "func_globals", "func_code", "func_closure", "func_defaults", "im_func", "im_self", "im_class",
        "co_code", "co_consts", "_func", "_environment", "_context", "_iterable", "_undefined",
    )
)  # fmt: skip
"""Attributes without two underscores that lead to frames, code and globals, or to Jinja's own objects."""
_CALLED: Final = frozenset(
    (
        "popen", "Popen", "system", "eval", "exec", "execfile", "check_output", "check_call", "getoutput",
        "getstatusoutput", "import_module", "load_module", "spawnl", "spawnv", "execv", "execve", "execl",
        "get_data", "fromfile",
    )
)  # fmt: skip
"""What no data has and whose call runs code or reads files."""
_BARE: Final = frozenset(
    ("open", "compile", "getattr", "setattr", "globals", "locals", "vars", "input", "breakpoint")
)
_STEMS: Final = frozenset(
    (
        "class", "mro", "base", "bases", "subclasses", "globals", "builtins", "init", "import",
        "getattribute", "getitem", "dict", "code", "self", "closure", "reduce", "reduce_ex", "func",
        "wrapped", "loader", "spec", "enter", "exit", "call", "new", "module", "popen", "system", "eval",
        "exec",
    )
)  # fmt: skip
_BY_NAME: Final = frozenset(
    ("map", "selectattr", "rejectattr", "select", "reject", "sort", "groupby", "sum", "unique", "min", "max")
)
"""Filters that look up attributes by names in their arguments."""
_RAW: Final = re.compile(
    r"__(?:class|mro|bases?|subclasses|globals|builtins|init|import|getattribute|dict|code)__|"
    r"\bos\s*\.\s*(?:popen|system)\b|\|\s*attr\b|\\x5f\\x5f|\\u005f",
    re.IGNORECASE,
)
_SPELLED: Final = re.compile(
    r"__(?:class|mro|bases?|subclasses|globals|builtins|init|import|getattribute|getattr|dict|code|func|self|"
    r"closure|module|reduce|reduce_ex|wrapped|loader|spec|call|new|getitem|init_subclass|subclasshook)__"
)
"""Internals of Python by their whole name."""
_READS: Final = re.compile(r"\{[^{}]*(?:\._|\[_|\.\w*__)[^{}]*\}")
"""A field of a format that reads attributes."""
_WORDS: Final = re.compile(r"globals|builtins|subclasses|getattribute|getitem|x5f|u005f", re.IGNORECASE)
_FUNCTIONS: Final = frozenset(
    (
        "lipsum", "cycler", "joiner", "namespace", "range", "dict", "self", "caller", "raise_exception",
        "strftime_now",
    )
)  # fmt: skip
"""What Jinja and transformers put beside the data."""
_TAGS: Final = frozenset(
    (
        "text", "print", "for", "else", "endfor", "if", "elif", "endif", "set", "endset", "with", "endwith",
        "macro", "endmacro", "call", "endcall", "filter", "endfilter", "do", "autoescape", "endautoescape",
        "block", "endblock", "generation", "endgeneration", "break", "continue", "raw", "endraw", "trans",
        "endtrans", "pluralize",
    )
)  # fmt: skip


def judge(template: str, into: Reading, where: str) -> None:
    """Report what rendering a template could reach; nothing is reported of a harmless one.

    Args:
        template: the text of a Jinja template.
        into: takes the findings; rules start with `jinja.`, positions are characters of the template.
        where: what the template is called in messages, e.g. "tokenizer.chat_template".
    """
    problem = f"{len(template)} characters; {LONGEST} are read"
    if len(template) <= LONGEST:
        try:
            _Judge(into, where, parse(template, into)).run()
        except Malformed as error:
            problem = str(error)
        except Exhausted:
            problem = "it needs more steps than are taken"
        else:
            return
    found = _RAW.search(template)
    if found is None:
        into.unproven("jinja.syntax", f"{where} cannot be read as a template: {problem}")
    else:
        said = f"{where} names {found.group()!r}, and cannot be read as a template: {problem}"
        into.dangerous("jinja.internals", said, pos=found.start())


@final
class _Judge:
    """Looks at each expression of a template, with the values that its names can have."""

    def __init__(self, into: Reading, where: str, tags: list[Tag]) -> None:
        self.into = into
        self.where = where
        self.tags = tags
        self.values = Values(into, tags)
        self.said: set[tuple[str, str]] = set()

    def run(self) -> None:
        """Judge every tag."""
        rounds: list[int] = []
        for tag in self.tags:
            if tag.name in {"include", "import", "extends", "from"}:
                self._file(tag)
            elif tag.name not in _TAGS:
                self._say("unproven", "jinja.tag", f"a statement of an unknown kind, {tag.name!r}", tag.pos)
            if tag.name == "for":
                rounds.append(self.values.rounds(tag.exprs[0]))
                product = 1
                for count in rounds:
                    product *= count
                if product > ROUNDS:
                    self._say("unproven", "jinja.bomb", f"loops of {product} rounds", tag.pos)
            elif tag.name == "endfor" and rounds:
                rounds.pop()
            for root in tag.exprs:
                self._tree(root)
            for name in tag.targets:
                self._spelled(name, tag.pos)
        for size, pos in self.values.bombs[:1]:
            self._say("unproven", "jinja.bomb", f"a value of {size} items or characters", pos)

    def _tree(self, root: Node) -> None:
        self.values.of(root)
        stack = [root]
        while stack:
            node = stack.pop()
            self.into.spend()
            stack += node.kids
            if node.kind == "const":
                self._spelled(node.value, node.pos)
            elif node.kind == "attr":
                self._attribute(node)
            elif node.kind == "item":
                self._inside(node)
                self._key(self.values.of(node.kids[1]), node.pos)
            elif node.kind == "filter":
                self._filter(node)
            elif node.kind == "call":
                self._call(node)

    def _spelled(self, text: Constant, pos: int) -> None:
        """A name that only Python's own objects have: no template needs it, wherever it stands."""
        if isinstance(text, str) and (_SPELLED.fullmatch(text.strip()) or _READS.search(text)):
            self._say("dangerous", "jinja.internals", f"the name {text.strip()[:80]!r}", pos)

    def _inside(self, node: Node) -> None:
        """A subscript of one of Jinja's own functions leads to nothing but its attributes."""
        base = node.kids[0]
        if base.kind == "name" and (base.value in _FUNCTIONS or base.value in self.values.macros):
            self._say(
                "dangerous", "jinja.internals", f"an attribute of the function {base.value!r}", node.pos
            )

    def _file(self, tag: Tag) -> None:
        names = self.values.of(tag.exprs[0]).strings()
        out = [name for name in names if name.startswith(("/", "\\", "file:", "http")) or ".." in name]
        if out:
            self._say("dangerous", "jinja.file", f"{tag.name} of the file {out[0][:80]!r}", tag.pos)
        else:
            shown = f" {min(names)[:80]!r}" if names else ""
            self._say("unproven", "jinja.file", f"{tag.name} of another template{shown}", tag.pos)

    def _attribute(self, node: Node) -> None:
        name = str(node.value)
        if _internal(name):
            self._say("dangerous", "jinja.internals", f"the attribute {name!r}", node.pos)
        elif name.startswith("_"):
            own = node.kids[0].kind == "name" and node.kids[0].value == "self"
            self._say(
                "dangerous" if own else "unproven", "jinja.private", f"the attribute {name!r}", node.pos
            )

    def _key(self, key: Value, pos: int, *, attribute: bool = False) -> None:
        """A key by which something is looked up, perhaps as an attribute."""
        bad = next((text for text in key.strings() if _internal(text.strip())), None)
        bad = bad or next((text for text in key.parts if not key.made and _internal(text.strip())), None)
        if bad is not None:
            self._say("dangerous", "jinja.internals", f"the name {bad[:80]!r}", pos)
        elif key.known is None and key.made and key.parts:
            pieces = [
                text
                for text in key.parts
                if text.strip("_").lower() in _STEMS or "__" in text or text == "_" or _WORDS.search(text)
            ]
            reversed_ = [text for text in key.parts if text[::-1].strip("_").lower() in _STEMS]
            suspect = bool(pieces or reversed_) or attribute
            text = " ".join(sorted(map(repr, key.parts)))[:120]
            self._say(
                "dangerous" if suspect else "unproven",
                "jinja.computed-name",
                f"a name that is put together from {text}",
                pos,
            )
        elif attribute and key.known is None:
            self._say(
                "dangerous", "jinja.computed-name", "an attribute whose name the template does not say", pos
            )

    def _filter(self, node: Node) -> None:
        arguments = [self.values.of(kid) for kid in node.kids[1:]]
        if node.value == "attr":
            for argument in arguments:
                self._key(argument, node.pos, attribute=True)
        elif node.value in _BY_NAME:
            for keyword, argument in zip(node.names, arguments, strict=True):
                self._dotted(argument, node.pos)
                if keyword == "attribute" and argument.known is None:
                    self._key(argument, node.pos, attribute=True)
                if "attr" in argument.strings():
                    for other in arguments:
                        self._key(other, node.pos, attribute=other is not argument)

    def _dotted(self, argument: Value, pos: int) -> None:
        for text in argument.strings() | argument.parts:
            if any(_internal(part) for part in re.split(r"[.,]", text)):
                self._say("dangerous", "jinja.internals", f"the name {text[:80]!r}", pos)
                return

    def _call(self, node: Node) -> None:
        callee = node.kids[0]
        if callee.kind == "attr" and callee.value in {"format", "format_map"}:
            self._format(self.values.of(callee.kids[0]), node.pos)
        name = str(callee.value) if callee.kind in {"attr", "name"} else ""
        if callee.kind == "item":
            name = min(self.values.of(callee.kids[1]).strings() & _CALLED, default="")
        bare = callee.kind == "name" and name in _BARE
        if (name in _CALLED or bare) and name not in self.values.macros:
            self._say("dangerous", "jinja.call", f"a call of {name!r}", node.pos, call=f"{name}(...)")

    def _format(self, text: Value, pos: int) -> None:
        for part in text.strings() | text.parts:
            fields = re.findall(r"\{([^{}]*)", part) if text.known else [part]
            if any("._" in field or "[_" in field or "__" in field for field in fields):
                self._say("dangerous", "jinja.format", f"the format {part[:80]!r} reads attributes", pos)
                return

    def _say(self, level: str, rule: str, what: str, pos: int, *, call: str | None = None) -> None:
        if (rule, what) in self.said or len(self.said) >= 50:
            return
        self.said.add((rule, what))
        if level == "dangerous":
            self.into.dangerous(rule, f"{self.where}: rendering reaches {what}", pos=pos, call=call)
        else:
            self.into.unproven(rule, f"{self.where}: rendering needs {what}", pos=pos, call=call)


def _internal(name: Constant) -> bool:
    """Whether an attribute of this name leads out of the data."""
    return isinstance(name, str) and (
        (name.startswith("_") and "__" in name and len(name) > 2 and name.strip("_") != "")
        or name in _INTERNAL
    )
