import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.around import locks, manifest, requirements
from modelward.artifact.around.packages import imitated, known, normalise
from modelward.artifact.around.requirements import parse
from modelward.artifact.reading import Exhausted, Malformed, Reading
from modelward.artifact.verdict import inspect, inspect_bytes

SHA = "a" * 64


def found(reader, text, name="requirements.txt", beside=None):
    into = Reading(name, beside=beside)
    reader.read(text.encode(), into)
    return [event.rule.removeprefix("dependencies.") for event in into.events], into


def names(into):
    return [(item["name"], item["version"]) for item in into.facts["packages"]]


# --- requirements -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "version", "url"),
    [
        ("numpy", "numpy", "", ""),
        ("numpy==2.4.0", "numpy", "2.4.0", ""),
        ("numpy == 2.4.0 ; python_version > '3.10'", "numpy", "2.4.0", ""),
        ("numpy===2.4.0", "numpy", "2.4.0", ""),
        ("numpy (==2.4.0)", "numpy", "2.4.0", ""),
        ("numpy>=1.26,<3", "numpy", "", ""),
        ("numpy==2.*", "numpy", "", ""),
        ("torch[cuda,extra]==2.13.0", "torch", "2.13.0", ""),
        ("torch==2.13.0+cpu", "torch", "2.13.0+cpu", ""),
        ("name @ https://example.net/name-1.whl ; os_name == 'posix'", "name", "", "https://example.net/name-1.whl"),
        ("git+https://example.net/a/tool.git@main", "tool", "", "git+https://example.net/a/tool.git@main"),
        ("git+https://example.net/a/x#egg=tool", "tool", "", "git+https://example.net/a/x#egg=tool"),
        ("-e git+ssh://git@example.net/a/tool.git", "tool", "", "git+ssh://git@example.net/a/tool.git"),
    ],
)  # fmt: skip
def test_one_requirement(text, name, version, url):
    one = parse(text)
    assert (one.name, one.version, one.url) == (name, version, url)


@pytest.mark.parametrize("text", ["./local", "/tmp/x.whl", "", "!!", "a b c", "name = 3"])
def test_what_is_no_requirement(text):
    assert parse(text) is None


def test_pins_and_hashes_of_a_whole_file():
    rules, into = found(
        requirements, f"# all\nnumpy==2.4.0 \\\n    --hash=sha256:{SHA}\npandas==3.0.0\ntorch>=2\n"
    )
    assert rules == ["unpinned", "unhashed"]
    assert [event.line for event in into.events] == [5, 4]
    assert "torch" in into.events[0].message
    assert "pandas" in into.events[1].message
    assert names(into) == [("numpy", "2.4.0"), ("pandas", "3.0.0"), ("torch", "")]
    assert into.facts["packages"][0]["hashes"] == [f"sha256:{SHA}"]
    assert into.facts["packages"][0]["licence"].startswith("BSD-3-Clause")


@pytest.mark.parametrize(
    ("line", "rule", "severity"),
    [
        ("--trusted-host pypi.example.net", "trusted-host", "high"),
        ("--index-url http://pypi.example.net/simple", "plain-http", "high"),
        ("-f http://example.net/wheels", "plain-http", "high"),
        ("--extra-index-url https://user:pw@pypi.example.net/simple", "second-index", "medium"),
        ("git+https://example.net/a/tool.git@main", "moving-source", "medium"),
        ("git+http://example.net/a/tool.git@" + "a" * 40, "plain-http", "high"),
        ("name @ https://example.net/name-1.whl", "unhashed-source", "medium"),
        ("torchtriton==3.0.0 --hash=sha256:" + SHA, "squatted", "high"),
        ("reqeusts==2.0 --hash=sha256:" + SHA, "imitation", "medium"),
        ("scikitlearn==1.0 --hash=sha256:" + SHA, "imitation", "medium"),
        ("sklearn==1.0 --hash=sha256:" + SHA, "imitation", "medium"),
    ],
)
def test_one_weakness(line, rule, severity):
    rules, into = found(requirements, line + "\n")
    assert rules == [rule]
    assert into.events[0].severity == severity
    assert "pw@" not in into.events[0].message


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.4.0 --hash=sha256:" + SHA,
        "git+https://example.net/a/tool.git@" + "0" * 40,
        f"name @ https://example.net/name-1.whl#sha256={SHA}",
        "--index-url https://pypi.example.net/simple",
        "# comment only",
        "",
    ],
)
def test_nothing_to_say(line):
    assert found(requirements, line + "\n")[0] == []


