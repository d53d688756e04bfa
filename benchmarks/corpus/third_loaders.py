# ruff: noqa: BLE001, I001, ICN001, PTH103, PTH107, PTH110, PTH114, PTH118, PTH119, PTH120, PTH122, PTH123, PTH202, PTH207, PTH211, RUF021, S108, S110, S202, S506, S701, SIM105, SIM115, SLF001 - it loads hostile files on purpose, in a child
"""The usual loader of each kind of file, under an audit hook: run by third_confirm.py in a throw-away child.

python third_loaders.py KIND PROOF PATH
"""

import builtins
import json
import sys

KIND, PROOF, PATH = sys.argv[1:4]
READY = [False]


def hook(event, arguments):
    if READY[0] and event.startswith(PROOF):
        if event == "open" and not (
            isinstance(arguments[1], str) and arguments[1][:1] in "wax" or arguments[2] & 577
        ):
            return
        print("PROOF", event, str(arguments)[:100], flush=True)


def pickle_plain():
    import pickle

    with open(PATH, "rb") as file:
        pickle.load(file)


def pickle_python():
    import pickle

    with open(PATH, "rb") as file:
        pickle._load(file)


def pickle_many():
    import pickle

    with open(PATH, "rb") as file:
        while True:
            pickle.load(file)


def pickle_archived():
    """An archive of a pickle: unpacked with the standard library, each member is loaded."""
    import bz2
    import gzip
    import io
    import lzma
    import pickle
    import tarfile
    import zipfile
    import zlib

    def open_all(data, depth=0):
        if depth > 6:
            return
        inner = []
        if data[:2] == b"\x1f\x8b":
            inner = [gzip.decompress(data)]
        elif data[:3] == b"BZh":
            inner = [bz2.decompress(data)]
        elif data[:6] == b"\xfd7zXZ\x00" or data[:3] == b"\x5d\x00\x00":
            inner = [lzma.decompress(data)]
        elif data[:4] == b"\x28\xb5\x2f\xfd":
            import zstandard

            inner = [zstandard.ZstdDecompressor().decompressobj().decompress(data)]
        elif data[:4] == b"\x04\x22\x4d\x18":
            import lz4.frame

            inner = [lz4.frame.decompress(data)]
        elif data[:6] == b"7z\xbc\xaf\x27\x1c":
            import py7zr

            import tempfile

            with tempfile.TemporaryDirectory() as place:
                py7zr.SevenZipFile(io.BytesIO(data)).extractall(place)
                from pathlib import Path

                inner = [p.read_bytes() for p in Path(place).rglob("*") if p.is_file()]
        elif zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                for name in file.infolist():
                    try:
                        inner.append(file.read(name))
                    except Exception:
                        pass
        elif data[257:262] == b"ustar":
            with tarfile.open(fileobj=io.BytesIO(data)) as file:
                inner = [file.extractfile(m).read() for m in file if m.isfile()]
        elif data[:1] == b"\x78":
            inner = [zlib.decompress(data)]
        if not inner:
            pickle.loads(data)
        for part in inner:
            try:
                open_all(part, depth + 1)
            except Exception:
                pass

    with open(PATH, "rb") as file:
        open_all(file.read())


def torch_load():
    import torch

    READY[0] = True
    torch.load(PATH, weights_only=False)


def torch_jit():
    import torch

    READY[0] = True
    model = torch.jit.load(PATH)
    model()


def torch_export():
    import torch

    READY[0] = True
    torch.export.load(PATH)


def torch_package():
    import torch.package

    importer = torch.package.PackageImporter(PATH)
    importer.load_pickle("model", "model.pkl")


def joblib_load():
    import joblib

    READY[0] = True
    joblib.load(PATH)


def numpy_load():
    import numpy

    READY[0] = True
    found = numpy.load(PATH, allow_pickle=True)
    for name in getattr(found, "files", []):
        found[name]


def pandas_pickle():
    import pandas

    READY[0] = True
    pandas.read_pickle(PATH)


def dill_load():
    import dill

    READY[0] = True
    with open(PATH, "rb") as file:
        dill.load(file)


def dill_session():
    import dill

    READY[0] = True
    dill.load_module(PATH)


def cloudpickle_load():
    import cloudpickle

    READY[0] = True
    with open(PATH, "rb") as file:
        cloudpickle.load(file)


def keras_load():
    import numpy
    import keras

    READY[0] = True
    model = keras.models.load_model(PATH, safe_mode=False, compile=False)
    model(numpy.zeros((1, 3), "float32"))


