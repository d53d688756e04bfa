"""Objects of tables, texts and sciences: what real ones do is inert, and what could act by the same road is not."""

import pickle
import struct

import numpy as np
import pytest

from modelward.artifact.pickle import rules
from modelward.artifact.pickle.streams import scan

spatial = pytest.importorskip("scipy.spatial", reason="search trees are written by scipy")
P4 = b"\x80\x04"
NODE = struct.Struct("<qqdqqqqqq")
KDTREE = ("scipy.spatial._ckdtree", "cKDTree")


def text(value):
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def name(module, qualname):
    return text(module) + text(qualname) + b"\x93"


def made(module, qualname):
    """An instance without arguments."""
    return name(module, qualname) + b")\x81"


def mapping(*pairs):
    """A dictionary of opcodes."""
    return b"}(" + b"".join(text(key) + value for key, value in pairs) + b"u"


def raw(value):
    return b"B" + struct.pack("<I", len(value)) + value


POINTS = np.random.default_rng(0).random((200, 3))
SYSTEM = name("os", "system")
OWN = name("collections", "OrderedDict") + b")R"


# --- search trees --------------------------------------------------------------------------------------------


def nodes_of(tree):
    return np.array(tree.__getstate__()[0]).tobytes()


def as_file(nodes, change=None, kind="S1"):
    """A pickle of a search tree as scipy writes it, with other nodes."""
    state = list(spatial.cKDTree(POINTS).__getstate__())
    state[0] = np.frombuffer(nodes, kind) if isinstance(nodes, bytes) else nodes
    for place, value in (change or {}).items():
        state[place] = value
    body = pickle.dumps(tuple(state), 4)[2:-1]
    body = body[9:] if body[:1] == b"\x95" else body
    return P4 + made(*KDTREE) + body + b"b."


@pytest.mark.parametrize(
    "options",
    [{}, {"leafsize": 3}, {"balanced_tree": False, "compact_nodes": False}, {"boxsize": 2.0}],
    ids=["default", "small leaves", "unbalanced", "box"],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_search_trees_of_scipy_are_inert(options, protocol, level):
    for cls in (spatial.cKDTree, spatial.KDTree):
        assert level(pickle.dumps(cls(POINTS, **options), protocol)) == "inert"


def test_the_hand_made_file_is_what_scipy_loads(level):
    tree = spatial.cKDTree(POINTS)
    data = as_file(nodes_of(tree))
    assert level(data) == "inert"
    again = pickle.loads(data)
    assert again.query(POINTS[7])[1] == 7


def _with(place, field, value):
    content = bytearray(nodes_of(spatial.cKDTree(POINTS)))
    fields = list(NODE.unpack_from(content, place * NODE.size))
    fields[field] = value
    NODE.pack_into(content, place * NODE.size, *fields)
    return bytes(content)


@pytest.mark.parametrize(
    "nodes",
    [
        _with(0, 7, 1 << 40),  # loading would write there
        _with(0, 8, 1 << 40),
        _with(0, 7, -1),
        _with(0, 8, 0),  # its own child: no end
        _with(0, 8, NODE.unpack_from(nodes_of(spatial.cKDTree(POINTS)))[7]),  # two parents of one
        b"",
        nodes_of(spatial.cKDTree(POINTS))[:-1],
        nodes_of(spatial.cKDTree(POINTS))[: NODE.size],  # a root without its children
    ],
)
def test_nodes_that_lead_out_of_the_tree_are_not_inert(nodes, level):
    assert level(as_file(nodes)) == "unproven"


def test_a_tree_too_deep_for_recursion_is_not_inert(level):
    count = 10_001
    chain = b"".join(
        NODE.pack(0 if i % 2 == 0 and i + 2 < count else -1, 1, 0.5, 0, 1, 0, 0, i + 1, i + 2)
        for i in range(count)
    )
    assert level(as_file(chain)) == "unproven"


@pytest.mark.parametrize("change", [{1: None}, {2: "n"}, {5: None}, {7: [1, 2]}, {9: 1}])
def test_a_search_tree_needs_its_arrays(change, level):
    assert level(as_file(nodes_of(spatial.cKDTree(POINTS)), change)) == "unproven"


@pytest.mark.parametrize("kind", ["i8", "S2", "S3", "u1", "V1"])
def test_nodes_of_another_type_would_be_cast_to_other_bytes(kind, level):
    size = len(nodes_of(spatial.cKDTree(POINTS)))
    content = nodes_of(spatial.cKDTree(POINTS))[: size - size % (72 * 8 * 3)]
    assert level(as_file(np.frombuffer(content, kind))) == "unproven"


# --- iterators that call -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        map(str, [1, 2]),
        map(len, ["a"]),
        filter(None, [0, 1]),
        filter(str.isdigit, "a1"),
        map(str, map(len, ["a"])),
    ],
    ids=["map", "map of len", "filter of none", "filter", "map of map"],
)
def test_iterators_are_not_walked_by_loading(value, protocol, level):
    try:
        data = pickle.dumps(value, protocol)
    except TypeError:
        pytest.skip("this Python does not pickle iterators any more")
    assert level(data) in {"inert", "unproven"}
    if protocol > 2:
        assert level(data) == "inert"


