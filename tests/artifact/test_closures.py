"""Functions and classes that a file brings itself: building them is inert, letting loading call them is not."""

import pickle
import subprocess
import sys

import pytest

from modelward.artifact.pickle.streams import scan

pytest.importorskip("cloudpickle")
P4 = b"\x80\x04"
C = "cloudpickle.cloudpickle"


def text(value):
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def name(module, qualname):
    return text(module) + text(qualname) + b"\x93"


def call(function, *args):
    return function + b"(" + b"".join(args) + b"tR"


def fields(**values):
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def code(function):
    """A code object as cloudpickle writes it."""
    kept = function.__code__
    kinds = ("argcount", "posonlyargcount", "kwonlyargcount", "nlocals", "stacksize", "flags", "code", "consts", "names", "varnames",
             "filename", "name", "qualname", "firstlineno", "linetable", "exceptiontable", "freevars", "cellvars")  # fmt: skip
    args = pickle.dumps(tuple(getattr(kept, f"co_{kind}") for kind in kinds), 4)[:-1]
    return call(name(C, "_builtin_type"), text("CodeType")) + args[2:] + b"R"  # without PROTO, without STOP


def harmless(x):
    return x + 1


def payload(*_):
    import os

    return os.system("id")  # noqa: S605 - never called: its code object is the subject


def function(body=harmless):
    return call(name(C, "_make_function"), code(body), b"}", text("f"), b"N", b"N")


def skeleton(*bases, meta=None, kwargs=b"}"):
    parents = b"(" + b"".join(bases or (name("builtins", "object"),)) + b"t"
    return call(
        name(C, "_make_skeleton_class"),
        meta or name("builtins", "type"),
        text("K"),
        parents,
        kwargs,
        b"N",
        b"N",
    )


def filled(cls, **attributes):
    return call(name(C, "_class_setstate"), cls, fields(**attributes) + b"}\x86")


def instance(cls):
    return cls + b")\x81"


SCRIPT = """
import abc, collections, dataclasses, enum, functools, math, sys, typing, warnings
import cloudpickle, dill

def harmless(x):
    return x + 1

class Base:
    scale = 2

    def __init__(self, a):
        self.a = a

    def times(self):
        return self.a * self.scale

    @property
    def twice(self):
        return self.a * 2

    @staticmethod
    def one():
        return 1

    @classmethod
    def make(cls):
        return cls(1)


class Child(Base):
    def __init__(self, a):
        super().__init__(a)
        self.b = 1


class Slotted:
    __slots__ = ("a",)

    def __init__(self):
        self.a = 1


class Colour(enum.Enum):
    RED = 1


class Table(dict):
    pass


class Abstract(abc.ABC):
    @abc.abstractmethod
    def f(self): ...


class Concrete(Abstract):
    def f(self):
        return 1


@dataclasses.dataclass
class Data:
    a: int
    b: list[int] = dataclasses.field(default_factory=list)


def hinted(a: int, b: typing.Optional[str] = None) -> list[float]:
    return [math.sqrt(a), b]


def outer(n):
    def inner(x):
        return x * n

    return inner

VALUES = {
    "function": lambda: harmless, "lambda": lambda: lambda x: x * 2, "closure": lambda: outer(3), "hints": lambda: hinted,
    "partial": lambda: functools.partial(harmless, 2), "instance": lambda: Base(1), "inherited": lambda: Child(2), "bound": lambda: Base(1).times,
    "enumeration": lambda: Colour.RED, "table": lambda: Table(a=1), "concrete": lambda: Concrete(), "dataclass": lambda: Data(1),
    "factory": lambda: collections.defaultdict(lambda: 0, a=1), "classes": lambda: [Base, Child, Data], "many": lambda: {"f": harmless, "g": [lambda: 1]},
}
for what, make in VALUES.items():
    print("cloudpickle", what, cloudpickle.dumps(make()).hex())
    if what in ("dataclass", "classes", "enumeration", "concrete"):
        continue
    for recurse in (False, True):
        print("dill", what, dill.dumps(make(), recurse=recurse).hex())
"""
"""A program whose own functions and classes are written by value: pytest's modules can be imported by name."""


