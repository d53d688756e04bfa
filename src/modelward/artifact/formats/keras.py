"""Keras models: what building the objects of a configuration can do.

A configuration names classes and functions, and older releases of Keras import whatever module it names
(CVE-2025-1550), call functions of Keras that write files (CVE-2025-8747), read files that a layer names
(CVE-2025-12058) and turn marshalled bytes into functions (CVE-2024-3660; in the old HDF5 format whatever
`safe_mode` says, CVE-2025-9905). So the verdict does not depend on the release: each name must be one of
Keras's own modelling classes or functions (`keras_classes.json`, written by tools/keras_classes.py), and no
value may carry code or a path.

Sources: keras/src/saving/serialization_lib.py, saving_lib.py and legacy/saving/ of Keras 3.15;
keras/src/saving/legacy/ and layers/core/ of Keras 2.15.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast, final

import msgspec

from modelward.artifact.formats import keras_code
from modelward.artifact.pickle import rules
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading
    from modelward.core.canonical import JSON

CONFIG: Final = 256 << 20
"""Largest configuration that is read, in bytes."""
_FAMILY: Final = (
    "keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras", "tensorflow.compat.v1.keras",
)  # fmt: skip
_REACHING: Final = frozenset(
    {
        "utils", "saving", "config", "export", "callbacks", "datasets", "applications", "preprocessing",
        "backend", "distribution", "visualization", "distribute", "wrappers", "estimator", "testing",
        "dtensor", "tree",
    }
)  # fmt: skip
"""Parts of Keras that read and write files, change settings or call functions, and hold no layers."""
_OLD: Final = frozenset({"legacy", "_legacy"})
_LOADERS: Final = frozenset(
    {
        "deserialize", "deserialize_keras_object", "load_model", "save_model", "model_from_json",
        "model_from_yaml", "model_from_config",
    }
)  # fmt: skip
_VALUES: Final = frozenset(
    {
        "__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__",
        "TensorShape", "CompositeTensor", "TypeSpec",
    }
)  # fmt: skip
"""Marks of plain values in a configuration."""
_SAID: Final = 1000
_LISTED: Final = 200


class Classes(msgspec.Struct, frozen=True):
    """Keras's own names: module without the marks of a release -> names."""

    libraries: dict[str, list[str]]
    classes: dict[str, frozenset[str]]
    functions: dict[str, frozenset[str]]
    registered: frozenset[str]
    operations: frozenset[str]
    stdlib: frozenset[str]


@lru_cache(maxsize=1)
def known() -> Classes:
    """Read the table once."""
    return msgspec.json.decode(Path(__file__).with_name("keras_classes.json").read_bytes(), type=Classes)


@lru_cache(maxsize=4)
def _names(kind: str) -> frozenset[str]:
    """All names of Keras of a kind ("class", "layer", "function"), whatever their module."""
    table = known().functions if kind == "function" else known().classes
    kept = (names for module, names in table.items() if kind != "layer" or module.startswith("keras.layers"))
    return frozenset().union(*kept)


def read(data: Buffer, into: Reading) -> None:
    """Read a `.keras` archive: its configuration; the weights are a member of their own.

    Args:
        data: the archive.
        into: gets the findings and facts.
    """
    from modelward.artifact.zipread import Archive
    from modelward.artifact.zips import content

    archive = Archive(data)
    found = [member for member in archive.members if member.name.lstrip("./").lower() == "config.json"]
    if not found:
        raise Malformed("the archive has no config.json")
    for member in found:
        text = content(archive, member, CONFIG)
        if text is None:
            into.missed("config.json cannot be read")
        else:
            read_text(text, into, "config.json")
    for member in archive.members:
        if member.name == "metadata.json" and (text := content(archive, member)) is not None:
            _metadata(text, into)
    into.proven = True


def _metadata(text: bytes, into: Reading) -> None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return
    version = found.get("keras_version") if isinstance(found, dict) else None
    if isinstance(version, str):
        into.facts["framework"] = _shown(f"keras {version[:40]}")