@pytest.mark.parametrize("kind", ["map", "filter"])
def test_iterators_of_payloads_are_dangerous(kind, level):
    lazy = name("builtins", kind) + SYSTEM + b"](" + text("id") + b"e\x86R"
    assert level(P4 + lazy + b".") == "dangerous"


@pytest.mark.parametrize("kind", ["map", "filter"])
@pytest.mark.parametrize(
    "walks",
    [
        lambda lazy: name("collections", "deque") + lazy + b"\x85R",
        lambda lazy: name("builtins", "list") + lazy + b"\x85R",
        lambda lazy: name("builtins", "zip") + lazy + b"\x85R",
        lambda lazy: name("builtins", "enumerate") + lazy + b"\x85R",
        lambda lazy: name("collections", "OrderedDict") + lazy + b"\x85R",
        lambda lazy: made("sparse.numba_backend._coo.core", "COO") + lazy + b"b",
        lambda lazy: name("builtins", "map") + name("x", "y") + lazy + b"\x86R",
    ],
)
def test_nothing_that_walks_takes_such_an_iterator(kind, walks, level):
    lazy = name("builtins", kind) + name("json", "dumps") + b"]\x86R"
    assert level(P4 + lazy + b".") == "inert"
    assert level(P4 + walks(lazy) + b".") == "unproven"


def test_memory_views_may_be_referred_to_and_not_made(level):
    assert level(P4 + name("builtins", "memoryview") + b".") == "inert"
    assert level(P4 + name("builtins", "memoryview") + raw(b"x") + b"\x85R.") == "unproven"


def test_a_listed_function_may_be_bound_and_not_called(level):
    binder = name("cloudpickle.cloudpickle", "_builtin_type") + text("MethodType") + b"\x85R"
    bound = binder + name("json", "dumps") + b"]\x86R"
    assert level(P4 + bound + b".") == "inert"
    assert level(P4 + bound + b")R.") == "dangerous"
    assert level(P4 + binder + SYSTEM + text("id") + b"\x86R.") == "dangerous"
    assert level(P4 + binder + name("x", "y") + b"]\x86R.") == "dangerous"


# --- dictionaries that are their own attributes ----------------------------------------------------------------

BUNCH = made("statsmodels.tools.tools", "Bunch")


def test_a_bunch_is_its_own_state(level):
    assert level(P4 + BUNCH + b"\x94(" + text("a") + b"K\x01uh\x00b.") == "inert"


@pytest.mark.parametrize(
    "data",
    [
        BUNCH + b"\x94(" + text("__setstate__") + SYSTEM + b"uh\x00b",
        BUNCH + b"\x94(" + text("__class__") + OWN + b"uh\x00b",
        BUNCH + OWN + b"b",
        BUNCH + b"\x94h\x00b(" + text("a") + b"K\x01u",
        BUNCH + b"\x94h\x00bh\x00b",
    ],
    ids=["method", "dunder", "another", "items after the state", "twice"],
)
def test_a_bunch_takes_nothing_else(data, level):
    assert level(P4 + data + b".") in {"unproven", "dangerous"}


# --- states of single libraries --------------------------------------------------------------------------------

DOCUMENT = made("langchain_core.documents.base", "Document")
NGB = made("ngboost.api", "NGBClassifier")
FITTED = made("implicit.nearest_neighbours", "CosineRecommender")
SPARSE = made("scipy.sparse._csr", "csr_matrix")


def pydantic(*pairs):
    return DOCUMENT + mapping(*pairs) + b"b"