def h5_follow():
    """Reads every dataset, and says when one of them came from outside the file."""
    import h5py

    import os

    READY[0] = True
    with h5py.File(PATH, "r") as file:

        def walk(group):
            for key in group:
                link = group.get(key, getlink=True)
                item = group.get(key)
                if isinstance(link, h5py.ExternalLink) or (
                    item is None and not isinstance(link, h5py.HardLink)
                ):
                    print("READS link", getattr(link, "filename", link.path))
                if isinstance(item, h5py.Group):
                    walk(item)
                elif isinstance(item, h5py.Dataset):
                    if item.external:
                        print("READS", os.fsdecode(item.external[0][0]))
                        print(bytes(item[...].tobytes())[:30])
                    elif item.is_virtual:
                        print("READS", item.virtual_sources()[0].file_name)

        walk(file)


def gguf_template():
    import gguf
    import jinja2

    reader = gguf.GGUFReader(PATH)
    READY[0] = True
    for key, value in reader.fields.items():
        if "chat_template" in key and not key.endswith(".names"):
            for part in value.data:
                source = bytes(value.parts[part]).decode()
                jinja2.Environment().from_string(source).render(
                    messages=[{"role": "user", "content": "x"}], eos_token="", bos_token=""
                )


def template_json():
    """A template in a JSON file, rendered by an unsandboxed environment."""
    import jinja2

    with open(PATH, encoding="utf-8") as file:
        value = json.load(file)["chat_template"]
    for part in [value] if isinstance(value, str) else [v["template"] for v in value]:
        jinja2.Environment().from_string(part).render(
            messages=[{"role": "user", "content": "x"}], eos_token="", bos_token=""
        )


def template_text():
    import jinja2

    with open(PATH, encoding="utf-8") as file:
        jinja2.Environment().from_string(file.read()).render(messages=[], bos_token="")


def skops_load():
    import skops.io as sio

    READY[0] = True
    sio.load(PATH, trusted=sio.get_untrusted_types(file=PATH))


def yaml_target():
    """What hydra.utils.instantiate does, in a few lines, with every node of the tree."""
    import importlib

    import yaml

    with open(PATH, encoding="utf-8") as file:
        tree = yaml.safe_load(file) if not PATH.endswith(".json") else json.load(file)

    def locate(name):
        parts = name.split(".")
        for cut in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(parts[:cut]))
            except ImportError:
                continue
            for part in parts[cut:]:
                found = getattr(found, part)
            return found
        return getattr(builtins, name)

    def make(node):
        if isinstance(node, list):
            return [make(v) for v in node]
        if not isinstance(node, dict):
            return node
        name = node.get("_target_") or node.get("class_path") or node.get("target")
        rest = node.get("init_args", node.get("params")) if "_target_" not in node else None
        if not name:
            return {k: make(v) for k, v in node.items()}
        args = [make(v) for v in node.get("_args_", [])]
        named = {
            k: make(v)
            for k, v in (rest if rest is not None else node).items()
            if k
            not in ("_target_", "_args_", "_partial_", "_recursive_", "_convert_", "class_path", "target")
        }
        if node.get("_partial_"):
            import functools

            return functools.partial(locate(name), *args, **named)
        return locate(name)(*args, **named)

    READY[0] = True
    make(tree)


def yaml_tags():
    import yaml

    READY[0] = True
    with open(PATH, encoding="utf-8") as file:
        yaml.load(file, Loader=yaml.UnsafeLoader)


def tar_extract():
    import tarfile

    READY[0] = True
    with tarfile.open(PATH) as file:
        file.extractall("unpacked/deep/er", filter="fully_trusted")
    escaped()


