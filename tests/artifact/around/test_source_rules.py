"""Every rule on calls in source: each name that has it, what makes it quiet, and how bad it is."""

import pytest

from modelward.artifact.around.python import commands, loads, network
from modelward.artifact.around.source import analyse

RULES = {**loads.RULES, **commands.RULES, **network.RULES}
REMOTE = "import wget\nx = wget.download(u)\n"


def found(text):
    return {(item.rule.removeprefix("source."), item.severity) for item in analyse(text).weaknesses}


def called(path, arguments="f"):
    """Source that calls a dotted name of the tables, where `()` stands for a call of a constructor."""
    top = path.split(".", 1)[0]
    bare = path.removeprefix("builtins.")
    lines = "" if path.startswith("builtins.") else f"import {top}\n"
    return f"{lines}{bare}({arguments})\n"


# --- each name of each table --------------------------------------------------------------------------------


def names(function):
    return sorted(name for name, rule in RULES.items() if rule is function)


@pytest.mark.parametrize("name", names(loads._unpickles))
def test_each_function_that_unpickles(name):
    assert ("unpickles", "medium") in found(called(name, "path"))
    assert ("unpickles-download", "critical") in found(REMOTE + called(name, "x"))
    assert ("unpickles-download", "critical") in found(called(name, "'https://host/x'"))


@pytest.mark.parametrize("name", names(loads._keras))
def test_each_function_of_keras_that_takes_safe_mode(name):
    assert found(called(name, "p, safe_mode=False")) == {("keras-unsafe", "high")}
    assert found(called(name, "p, safe_mode=0")) == {("keras-unsafe", "high")}
    for quiet in ("p", "p, safe_mode=True", "p, safe_mode=mode", "p, **options"):
        assert found(called(name, quiet)) == set()


@pytest.mark.parametrize("name", names(loads._keras_switch))
def test_each_switch_of_keras(name):
    assert found(called(name, "")) == {("keras-unsafe", "high")}


@pytest.mark.parametrize("name", names(loads._mlflow))
@pytest.mark.parametrize("scheme", ["http://", "https://", "s3://", "gs://", "ftp://"])
def test_each_flavour_of_mlflow(name, scheme):
    assert found(called(name, f"'{scheme}host/m'")) == {("mlflow-remote", "high")}
    assert found(called(name, f"model_uri='{scheme}host/m'")) == {("mlflow-remote", "high")}
    assert found(called(name, "'models:/m/1'")) == set()
    assert found(called(name, "uri")) == set()


@pytest.mark.parametrize("name", names(loads._torch_load))
@pytest.mark.parametrize(
    ("arguments", "severity"),
    [
        ("p", "medium"),
        ("p, weights_only=False", "high"),
        ("p, weights_only=0", "high"),
        ("p, map_location='cpu'", "medium"),
        ("x", "high"),
        ("x, weights_only=False", "critical"),
        ("p, weights_only=True", None),
        ("p, weights_only=1", None),
        ("x, weights_only=True", None),
        ("p, weights_only=safe", None),
        ("p, **options", None),
        ("*arguments", None),
        ("p, weights_only=False, **options", "high"),
    ],
)
def test_torch_load(name, arguments, severity):
    assert found(REMOTE + called(name, arguments)) == ({("torch-load", severity)} if severity else set())


@pytest.mark.parametrize("name", names(loads._jit_load))
def test_each_loader_of_programs(name):
    assert found(REMOTE + called(name, "x")) == {("loads-program", "high")}
    assert found(called(name, "'gs://b/m.pt'")) == {("loads-program", "high")}
    assert found(called(name, "'m.pt'")) == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("'a/b', 'm'", "hubconf.py of a/b at its newest state"),
        ("'a/b:main', 'm'", "hubconf.py of a/b:main"),
        ("repo, 'm'", "hubconf.py of a repository at its newest state"),
        ("repo_or_dir='a/b', model='m'", "hubconf.py of a/b at its newest state"),
        ("'a/b', 'm', source='github'", "hubconf.py of a/b at its newest state"),
        ("'pytorch/vision', 'm'", None),
        ("'d', 'm', source='local'", None),
        ("'d', 'm', 'local'", None),
    ],
)
def test_torch_hub(arguments, said):
    items = analyse(f"import torch\ntorch.hub.load({arguments})").weaknesses
    if said is None:
        assert items == ()
    else:
        ((rule, message),) = [(item.rule, item.message) for item in items]
        assert rule == "source.torch-hub"
        assert message.endswith(said)


