"""TensorRT plans: the layout is secret, but code for the host that is carried inside shows itself.

A plan is kernels for the GPU and their weights. Its layout is not public, so nothing can be proven and a plan
is unproven, or dangerous where code for the host is found: it can embed plugin libraries and a lean runtime,
which `IRuntime::setEngineHostCodeAllowed` loads as shared libraries. The kernels are ELF files too, for the
machine EM_CUDA (190), and are expected.

Sources: NVIDIA TensorRT 10 documentation ("Version Compatibility", "Plugin Shared Libraries"); netron,
source/tensorrt.js (tags and JSON prefix); ELF gABI 4.1 (e_machine); PE and Mach-O magic numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.signs.graphs import plan

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_CUDA: Final = 190
_OTHERS: Final = {
    b"This program cannot be run in DOS mode": "a Windows library",
    b"\xcf\xfa\xed\xfe\x07\x00\x00\x01": "a macOS library",
    b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01": "a macOS library",
}


def read(data: Buffer, into: Reading) -> None:
    """Look for code of the host; the rest cannot be read."""
    host_code(data, (0, len(data)), into)
    into.missed("the layout of a TensorRT plan is not public, and loading one trusts it like a program")
    into.facts["framework"] = "tensorrt"
    start = plan(bytes(data[: 1 << 16]))
    if start is not None:
        into.facts["format_version"] = str(int.from_bytes(data[start + 4 : start + 8], "little"))


def host_code(data: Buffer, span: tuple[int, int], into: Reading) -> None:
    """Report executable files for the host within a part of the content."""
    pos, end = data.find(b"\x7fELF", *span), span[1]
    while pos >= 0:
        into.spend()
        head = bytes(data[pos : min(pos + 20, end)])
        order = "big" if head[5:6] == b"\2" else "little"
        machine = int.from_bytes(head[18:20], order)  # type: ignore[arg-type]  # one of its two literals
        if len(head) == 20 and head[4] in {1, 2} and head[5] in {1, 2} and head[6] == 1 and machine != _CUDA:
            into.dangerous(
                "tensorrt.host-code",
                f"a library for the host (ELF machine {machine}) is embedded, which the runtime loads",
                pos=pos,
            )
        pos = data.find(b"\x7fELF", pos + 4, end)
    for mark, what in _OTHERS.items():
        pos = data.find(mark, *span)
        if pos >= 0:
            into.dangerous("tensorrt.host-code", f"{what} is embedded, which the runtime loads", pos=pos)
