"""TensorRT plans: code for the host is found, code for the GPU is expected, the rest cannot be proven."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats import tensorrt
from modelward.artifact.reading import Reading
from modelward.artifact.sniff import sniff
from modelward.artifact.verdict import inspect_bytes


def elf(machine, *, bits=2, order="<"):
    ident = b"\x7fELF" + bytes([bits, 1 if order == "<" else 2, 1]) + b"\0" * 9
    return ident + struct.pack(order + "HHI", 3, machine, 1) + b"\0" * 40


def plan(*parts, tag=b"ftrt", version=0x60):
    body = b"\0" * 32 + b"".join(parts)
    return tag + struct.pack("<IIQI", version, 0, len(body), 0) + body


@pytest.mark.parametrize("tag", [b"ftrt", b"ptrt"])
def test_a_plan_is_unproven_and_says_what_was_not_read(tag):
    report = inspect_bytes(plan(elf(190), b"weights", elf(190), tag=tag), "m.engine")
    assert (report.format, report.verdict) == ("tensorrt", "unproven")
    assert [finding.rule for finding in report.findings] == ["artifact.unread"]
    assert len(report.coverage.unread) == 1
    assert report.facts == {"framework": "tensorrt", "format_version": "96"}


@pytest.mark.parametrize("machine", [3, 40, 62, 183, 243])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_library_for_the_host_is_dangerous_behind_any_kernels(verdict, machine, order):
    data = plan(elf(190), elf(190), elf(machine, order=order), elf(190))
    assert verdict(data) == ("dangerous", {"tensorrt.host-code", "artifact.unread"})
    assert inspect_bytes(data, "m").findings[0].location.offset == data.find(elf(machine, order=order))


@pytest.mark.parametrize(
    "code",
    [b"MZ" + b"\0" * 60 + b"!This program cannot be run in DOS mode.\r\n", b"\xcf\xfa\xed\xfe\x0c\0\0\x01",
     b"\xcf\xfa\xed\xfe\x07\0\0\x01"],
)  # fmt: skip
def test_libraries_of_other_systems_are_dangerous(verdict, code):
    assert verdict(plan(b"x" * 100, code))[0] == "dangerous"


@pytest.mark.parametrize(
    "near", [b"\x7fELF", b"\x7fELF\x09\x01\x01", elf(62)[:19], b"\xcf\xfa\xed\xfe\0\0\0\0"]
)
def test_bytes_that_only_look_like_a_start_are_not_code(near):
    assert inspect_bytes(plan(near), "m").verdict == "unproven"


def test_the_json_that_exporters_put_before_a_plan(verdict):
    text = b'{"stride": 32, "task": "detect"}'
    data = len(text).to_bytes(4, "little") + text + plan(elf(190))
    report = inspect_bytes(data, "m.engine")
    assert (report.format, report.verdict, report.facts["format_version"]) == ("tensorrt", "unproven", "96")
    assert verdict(data + elf(62))[0] == "dangerous"


@pytest.mark.parametrize(
    "data", [b"ftrt", b"ftrt is a word that starts this text", b"ptrt\n", b"\x05\0\0\0{}..."]
)
def test_the_tag_alone_is_no_plan(data):
    assert sniff(data).format != "tensorrt"


@given(st.binary(max_size=100))
def test_noise_raises_nothing(data):
    into = Reading()
    tensorrt.read(data, into)
    assert not into.proven
    tensorrt.host_code(b"\x7fELF" + data, (0, 4 + len(data)), into)