@pytest.mark.parametrize("name", names(loads._yaml))
@pytest.mark.parametrize(
    ("arguments", "severity"),
    [
        ("f", "high"),
        ("f, yaml.Loader", "high"),
        ("f, Loader=yaml.UnsafeLoader", "high"),
        ("f, Loader=yaml.CLoader", "high"),
        ("f, Loader=yaml.FullLoader", "medium"),
        ("f, yaml.CFullLoader", "medium"),
        ("f, yaml.SafeLoader", None),
        ("f, yaml.CSafeLoader", None),
        ("f, Loader=yaml.BaseLoader", None),
        ("f, Loader=yaml.CBaseLoader", None),
        ("f, Loader=Mine", None),
        ("f, **options", None),
        ("*both", None),
    ],
)
def test_loaders_of_yaml(name, arguments, severity):
    assert found(called(name, arguments)) == ({("yaml-load", severity)} if severity else set())


@pytest.mark.parametrize("name", names(loads._yaml_unsafe))
def test_unsafe_functions_of_yaml(name):
    assert found(called(name)) == {("yaml-load", "high")}


@pytest.mark.parametrize(
    ("arguments", "severity"),
    [
        ("p, allow_pickle=True", "medium"),
        ("p, None, True", "medium"),
        ("x, allow_pickle=True", "critical"),
        ("'http://h/a.npy', allow_pickle=1", "critical"),
        ("p", None),
        ("p, allow_pickle=False", None),
        ("p, allow_pickle=flag", None),
        ("x", None),
    ],
)
def test_numpy_load(arguments, severity):
    expected = {("numpy-pickle", severity)} if severity else set()
    assert found(f"{REMOTE}import numpy\nnumpy.load({arguments})") == expected


@pytest.mark.parametrize(
    ("arguments", "severity"),
    [
        ("'a/b', trust_remote_code=True", "high"),
        ("'a/b', trust_remote_code=1", "high"),
        ("'a/b', trust_remote_code=True, revision='main'", "high"),
        ("'a/b', trust_remote_code=True, revision=r", "high"),
        (f"'a/b', trust_remote_code=True, revision='{'0' * 39}'", "high"),
        (f"'a/b', trust_remote_code=True, revision='{'0' * 40}'", "medium"),
        (f"'a/b', trust_remote_code=True, code_revision='{'0' * 40}'", "medium"),
        ("'a/b', trust_remote_code=False", None),
        ("'a/b', trust_remote_code=args.trust", None),
        ("'a/b'", None),
    ],
)
@pytest.mark.parametrize("callee", ["load", "M.from_pretrained", "a[0]", "vllm.LLM", "f()"])
def test_trust_in_remote_code_counts_in_any_call(callee, arguments, severity):
    expected = {("trust-remote-code", severity)} if severity else set()
    assert found(f"import vllm\n{callee}({arguments})") == expected


# --- commands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names(commands._evaluates))
def test_each_function_that_evaluates(name):
    assert found(called(name, "text")) == {("evaluates", "medium")}
    assert found(REMOTE + called(name, "x")) == {("runs-hidden-text", "critical")}
    assert found("import base64\n" + called(name, "base64.b64decode(t)")) == {
        ("runs-hidden-text", "critical")
    }
    assert found(called(name, "'1 + 1'")) == set()
    assert found(called(name, "")) == set()


@pytest.mark.parametrize(
    "text", ["import ast\ncompile(ast.parse(t), 'f', 'exec')", "import ast\ncompile(ast.fix(t), 'f', 'exec')"]
)
def test_compiling_a_tree_is_no_evaluation(text):
    assert found(text) == set()


def test_what_hides_the_text_is_said():
    (item,) = analyse("import base64, wget\nexec(base64.b64decode(wget.download(u)))").weaknesses
    assert item.message == "exec runs text that is decoded and downloaded"


@pytest.mark.parametrize("name", names(commands._shell))
def test_each_shell(name):
    assert ("shell-injection", "high") in found(called(name, "'ls ' + x"))
    assert ("shell-injection", "high") in found(called(name, "x"))
    assert ("runs-download", "medium") in found(called(name, "'curl https://h | sh'"))
    assert found(called(name, "'ls'")) == set()


@pytest.mark.parametrize("name", names(commands._subprocess))
@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ("x, shell=True", ("shell-injection", "high")),
        ("f'ls {x}', shell=1", ("shell-injection", "high")),
        ("args=x, shell=True", ("shell-injection", "high")),
        ("'curl -k https://h', shell=True", ("tls-disabled", "high")),
        ("['curl', '-k', 'https://h']", ("tls-disabled", "high")),
        ("['pip', 'install', '--trusted-host', 'h', 'a']", ("pip-insecure", "high")),
        ("['pip', 'install', 'a', '--extra-index-url', 'https://h']", ("pip-extra-index", "medium")),
        ("['wget', '--no-check-certificate', u]", ("tls-disabled", "high")),
        ("x, shell=False", None),
        ("x, shell=flag", None),
        ("x", None),
        ("['ls', x]", None),
        ("['ls', x], shell=True", None),
        ("'ls', shell=True", None),
    ],
)
def test_each_runner_of_programs(name, arguments, rule):
    assert found(called(name, arguments)) == ({rule} if rule else set())


