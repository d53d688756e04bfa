"""Where `dangerous.py` ends its search: callables that act, by their full names, and methods by theirs."""

from __future__ import annotations

SOURCE, PROGRAM, IMPORT, PICKLE, NATIVE, NET, WRITE, READ = (
    "runs source text", "runs programs", "imports modules", "unpickles again, unchecked", "loads native code",
    "opens connections", "writes or deletes files", "opens files",
)  # fmt: skip
SINKS: dict[str, str] = {
    **dict.fromkeys(("exec", "eval", "compile", "execfile", "builtins.exec", "builtins.eval", "runpy.run_path", "runpy.run_module", "runpy._run_code",
                     "runpy._run_module_code", "code.interact", "code.InteractiveInterpreter", "timeit.timeit", "timeit.Timer", "cProfile.run",
                     "profile.run", "types.FunctionType", "types.CodeType", "torch.compile"), SOURCE),
    **dict.fromkeys(("os.system", "os.popen", "os.execv", "os.execve", "os.execvp", "os.execl", "os.execlp", "os.execvpe", "os.spawnv", "os.spawnvp",
                     "os.spawnve", "os.spawnl", "os.spawnlp", "os.posix_spawn", "os.startfile", "os.kill", "pty.spawn", "subprocess.run", "subprocess.call",
                     "subprocess.Popen", "subprocess.check_call", "subprocess.check_output", "subprocess.getoutput", "subprocess.getstatusoutput",
                     "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell", "webbrowser.open", "_posixsubprocess.fork_exec",
                     "_winapi.CreateProcess", "multiprocessing.Process", "distutils.spawn.spawn", "psutil.Popen",
                     "torch.utils.cpp_extension.load", "torch.utils.cpp_extension.load_inline", "pexpect.spawn", "os.killpg"), PROGRAM),
    **dict.fromkeys(("__import__", "importlib.import_module", "importlib.util.spec_from_file_location", "importlib.__import__", "imp.load_source",
                     "imp.load_module", "importlib.reload", "pkgutil.resolve_name", "importlib.util.find_spec"), IMPORT),
    **dict.fromkeys(("pickle.load", "pickle.loads", "pickle.Unpickler", "_pickle.loads", "marshal.load", "marshal.loads", "shelve.open", "dill.load",
                     "dill.loads", "cloudpickle.load", "cloudpickle.loads", "joblib.load", "torch.load", "numpy.load", "pandas.read_pickle",
                     "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pickle._Unpickler", "_pickle.load", "_pickle.Unpickler", "tensorflow.saved_model.load",
                     "keras.models.load_model", "tensorflow.keras.models.load_model", "catboost.CatBoost.load_model", "paddle.load"), PICKLE),
    **dict.fromkeys(("ctypes.CDLL", "ctypes.WinDLL", "ctypes.PyDLL", "ctypes.cdll.LoadLibrary", "ctypes.util.find_library", "_ctypes.dlopen",
                     "torch.ops.load_library", "torch.classes.load_library", "ctypes.string_at", "ctypes.memmove"), NATIVE),
    **dict.fromkeys(("socket.socket", "socket.create_connection", "urllib.request.urlopen", "urllib.request.urlretrieve", "urllib.request.Request",
                     "http.client.HTTPConnection", "http.client.HTTPSConnection", "smtplib.SMTP", "ftplib.FTP", "requests.get", "requests.post",
                     "requests.request", "requests.head", "requests.Session", "socket.getaddrinfo", "socket.gethostbyname", "urllib.request.build_opener",
                     "httpx.get", "httpx.post", "httpx.request", "httpx.stream", "httpx.Client", "aiohttp.ClientSession", "urllib3.PoolManager", "urllib3.request",
                     "requests.put", "requests.delete", "requests.sessions.Session", "smtplib.SMTP_SSL", "xmlrpc.client.ServerProxy", "paramiko.SSHClient",
                     "asyncio.open_connection", "asyncio.start_server", "socketserver.TCPServer", "http.server.HTTPServer", "websockets.connect",
                     "huggingface_hub.hf_hub_download", "huggingface_hub.snapshot_download", "huggingface_hub.cached_download",
                     "torch.hub.load_state_dict_from_url", "torch.hub.download_url_to_file", "boto3.client", "boto3.resource", "ssl.get_server_certificate"), NET),
    **dict.fromkeys(("os.remove", "os.unlink", "os.rmdir", "os.rename", "os.replace", "os.mkdir", "os.makedirs", "os.chmod", "os.symlink", "os.link",
                     "shutil.rmtree", "shutil.move", "shutil.copy", "shutil.copyfile", "shutil.copy2", "shutil.copytree", "shutil.unpack_archive",
                     "os.removedirs", "os.renames", "os.truncate", "os.putenv", "tarfile.open", "zipfile.ZipFile", "os.chdir",
                     "numpy.save", "numpy.savez", "numpy.savez_compressed", "numpy.savetxt", "torch.save", "joblib.dump", "sqlite3.connect", "h5py.File",
                     "os.chown", "os.utime", "os.mkfifo", "os.mknod", "os.environ.update", "os.environ.setdefault", "sys.path.append", "sys.path.insert",
                     "site.addsitedir", "tables.open_file", "shutil.make_archive", "logging.FileHandler"), WRITE),
    **dict.fromkeys(("open", "io.open", "codecs.open", "io.FileIO", "os.open", "gzip.open", "bz2.open", "lzma.open", "tokenize.open", "os.listdir",
                     "os.scandir", "os.walk", "linecache.getlines", "linecache.getline", "mmap.mmap", "os.fdopen", "builtins.open",
                     "numpy.fromfile", "numpy.memmap", "numpy.loadtxt", "numpy.genfromtxt", "numpy.fromregex", "pandas.read_csv", "pandas.read_parquet",
                     "pandas.read_json", "pandas.read_table", "pandas.read_excel", "pandas.read_hdf", "fsspec.open", "fsspec.core.url_to_fs", "PIL.Image.open",
                     "glob.glob", "glob.iglob", "safetensors.safe_open", "safetensors.torch.load_file", "onnx.load", "onnxruntime.InferenceSession",
                     "pyarrow.memory_map", "pyarrow.OSFile", "pyarrow.parquet.read_table", "smart_open.open", "imageio.imread", "cv2.imread",
                     "lxml.etree.parse", "xml.etree.ElementTree.parse", "xml.etree.cElementTree.parse", "xml.dom.minidom.parse", "fileinput.input",
                     "tensorflow.io.gfile.GFile", "tensorflow.io.read_file", "torchvision.io.read_image", "torchaudio.load", "soundfile.read",
                     "configparser.ConfigParser.read", "netrc.netrc", "zipfile.Path", "ossaudiodev.open"), READ),
}  # fmt: skip
"""Callable by its full name -> what it does."""
METHODS: dict[str, str] = {
    **dict.fromkeys(("write_text", "write_bytes", "unlink", "rmdir", "touch", "symlink_to", "hardlink_to", "mkdir", "extractall", "rmtree"), WRITE),
    **dict.fromkeys(("read_text", "read_bytes", "iterdir", "rglob"), READ),
    **dict.fromkeys(("from_pretrained", "urlopen", "create_connection"), NET),
    **dict.fromkeys(("import_module", "exec_module", "load_module", "load_entry_point"), IMPORT),
    **dict.fromkeys(("load_library", "LoadLibrary"), NATIVE),
    **dict.fromkeys(("run_cell", "runcode", "runsource", "compile_expression"), SOURCE),
    **dict.fromkeys(("exec_command", "check_output", "check_call"), PROGRAM),
}  # fmt: skip
"""Method -> what it does, when its object or an argument of it comes from a parameter."""
HARMLESS = frozenset((
    "warnings.warn", "collections.namedtuple", "typing.NamedTuple", "typing._make_nmtuple", "ast.parse", "ast.literal_eval", "typing.ForwardRef",
))  # fmt: skip
"""What reaches a sink with nothing that its caller chose: a line of the calling file, checked names; or compiles and never runs."""