def test_included_files_are_read_from_beside_and_loops_end():
    files = {"base.txt": b"numpy\n-r requirements.txt\n", "requirements.txt": b"-r base.txt\n"}
    rules, into = found(requirements, "-r base.txt\n", beside=files.get)
    assert rules == ["unpinned"]
    assert set(names(into)) == {("numpy", "")}
    assert found(requirements, "-r https://example.net/x.txt\n-r gone.txt\n", beside=files.get)[0] == []


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("nunpy", "numpy"),
        ("numppy", "numpy"),
        ("nmupy", "numpy"),
        ("tensorflwo", "tensorflow"),
        ("tenserflow", "tensorflow"),
        ("learn-scikit", "scikit-learn"),
        ("scikitlearn", "scikit-learn"),
        ("t0rch", "torch"),
        ("transformer", "transformers"),
    ],
)
def test_imitations(name, meant):
    assert imitated(name) == meant


def test_no_known_package_imitates_another():
    for name in known().licences:
        assert imitated(name) is None
    assert not set(known().licences) & (set(known().squatted) | set(known().misnamed))
    assert all(normalise(name) == name for name in known().licences)


@pytest.mark.parametrize("name", ["my-company-models", "fraudlib", "torchx-helpers", "dataprep", "a", "abc"])
def test_other_names_are_left_alone(name):
    assert imitated(name) is None


# --- lock files ---------------------------------------------------------------------------------------------

POETRY = f"""
[[package]]
name = "numpy"
version = "2.4.0"
files = [{{file = "numpy.whl", hash = "sha256:{SHA}"}}]

[[package]]
name = "tool"
version = "0.1"
files = []
[package.source]
type = "git"
url = "https://example.net/tool.git"
reference = "main"
resolved_reference = "{"b" * 40}"
"""
UV = f"""
version = 1
[[package]]
name = "mine"
version = "0"
source = {{ editable = "." }}
[[package]]
name = "numpy"
version = "2.4.0"
source = {{ registry = "https://pypi.org/simple" }}
wheels = [{{ url = "https://files.example.net/n.whl", hash = "sha256:{SHA}" }}]
[[package]]
name = "moving"
version = "1"
source = {{ git = "https://example.net/moving.git?branch=main" }}
"""
PYLOCK = f"""
lock-version = "1.0"
[[packages]]
name = "numpy"
version = "2.4.0"
wheels = [{{ url = "https://files.example.net/n.whl", hashes = {{ sha256 = "{SHA}" }} }}]
"""
PIPFILE = {
    "_meta": {},
    "default": {
        "numpy": {"version": "==2.4.0", "hashes": [f"sha256:{SHA}"]},
        "tool": {"git": "https://example.net/tool.git", "ref": "main"},
    },
    "develop": {},
}
NPM = {
    "lockfileVersion": 3,
    "packages": {
        "": {"name": "app"},
        "node_modules/left": {"version": "1.0.0", "integrity": "sha512-x", "resolved": "https://r/left.tgz"},
        "node_modules/a/node_modules/b": {"version": "2", "resolved": "http://example.net/b.tgz"},
    },
}
CONDA_LOCK = f"""
version: 1
package:
- name: numpy
  version: 2.4.0
  manager: conda
  hash: {{md5: x, sha256: {SHA}}}
- name: rich
  version: 14.0
  manager: pip
"""


@pytest.mark.parametrize(
    ("name", "text", "rules", "listed"),
    [
        ("poetry.lock", POETRY, [], [("numpy", "2.4.0"), ("tool", "0.1")]),
        ("uv.lock", UV, ["moving-source"], [("numpy", "2.4.0"), ("moving", "1")]),
        ("pylock.toml", PYLOCK, [], [("numpy", "2.4.0")]),
        ("Pipfile.lock", json.dumps(PIPFILE), ["moving-source"], [("numpy", "2.4.0"), ("tool", "")]),
        ("package-lock.json", json.dumps(NPM), ["plain-http"], [("left", "1.0.0"), ("b", "2")]),
        ("conda-lock.yml", CONDA_LOCK, ["unhashed"], [("numpy", "2.4.0"), ("rich", "14.0")]),
    ],
)
def test_lock_files(name, text, rules, listed):
    seen, into = found(locks, text, name)
    assert [rule for rule in seen if rule != "unhashed" or name.startswith("conda")] == rules
    assert names(into) == listed
    report = inspect_bytes(text.encode(), name)
    assert (report.format, report.verdict) == ("lock-file", None)