FIELDS = ("__dict__", mapping(("page_content", text("x"))))
FINE = {
    "document": pydantic(FIELDS, ("__pydantic_fields_set__", b"\x8f"), ("__pydantic_extra__", b"N"), ("__pydantic_private__", b"N")),
    "document of pydantic 1": pydantic(FIELDS, ("__fields_set__", b"\x8f"), ("__private_attribute_values__", b"}")),
    "recommender": FITTED + mapping(("K", b"K\x14"), ("similarity", SPARSE + mapping(("_shape", b"K\x01K\x01\x86")) + b"b")) + b"b",
    "unfitted": FITTED + mapping(("K", b"K\x14"), ("similarity", b"N")) + b"b",
    "boosted": NGB + mapping(("Score", name("ngboost.scores", "LogScore")), ("Dist_name", text("Categorical")), ("K", b"K\x02")) + b"b",
    "punkt": made("nltk.tokenize.punkt", "PunktLanguageVars") + b"K\x01b",
    "image": made("PIL.Image", "Image") + b"](" + b"}" + text("L") + b"K\x01K\x01\x86N" + raw(b"\0") + b"eb",
    "molecule": name("rdkit.Chem.rdchem", "Mol") + raw(b"\xef\xbe") + b"\x85R",
    "strings": name("spacy.strings", "StringStore") + b"](" + text("a") + text("b") + b"e\x85R",
    "graph": made("networkx.classes.graph", "Graph") + mapping(("graph", b"}"), ("__networkx_cache__", b"}")) + b"b",
}  # fmt: skip
LAZY = name("functools", "partial") + name("json", "dumps") + b"\x85R"
FOUL = {
    "class of a document": pydantic(FIELDS, ("__class__", OWN)),
    "method of a document": pydantic(("__dict__", mapping(("__setstate__", LAZY)))),
    "attributes of a document are none": pydantic(("__dict__", LAZY)),
    "private": pydantic(FIELDS, ("__private_attribute_values__", mapping(("__class__", OWN)))),
    "fields are no names": pydantic(FIELDS, ("__pydantic_fields_set__", LAZY)),
    "twice": pydantic(FIELDS) + mapping(FIELDS) + b"b",
    "recommender of a function": FITTED + mapping(("similarity", LAZY)) + b"b",
    "matrix with a method": FITTED + mapping(("similarity", SPARSE + mapping(("tocsr", LAZY)) + b"b")) + b"b",
    "matrix of another kind": FITTED + mapping(("similarity", made("types", "SimpleNamespace") + mapping(("a", b"N")) + b"b")) + b"b",
    "score of another library": NGB + mapping(("Score", name("argparse", "Namespace"))) + b"b",
    "score that is made": NGB + mapping(("Score", LAZY)) + b"b",
    "size of a distribution": NGB + mapping(("K", LAZY)) + b"b",
    "punkt of a function": made("nltk.tokenize.punkt", "PunktLanguageVars") + LAZY + b"b",
    "image of a function": made("PIL.Image", "Image") + b"](" + b"}" + LAZY + b"eb",
    "molecule of a file": name("rdkit.Chem.rdchem", "Mol") + text("/etc/passwd") + b"\x85R",
    "strings of a lazy iterator": name("spacy.strings", "StringStore") + name("builtins", "map") + name("json", "dumps") + b"]\x86R\x85R",
    "regular expression in native code": name("regex._regex", "compile") + text("a") + b"K\x00](K\x01e\x87R",
    "a file that is deleted": made("sklearn_crfsuite._fileresource", "FileResource") + mapping(("name", text("x"))) + b"b",
    "expressions": made("lmfit.parameter", "Parameters") + mapping(("unique_symbols", b"}")) + b"b",
    "model of a formula": made("statsmodels.base.data", "PandasData") + mapping(("restore_model_spec", b"\x88"), ("formula", text("y ~ x"))) + b"b",
}  # fmt: skip


@pytest.mark.parametrize("what", FINE)
def test_what_these_libraries_write_is_inert(what, level):
    assert level(P4 + FINE[what] + b".") == "inert"


@pytest.mark.parametrize("what", FOUL)
def test_what_they_do_not_write_is_not(what, level):
    assert level(P4 + FOUL[what] + b".") in {"unproven", "dangerous"}


@pytest.mark.parametrize("what", [name for name in FINE if name not in {"punkt", "molecule", "strings"}])
def test_a_payload_among_the_attributes_is_dangerous(what, level):
    assert level(P4 + SYSTEM + b"0" + FINE[what] + b".") == "dangerous"


# --- a pickle inside -------------------------------------------------------------------------------------------

STRINGS = name("spacy.strings", "StringStore") + b"]\x85R"
VECTORS = name("spacy.vectors", "unpickle_vectors") + raw(b"\x80") + b"\x85R"
FEATURES = name("spacy.morphology", "unpickle_morphology") + STRINGS + b"]\x86R"


def vocabulary(inner):
    return (
        name("spacy.vocab", "unpickle_vocab")
        + b"(" + STRINGS + VECTORS + FEATURES + b"N" + raw(inner) + b"NNtR"
    )  # fmt: skip