def test_what_cloudpickle_and_dill_build_is_inert(level):
    pytest.importorskip("dill")
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    lines = [line.split() for line in run.stdout.splitlines()]
    assert len(lines) == 15 + 2 * 11
    assert [
        (library, what)
        for library, what, data in lines
        if level(bytes.fromhex(data)) not in {"inert", "note"}
    ] == []


HARMLESS = {
    "code": code(harmless),
    "function": function(),
    "functions of a payload's neighbours": function() + b"0" + function(),
    "cell": call(name(C, "_make_cell"), function()),
    "class": filled(skeleton(), go=function(), scale=b"K\x01"),
    "instance": instance(filled(skeleton(), go=function())) + fields(a=b"K\x01") + b"b",
    "property": filled(skeleton(), twice=call(name("builtins", "property"), function(), b"N", b"N", b"N")),
    "module of an allowed library": call(name(C, "subimport"), text("numpy")),
    "module made up": call(name(C, "dynamic_subimport"), text("helpers"), fields(f=function())),
    "partial that is only stored": call(name("functools", "partial"), function()),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_building_is_inert(what, level):
    assert level(P4 + HARMLESS[what] + b".") in {"inert", "note"}


def hook(method, body):
    """An instance of a class with one method that loading calls."""
    return instance(filled(skeleton(), **{method: function(body)})) + fields(a=b"K\x01") + b"b"


MAKING = ("__new__", "__setstate__", "__getattr__", "__getattribute__", "__del__")


@pytest.mark.parametrize("method", MAKING)
def test_a_method_that_loading_calls_is_not_inert(method, level):
    assert level(P4 + hook(method, harmless) + b".") == "unproven"
    assert level(P4 + hook(method, payload) + b".") == "dangerous"


@pytest.mark.parametrize("method", MAKING)
def test_nor_one_that_its_base_brings(method, level):
    child = skeleton(filled(skeleton(), **{method: function(payload)}))
    assert level(P4 + instance(child) + b".") == "dangerous"


def test_nor_one_that_is_added_once_an_instance_exists(level):
    late = skeleton() + b"\x940" + instance(b"h\x00") + b"0" + filled(b"h\x00", __del__=function(payload))
    assert level(P4 + late + b".") == "dangerous"


ATTACKS = {
    "a function is called": (call(function(payload), text("x")), "dangerous"),
    "a harmless function is called": (call(function(), text("x")), "dangerous"),
    "a bound method is called": (call(call(call(name(C, "_builtin_type"), text("MethodType")), function(payload), b"K\x01")), "dangerous"),
    "a class with __init__ is called": (call(filled(skeleton(), __init__=function(payload))), "dangerous"),
    "a subclass of a class with __init_subclass__": (skeleton(filled(skeleton(), __init_subclass__=function(payload))), "dangerous"),
    "an instance as a key": (b"}" + instance(filled(skeleton(), __hash__=function(payload))) + b"K\x01s", "unproven"),
    "an instance in a set": (b"\x8f(" + instance(filled(skeleton(), __eq__=function(payload))) + b"\x90", "unproven"),
    "a metaclass of the file": (skeleton(meta=filled(skeleton(name("builtins", "type")), __call__=function(payload))), "unproven"),
    "an unknown base": (skeleton(name("mypkg.base", "Base")), "unproven"),
    "an instance to a library": (call(name("pandas", "Interval"), instance(filled(skeleton(), view=function(payload)))), "unproven"),
    "a function to a library": (call(name("numpy._core.multiarray", "scalar"), function(), b"C\x00"), "unproven"),
    "items through a method": (instance(filled(skeleton(name("builtins", "dict")), __setitem__=function(payload))) + text("a") + b"K\x01s", "dangerous"),
    "items through a late state": (instance(skeleton(name("builtins", "list"))) + fields(append=function(payload)) + b"bK\x01a", "unproven"),
    "slots with a property": (instance(filled(skeleton(kwargs=fields(__slots__=text("a") + b"\x85")), a=call(name("builtins", "property"), b"N", function(payload), b"N", b"N")))
                              + b"N" + fields(a=b"K\x01") + b"\x86b", "unproven"),
    "registered subclasses": (filled(skeleton(meta=name("abc", "ABCMeta")), _abc_impl=b"](" + name("builtins", "int") + b"e"), "unproven"),
    "bases exchanged": (filled(skeleton(), __bases__=name("builtins", "dict") + b"\x85"), "unproven"),
    "code of another kind": (call(name(C, "_make_function"), text("x"), b"}", text("f"), b"N", b"N"), "dangerous"),
    "cells that are none": (call(name(C, "_make_function"), code(harmless), b"}", text("f"), b"N", instance(name("types", "SimpleNamespace")) + b"\x85"), "unproven"),
    "state of a class by BUILD": (skeleton() + fields(a=b"K\x01") + b"b", "dangerous"),
    "attributes of a module by BUILD": (call(name(C, "subimport"), text("numpy")) + fields(a=b"K\x01") + b"b", "dangerous"),
    "the code of a function exchanged": (function() + b"N" + fields(__code__=code(payload)) + b"\x86b", "unproven"),
    "a module that runs programs": (call(name(C, "subimport"), text("subprocess")), "dangerous"),
    "an attribute of os": (call(name("builtins", "getattr"), call(name(C, "subimport"), text("os")), text("system")), "dangerous"),
    "an unknown module": (call(name(C, "subimport"), text("mypkg.code")), "unproven"),
    "text that dill evaluates": (call(name("dill._dill", "_eval_repr"), text("print(1)")), "dangerous"),
    "setattr on a module": (call(name("builtins", "setattr"), call(name(C, "subimport"), text("numpy")), text("max"), function()), "dangerous"),
    "CodeType by its own name": (call(name("types", "CodeType"), text("x")), "dangerous"),
    "a property of an instance": (call(name("builtins", "property"), instance(name("types", "SimpleNamespace"))), "dangerous"),
}  # fmt: skip


@pytest.mark.parametrize("what", ATTACKS)
def test_letting_loading_call_the_files_own_code_is_not_inert(what, level):
    data, least = ATTACKS[what]
    assert level(P4 + data + b".") in ({"dangerous"} if least == "dangerous" else {"unproven", "dangerous"})


def test_a_payload_that_only_waits_to_be_called_is_named():
    events = scan(P4 + function(payload) + b".").events
    assert [event.level for event in events] == ["unproven"]
    assert "'os'" in events[0].message or "'system'" in events[0].message
    assert "calling" in events[0].message


def test_the_note_says_that_calling_runs_code():
    (event,) = scan(P4 + function() + b".").events
    assert event.level == "note"
    assert "calling one does" in event.message


def test_names_of_methods_are_not_mistaken_for_builtins(level):
    import re

    def compiled(pattern):
        return re.compile(pattern)

    def evaluated(model):
        return model.eval()

    def direct(source):
        return eval(source)  # noqa: S307 - never called: its code object is the subject

    assert level(P4 + function(compiled) + b".") == "note"
    assert level(P4 + function(evaluated) + b".") == "note"
    assert level(P4 + function(direct) + b".") == "unproven"


@pytest.mark.parametrize("body", [harmless, payload])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda made: call(call(name("functools", "partial"), made)),
        lambda made: call(name("builtins", "list"), call(name("builtins", "map"), made, b"](K\x01e")),
        lambda made: call(name("builtins", "tuple"), call(name("builtins", "filter"), made, b"](K\x01e")),
        lambda made: call(name("collections", "deque"), call(name("builtins", "map"), made, b"](K\x01e")),
    ],
)
def test_a_function_that_another_call_runs_is_called_by_loading(body, wrap):
    assert "dangerous" in {event.level for event in scan(P4 + wrap(function(body)) + b".").events}


def test_a_function_that_is_only_bound_is_not_called():
    bound = call(name("functools", "partial"), function())
    assert "dangerous" not in {event.level for event in scan(P4 + bound + b".").events}
    kept = call(name("collections", "defaultdict"), function())
    assert "dangerous" not in {event.level for event in scan(P4 + kept + b".").events}
