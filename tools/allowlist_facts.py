"""What the libraries installed here say about the names that pickles of their objects refer to.

    python tools/allowlist_facts.py OUT.json [@FOLDER] [PACKAGE ...]

Runs in the environment of one release (standard library and the release only). It pickles and loads the objects of
the corpus and records every name looked up; of each PACKAGE it also imports every module and looks at all its
classes. Per class it states which code of the class loading would run: `__new__`, `__setstate__`, `__getattr__`,
`__del__` and so on, and who defines it. `allowlist.py` decides from these facts; nothing is decided here.

With @FOLDER, the pickles in a folder stand in the place of the corpus: they must be our own, since they are loaded.
"""

from __future__ import annotations

import _compat_pickle
import enum
import importlib
import importlib.metadata
import importlib.util
import io
import json
import pickle
import pkgutil
import sys
import types
import warnings
from pathlib import Path
from typing import Any

Facts = dict[str, Any]
HOOKS = ("__new__", "__getattr__", "__getattribute__", "__setattr__", "__del__", "__dict__", "__class__")
"""Methods that instantiating an object and giving it attributes would run, besides `__setstate__`."""
ITEM_HOOKS = ("__setitem__", "append", "extend", "add", "update")
SKIPPED = ("test", "tests", "testing", "conftest", "__main__", "setup", "sandbox", "examples", "example", "benchmarks", "_build_utils",
           "f2py", "distutils", "array_api_compat", "array_api_extra", "externals", "_precompute", "_pyinstaller", "datasets", "plotting", "graphics", "demo")  # fmt: skip
PLAIN = (object, dict, list, tuple, set, frozenset, str, int, float, bytes)


def where(cls: type, name: str) -> str | None:
    """The class in the ancestry that defines a method, unless it is a built-in type's own; `py:` if in Python."""
    for base in cls.__mro__:
        if name in vars(base):
            if base in PLAIN or base is BaseException or (name == "__new__" and _builtin_error(base)):
                return None
            if name == "__dict__" and isinstance(vars(base)[name], types.GetSetDescriptorType):
                return None
            written = getattr(vars(base)[name], "__func__", vars(base)[name])  # __new__ is a static method
            mark = "py:" if isinstance(written, types.FunctionType | property) else ""
            return f"{mark}{base.__module__}.{base.__qualname__}"
    return None


def _builtin_error(cls: type) -> bool:
    return issubclass(cls, BaseException) and cls.__module__ == "builtins"


def slots(cls: type) -> list[str]:
    """Names of the slots of a class: member descriptors, behind which no code stands."""
    return sorted(
        {
            name
            for base in cls.__mro__
            for name, value in vars(base).items()
            if isinstance(value, types.MemberDescriptorType)
        }
    )


def describe(value: object) -> Facts:
    """Facts of one name."""
    if not isinstance(value, type):
        return {"kind": "function" if callable(value) else "value"}
    facts: Facts = {"kind": "class", "where": f"{value.__module__}.{value.__qualname__}"}
    hooks = {name: owner for name in HOOKS if (owner := where(value, name))}
    items = next(
        (kind for base, kind in ((dict, "dict"), (list, "list"), (set, "set")) if issubclass(value, base)), ""
    )
    if items:
        facts["items"] = items
        hooks |= {name: owner for name in ITEM_HOOKS if (owner := where(value, name))}
    if setter := where(value, "__setstate__"):
        facts["setstate"] = setter
    if getattr(value.__new__, "__module__", None) == f"namedtuple_{value.__name__}":
        hooks.pop("__new__")
        facts["named"] = True
    if hooks:
        facts["hooks"] = hooks
    if names := slots(value):
        facts["slots"] = names
    if starts := where(value, "__init_subclass__"):
        facts["subclassing"] = starts
    meta = type(value)
    if meta.__qualname__ not in {"type", "ABCMeta"}:
        facts["meta"] = f"{meta.__module__}.{meta.__qualname__}"
    if isinstance(value, enum.EnumMeta) and value._missing_.__func__ in _MISSING:
        facts["enum"] = True
    if issubclass(value, BaseException):
        facts["exception"] = True
    if issubclass(value, tuple | str | int | float | dict | list):
        facts["builtin"] = next(
            base.__name__ for base in (tuple, str, int, float, dict, list) if issubclass(value, base)
        )
    return facts


_MISSING = {enum.Enum._missing_.__func__, enum.Flag._missing_.__func__}