def test_a_vocabulary_is_as_harmless_as_the_pickle_inside(level):
    assert level(P4 + vocabulary(pickle.dumps({1: 2}, 4)) + b".") == "inert"
    getter = P4 + b"}K\x01" + name("spacy.lang.lex_attrs", "lower") + b"s."
    assert level(P4 + vocabulary(getter) + b".") == "inert"
    assert level(P4 + vocabulary(P4 + SYSTEM + text("id") + b"\x85R.") + b".") == "dangerous"
    assert level(P4 + vocabulary(b"cos\nsystem\n(S'id'\ntR.") + b".") == "dangerous"
    assert level(P4 + vocabulary(P4 + name("x.y", "z") + b".") + b".") == "unproven"
    assert level(P4 + vocabulary(b"no pickle") + b".") == "unproven"
    assert level(P4 + vocabulary(b"") + b".") == "unproven"


def test_the_pickle_inside_is_read_in_the_encoding_that_is_stated(level):
    """In UTF-8 a text is longer than in Latin-1, so that what looks like its inside is run after it."""
    hidden = b"X\x06\0\0\0" + b"\xe9\xe9\xe9" + b"0(" + b"0cos\nsystem\n(S'id'\ntR."
    seen = b"(X\x1c\0\0\0" + b"\xe9" * 14 + b"0cos\nsystem\n(S'id'\ntR." + b"0N."

    def given(inner, encoding):
        content = inner.decode("latin-1").encode()
        said = name("_codecs", "encode") + b"X" + struct.pack("<I", len(content)) + content
        stack = STRINGS + VECTORS + FEATURES + b"N" + said + text(encoding) + b"\x86R" + b"NN"
        return P4 + name("spacy.vocab", "unpickle_vocab") + b"(" + stack + b"tR."

    for inner in (hidden, seen):
        assert level(given(inner, "utf-8")) in {"dangerous", "unproven"}
    assert level(given(seen, "utf-8")) == "dangerous"
    assert level(given(seen, "ascii")) == "unproven"
    assert level(given(b"}.", "latin1")) == level(given(b"}.", "utf-8")) == "inert"


def test_pickles_inside_each_other_end_somewhere(level):
    inner = pickle.dumps({}, 4)
    for _ in range(100):
        inner = P4 + vocabulary(inner) + b"."
    assert level(inner) == "unproven"
    payload = P4 + vocabulary(P4 + vocabulary(P4 + SYSTEM + text("id") + b"\x85R.") + b".") + b"."
    assert level(payload) == "dangerous"


def test_a_document_of_spacy_is_unproven_and_its_hooks_are_read(level):
    call = (
        name("spacy.tokens.doc", "unpickle_doc")
        + b"N"
        + raw(pickle.dumps(({}, {}, {}, {}), 4))
        + raw(b"")
        + b"\x87R"
    )
    assert level(P4 + call + b".") == "unproven"
    call = name("spacy.tokens.doc", "unpickle_doc") + b"N" + raw(P4 + SYSTEM + b".") + raw(b"") + b"\x87R"
    assert level(P4 + call + b".") == "dangerous"


def test_the_message_says_which_pickle_it_was():
    events = scan(P4 + vocabulary(P4 + name("x.y", "z") + b".") + b".").events
    assert any("spacy.vocab.unpickle_vocab loads: x.y.z" in event.message for event in events)


# --- names that must stay out ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "qualname"),
    [
        ("tsfresh.feature_extraction.settings", "MinimalFCParameters"),  # unpickles its keys
        (
            "sklearn_crfsuite._fileresource",
            "FileResource",
        ),  # deletes the file that it names when it is forgotten
        ("lmfit.parameter", "Parameters"),
        ("xarray.backends.file_manager", "CachingFileManager"),
        ("pycaret.internal.memory", "FastMemory"),
        ("mne._fiff.meas_info", "Info"),
    ],
)
def test_classes_that_act_when_they_are_made_or_forgotten_take_no_state(module, qualname):
    entry = rules.find(module, qualname)
    assert entry is None or entry.kind == "value" or entry.state == "none"


@pytest.mark.parametrize(
    "name", ["unpickle_vectors", "unpickle_morphology", "unpickle_vocab", "unpickle_doc"]
)
def test_functions_of_spacy_are_called_with_what_they_write_only(name, level):
    module = {
        "unpickle_vectors": "vectors",
        "unpickle_morphology": "morphology",
        "unpickle_vocab": "vocab",
    }.get(name, "tokens.doc")
    stack = text(f"spacy.{module}") + text(name) + b"\x93"
    assert level(P4 + stack + LAZY + b"\x85R.") == "unproven"
    assert level(P4 + stack + b")R.") == "unproven"
