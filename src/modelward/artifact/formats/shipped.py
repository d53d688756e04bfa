"""Python source that an archive ships and its loader runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading


def source(into: Reading, name: str, raw: bytes, when: str) -> None:
    """Judge a source that loading runs: dangerous where a payload is found, else unproven, once per source.

    Args:
        into: takes the events.
        name: of the member.
        raw: the source.
        when: what runs it, as half a sentence.
    """
    if not payload(into, name, raw, when):
        into.unproven("shipped.source", f"{name[:200]} is Python that the archive ships; {when}")


def served(data: Buffer, into: Reading) -> None:
    """Judge the program of a SageMaker archive, `code/inference.py`: a reader like any other.

    Source: SageMaker Python SDK 2, "Deploy models", layout of model.tar.gz for PyTorch, TensorFlow and MXNet.
    """
    source(into, into.name, bytes(data), "SageMaker's server imports it when it loads the model")


def payload(into: Reading, name: str, raw: bytes, when: str) -> bool:
    """Report the payloads of a source, and whether there are any; as `source`, but no more than that."""
    from modelward.artifact import encoding
    from modelward.artifact.around.source import analyse

    into.spend(len(raw) // 64 + 1)
    found = analyse(encoding.source(raw))
    for effect in found.payload[:20]:
        if effect.level == "dangerous":
            message = f"{name[:200]}: {effect.message}; {when}"
            into.dangerous("shipped.payload", message, call=effect.call)
    return found.level == "dangerous"
