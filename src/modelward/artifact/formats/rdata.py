"""R data (RDS, RData): serialised R objects.

Reading builds objects. A promise holds code that runs when its value is first used, which is as soon as the
object is (CVE-2024-27322); closures, formulas and calls are data until something calls them. Environments of
calls hold promises in honest files too: those that were evaluated hold a value and run nothing.
Source: R 4.4 `src/main/serialize.c` and `src/include/Rinternals.h`; "R Internals" section 1.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from modelward.artifact.formats.rstream import Stream
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_SYM, _LIST, _CLO, _ENV, _PROM, _LANG, _SPECIAL, _BUILTIN, _CHAR = 1, 2, 3, 4, 5, 6, 7, 8, 9
_STR, _DOT, _VEC, _EXPR, _BCODE, _EXTPTR, _WEAKREF, _S4 = 16, 17, 19, 20, 21, 22, 23, 25
_ALTREP, _ATTRLIST, _ATTRLANG, _SEEN, _DEFINED = 238, 239, 240, 243, 244
_PERSIST, _PACKAGE, _NAMESPACE, _UNBOUND, _REF = 247, 248, 249, 252, 255
_PAIRS: Final = frozenset((_LIST, _LANG, _CLO, _PROM, _DOT))
_ALONE: Final = frozenset((0, 241, 242, 250, 251, _UNBOUND, 253, 254))
"""Values without content: NULL, environments of R itself, the missing and the unbound value."""
_WIDTHS: Final = {10: 4, 13: 4, 14: 8, 15: 16, 24: 1}
"""Vectors of logicals, integers, reals, complex numbers and bytes -> bytes per item."""
_ACTIVE: Final = 1 << 27
"""Flag of a binding whose value is a function that each use calls."""
_ALTREPS: Final = frozenset(
    (
        "compact_intseq", "compact_realseq", "deferred_string", "wrap_integer", "wrap_logical", "wrap_real",
        "wrap_complex", "wrap_raw", "wrap_string", "wrap_list",
    )
)  # fmt: skip
"""Compact forms of vectors that R's base package rebuilds from data."""
_PAYLOADS: Final = frozenset(
    (
        "system", "system2", "shell", "shell.exec", "eval", "evalq", "source", "sys.source", "Sys.setenv",
        "download.file", "url", "pipe", "socketConnection", "unserialize", "dyn.load", "install.packages",
        "writeLines", "writeBin", "sink", "unlink", "file.remove", "file.copy", "file.create", "browseURL",
        ".Internal", ".External", "reg.finalizer", "httr", "curl", "processx", "rawConnection", "fifo",
    )
)  # fmt: skip
"""Functions of R that run commands, evaluate code or change files, and packages that do."""
_PURE: Final = frozenset(
    (
        "c", "list", "rep", "rep_len", "seq", "seq_len", "seq_along", "length", "nrow", "ncol", "NROW",
        "NCOL", "dim", "names", "colnames", "rownames", "numeric", "integer", "character", "logical",
        "is.null", "max", "min", "sum", "mean", "+", "-", "*", "/", "^", "(", "[", "[[", "$", "@", ":", "!",
        "==", "!=", "<", ">", "<=", ">=", "&&", "||", "&", "|", "~", "if", "floor", "ceiling", "sqrt",
        "log", "exp", "abs", "round", "as.integer", "as.numeric", "as.character", "as.factor", "factor",
        "levels", "data.frame", "matrix", "is.factor", "parent.frame", "environment", "missing", "identity",
        "quote", "formula", "as.formula", "function", "getOption", "nlevels", "paste", "paste0", "TRUE",
        "FALSE",
    )
)  # fmt: skip
"""Functions that a default argument may call without reaching anything."""
_INDIRECT: Final = frozenset(
    (
        "", "do.call", "get", "get0", "mget", "match.fun", "call", "as.call", "parse", "str2lang",
        "str2expression", "Reduce", "Map", "Filter", "mapply", "getFromNamespace", "getExportedValue",
        "asNamespace", "loadNamespace", "::", ":::", "library", "require", "readRDS", "load", "file",
        ".Call", ".C", "eval_tidy", "exec", "lapply", "sapply", "vapply", "tapply", "apply", "outer", "Find",
        "Position", "rapply", "eapply", "sweep", "Vectorize", "as.name", "as.symbol", "delayedAssign",
        "makeActiveBinding", "py_run_string", "py_run_file", "source_python", "sourceCpp", "cppFunction",
        ".Tcl", ".External2", "attachNamespace", "makeCluster", "write", "write.table", "write.csv",
        "saveRDS", "save", "dump", "file.append", "file.rename", "file.symlink", "eval.parent",
    )
)  # fmt: skip
"""Calls that reach functions by computed names, or other code."""
_HOOKS: Final = frozenset((".First", ".First.sys", ".Last", ".onLoad", ".onAttach", ".onUnload", ".Last.lib"))
_MASKED: Final = frozenset(
    (
        "print", "cat", "c", "library", "require", "q", "quit", "ls", "summary", "predict", "plot", "head",
        "str", "load", "source", "list", "data.frame", "lm", "glm", "mean", "names", "length", "paste",
        "message", "stop", "(", "{", "[", "[[", "$", "+", "-", "<-", "=", "if", "for", "function", "nrow",
        "ncol",
    )
)  # fmt: skip
_WORDS: Final = 4096
"""Most names and texts of the code of a promise that are kept."""