def read_text(text: bytes, into: Reading, where: str, *, legacy: bool = False) -> None:
    """Judge a configuration as JSON text.

    Args:
        text: as in the file; UTF-8, UTF-16 or UTF-32, as Python's json takes it.
        into: gets the findings and facts.
        where: what the text is called in messages.
        legacy: it is an attribute of an HDF5 file, whose loader ignores `safe_mode`.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        into.missed(f"{where} is no JSON: {str(error)[:200]}")
        return
    judge(cast("JSON", config), into, where, legacy=legacy)


def judge(config: JSON, into: Reading, where: str, *, legacy: bool = False, revived: bool = False) -> None:
    """Judge a Keras configuration.

    Args:
        config: a layer, a model, a compile configuration or anything that holds them.
        into: gets the findings, and the facts `layers`, `operators` and `framework`.
        where: what the configuration is called in messages.
        legacy: its loader ignores `safe_mode`, as that of HDF5 files does.
        revived: classes that Keras does not know are rebuilt from a graph (SavedModel), so need no note.
    """
    Judge(into, where, legacy=legacy, revived=revived).walk(config)


def plain(module: str) -> str:
    """A module's name without the marks of a release: `keras.src.layers` and `keras.api.layers` are one."""
    for prefix in _FAMILY[1:]:
        if module == prefix or module.startswith(prefix + "."):
            module = "keras" + module[len(prefix) :]
    return ".".join(
        part for part in module.split(".") if part not in {"src", "api", "_tf_keras", "_v1", "_v2"}
    )