ARCHIVES = {
    "tarfile.open().extractall": "tarfile.open(p)",
    "tarfile.TarFile().extractall": "tarfile.TarFile(p)",
    "tarfile.TarFile.open().extractall": "tarfile.TarFile.open(p)",
}


@pytest.mark.parametrize("name", names(commands._tar))
def test_each_way_to_open_a_tar(name):
    opened = f"import tarfile\nt = {ARCHIVES[name]}\n"
    assert found(opened + "t.extractall()") == {("tar-extract", "medium")}
    assert found(opened + "t.extractall('d', numeric_owner=True)") == {("tar-extract", "medium")}
    assert found(REMOTE + opened.replace("(p)", "(x)") + "t.extractall()") == {("tar-extract", "high")}
    for quiet in ("filter='data'", "'d', members=safe", "**options", "path='d', filter=f"):
        assert found(opened + f"t.extractall({quiet})") == set()


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ("'a.tar', 'd'", True),
        ("'a.tar.gz'", True),
        ("'a.tgz'", True),
        ("'a.tbz'", True),
        ("x", True),
        ("'a.tar', filter='data'", False),
        ("'a.zip'", False),
        ("p", False),
        ("'a.tar', **options", False),
    ],
)
def test_unpacking_of_archives(arguments, rule):
    expected = {("tar-extract", "medium")} if rule else set()
    assert found(f"{REMOTE}import shutil\nshutil.unpack_archive({arguments})") == expected


@pytest.mark.parametrize(
    ("opened", "rule"),
    [("zipfile.ZipFile(x)", True), ("zipfile.ZipFile(io.BytesIO(x))", True), ("zipfile.ZipFile(p)", False)],
)
def test_zips_that_were_downloaded(opened, rule):
    text = f"{REMOTE}import io, zipfile\nz = {opened}\nz.extractall('d')"
    assert found(text) == ({("zip-extract", "low")} if rule else set())


@pytest.mark.parametrize(
    ("name", "rule"),
    [("mktemp", True), ("mkstemp", False), ("mkdtemp", False), ("NamedTemporaryFile", False)],
)
def test_names_of_temporary_files(name, rule):
    assert found(f"import tempfile\ntempfile.{name}()") == ({("temporary-file", "medium")} if rule else set())


# --- network ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names(network._requests))
def test_each_verb_of_each_client(name):
    assert ("tls-disabled", "high") in found(called(name, "u, verify=False, timeout=3"))
    assert found(called(name, "u, timeout=3")) == set()
    assert found(called(name, "u, verify='ca.pem', timeout=3")) == set()
    assert found(called(name, "u, verify=True, timeout=3")) == set()
    slow = {("no-timeout", "low")} if name.startswith("requests.") else set()
    assert found(called(name, "u")) == slow
    assert found(called(name, "u, **options")) == set()


@pytest.mark.parametrize("name", names(network._verify))
@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ("verify=False", True),
        ("ssl=False", True),
        ("ssl=0", True),
        ("", False),
        ("ssl=context", False),
        ("verify=True", False),
    ],
)
def test_clients_that_check_no_certificate(name, arguments, rule):
    assert found(called(name, arguments)) == ({("tls-disabled", "high")} if rule else set())


def test_a_context_that_checks_nothing():
    assert found("import ssl\nc = ssl._create_unverified_context()") == {("tls-disabled", "high")}
    assert found("import ssl\nc = ssl.create_default_context()") == set()


