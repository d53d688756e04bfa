# ruff: noqa: D102, RUF012 - a script run by hand; its tables keep one fact per line
"""Generate src/modelward/artifact/pickle/allowlist.json from the libraries installed here.

    PYTHONPATH=src python tools/allowlist.py [--check]

Pickles of real objects (`allowlist_corpus.py`) are loaded with an unpickler that records every name it looks
up. A class becomes an entry when its state is stored by the default mechanism or by a `__setstate__` that
was read (`allowlist_reviewed.py`); any other function becomes a `value`, which may be referred to but never
called. What was not reviewed is printed and left out. `--check` compares instead of writing.
"""

from __future__ import annotations

import _compat_pickle
import importlib.metadata
import io
import json
import pickle
import sys
import warnings
from pathlib import Path

import allowlist_corpus as corpus
import allowlist_reviewed as reviewed

from modelward.artifact.pickle import rules

OUT = Path(__file__).parents[1] / "src/modelward/artifact/pickle/allowlist.json"
LIBRARIES = (
    "joblib",
    "lightgbm",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "torch",
    "xgboost-cpu",
)
TRUSTED = ("builtins", "collections", "datetime", "decimal", "fractions", "functools", "joblib", "lightgbm", "numpy", "operator", "pandas",
           "pathlib", "pyarrow", "random", "scipy", "sklearn", "torch", "types", "uuid", "xgboost", "zoneinfo", "exceptions")  # fmt: skip
SOURCES = (
    corpus.standard,
    corpus.arrays,
    corpus.scientific,
    corpus.frames,
    corpus.estimators,
    corpus.boosted,
    corpus.modules,
)
NEVER = {
    "scipy.spatial._ckdtree.cKDTree",
    "scipy.spatial._kdtree.KDTree",
    "sklearn.metrics._scorer.get_scorer",
}
Fields = reviewed.Fields
NAMED = {path.replace(":", ".") for path in reviewed.FUNCTIONS}


class Recorder(pickle.Unpickler):
    """Loads our own pickles and records the names they look up."""

    seen: dict[tuple[str, str], object] = {}

    def find_class(self, module: str, name: str) -> object:
        found = super().find_class(module, name)
        if (module, name) in _compat_pickle.NAME_MAPPING or module in _compat_pickle.IMPORT_MAPPING:
            module, name = _compat_pickle.NAME_MAPPING.get(
                (module, name), (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
            )
        self.seen.setdefault((module, name), found)
        return found


def record() -> dict[tuple[str, str], object]:
    """Load the pickles of the whole corpus in protocols 0, 2 and 5."""
    for source in SOURCES:
        for what, value in source():
            for protocol in (0, 2, 5):
                try:
                    Recorder(io.BytesIO(pickle.dumps(value, protocol))).load()
                except (pickle.PicklingError, TypeError, AttributeError, ValueError) as error:
                    print(f"no pickle of {what} in protocol {protocol}: {error}", file=sys.stderr)
    return Recorder.seen


def owner(cls: type) -> str | None:
    """The class in the ancestry that defines `__setstate__`."""
    found = next((base for base in cls.__mro__ if "__setstate__" in vars(base)), None)
    return None if found is None else f"{found.__module__}.{found.__qualname__}"


def class_entry(path: str, cls: type) -> Fields | None:
    """Entry of a class, or None when its `__setstate__` was not reviewed."""
    # pandas gives its instances to functions that call their methods, so their attributes must be data
    fields: Fields = {"kind": "class", "state": "fields" if path.startswith("pandas.") else "dict"}
    setter = owner(cls)
    if setter is not None:
        state = reviewed.SETSTATE.get(setter)
        if state is None:
            return (
                None
                if setter not in ("numpy.generic", "torch.Tensor")
                else {"kind": "class"} | reviewed.CLASSES.get(path, {})
            )
        fields["state"] = state
    for base, items in ((dict, "dict"), (list, "list"), (set, "set")):
        if issubclass(cls, base):
            fields["items"] = items
    for prefix, schemas in reviewed.CALLED.items():
        if path.startswith(prefix):
            fields["call"] = schemas
    if issubclass(cls, BaseException):
        fields["call"] = reviewed.EXCEPTIONS_CALL
    if (
        issubclass(cls, dict | list | tuple | str | int | float)
        and path.split(".", maxsplit=1)[0] != "builtins"
    ):
        fields["new"] = [["data*"]]
    return fields | reviewed.CLASSES.get(path, {})


def build() -> dict[str, dict[str, Fields]]:
    """All entries, by module and name."""
    modules: dict[str, dict[str, Fields]] = {}

    def put(module: str, name: str, fields: Fields) -> None:
        modules.setdefault(module, {})[name] = {
            key: value for key, value in fields.items() if value not in (None, "", "none", False)
        }

    for (module, name), value in record().items():
        path = f"{module}.{name}"
        if path in NAMED or path in NEVER or module.split(".")[0].lstrip("_") not in TRUSTED:
            continue
        if rules.payload(module, name) is not None:
            print(f"left out: {path} is on the list of payloads", file=sys.stderr)
            continue
        if isinstance(value, type):
            entry = class_entry(path, value)
            if entry is None:
                print(f"left out: {path} has an unreviewed __setstate__ of {owner(value)}", file=sys.stderr)
                continue
        else:
            entry = {"kind": "value"}
        put(module, name, entry)
    for path, fields in reviewed.FUNCTIONS.items():
        module, name = split(path)
        put(module, name, {"kind": "function"} | fields)
    torch_names(put)
    for module, olds in reviewed.OLD_MODULES.items():
        for old in olds:
            for name, fields in modules.get(module, {}).items():
                modules.setdefault(old, {}).setdefault(name, fields)
    return {module: dict(sorted(names.items())) for module, names in sorted(modules.items())}


def split(path: str) -> tuple[str, str]:
    """Module and qualified name: the module is all that comes before the first capitalised or last part."""
    if ":" in path:
        module, _, name = path.partition(":")
        return module, name
    parts = path.split(".")
    index = next((i for i, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
    return ".".join(parts[:index]), ".".join(parts[index:])


def torch_names(put: object) -> None:
    """Storage classes and dtypes, which torch's own loader looks up."""
    import torch

    for name in reviewed.STORAGES:
        put("torch", f"{name}Storage", {"kind": "class", "returns": "torch.storage"})
        put("torch.cuda", f"{name}Storage", {"kind": "class", "returns": "torch.storage"})
    for name in ("UntypedStorage", "TypedStorage", "_UntypedStorage", "_TypedStorage"):
        put("torch.storage", name, {"kind": "class", "returns": "torch.storage"})
    for name, value in vars(torch).items():
        if isinstance(value, torch.dtype):
            put("torch", name, {"kind": "class"})


def main() -> int:
    """Write the file, or compare it."""
    warnings.simplefilter("ignore")
    libraries = {"python": sys.version.split()[0]} | {
        name: importlib.metadata.version(name) for name in LIBRARIES
    }
    modules = build()
    head = {"schema": "modelward.pickle-allowlist/1", "version": 1, "libraries": libraries}
    lines = [
        f"  {json.dumps(m)}: {{\n"
        + ",\n".join(f"   {json.dumps(n)}: {json.dumps(f)}" for n, f in names.items())
        + "\n  }"
        for m, names in modules.items()
    ]
    text = json.dumps(head, indent=1)[:-2] + ',\n "modules": {\n' + ",\n".join(lines) + "\n }\n}\n"
    if "--check" in sys.argv:
        return int(OUT.read_text() != text)
    OUT.write_text(text)
    print(f"{sum(map(len, modules.values()))} names in {len(modules)} modules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