@pytest.mark.parametrize("name", ["poetry.lock", "Pipfile.lock", "conda-lock.yml"])
def test_a_broken_lock_file_is_said(name):
    assert found(locks, "{[", name)[0] == ["unreadable"]


# --- manifests ----------------------------------------------------------------------------------------------


def test_manifests_may_state_ranges():
    text = """
[project]
dependencies = ["numpy>=1.26", "tool @ git+https://example.net/tool.git@main"]
[project.optional-dependencies]
x = ["tensorflwo"]
[dependency-groups]
test = ["pytest>=8", {include-group = "x"}]
[tool.poetry.dependencies]
python = "^3.11"
pandas = "3.0.0"
moving = {git = "https://example.net/m.git", branch = "main"}
"""
    rules, into = found(manifest, text, "pyproject.toml")
    assert rules == ["moving-source", "imitation", "moving-source"]
    assert [name for name, _ in names(into)] == ["numpy", "tool", "tensorflwo", "pytest", "pandas", "moving"]


def test_other_manifests():
    cfg = "[options]\ninstall_requires =\n    numpy>=1\n    nunpy\n[options.extras_require]\nx = rich\n"
    rules, into = found(manifest, cfg, "setup.cfg")
    assert rules == ["imitation"]
    assert [name for name, _ in names(into)] == ["numpy", "nunpy", "rich"]
    npm = {"dependencies": {"left": "1.0.0", "x": "http://example.net/x.tgz"}, "devDependencies": {"y": "^2"}}
    assert found(manifest, json.dumps(npm), "package.json")[0] == ["plain-http"]
    assert found(manifest, "not toml [", "pyproject.toml")[0] == ["unreadable"]
    assert found(manifest, f"a = {'1' * 5000}", "pyproject.toml")[0] == ["unreadable"]


def test_conda_environments():
    text = """
name: x
channels: [conda-forge, "http://example.net/channel"]
dependencies:
  - python=3.11
  - numpy=2.4.0=py311_0
  - scipy>=1.12
  - conda-forge::pandas==3.0.0
  - pip:
      - rich==14.0.0
      - nunpy==1.0
"""
    rules, into = found(manifest, text, "environment.yml")
    assert rules == ["plain-http", "unpinned", "unhashed", "imitation"]
    assert names(into) == [
        ("numpy", "2.4.0"),
        ("scipy", ""),
        ("pandas", "3.0.0"),
        ("rich", "14.0.0"),
        ("nunpy", "1.0"),
    ]
    assert (inspect_bytes(text.encode(), "environment.yml").format) == "conda"


def test_requirements_have_no_verdict(tmp_path):
    (tmp_path / "requirements.txt").write_text("-r more.txt\n")
    (tmp_path / "more.txt").write_text("numpy\n")
    report = inspect(tmp_path / "requirements.txt")
    assert (report.format, report.verdict) == ("requirements", None)
    assert [finding.rule for finding in report.findings] == ["dependencies.unpinned"]


@pytest.mark.parametrize("reader", [requirements, locks, manifest])
@pytest.mark.parametrize("name", ["x.txt", "x.toml", "x.json", "x.yml", "setup.cfg"])
@given(text=st.one_of(st.text(max_size=200), st.sampled_from([POETRY, UV, CONDA_LOCK, json.dumps(PIPFILE)]).flatmap(
    lambda whole: st.tuples(st.integers(0, len(whole)), st.text(max_size=5)).map(lambda cut: whole[: cut[0]] + cut[1] + whole[cut[0] + 1 :]))))  # fmt: skip
def test_any_text_is_read(reader, name, text):
    into = Reading(name)
    with contextlib.suppress(Malformed, Exhausted):
        reader.read(text.encode("utf-8", "surrogatepass"), into)
    assert all(event.level == "note" for event in into.events)
