"""ExecuTorch programs (`.pte`): a flatbuffer of operators and delegates, then segments.

Operators and delegates are native code that the application links in, found by name; the data of a delegate
is what its backend runs.
Source: ExecuTorch 0.6 `schema/program.fbs`, `schema/extended_header.cpp`, `runtime/executor/method.cpp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.formats.flatbuffer import Flat
from modelward.artifact.formats.tally import Tally
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.formats.flatbuffer import Table
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_NAMESPACES: Final = frozenset(
    (
        "aten", "prim", "executorch_prim", "quantized_decomposed", "dim_order_ops", "_", "quantized",
        "torchao", "llama", "cadence", "cortex_m", "et_vk", "xnnpack", "qaisw", "qnn", "mtk", "torchvision",
        "torchaudio", "bolt_nn", "higher_order", "_dim_order_ops", "_to_dim_order_copy", "preprocess",
        "gemm", "math", "math_fallback", "mlx", "dim_order", "et_copy",
    )
)  # fmt: skip
"""Namespaces of operators that ExecuTorch and its backends register."""
_BACKENDS: Final = frozenset(
    (
        "XnnpackBackend", "CoreMLBackend", "QnnBackend", "VulkanBackend", "MPSBackend", "EthosUBackend",
        "ArmBackend", "VgfBackend", "NeuropilotBackend", "NXPBackend", "NeutronBackend", "OpenvinoBackend",
        "EnnBackend", "MetalBackend", "CudaBackend", "TOSABackend", "MLXBackend", "CortexMBackend",
        "AoTInductorBackend", "WebGPUBackend", "MediatekBackend", "TensorRTBackend", "AotiBackend",
    )
)  # fmt: skip
_LIBRARIES: Final = frozenset(("CudaBackend", "MetalBackend", "AoTInductorBackend", "AotiBackend"))
"""Backends whose data is a shared library that they open."""
_NATIVE: Final = (b"\x7fELF", b"MZ\x90\0", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xce\xfa\xed\xfe")


def read(data: Buffer, into: Reading) -> None:
    """Judge operators and delegates and compare indices and segments with the file."""
    base, end = _header(data)
    program = Flat(data, into, end=end).root()
    into.facts["format_version"] = bytes(data[4:8]).decode("latin-1")
    segments = _segments(program, data, base, into)
    inline = [entry.vector(0, 1) for entry in program.tables(3)]
    tally = Tally()
    for plan in program.tables(1):
        _plan(plan, (data, segments, inline), tally, into)
    _named(program, len(segments), into)
    tally.report(into, "executorch")
    into.proven = True


def _header(data: Buffer) -> tuple[int, int]:
    """Where the segments start (0 without any) and where the program ends."""
    if data[8:12] != b"eh00":
        return 0, len(data)
    length = int.from_bytes(data[12:16], "little")
    size, base = int.from_bytes(data[16:24], "little"), int.from_bytes(data[24:32], "little")
    if length < 24 or size > len(data) or (base and not size <= base <= len(data)):
        raise Malformed(f"a program of {size} bytes and segments at {base}, in {len(data)} bytes")
    return base, size


def _segments(program: Table, data: Buffer, base: int, into: Reading) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for segment in program.tables(4):
        start, size = base + segment.number(0, "Q"), segment.number(1, "Q")
        found.append((start, size))
        if start + size > len(data) or not base:
            into.unproven("executorch.extent", f"segment {len(found) - 1} lies outside the file")
            break
    return found


def _named(program: Table, segments: int, into: Reading) -> None:
    constant = program.table(5)
    indices = [constant.number(0, "I")] if constant is not None else []
    indices += [entry.number(0, "I") for entry in program.tables(6)]
    indices += [entry.number(1, "I") for entry in program.tables(7)]
    if constant is not None and not constant.vector(1, 8)[1]:
        indices = indices[1:]
    if any(at >= segments for at in indices):
        into.unproven("executorch.index", f"data lies in segments outside the {segments} of the program")


def _plan(
    plan: Table,
    content: tuple[Buffer, list[tuple[int, int]], list[tuple[int, int]]],
    tally: Tally,
    into: Reading,
) -> None:
    operators = [_operator(entry, tally, into) for entry in plan.tables(6)]
    delegates = 0
    for delegate in plan.tables(7):
        _delegate(delegate, content, tally, into)
        delegates += 1
    _, values = plan.vector(2, 4)
    for chain in plan.tables(5):
        steps = chain.vector(2, 4)[1]
        for instruction in chain.tables(2):
            kind, call = instruction.number(0, "B"), instruction.table(1)
            if call is None:
                continue
            if kind not in {1, 2}:
                if not _moves(call, kind, values, steps):
                    into.unproven("executorch.index", "an instruction uses values that the program lacks")
                    return
                continue
            limit = len(operators) if kind == 1 else delegates
            arguments = call.integers(1)
            if not 0 <= call.number(0, "i") < limit or any(not 0 <= at < values for at in arguments):
                into.unproven(
                    "executorch.index", "an instruction calls or uses what the program does not have"
                )
                return


def _moves(call: Table, kind: int, values: int, steps: int) -> bool:
    """Whether a `MoveCall`, `JumpFalseCall` or `FreeCall` stays inside the program."""
    first, second = call.number(0, "i"), call.number(1, "i") if kind in {3, 4} else 0
    return 0 <= first < values and 0 <= second < (steps if kind == 4 else values)


def _operator(entry: Table, tally: Tally, into: Reading) -> str:
    name = entry.text(0, 200)
    tally.operator(name)
    space = name.partition("::")[0]
    if "::" in name and space not in _NAMESPACES:
        into.unproven("executorch.operator", f"the operator {name[:80]!r} of an unknown library")
    return name


def _delegate(
    delegate: Table,
    content: tuple[Buffer, list[tuple[int, int]], list[tuple[int, int]]],
    tally: Tally,
    into: Reading,
) -> None:
    data, segments, inline = content
    name = delegate.text(0, 200)
    tally.operator(name)
    if name not in _BACKENDS:
        into.unproven("executorch.delegate", f"the unknown backend {name[:80]!r}")
    reference = delegate.table(1)
    if reference is None:
        return
    at = reference.number(1, "I")
    places = segments if reference.number(0, "b") == 1 else inline
    if at >= len(places):
        into.unproven("executorch.index", f"the data of {name[:80]!r} is number {at} of {len(places)}")
        return
    start, _ = places[at]
    if bytes(data[start : start + 4]).startswith(_NATIVE):
        what = f"the data of the backend {name[:80]!r} is native code"
        if name in _LIBRARIES:
            into.unproven("executorch.native", f"{what}, which it opens as a library", pos=start)
        else:
            into.dangerous("executorch.native", what, pos=start)