STORED = [
    ("ssl._create_default_https_context = ssl._create_unverified_context", True),
    ("ssl._create_default_https_context = mine", False),
    ("c.verify_mode = ssl.CERT_NONE", True),
    ("c.verify_mode = ssl.CERT_REQUIRED", False),
    ("c.check_hostname = False", True),
    ("c.check_hostname = 0", True),
    ("c.check_hostname = True", False),
    ("c.check_hostname = None", False),
    ("s = requests.Session(); s.verify = False", True),
    ("s = requests.session(); s.verify = 0", True),
    ("s = requests.Session(); s.verify = 'ca.pem'", False),
    ("s.verify = False", False),
    ("os.environ['PYTHONHTTPSVERIFY'] = '0'", True),
    ("os.environ['PYTHONHTTPSVERIFY'] = ''", True),
    ("os.environ['PYTHONHTTPSVERIFY'] = '1'", False),
    ("os.environ['CURL_CA_BUNDLE'] = ''", True),
    ("os.environ['CURL_CA_BUNDLE'] = 'ca.pem'", False),
    ("os.environ['REQUESTS_CA_BUNDLE'] = ''", True),
    ("os.environ['REQUESTS_CA_BUNDLE'] = path", False),
    ("os.environ['SSL_CERT_FILE'] = certifi.where()", False),
    ("os.environ['PYTHONHTTPSVERIFY'] = f'{x}'", False),
    ("os.environ['SSL_CERT_FILE'] = 'x'", False),
    ("os.environ['SSL_CERT_FILE'] = ''", True),
    ("os.environ['HF_HUB_DISABLE_SSL_VERIFICATION'] = 'TRUE'", True),
    ("os.environ['HF_HUB_DISABLE_SSL_VERIFY'] = 'off'", False),
    ("os.environ['GIT_SSL_NO_VERIFY'] = 'on'", True),
    ("os.environ['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'", True),
    ("os.environ['NODE_TLS_REJECT_UNAUTHORIZED'] = '1'", False),
    ("os.environ['OTHER'] = '0'", False),
]


@pytest.mark.parametrize(("text", "rule"), STORED)
def test_assignments_that_switch_checks_off(text, rule):
    assert found(f"import os, ssl, requests\n{text}") == ({("tls-disabled", "high")} if rule else set())


SERVERS = {"flask.Flask().run": "flask.Flask(n).run", "?.run": "unknown.run", "?.launch": "demo.launch"}


@pytest.mark.parametrize("name", names(network._bound))
def test_each_server_that_listens_everywhere(name):
    text = f"{SERVERS[name]}(%s)" if name in SERVERS else called(name, "%s").strip()
    text = f"import flask\n{text}"
    listening = {("listens-everywhere", "medium")} if name != "?.run" else set()
    assert found(text % "app, host='0.0.0.0'") == listening
    assert found(text % "app, server_name='::'") == listening
    assert found(text % "app, host='127.0.0.1'") == set()
    assert found(text % "app") == set()
    shared = {("shared-demo", "medium")} if name.endswith(".launch") else set()
    assert found(text % "share=True") == shared
    assert found(text % "share=False") == set()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("import flask\napp = flask.Flask(n)\napp.run(debug=True)", True),
        ("from flask import Flask as F\nF(n).run(debug=1)", True),
        ("app.run(debug=True)", True),
        ("import flask\nflask.Flask(n).run(debug=False)", False),
        ("import flask\nflask.Flask(n).run(debug=d)", False),
        ("import asyncio\nasyncio.run(f(), debug=True)", False),
    ],
)
def test_debuggers_of_servers(text, rule):
    assert found(text) == ({("debug-server", "high")} if rule else set())


@pytest.mark.parametrize(
    "name",
    ["check_file", "verify", "integrity", "is_valid", "download_all", "fetch", "file_sum", "Cache.validate"],
)
@pytest.mark.parametrize(
    ("call", "rule"),
    [
        ("hashlib.md5(b)", True),
        ("hashlib.sha1(b)", True),
        ("hashlib.new('md5', b)", True),
        ("hashlib.new('sha1')", True),
        ("hashlib.new('sha256')", False),
        ("hashlib.new(name)", False),
        ("hashlib.md5(b, usedforsecurity=False)", False),
        ("hashlib.sha256(b)", False),
    ],
)
def test_weak_hashes_where_a_file_is_checked(name, call, rule):
    owner, _, function = name.rpartition(".")
    body = f"def {function}(b):\n    return {call}\n"
    text = f"class {owner}:\n    " + body.replace("\n    ", "\n        ") if owner else body
    assert found("import hashlib\n" + text) == ({("weak-hash", "low")} if rule else set())


@pytest.mark.parametrize("name", ["key", "cache_name", "digest"])
def test_weak_hashes_elsewhere(name):
    assert found(f"import hashlib\ndef {name}(b):\n    return hashlib.md5(b)") == set()


def test_every_rule_of_the_tables_is_tried_here():
    tried = (
        loads._unpickles, loads._keras, loads._keras_switch, loads._mlflow, loads._torch_load, loads._jit_load, loads._hub,
        loads._yaml, loads._yaml_unsafe, loads._numpy, commands._evaluates, commands._shell, commands._subprocess,
        commands._tar, commands._unpack, commands._zip, commands._mktemp, network._requests, network._verify,
        network._unverified, network._bound, network._weak_hash,
    )  # fmt: skip
    assert set(RULES.values()) == set(tried)
