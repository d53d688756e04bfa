"""Generate src/modelward/artifact/pickle/allowlist.json from the facts of several releases.

    python tools/allowlist_facts.py facts/RELEASE.json PACKAGE ...   # once in the environment of each release
    PYTHONPATH=src python tools/allowlist.py [--check] facts/*.json

`allowlist_facts.py` says which names the pickles of real objects look up, which classes the libraries have, and which
code of each class loading would run. Here is decided: a class becomes an entry when its state is stored by the default
mechanism, or by a `__setstate__` that was read (`allowlist_reviewed.py`), and no other code of it would run that was
not read. A function becomes a `value`, which may be referred to but never called; one that may be called stands in
`allowlist_reviewed.py`. A name that one release refuses is refused. What pickles look up and is left out is printed.
`--check` writes nothing, and says whether the list holds what these facts give.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import allowlist_networks as networks
import allowlist_reviewed as reviewed

from modelward.artifact.pickle import rules

OUT = Path(__file__).parents[1] / "src/modelward/artifact/pickle/allowlist.json"
TRUSTED = ("builtins", "collections", "datetime", "decimal", "fractions", "functools", "joblib", "lightgbm", "numpy", "operator", "pandas",
           "pathlib", "pyarrow", "random", "scipy", "sklearn", "torch", "types", "uuid", "xgboost", "zoneinfo", "exceptions",
           "argparse", "logging", "string", "textwrap", "calendar", "json", "configparser", "statistics", "ipaddress", "difflib", "csv",
           "numbers", "email", "graphlib", "http", "typing", "inspect", "time", "tokenize", "urllib", "math", "dataclasses", "enum", "re",
           "cmath", "itertools", "signal", "socket", "array", "bisect", "heapq", "loss",
           "statsmodels", "imblearn", "category_encoders", "mlxtend", "gensim", "networkx", "hdbscan", "pyod", "catboost",
           "tokenizers", "sortedcontainers", *reviewed.LIBRARIES)  # fmt: skip
NEVER = (
    "scipy.spatial._ckdtree.",
    "scipy.spatial._kdtree.",
    "torch.utils.data.datapipes",
    "inspect.Signature",
    "inspect.Parameter",
)
"""Left out, with the reasons in `allowlist_reviewed.py`."""
Fields = reviewed.Fields
FUNCTIONS = {path.replace(":", ".") for path in reviewed.FUNCTIONS}


def short(path: str) -> str:
    """Package and class name: releases move classes between modules and keep their names."""
    path = path.removeprefix("py:")
    return f"{path.split('.', 1)[0]}:{path.rsplit('.', 1)[-1]}"


SETSTATE = {short(path): state for path, state in reviewed.SETSTATE.items()}
CLASSES = {short(path): fields for path, fields in reviewed.CLASSES.items()}


def refused(path: str, fact: Fields, *, seen: bool) -> str | None:
    """Why a class may not be instantiated and given a state."""
    native = seen or any(path.startswith(prefix) for prefix in reviewed.CALLED)
    setter = fact.get("setstate")
    for hook, owner in fact.get("hooks", {}).items():
        if not owner.startswith("py:") and native:
            continue
        if hook == "__getattr__" and setter and short(setter) == "torch:Module":
            continue  # not asked, see allowlist_networks.ASKED
        if hook == "__setattr__" and not setter:
            continue  # the default state goes into the dictionary, see `made` for slots
        if hook in ("__setitem__", "append", "extend", "add", "update"):
            continue  # these only keep items out, see `made`
        if (hook, short(owner)) not in reviewed.READ_HOOKS:
            return f"its {hook} of {owner.removeprefix('py:')} was not read"
    if setter and short(setter) not in SETSTATE and short(setter) not in ("numpy:generic", "torch:Tensor"):
        return f"its __setstate__ of {setter.removeprefix('py:')} was not read"
    return None


def made(path: str, fact: Fields) -> Fields:
    """Entry of a class that is not refused."""
    top = path.split(".", 1)[0]
    setter = fact.get("setstate")
    # pandas gives its instances to functions that call their methods, so their attributes must be data
    fields: Fields = {"kind": "class", "state": "fields" if top == "pandas" else "dict"}
    if setter:
        fields["state"] = reviewed.SETSTATE.get(setter.removeprefix("py:")) or SETSTATE.get(
            short(setter), "none"
        )
    hooks = fact.get("hooks", {})
    if short(hooks.get("__setitem__", "")) in reviewed.OUTPUTS:
        return {"kind": "class", "state": "fields", "items": "dict:names", "call": [["data*"]]}
    if fact.get("items") and not any(owner for hook, owner in hooks.items() if hook in ("__setitem__", "append", "extend", "add")
                                     and short(owner) not in reviewed.ITEMS):  # fmt: skip
        fields["items"] = fact["items"]
    if short(hooks.get("__getattr__", "")) in networks.KEYED:
        fields["items"] = "dict:keys"
    for prefix, schemas in reviewed.CALLED.items():
        if path.startswith(prefix):
            fields["call"] = schemas
    if fact.get("exception"):
        fields["call"] = reviewed.EXCEPTIONS_CALL
    if fact.get("builtin") and top != "builtins" and "__new__" not in hooks:
        fields["new"] = [["data*"]]
    if fields["state"] == "metric" and "__new__" not in hooks:
        fields["new"] = [
            ["str*"]
        ]  # the letters of its name, by Metric.__getnewargs__; object.__new__ takes them
    if fact.get("named"):
        fields["new"] = fields["call"] = [["any*"]]
    plainly = short(hooks.get("__setattr__", "")) in reviewed.ATTRIBUTES
    if fact.get("slots") and ("__setattr__" not in hooks or plainly) and fields["state"] == "dict":
        fields["slots"] = [
            name
            for name in fact["slots"]
            if not (name.startswith("__") and name.endswith("__")) and (name[0] == "_" or not plainly)
        ]
    setter = hooks.get("__setattr__")  # of a subclass that the file makes, slots are set by it
    unread = setter is not None and ("__setattr__", short(setter)) not in reviewed.READ_HOOKS
    if (
        fact.get("meta") is None
        and set(hooks) <= {"__getattr__", "__setattr__"}
        and subclassed(fact)
        and not unread
        and short(fact.get("setstate", "")) not in networks.NO_BASES
    ):
        fields["base"] = True
    return fields


def subclassed(fact: Fields) -> bool:
    """Whether making a subclass runs only code that was read."""
    return fact.get("subclassing") is None or short(fact["subclassing"]) in reviewed.SUBCLASSING


def decide(path: str, fact: Fields, *, seen: bool) -> Fields | str:
    """Entry of a name by the facts of one release, or why it may only be referred to."""
    if fact["kind"] != "class":
        return {"kind": "value"}
    if fact.get("enum") or (fact.get("meta") == "enum.EnumType" and short(path) in reviewed.ENUMS):
        return {"kind": "enum", "call": [["const"]]}
    return refused(path, fact, seen=seen) or made(path, fact)


def unsaved(module: str) -> bool:
    """Whether a module of a library of networks brings nothing that people save."""
    top, *parts = module.split(".")
    known = top in networks.LIBRARIES or top == "transformers"
    return known and (
        bool(networks.LEFT_PARTS & set(parts)) or any(part.startswith(networks.LEFT) for part in parts)
    )


def listed(module: str, name: str, fact: Fields, *, seen: bool) -> bool:
    """Whether a name may be referred to."""
    path = f"{module}.{name}"
    if path.split(".", 1)[0].lstrip("_") not in TRUSTED or path.startswith(NEVER) or path in FUNCTIONS:
        return False
    if not seen and unsaved(module):
        return False
    if rules.payload(module, name):
        return fact.get("enum", False)  # a constant of a module whose functions are payloads
    return (
        seen
        or fact["kind"] == "class"
        or (module.startswith(reviewed.VALUES) and not rules.gadget(module, name))
    )


def build(files: list[Fields]) -> dict[str, dict[str, Fields]]:
    """All entries, by module and name."""
    modules: dict[str, dict[str, Fields]] = {}
    left: dict[str, str] = {}
    names = [
        (module, name, fact)
        for facts in files
        for module, found in facts["names"].items()
        for name, fact in found.items()
    ]
    seen = {f"{module}.{name}" for module, name, fact in names if fact.get("seen")}
    for module, name, fact in names:
        path = f"{module}.{name}"
        if listed(module, name, fact, seen=path in seen):
            entry = decide(path, fact, seen=path in seen)
            if isinstance(entry, str):
                left[path] = entry
            else:
                merge(modules.setdefault(module, {}), name, entry)
        elif path in seen and path not in FUNCTIONS:
            print(f"left out: {path}", file=sys.stderr)
    for path, why in left.items():
        module = next(module for module, name, _ in names if f"{module}.{name}" == path)
        modules.setdefault(module, {})[path[len(module) + 1 :]] = {"kind": "value"}
        if path in seen:
            print(f"only a value: {path}: {why}", file=sys.stderr)
    reviewed_names(modules)
    return {module: dict(sorted(found.items())) for module, found in sorted(modules.items()) if found}


def merge(names: dict[str, Fields], name: str, entry: Fields) -> None:
    """What all releases allow: the slots of any of them, and a base only if it is one in each."""
    known = names.setdefault(name, entry)
    if known is entry:
        return
    if known.get("slots") or entry.get("slots"):
        known["slots"] = sorted({*known.get("slots", ()), *entry.get("slots", ())})
    if not entry.get("base"):
        known.pop("base", None)
    if known["kind"] == entry["kind"] == "class" and known.get("state") != entry.get("state"):
        known["state"] = STRICTER.get(frozenset((str(known.get("state")), str(entry.get("state")))), "none")


STRICTER = {
    frozenset(("dict", "fields")): "fields",
    frozenset(("dict", "estimator")): "estimator",
    frozenset(("dict", "module")): "module",
    frozenset(("none", "dict")): "dict",
    frozenset(("none", "data")): "data",
    frozenset(("data", "fields")): "fields",
}
"""Two releases give a class its state in different ways: what both take."""


def reviewed_names(modules: dict[str, dict[str, Fields]]) -> None:
    """Add what a person decided, and the paths at which older releases had the same names."""
    for path, fields in reviewed.FUNCTIONS.items():
        module, name = split(path)
        modules.setdefault(module, {})[name] = {"kind": "function"} | fields
    for module, names in modules.items():
        for name in names:
            if (fields := CLASSES.get(short(f"{module}.{name}"))) and names[name]["kind"] == "class":
                names[name] = names[name] | fields
    discrete = modules.get("scipy.stats._discrete_distns", {})
    discrete |= {
        f"{name}.{method}": {"kind": "value"}
        for name in list(discrete)
        for method in ("_entropy", "_cdf_single")
        if name.endswith("_gen")
    }
    for storage in reviewed.STORAGES:
        for module in ("torch", "torch.cuda"):
            modules.setdefault(module, {})[f"{storage}Storage"] = {
                "kind": "class",
                "returns": "torch.storage",
            }
    for name in ("UntypedStorage", "TypedStorage", "_UntypedStorage", "_TypedStorage"):
        modules.setdefault("torch.storage", {})[name] = {"kind": "class", "returns": "torch.storage"}
    for name in reviewed.DTYPES:
        modules.setdefault("torch", {})[name] = {"kind": "class", "pure": True}  # calling one is an error
    for module, olds in reviewed.OLD_MODULES.items():
        for old in olds:
            for name, fields in modules.get(module, {}).items():
                known = modules.setdefault(old, {}).setdefault(name, fields)
                if known.get("kind") == "value" and fields.get("kind") != "value":
                    modules[old][name] = fields


def split(path: str) -> tuple[str, str]:
    """Module and qualified name: the module is all that comes before the first capitalised or last part."""
    if ":" in path:
        module, _, name = path.partition(":")
        return module, name
    parts = path.split(".")
    index = next((i for i, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
    return ".".join(parts[:index]), ".".join(parts[index:])


def shortened(fields: Fields) -> Fields | str:
    """An entry as it is written: a text for the two forms that most have."""
    kept = {key: value for key, value in fields.items() if value not in (None, "", "none", False, [])}
    if kept == {"kind": "value"}:
        return "value"
    state = kept.get("state")
    if state and kept == {"kind": "class", "state": state, "base": True}:
        return state
    return f"-{state}" if state and kept == {"kind": "class", "state": state} else kept


def written(modules: dict[str, dict[str, Fields]], libraries: dict[str, list[str]]) -> str:
    """The text of the file: one line per module."""
    head: dict[str, Any] = {"schema": "modelward.pickle-allowlist/2", "version": 2, "libraries": libraries}
    lines = [f"  {json.dumps(module)}: {json.dumps({n: shortened(f) for n, f in names.items()}, separators=(',', ':'))}"
             for module, names in modules.items()]  # fmt: skip
    return json.dumps(head, indent=1)[:-2] + ',\n "modules": {\n' + ",\n".join(lines) + "\n }\n}\n"


def main() -> int:
    """Write the file, or compare it."""
    files = [json.loads(Path(name).read_text()) for name in sys.argv[1:] if name != "--check"]
    modules = build(files)
    libraries: dict[str, set[str]] = {}
    for facts in files:
        for name, version in facts["libraries"].items():
            libraries.setdefault(name, set()).add(version)
    versions = {name: sorted(found, key=lambda text: [int(part) if part.isdigit() else 0 for part in text.split(".")])
                for name, found in sorted(libraries.items())}  # fmt: skip
    if "--check" in sys.argv:
        missing = [f"{m}.{n}" for m, names in modules.items() for n in names if rules.find(m, n) is None]
        print("\n".join(missing[:20]))
        return int(bool(missing))
    OUT.write_text(written(modules, versions))
    print(f"{sum(map(len, modules.values()))} names in {len(modules)} modules, {OUT.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
