"""Names that a configuration hands to a loader, and source that an archive ships."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import targets
from modelward.artifact.formats.shipped import payload, source
from modelward.artifact.formats.targets import meaning
from modelward.artifact.reading import Reading

NAMES = [
    ("os.system", "dangerous"),
    ("os:system", "dangerous"),
    (" os.system ", "dangerous"),
    ("posix.system", "dangerous"),
    ("subprocess.Popen", "dangerous"),
    ("builtins.eval", "dangerous"),
    ("eval", "dangerous"),
    ("exec", "dangerous"),
    ("importlib.import_module", "dangerous"),
    ("runpy.run_path", "dangerous"),
    ("pty.spawn", "dangerous"),
    ("shutil.rmtree", "dangerous"),
    ("torch.os.system", "dangerous"),
    ("mine.utils.os.system", "dangerous"),
    ("mine.utils._os.system", "dangerous"),
    ("mine.x.__globals__.y", "dangerous"),
    ("mine.osmosis.system", "note"),
    ("builtins.dict", "inert"),
    ("collections.OrderedDict", "inert"),
    ("pathlib.Path", "inert"),
    ("math.sqrt", "inert"),
    ("datetime.datetime.now", "inert"),
    ("functools.partial", "inert"),
    ("torch.nn.Linear", "inert"),
    ("torch.optim.AdamW", "inert"),
    ("transformers.BertModel", "inert"),
    ("sklearn.linear_model.LogisticRegression", "inert"),
    ("torch.load", "unproven"),
    ("joblib.load", "unproven"),
    ("numpy.load", "inert"),
    ("torch.hub.load", "dangerous"),
    ("omegaconf.omegaconf.os.system", "dangerous"),
    ("lightning.pytorch.cli.os.system", "dangerous"),
    ("hydra.utils.sys.modules", "dangerous"),
    ("mine.models.Net", "note"),
    ("Net", "note"),
    ("", "inert"),
    ("not a name", "note"),
    ("a..b", "note"),
    ("x" * 501, "note"),
    ("- " * 300, "inert"),
]


@pytest.mark.parametrize(("name", "level"), NAMES)
def test_names(name, level):
    found, why = meaning(name)
    assert found == level
    assert why


ARGUMENTS = [
    ("numpy.load", {"file": "x.npy", "allow_pickle": "true"}, "unproven"),
    ("numpy.load", {"file": "http://h/x.npy", "allow_pickle": "True"}, "dangerous"),
    ("numpy.load", {"file": "http://h/x.npy"}, "inert"),
    ("joblib.load", {"filename": "https://h/x"}, "dangerous"),
    ("pandas.read_pickle", {"p": "s3://b/x"}, "dangerous"),
    ("torch.load", {"f": "https://h/x"}, "unproven"),
    ("torch.load", {"f": "https://h/x", "weights_only": "false"}, "dangerous"),
    ("keras.models.load_model", {"filepath": "m.keras", "safe_mode": "False"}, "dangerous"),
    ("keras.models.load_model", {"filepath": "m.keras"}, "unproven"),
    ("torch.hub.load", {"repo_or_dir": "pytorch/vision"}, "unproven"),
    ("torch.hub.load", {"repo_or_dir": "evil/x"}, "dangerous"),
    ("torch.hub.load", {"repo_or_dir": "x", "source": "local"}, "unproven"),
    ("torch.hub.load", {"0": "facebookresearch/dino"}, "unproven"),
    ("transformers.AutoModel.from_pretrained", {"trust_remote_code": "true"}, "unproven"),
    ("transformers.AutoModel.from_pretrained", {"trust_remote_code": "false"}, "inert"),
    ("hydra.utils.get_method", {"path": "os.system"}, "dangerous"),
    ("hydra.utils.get_class", {"path": "torch.nn.Linear"}, "inert"),
    ("mine.Net", {"p": "~/.ssh/id_rsa"}, "dangerous"),
    ("mine.Net", {"p": "weights/net.pt"}, "note"),
    ("builtins.dict", {"p": "/etc/shadow"}, "dangerous"),
    ("builtins.dict", {"p": "/data"}, "inert"),
]


@pytest.mark.parametrize(("name", "arguments", "level"), ARGUMENTS)
def test_what_a_name_is_given(name, arguments, level):
    assert meaning(name, arguments)[0] == level


@pytest.mark.parametrize("module", sorted(targets.KNOWN))
def test_each_known_package(module):
    assert meaning(f"{module}.sub.Class")[0] in {"inert", "unproven"}
    assert meaning(f"{module}.os.system")[0] == "dangerous"
    assert meaning(f"not_{module}.sub.Class")[0] == "note"


@pytest.mark.parametrize("name", sorted(targets._PLAIN))
def test_each_plain_name(name):
    assert meaning(name) == ("inert", "is harmless")


@pytest.mark.parametrize("name", sorted(targets._LOADERS - {"numpy.load"}))
def test_each_loader_of_other_files(name):
    assert meaning(name, {"path": "x"})[0] == "unproven"


@settings(deadline=None)
@given(
    st.text("abos.:_ -system", max_size=20),
    st.dictionaries(st.text(max_size=4), st.text(max_size=12), max_size=2),
)
def test_any_name_has_a_meaning(name, arguments):
    level, why = meaning(name, arguments)
    assert level in {"dangerous", "unproven", "note", "inert"}
    assert why


# --- source beside a configuration, and in an archive -------------------------------------------------------

EVIL, GOOD, ODD = (
    b"import os\nos.system('id')\n",
    b"class Net: ...\n",
    b"import requests\nrequests.get('http://x')\n",
)


@pytest.mark.parametrize(
    ("files", "name", "level"),
    [
        ({}, "mine.Net", None),
        ({"mine.py": GOOD}, "mine.Net", "note"),
        ({"mine.py": EVIL}, "mine.Net", "dangerous"),
        ({"mine.py": EVIL}, "mine:Net", "dangerous"),
        ({"mine.py": ODD}, "mine.Net", "unproven"),
        ({"mine.py": b"def ("}, "mine.Net", "unproven"),
        ({"mine/__init__.py": EVIL}, "mine.Net", "dangerous"),
        ({"mine/net.py": EVIL}, "mine.net.Net", "dangerous"),
        ({"mine/net.py": GOOD}, "mine.net.Net.make", "note"),
        ({"other.py": EVIL}, "mine.Net", None),
        ({"Net.py": EVIL}, "Net", None),
    ],
)
def test_source_beside_a_configuration(files, name, level):
    found = targets.beside(name, Reading(beside=files.get))
    assert (found and found[0]) == level


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (EVIL, [("dangerous", "shipped.payload", "os.system('id')")]),
        (EVIL * 2, [("dangerous", "shipped.payload", "os.system('id')")] * 2),
        (GOOD, [("unproven", "shipped.source", None)]),
        (ODD, [("unproven", "shipped.source", None)]),
        (b"def (", [("unproven", "shipped.source", None)]),
        (b"", [("unproven", "shipped.source", None)]),
        (
            b"# coding: utf-7\n+AGkAbQBwAG8AcgB0- os\nos.system('id')\n",
            [("dangerous", "shipped.payload", "os.system('id')")],
        ),
    ],
)
def test_source_that_an_archive_ships(raw, expected):
    into = Reading()
    source(into, "code/x.py", raw, "the loader imports it")
    assert [(event.level, event.rule, event.call) for event in into.events] == expected
    assert all(
        "code/x.py" in event.message and event.message.endswith("the loader imports it")
        for event in into.events
    )
    other = Reading()
    assert payload(other, "x.py", raw, "w") is (expected[0][0] == "dangerous")
    assert all(event.level == "dangerous" for event in other.events)


def test_many_payloads_are_said_in_part():
    into = Reading()
    source(into, "x.py", EVIL * 30, "w")
    assert len(into.events) == 20
