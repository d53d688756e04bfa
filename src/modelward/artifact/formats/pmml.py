"""PMML: a model as XML; what it names outside itself, and code in its extensions.

Sources: PMML 4.4.1 (dmg.org/pmml/v4-4-1); JPMML-Evaluator 1.7 (user-defined functions are
Java classes by name: `FunctionUtil`, `JavaModel`, `JavaExpression`, `JavaPredicate`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from modelward.artifact.formats import xml
from modelward.artifact.formats.tally import MOST, Tally

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_CODE: Final = re.compile(
    r"Runtime\s*\.\s*getRuntime|ProcessBuilder|ScriptEngine|java\.lang\.(?:Runtime|ProcessBuilder|reflect)|"
    r"T\(java\.|__import__|\bos\.(?:system|popen|exec\w*)|\bsubprocess\b|\b(?:eval|exec)\s*\(|"
    r"javascript:|<script|\bchild_process\b|\$\{(?:jndi|script|url|dns):|powershell|/bin/(?:ba)?sh\b|"
    r"cmd\.exe",
    re.IGNORECASE,
)
_FOREIGN: Final = frozenset(("JavaModel", "JavaExpression", "JavaPredicate", "Script", "script"))
_CLASSES: Final = frozenset(("className", "class", "javaClass", "x-class", "script"))
_NAMES: Final = re.compile(r"(?:[A-Za-z_$][\w$]*\.){2,}[A-Za-z_$][\w$]*")


def read(data: Buffer, into: Reading) -> None:
    """Every element."""
    elements = _Elements(into)
    xml.walk(data, into, elements)
    elements.tally.report(
        into,
        "pmml",
        producer=elements.producer,
        format_version=elements.version,
        inputs=elements.inputs,
        outputs=elements.outputs,
    )
    into.proven = True


@final
class _Elements:
    __slots__ = (
        "_defined",
        "_extension",
        "_into",
        "_pieces",
        "inputs",
        "outputs",
        "producer",
        "tally",
        "version",
    )

    def __init__(self, into: Reading) -> None:
        self._into = into
        self._extension = 0
        self._pieces: list[str] = []
        self._defined: set[str] = set()
        self.producer = self.version = ""
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.tally = Tally()

    def start(self, name: str, attributes: dict[str, str], depth: int) -> None:
        self._flush()
        if depth == 1:
            self.version = attributes.get("version", "")
        elif name == "Application":
            self.producer = f"{attributes.get('name', '')} {attributes.get('version', '')}".strip()
        elif name.endswith("Model") or name in {"Scorecard", "NeuralNetwork", "TimeSeriesModel"}:
            self.tally.operator(name)
        elif name == "MiningField":
            usage = attributes.get("usageType", "active")
            (self.inputs if usage == "active" else self.outputs).append(attributes.get("name", ""))
        elif name == "DefineFunction":
            self._defined.add(attributes.get("name", ""))
        elif name == "Apply":
            self._function(attributes.get("function", ""))
        if name == "Extension":
            self._extension += 1
        self._foreign(name, attributes)
        for value in attributes.values():
            if len(value) > 6 and _CODE.search(value):
                self._code(value)

    def end(self, name: str) -> None:
        self._flush()
        if name == "Extension":
            self._extension -= 1

    def text(self, text: str) -> None:
        if "." in text or "(" in text or ":" in text or "/" in text:
            self._pieces.append(text)

    def _flush(self) -> None:
        """Code in the text that ends here; long lists of numbers have none."""
        text, self._pieces = "".join(self._pieces), []
        if text and _CODE.search(text):
            self._code(text)

    def _code(self, text: str) -> None:
        self._into.dangerous(
            "pmml.code",
            f"code stands in {'an extension' if self._extension else 'a value'}",
            call=text.strip()[:MOST],
        )

    def _function(self, name: str) -> None:
        if name not in self._defined and _NAMES.fullmatch(name):
            report = self._into.dangerous if _CODE.search(name) else self._into.unproven
            report(
                "pmml.function",
                f"the function {name[:MOST]!r} is a class of the application",
                call=name[:MOST],
            )

    def _foreign(self, name: str, attributes: dict[str, str]) -> None:
        named = next((attributes[key] for key in _CLASSES if _NAMES.fullmatch(attributes.get(key, ""))), None)
        if name in _FOREIGN or name.startswith("X-Java") or named is not None:
            self._into.unproven(
                "pmml.class",
                f"the element {name[:MOST]} is evaluated by a class of the application",
                call=named[:MOST] if named else None,
            )