def zip_extract():
    """As tools that join the names themselves do."""
    import os
    import zipfile

    with zipfile.ZipFile(PATH) as file:
        for info in file.infolist():
            target = os.path.join("unpacked/deep/er", info.filename.replace("\\", "/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if info.external_attr >> 28 == 0xA:
                os.symlink(file.read(info).decode(), target)
            elif not target.endswith("/"):
                with open(target, "wb") as out:
                    out.write(file.read(info))
    escaped()


def escaped():
    """Says whether something lies, or points, outside the folder that was meant."""
    import os

    root = os.path.realpath("unpacked/deep/er")
    for here, folders, files in os.walk("."):
        for name in files + folders:
            path = os.path.join(here, name)
            if "third-escape" in name and not os.path.realpath(path).startswith(root):
                print("PROOF outside", path)
            if os.path.islink(path) and not os.path.realpath(path).startswith(root):
                print("PROOF link", path)
    if os.path.exists("/tmp/third-escape"):
        os.remove("/tmp/third-escape")
        print("PROOF absolute")


def bomb():
    """Decompresses with a cap, and says when the size passes any sensible ratio."""
    import bz2
    import gzip
    import lzma
    import os
    import zipfile

    size = os.path.getsize(PATH)
    openers = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    total = 0
    suffix = os.path.splitext(PATH)[1]
    files = [openers[suffix](PATH)] if suffix in openers else []
    if zipfile.is_zipfile(PATH):
        archive = zipfile.ZipFile(PATH)
        files = [archive.open(i) for i in archive.infolist()]
    for file in files:
        while part := file.read(1 << 20):
            total += len(part)
            if total > 300 * size and total > 100 << 20:
                print("PROOF bomb", total, size)
                return


def script():
    """A shipped module, imported as trust_remote_code does."""
    import glob
    import os
    import runpy

    config = {}
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        if os.path.exists(os.path.join(PATH, name)):
            config.update(json.load(open(os.path.join(PATH, name), encoding="utf-8")).get("auto_map", {}))
    named = set()
    for value in config.values():
        for part in value if isinstance(value, list) else [value]:
            if part and "--" not in part:
                named.add(part.split(".")[0] + ".py")
    sys.path.insert(0, PATH)
    for name in named or [os.path.basename(p) for p in glob.glob(PATH + "/*.py")]:
        path = os.path.join(PATH, name)
        if os.path.exists(path):
            runpy.run_path(path)


def mlflow_load():
    """The data file of the python_function flavour, loaded as mlflow does."""
    import os

    import cloudpickle
    import yaml

    flavor = yaml.safe_load(open(os.path.join(PATH, "MLmodel"), encoding="utf-8"))["flavors"][
        "python_function"
    ]
    sys.path.insert(0, os.path.join(PATH, flavor.get("code", ".")))
    import importlib

    if flavor["loader_module"] not in ("mlflow.sklearn", "mlflow.pyfunc.model", "mlflow.pytorch"):
        importlib.import_module(flavor["loader_module"])._load_pyfunc(PATH)
    with open(
        os.path.join(PATH, flavor.get("model_path") or flavor.get("python_model") or flavor["data"]), "rb"
    ) as file:
        cloudpickle.load(file)


def mar_load():
    """The handler of a TorchServe archive, imported after extraction."""
    import os
    import runpy
    import zipfile

    with zipfile.ZipFile(PATH) as file:
        file.extractall("mar")
    manifest = json.load(open("mar/MAR-INF/MANIFEST.json", encoding="utf-8"))["model"]
    sys.path.insert(0, "mar")
    if os.path.exists(os.path.join("mar", manifest["handler"])):
        runpy.run_path(os.path.join("mar", manifest["handler"]))
    if "serializedFile" in manifest:
        import torch

        torch.load(os.path.join("mar", manifest["serializedFile"]), weights_only=False)


def nemo_load():
    import tarfile

    with tarfile.open(PATH) as file:
        file.extractall("nemo", filter="fully_trusted")
    import glob

    for name in glob.glob("nemo/**/*.yaml", recursive=True):
        globals()["PATH"] = name
        yaml_target()
    for name in glob.glob("nemo/**/*.ckpt", recursive=True):
        import torch

        torch.load(name, weights_only=False)


def r_load():
    import shutil
    import subprocess

    if not shutil.which("Rscript"):
        raise ModuleNotFoundError("Rscript")
    subprocess.run(["Rscript", "-e", f"x <- readRDS('{PATH}'); print(x)"], check=False)


def tf_load():
    import tensorflow as tf

    READY[0] = True
    model = tf.saved_model.load(PATH)
    for value in model.signatures.values():
        value(*[tf.zeros(s.shape, s.dtype) for s in value.structured_input_signature[1].values()])


def directory_pickles():
    """Every pickle-like file of a folder."""
    import glob
    import pickle

    for name in glob.glob(PATH + "/**/*.*", recursive=True):
        try:
            if name.endswith((".pt", ".bin", ".pth", ".ckpt")):
                import torch

                torch.load(name, weights_only=False)
            elif name.endswith(".joblib"):
                import joblib

                joblib.load(name)
            elif name.endswith(".npy"):
                import numpy

                numpy.load(name, allow_pickle=True)
            elif name.endswith((".pkl", ".pickle", ".dat")):
                with open(name, "rb") as file:
                    pickle.load(file)
        except Exception as wrong:
            print(name, wrong)


LAZY = {
    "torch_load",
    "torch_jit",
    "torch_export",
    "joblib_load",
    "numpy_load",
    "pandas_pickle",
    "dill_load",
    "dill_session",
    "cloudpickle_load",
    "keras_load",
    "h5_follow",
    "gguf_template",
    "skops_load",
    "yaml_target",
    "yaml_tags",
    "tf_load",
}
sys.argv = sys.argv[:1]
sys.addaudithook(hook)
READY[0] = KIND not in LAZY
try:
    names = {"pickle": "pickle_plain"}
    before = builtins.print, json.loads
    globals()[names.get(KIND, KIND)]()
except (ModuleNotFoundError, NotImplementedError) as wrong:
    print("UNAVAILABLE?" if "No module named" not in str(wrong) else "UNAVAILABLE", wrong)
except BaseException as wrong:
    sys.stdout.write(f"{type(wrong).__name__}: {str(wrong)[:300]}\n")
if PROOF.startswith("patched") and (builtins.print, json.loads) != before:
    sys.stdout.write("PROOF patched\n")