def read(data: Buffer, into: Reading) -> None:
    """Walk every object of the file."""
    workspace = bytes(data[:2]) == b"RD"
    pos = data.find(b"\n", 0, 8) + 1 if workspace else 0
    stream = Stream(data, pos + 2, bytes(data[pos : pos + 1]).decode("latin-1"))
    version, writer = stream.integer(), stream.integer()
    stream.integer()
    if version not in {2, 3} or stream.encoding not in {"X", "A", "B"}:
        raise Malformed(f"version {version} of R's serialisation; 2 and 3 are read")
    if version == 3:
        stream.text()
    into.facts["framework"] = "R"
    into.facts["format_version"] = str(version)
    if 0 < writer < 1 << 24:
        into.facts["producer"] = f"R {writer >> 16}.{writer >> 8 & 255}.{writer & 255}"
    _Walk(stream, into, workspace=workspace).run()
    if bytes(data[stream.pos : stream.pos + 1024]).strip():
        into.missed(f"{stream.end - stream.pos} bytes stand behind the object")
    into.proven = True


@final
class _Code:
    """Code that may run: the names and texts in it in order, and the names that are called."""

    def __init__(self, pos: int) -> None:
        self.pos = pos
        self.words: list[str] = []
        self.heads: list[str] = []
        self.forced = True

    def call(self) -> str | None:
        """The code as a call, as far as its names and texts say."""
        words = [word for word in self.words if word]
        return f"{words[0]}({', '.join(map(repr, words[1:6]))})"[:300] if words else None

    def payload(self) -> bool:
        return not _PAYLOADS.isdisjoint(self.words)