def renamed(module: str, name: str) -> tuple[str, str]:
    """The name after the unpickler's Python 2 renaming."""
    mapped = _compat_pickle.NAME_MAPPING.get((module, name))
    return mapped or (_compat_pickle.IMPORT_MAPPING.get(module, module), name)


class Recorder(pickle.Unpickler):
    """Loads our own pickles and records the names they look up."""

    def __init__(self, file: io.BytesIO, names: dict[str, dict[str, Facts]]) -> None:
        super().__init__(file)
        self.names = names

    def find_class(self, module: str, name: str) -> object:
        """Look a name up, and record it."""
        found = super().find_class(module, name)
        module, name = renamed(module, name)
        self.names.setdefault(module, {})[name] = describe(found) | {"seen": True}
        return found


def record(sources: list[Any], names: dict[str, dict[str, Facts]]) -> None:
    """Pickle and load every object of the corpus in protocols 0, 2 and 5."""
    for source in sources:
        try:
            for what, value in source():
                for protocol in (0, 2, 5):
                    try:
                        Recorder(io.BytesIO(pickle.dumps(value, protocol)), names).load()
                    except Exception as error:  # noqa: BLE001 - objects of old releases fail in many ways; each is printed
                        print(f"no pickle of {what} in protocol {protocol}: {error!r:.200}", file=sys.stderr)
        except Exception as error:  # noqa: BLE001 - as above
            print(f"{source.__name__} ends early: {error!r:.200}", file=sys.stderr)


def record_files(folder: Path, names: dict[str, dict[str, Facts]]) -> None:
    """Load every pickle of a folder of our own making, and record the names it looks up."""
    for file in sorted(folder.glob("*.pkl")):
        try:
            Recorder(io.BytesIO(file.read_bytes()), names).load()
        except Exception as error:  # noqa: BLE001 - objects of some releases do not load again; each is printed
            print(f"{file.name} does not load: {error!r:.200}", file=sys.stderr)


def walk(package: str, names: dict[str, dict[str, Facts]]) -> None:
    """Describe the classes and public functions of all modules of a package, where they are defined."""
    for module in modules(package):
        for name, value in list(vars(module).items()):
            if (
                getattr(value, "__module__", None) != module.__name__
                or getattr(value, "__qualname__", None) != name
            ):
                continue
            if isinstance(value, type) or (
                isinstance(value, types.FunctionType | types.BuiltinFunctionType) and name[0] != "_"
            ):
                names.setdefault(module.__name__, {}).setdefault(name, describe(value))


def modules(package: str) -> list[types.ModuleType]:
    """The modules of a package that can be imported, but for tests and command lines; `=name` means that module alone."""
    if package.startswith("="):
        return [importlib.import_module(package[1:])]
    try:
        root = importlib.import_module(package)
    except ImportError as error:
        print(f"no {package}: {error}", file=sys.stderr)
        return []
    found = [root]
    for info in pkgutil.walk_packages(getattr(root, "__path__", []), f"{package}.", onerror=lambda _: None):
        if any(part in SKIPPED or part.startswith("test_") for part in info.name.split(".")):
            continue
        try:
            found.append(importlib.import_module(info.name))
        except BaseException as error:  # noqa: BLE001 - modules of platforms and extras that are not here
            print(f"no {info.name}: {error!r:.120}", file=sys.stderr)
    return found


def corpora() -> list[Any]:
    """The functions of the corpus files beside this one whose libraries are installed."""
    sys.path.insert(0, str(Path(__file__).parent))
    sources = []
    for file in ("allowlist_corpus", "allowlist_more"):
        if importlib.util.find_spec(file):
            try:
                module = importlib.import_module(file)
            except ImportError as error:
                print(f"no {file}: {error}", file=sys.stderr)
                continue
            sources += [getattr(module, name) for name in module.SOURCES]
    return sources


def main() -> int:
    """Write the facts."""
    warnings.simplefilter("ignore")
    names: dict[str, dict[str, Facts]] = {}
    folders = [Path(text[1:]) for text in sys.argv[2:] if text[0] == "@"]
    for folder in folders:
        record_files(folder, names)
    if not folders:
        record(corpora(), names)
    for package in sys.argv[2:]:
        if package[0] != "@":
            walk(package, names)
    versions = {"python": sys.version.split()[0]}
    tops = {module.split(".")[0] for module in names}
    for top, distributions in importlib.metadata.packages_distributions().items():
        if top in tops:
            versions |= {name: importlib.metadata.version(name) for name in distributions}
    Path(sys.argv[1]).write_text(json.dumps({"libraries": versions, "names": names}, sort_keys=True))
    print(f"{sum(map(len, names.values()))} names in {len(names)} modules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