@final
class Judge:
    """One walk over a configuration."""

    def __init__(self, into: Reading, where: str, *, legacy: bool, revived: bool) -> None:
        self.into = into
        self.where = where
        self.legacy = legacy
        self.revived = revived
        self.layers: Counter[str] = Counter()
        self.said: set[tuple[str, str]] = set()

    def walk(self, config: JSON) -> None:
        """Judge every object in the value."""
        from modelward.artifact.formats.keras_layers import BY_NAME

        stack: list[JSON] = [config]
        seen: set[int] = set()
        while stack:
            self.into.spend()
            node = stack.pop()
            if isinstance(node, list | dict):
                if id(node) in seen:
                    continue
                seen.add(id(node))
            if isinstance(node, list):
                stack += reversed(node)
            elif isinstance(node, str):
                self._text(node)
            elif isinstance(node, dict):
                stack += reversed(list(node.values()))
                name = node.get("class_name")
                if isinstance(name, str) and ("config" in node or "module" in node):
                    self.object(name, node)
                    special = BY_NAME.get(name.rpartition(">")[2])
                    inner = node.get("config")
                    if special is not None and isinstance(inner, dict):
                        special(self, inner)
        self._facts(config)

    def _facts(self, config: JSON) -> None:
        facts = self.into.facts
        if self.layers:
            facts["layers"] = sum(count for name, count in self.layers.items() if name in _names("layer"))
            facts["operators"] = cast("JSON", [_shown(name) for name in sorted(self.layers)[:_LISTED]])
        version = config.get("keras_version") if isinstance(config, dict) else None
        if isinstance(version, str):
            facts["framework"] = _shown(f"keras {version[:40]}")
        facts.setdefault("framework", "keras")

    # --- reporting ----------------------------------------------------------------------------------------

    def dangerous(self, rule: str, message: str, call: str | None = None) -> None:
        """Building the object runs code or reaches files."""
        if self._new(rule, message):
            self.into.dangerous(
                f"keras.{rule}", _shown(f"{self.where}: {message}"), call=call and _shown(call)
            )

    def unproven(self, rule: str, message: str, call: str | None = None) -> None:
        """What building the object does is unknown."""
        if self._new(rule, message):
            self.into.unproven(
                f"keras.{rule}", _shown(f"{self.where}: {message}"), call=call and _shown(call)
            )

    def _new(self, rule: str, message: str) -> bool:
        """Whether this was not said before, and not too much was."""
        if (rule, message) in self.said or len(self.said) >= _SAID:
            return False
        self.said.add((rule, message))
        return True

    # --- objects ------------------------------------------------------------------------------------------

    def object(self, name: str, node: dict[str, JSON]) -> None:
        """Judge the class or function that one object names."""
        module, registered, inner = node.get("module"), node.get("registered_name"), node.get("config")
        place = module if isinstance(module, str) else ""
        if name == "__lambda__":
            config = inner if isinstance(inner, dict) else {}
            for key in ("code", "value"):
                self.code(config.get(key))
        elif name == "__typespec__":
            self._class(str(node.get("spec_name", "")), place, None)
        elif name == "function":
            if not isinstance(inner, str):
                self.unproven("malformed", "a function is named by no text")
            else:
                self.function(inner, place)
            if isinstance(registered, str) and registered not in {inner, "function"}:
                self.function(registered, place)
        elif name not in _VALUES:
            self._class(name, place, registered if isinstance(registered, str) else None)

    def _class(self, name: str, module: str, registered: str | None) -> None:
        if name in known().registered:
            name = name.partition(">")[2]
        path = f"{module}.{name}" if module else name
        shown = path[:200]
        self.layers[name[:100]] += 1
        custom = registered is not None and ">" in registered and registered not in known().registered
        if not module:
            if custom or (name not in _names("class") and not self.revived):
                own = (registered if custom and registered else name)[:200]
                self.unproven(
                    "custom", f"{own} is no class of Keras: the code that loads the file must bring it"
                )
            return
        if self._foreign(module, name):
            return
        if not _of_keras(module):
            if not self.revived:
                self.unproven(
                    "custom", f"{shown} is no class of Keras: older releases import the module {module[:100]}"
                )
            return
        home = plain(module)
        if name in known().classes.get(home, frozenset()):
            if custom:
                self.unproven(
                    "custom", f"{shown} is registered as {(registered or '')[:100]}, a class of a program"
                )
            return
        if self._reaching(home, name):
            return
        if name not in _names("class"):
            self.unproven("unknown-class", f"{shown} is no class that Keras is known to have")

    def function(self, name: str, module: str) -> None:
        """Judge a function that is looked up by name."""
        home = plain(module) if module else "builtins"
        shown = f"{module}.{name}"[:200] if module else name[:200]
        if home == "builtins":
            danger = rules.payload("builtins", name) or rules.gadget("builtins", name)
            if danger is not None:
                self.dangerous("injection", f"the function {shown} is looked up: {danger}", shown)
            elif name not in _names("function") and name not in _names("class"):
                self.unproven(
                    "custom", f"the function {shown} must be brought by the code that loads the file"
                )
            return
        if self._foreign(module, name, function=True):
            return
        if not _of_keras(module):
            self.unproven(
                "custom",
                f"the function {shown} is none of Keras: older releases import the module {module[:100]}",
            )
        elif name in known().functions.get(home, frozenset()) or name in known().classes.get(
            home, frozenset()
        ):
            return
        elif not self._reaching(home, name):
            self.unproven("unknown-class", f"{shown} is no function that Keras is known to have")

    def _foreign(self, module: str, name: str, *, function: bool = False) -> bool:
        """Names outside Keras that no model has any business with."""
        danger = rules.payload(module, name) or (rules.gadget(module, name) if function else None)
        if danger is None and module.partition(".")[0] in known().stdlib:
            danger = "older releases import the module and call it, and no model needs the standard library"
        if danger is None:
            return False
        self.dangerous(
            "injection", f"{module}.{name}"[:200] + f" is looked up: {danger}", f"{module}.{name}"[:200]
        )
        return True

    def _reaching(self, home: str, name: str) -> bool:
        parts = home.split(".")[1:]
        optimizer = any(part.startswith("optimizer") for part in parts) and name in _names("class")
        reaches = parts[:1] and (parts[0] in _REACHING or (parts[0] in _OLD and set(parts) & _REACHING))
        if name not in _LOADERS and (optimizer or not reaches):
            return False
        message = (
            f"{home}.{name}"[:200] + " is no part of a model, and reaches files, settings or the network"
        )
        self.dangerous("injection", message, f"{home}.{name}"[:200])
        return True

    # --- code ---------------------------------------------------------------------------------------------

    def _text(self, text: str) -> None:
        """A text that starts as a marshalled code object does, wherever it stands."""
        if text[:2] in {"4w", "Yw"} and len(text) > 40 and keras_code.parse(keras_code.decode(text)):
            self.code(text)

    def code(self, given: JSON) -> None:
        """Judge a function that is given as code."""
        text = given[0] if isinstance(given, list) and given else given
        if not isinstance(text, str):
            if text is not None:
                self.unproven("malformed", "the code of a function is no text")
            return
        raw = keras_code.decode(text)
        found = keras_code.parse(raw)
        how = "its loader ignores safe_mode" if self.legacy else "safe_mode=False makes a function of it"
        if found is None:
            words = ", ".join(keras_code.guessed(raw)[:20])
            self.dangerous(
                "lambda", f"a function is given as bytes that no Python writes ({how})", words or None
            )
            return
        names, texts = keras_code.everything(found)
        call = f"lambda: {', '.join(names)}; {', '.join(map(repr, texts))}"[:500]
        strange = [name for name in names if name not in known().operations]
        if strange:
            asked = ", ".join(strange)[:200]
            self.dangerous("lambda", f"a function is given as code, which uses {asked} ({how})", call)
        else:
            self.unproven("lambda", f"a function is given as code, which computes with tensors ({how})", call)


def _shown(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON may hold and UTF-8 may not."""
    return text.encode("utf-8", "backslashreplace").decode()


def _of_keras(module: str) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in _FAMILY)