@final
class _Walk:
    """Objects in the order in which they stand, with a stack of what is still to come."""

    def __init__(self, stream: Stream, into: Reading, *, workspace: bool) -> None:
        self.stream = stream
        self.into = into
        self.workspace = workspace
        self.refs: list[str] = []
        self.watched: list[_Code] = []
        self.stack: list[Iterator[None]] = []
        self.environments = 0
        self.symbols: set[str] = set()
        self.open: list[_Code] = []
        self.last = ""
        """The symbol or text that was read last."""

    def run(self) -> None:
        """Walk one object with everything in it."""
        self.stack = [self._item(top=True)]
        while self.stack:
            try:
                next(self.stack[-1])
            except StopIteration:
                self.stack.pop()
        # A promise of a call that failed or was not needed: its functions are those of packages, unless the
        # file brings code that does more.
        reaches = not _PAYLOADS.isdisjoint(self.symbols)
        for code in self.open:
            if reaches or not _INDIRECT.isdisjoint(code.heads):
                what = "a promise holds code that runs when its value is used"
                self.into.unproven("rdata.promise", what, pos=code.pos, call=code.call())

    def _down(self) -> None:
        self.stack.append(self._item())

    def _item(self, *, top: bool = False) -> Iterator[None]:
        """Read one object; it yields after it has put an inner object on the stack."""
        stream = self.stream
        self.into.spend()
        place = stream.pos
        flags = stream.integer()
        kind = flags & 255
        if kind in _ALONE:
            return
        if kind in _PAIRS:
            yield from self._pairs(flags, place, top=top and self.workspace)
            return
        if kind == _ENV:
            yield from self._environment()
        elif kind in {_PERSIST, _PACKAGE, _NAMESPACE}:
            yield from self._names(kind)
        elif kind == _ALTREP:
            yield from self._altrep(place)
        elif kind == _REF:
            at = flags >> 8 or stream.integer()
            if not 1 <= at <= len(self.refs):
                raise Malformed(f"a reference to object {at} of {len(self.refs)}")
            self._word(self.refs[at - 1])
        elif kind == _SYM:
            self._down()
            yield
            self.refs.append(self.last)
            self.symbols.add(self.last)
        else:
            yield from self._plain(kind, place)
            if flags & 512:
                self._down()
                yield

    def _plain(self, kind: int, place: int) -> Iterator[None]:
        """An object whose attributes stand behind it."""
        stream = self.stream
        if kind in {_CHAR, _SPECIAL, _BUILTIN}:
            self._word(stream.text())
        elif kind in _WIDTHS:
            stream.vector(stream.length(), _WIDTHS[kind])
        elif kind in {_STR, _VEC, _EXPR}:
            left = stream.length()
            if kind == _STR and not self.watched and left > 64:
                done = stream.texts(left)
                self.into.spend(done // 8)
                left -= done
            for _ in range(left):
                self._down()
                yield
        elif kind == _BCODE:
            stream.integer()
            yield from self._code()
        elif kind == _EXTPTR:
            self.refs.append("")
            for _ in range(2):
                self._down()
                yield
            self.into.note("rdata.pointer", "a pointer to native memory; it is null after reading", pos=place)
        elif kind == _WEAKREF:
            self.refs.append("")
            self.into.unproven("rdata.pointer", "a weak reference, which may hold a finaliser", pos=place)
        elif kind != _S4:
            raise Malformed(f"an object of the unknown type {kind} at offset {place}")

    def _pairs(self, flags: int, place: int, *, top: bool) -> Iterator[None]:
        """Pair lists, calls, closures and promises; the rest of a list is read here, not below it."""
        first = True
        while flags & 255 in _PAIRS:
            self.into.spend()
            kind = flags & 255
            if flags & 512:
                self._down()
                yield
            self.last = ""
            if flags & 1024 and kind != _PROM:
                self._down()
                yield
            name = self.last if kind == _LIST else ""
            if kind == _PROM:
                yield from self._promise(flags, place)
                return
            acts = flags & _ACTIVE and self.environments and kind == _LIST
            code = _Code(place) if (top and kind == _LIST) or acts else None
            bound = self._ahead()
            if code is not None:
                self.watched.append(code)
            self.last = ""
            self._down()
            yield
            if kind == _LANG and first:
                for watched in self.watched:
                    watched.heads.append(self.last)
            if code is not None:
                self.watched.pop()
                self._binding(name, code, bound, acts=bool(acts))
            first = False
            place = self.stream.pos
            flags = self.stream.integer()
        # The end of the list: an object of any kind, read by its own rule from its flags again.
        self.stream.pos = place
        self._down()
        yield

    def _promise(self, flags: int, place: int) -> Iterator[None]:
        """Environment, value and expression of a promise."""
        code = _Code(place)
        if flags & 1024:
            self._down()
            yield
        code.forced = self._ahead() != _UNBOUND
        self._down()
        yield
        self.watched.append(code)
        self._down()
        yield
        self.watched.pop()
        self._judge(code)

    def _ahead(self) -> int:
        """The type of the object that comes next."""
        place = self.stream.pos
        kind = self.stream.integer() & 255
        self.stream.pos = place
        return kind

    def _environment(self) -> Iterator[None]:
        self.refs.append("")
        self.stream.integer()
        self.environments += 1
        for _ in range(4):  # enclosing environment, frame, hash table, attributes
            self._down()
            yield
        self.environments -= 1

    def _names(self, kind: int) -> Iterator[None]:
        if self.stream.integer() != 0:
            raise Malformed("names that are followed by attributes")
        first = ""
        for at in range(self.stream.length()):
            self._down()
            yield
            first = self.last if at == 0 else first
        self.refs.append(first)
        if kind == _PERSIST:
            self.into.unproven("rdata.persistent", f"an object that a hook restores by name, {first[:80]!r}")

    def _altrep(self, place: int) -> Iterator[None]:
        names: list[str] = []
        self.stack.append(self._class(names))
        yield
        for _ in range(2):  # state, attributes
            self._down()
            yield
        if not names or names[0] not in _ALTREPS or names[1:2] != ["base"]:
            shown = "::".join(reversed(names[:2])) or "?"
            said = f"a vector of the class {shown[:80]}, whose own code rebuilds it"
            self.into.unproven("rdata.altrep", said, pos=place)

    def _class(self, names: list[str]) -> Iterator[None]:
        """The information on an ALTREP class: a list of two symbols and a number."""
        while True:
            self.into.spend()
            place = self.stream.pos
            if self.stream.integer() != _LIST:
                break
            self.last = ""
            self._down()
            yield
            names.append(self.last)
        self.stream.pos = place
        self._down()
        yield

    def _code(self) -> Iterator[None]:
        """Compiled code and its constants."""
        self._down()
        yield
        for _ in range(self.stream.length()):
            self.into.spend()
            kind = self.stream.integer()
            if kind == _BCODE:
                self.stack.append(self._code())
            elif kind in {_LANG, _LIST, _SEEN, _DEFINED, _ATTRLANG, _ATTRLIST}:
                self.stack.append(self._shared(kind))
            else:
                self._down()
            yield

    def _shared(self, kind: int) -> Iterator[None]:
        """Pairs in the constants of compiled code, some of which stand there before (`ReadBCLang`)."""
        first = True
        while True:
            self.into.spend()
            if kind == _SEEN:
                self.stream.integer()
                return
            if kind == _DEFINED:
                self.stream.integer()
                kind = self.stream.integer()
            if kind not in {_LANG, _LIST, _ATTRLANG, _ATTRLIST}:
                self._down()
                yield
                return
            for _ in range(2 if kind in {_ATTRLANG, _ATTRLIST} else 1):  # attributes, then the tag
                self._down()
                yield
            self.last = ""
            self.stack.append(self._shared(self.stream.integer()))
            yield
            if first and kind in {_LANG, _ATTRLANG}:
                for watched in self.watched:
                    watched.heads.append(self.last)
            first = False
            kind = self.stream.integer()

    # --- what it means ---

    def _word(self, text: str) -> None:
        self.last = text
        self.into.spend(len(self.watched) // 4)
        for code in self.watched:
            if len(code.words) < _WORDS:
                code.words.append(text)

    def _judge(self, code: _Code) -> None:
        what = "a promise holds code that runs when its value is used"
        if not self.environments:
            if code.forced:
                said = "a promise stands where a value is expected, evaluated already"
                self.into.unproven("rdata.promise", said, pos=code.pos, call=code.call())
            else:
                self.into.dangerous("rdata.promise", what, pos=code.pos, call=code.call())
        elif not code.forced and code.payload():
            self.into.dangerous("rdata.promise", what, pos=code.pos, call=code.call())
        elif not code.forced and not _PURE.issuperset(code.heads):
            self.open.append(code)

    def _binding(self, name: str, code: _Code, kind: int, *, acts: bool) -> None:
        """A name that loading binds to a function that is called by itself, or instead of R's own."""
        if not acts and (name not in _HOOKS | _MASKED or kind != _CLO):
            return
        what = (
            f"each use of {name[:80]!r} calls a function of the file"
            if acts
            else f"the object {name!r}, which R calls by its name"
        )
        if code.payload():
            self.into.dangerous("rdata.hook", what, pos=code.pos, call=code.call())
        elif not acts:
            self.into.unproven("rdata.hook", what, pos=code.pos)
