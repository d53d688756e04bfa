"""NeMo: a tar archive of model_config.yaml, weights as a PyTorch checkpoint, and artifacts.

Restoring a model imports the class that `target` names and hands every mapping with `_target_` to Hydra,
which calls what it names. The checkpoint is read with the rest of the archive.

Source: NVIDIA NeMo 2.4, nemo/core/connectors/save_restore_connector.py, nemo/core/classes/common.py
(Serialization.from_config_dict); hydra.utils.instantiate, Hydra 1.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.names import leads_out
from modelward.artifact.pickle import rules
from modelward.artifact.reading import Malformed
from modelward.artifact.tarread import Trouble, entries

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_YAML: Final = 4 << 20
_NAMING: Final = frozenset({"_target_", "target", "cls", "class_path", "_cls_"})
_LIBRARIES: Final = frozenset(
    {
        "nemo", "omegaconf", "pytorch_lightning", "lightning", "transformers", "megatron", "torchmetrics",
        "torchaudio", "nemo_text_processing", "apex", "transformer_engine", "diffusers", "timm",
        "torchvision",
    }
)  # fmt: skip
_TORCH: Final = ("torch.nn.", "torch.optim.", "torch.utils.data.", "torch.float", "torch.bfloat")


def read(data: Buffer, into: Reading) -> None:
    """Judge the classes that the configurations name."""
    into.facts["framework"] = "nemo"
    for entry in entries(data):
        into.spend()
        if isinstance(entry, Trouble) or entry.kind != "file" or not entry.name.endswith((".yaml", ".yml")):
            continue
        if entry.size > _YAML:
            into.missed(f"the configuration {entry.name[:200]!r} has {entry.size} bytes")
            continue
        raw = bytes(data[entry.start : entry.start + entry.size])
        try:
            _config(into, entry.name, raw.decode("utf-8", "backslashreplace"))
        except Malformed as error:
            into.missed(f"{entry.name[:200]}: {error}")
    into.proven = True


def _config(into: Reading, name: str, text: str) -> None:
    from modelward.artifact.yaml import Mapping, Scalar, parse, walk

    for root in parse(text):
        for node in walk(root):
            into.spend()
            if node.tag and ("python" in node.tag or "java" in node.tag):
                into.dangerous("nemo.tag", f"{name[:200]}, line {node.line}: it constructs {node.tag[:200]}")
            if isinstance(node, Scalar):
                if node.value.startswith("nemo:") and leads_out(node.value[5:]):
                    message = f"{name[:200]}: the artifact {node.value[:200]!r} leads out of the archive"
                    into.dangerous("nemo.artifact", message)
                continue
            for key, value in node.pairs if isinstance(node, Mapping) else ():
                if isinstance(key, Scalar) and key.value in _NAMING and isinstance(value, Scalar):
                    _target(into, name, key.value, value.value.strip(), value.line)


def _target(into: Reading, name: str, key: str, path: str, line: int) -> None:
    """A name that is imported, and called when the key is Hydra's."""
    parts = path.split(".")
    if len(parts) < 2 and key != "_target_":
        return  # a plain word, as `target: text`
    where = f"{name[:200]}, line {line}"
    if not all(part.isidentifier() for part in parts):
        if key in {"_target_", "class_path"}:
            into.unproven("nemo.target", f"{where}: {key} {path[:200]!r} is no name")
        return
    for count in range(1, len(parts)):
        module, rest = ".".join(parts[:count]), ".".join(parts[count:])
        if why := rules.payload(module, rest) or rules.gadget(module, rest):
            into.dangerous("nemo.target", f"{where}: {key} {path[:200]} {why}", call=f"{path[:200]}(...)")
            return
    if len(parts) == 1 and (why := rules.payload("builtins", path)):
        into.dangerous("nemo.target", f"{where}: {key} {path[:200]} {why}", call=f"{path[:200]}(...)")
        return
    if parts[0] in _LIBRARIES or path.startswith(_TORCH):
        return
    into.unproven("nemo.target", f"{where}: {key} names {path[:200]}, of no known library", call=path[:200])
