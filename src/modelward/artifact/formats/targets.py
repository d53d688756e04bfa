"""What a dotted name means that a configuration hands to a loader, which imports it and calls it.

Names in the standard library and in well-known packages are compared with the list of payloads and gadgets
(as in pickles) at every dot. A name in a package that is not known here is the user's own code: the
configuration only says which of it to call. It counts as a note, unless its source stands beside the
configuration and does what no model code does: a configuration that names the project it belongs to adds no
danger to that project.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from modelward.artifact.pickle import rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelward.artifact.reading import Reading

Verdict: TypeAlias = Literal["dangerous", "unproven", "note", "inert"]

KNOWN: Final = frozenset(
    {
        "pylate", "model2vec", "joblib",
        "accelerate", "albumentations", "apex", "audiocraft", "bitsandbytes", "braindecode", "catboost",
        "clip", "composer", "datasets", "dask", "deepspeed", "detectron2", "dgl", "diffusers", "einops",
        "escnn", "evaluate", "fairseq", "fairscale", "flash_attn", "flax", "fvcore", "gluonts", "gpytorch",
        "gym", "gymnasium", "hydra", "hydra_plugins", "huggingface_hub", "ignite", "imgaug", "imblearn",
        "iopath", "jax", "jaxtyping", "keras", "keras_core", "kornia", "langchain", "lightgbm", "lightning",
        "lightning_fabric", "lightning_utilities", "litdata", "llama_index", "loguru", "matplotlib",
        "mamba_ssm", "megatron", "mlflow", "mmcv", "mmdet", "mmengine", "mmpretrain", "mmseg", "monai",
        "nemo", "nemo_text_processing", "neptune", "ninja", "nibabel", "numpy", "omegaconf", "open_clip",
        "openai", "optax", "optuna", "optree", "pandas", "peft", "pl_bolts", "plotly", "polars",
        "prodigyopt", "pyannote", "pyarrow", "pyro", "pytorch_forecasting", "pytorch_lightning",
        "pytorch_metric_learning", "pytorchvideo", "ray", "rich", "safetensors", "schedulefree", "scipy",
        "seaborn", "segmentation_models_pytorch", "sentence_transformers", "sentencepiece", "setfit",
        "sklearn", "skimage", "skorch", "spacy", "speechbrain", "stable_baselines3", "statsmodels",
        "tensorboard", "tensorboardX", "tensorflow", "tensorflow_datasets", "tf_keras", "thinc", "timm",
        "tokenizers", "torch", "torch_ema", "torch_geometric", "torch_optimizer", "torchaudio",
        "torchcodec", "torchdata", "torchdiffeq", "torchio", "torchmetrics", "torchrl", "torchsde",
        "torchtext", "torchtune", "torchvision", "tqdm", "transformer_engine", "transformers", "trl",
        "tsai", "ultralytics", "vllm", "wandb", "webdataset", "xformers", "xgboost", "aim", "clearml",
        "comet_ml", "dvclive", "dvc", "cv2", "PIL", "pydantic", "attr", "attrs", "botorch", "ax",
        "nevergrad", "hpbandster", "hyperopt", "axolotl", "e3nn", "ase", "mace", "rdkit", "pymatgen",
        "matminer", "deepchem", "lightly", "vissl", "anomalib", "pytorch3d", "nerfstudio", "gsplat",
    }
)  # fmt: skip
"""Packages of machine learning: names in them that are no known payload or gadget are harmless."""
_PLAIN: Final = frozenset(
    {
        "builtins.dict", "builtins.list", "builtins.tuple", "builtins.set", "builtins.frozenset",
        "builtins.int", "builtins.float", "builtins.str", "builtins.bool", "builtins.bytes",
        "builtins.complex", "builtins.range", "builtins.slice", "builtins.len", "builtins.abs",
        "builtins.max", "builtins.min", "builtins.sum", "builtins.sorted", "builtins.round",
        "builtins.print", "builtins.object", "builtins.enumerate", "builtins.zip", "builtins.reversed",
        "builtins.any", "builtins.all", "builtins.divmod", "builtins.pow", "collections.OrderedDict",
        "collections.defaultdict", "collections.Counter", "collections.deque", "types.SimpleNamespace",
        "argparse.Namespace", "pathlib.Path", "pathlib.PosixPath", "pathlib.PurePath",
        "pathlib.PurePosixPath", "pathlib.WindowsPath", "fractions.Fraction", "decimal.Decimal",
        "uuid.UUID", "re.compile", "string.Template", "logging.getLogger", "logging.StreamHandler",
        "logging.Formatter", "logging.NullHandler", "logging.FileHandler", "logging.basicConfig",
        "logging.handlers.RotatingFileHandler", "logging.handlers.TimedRotatingFileHandler", "os.path.join",
        "time.strftime", "torch.compile",
    }
)  # fmt: skip
_HARMLESS_MODULES: Final = frozenset(
    {
        "datetime", "math", "cmath", "statistics", "random", "itertools", "numbers", "enum", "typing",
        "time", "calendar", "zoneinfo",
    }
)  # fmt: skip
"""Modules of the standard library that only compute."""
_HARMLESS_CLASSES: Final = frozenset({"datetime", "date", "timedelta", "timezone", "chain", "Random"})
_ACCOUNT: Final = re.compile(
    r"\.ssh/|authorized_keys|/\.?(?:bash|zsh)rc|\.bash_profile|/\.profile|^/etc/(?:passwd|shadow|cron|sudoers|"
    r"ld\.so|profile|rc|systemd|init)|/proc/(?:self|\d+)/|systemd/system|\.git/hooks|sitecustomize|usercustomize|\.aws/cred|"
    r"\.netrc|\.kube/config|LaunchAgents|\\Startup|crontab"
)
"""Files that no model needs, and whose content or change gives the account away."""
_EXECUTES: Final = re.compile(
    r"mlflow\.projects\.(?:\w+\.)*run$|langchain\.[\w.]*(?:PythonREPL\w*|PythonAstREPL\w*|BashProcess|ShellTool|PALChain)$|"
    r"llama_index\.[\w.]*safe_(?:exec|eval)$|speechbrain\.[\w.]*import_from_path$|spacy\.util\.import_file$|"
    r"attrs?\._make\._compile_and_eval$|webdataset\.gopen\.gopen_pipe$"
)
"""Functions of known libraries that run the code or command that they are given."""
_INDIRECT: Final = re.compile(
    r"(?:mmengine|mmcv|detectron2)\.(?:\w+\.)*(?:Config\.from(?:file|string)|LazyConfig\.load(?:_rel)?)$|"
    r"speechbrain\.[\w.]*foreign_class$|monai\.bundle\.|deepspeed\.launcher\.|vllm\.entrypoints\.|"
    r"(?:tensorflow\.|tf_)?keras\.utils\.get_file$|transformers\.dynamic_module_utils\.|torch\.distributed\.(?:run|launch)\b"
)
"""Functions of known libraries that run what stands in another file, or fetch it."""
_SAVES: Final = re.compile(
    r"(?:save\w*|imwrite|to_(?:csv|pickle|json|parquet|hdf)|dump|tofile|write\w*|add)$"
)
_LOADERS: Final = frozenset(
    {
        "torch.load", "torch.serialization.load", "torch.jit.load", "torch.hub.load_state_dict_from_url",
        "torch.package.PackageImporter", "joblib.load", "numpy.load", "pandas.read_pickle",
        "pandas.io.pickle.read_pickle", "sklearn.externals.joblib.load", "torch.export.load",
        "keras.models.load_model", "tensorflow.keras.models.load_model", "tensorflow.saved_model.load",
        "mlflow.pyfunc.load_model", "mlflow.sklearn.load_model", "mlflow.pytorch.load_model",
        "xgboost.Booster.load_model",
    }
)  # fmt: skip
"""Functions that load another file, which is judged where it lies."""
_REPOSITORIES: Final = (
    "pytorch/",
    "facebookresearch/",
    "NVIDIA/",
    "huggingface/",
    "ultralytics/",
    "intel-isl/",
    "snakers4/",
)
_LOOKUPS: Final = (
    "hydra.utils.",
    "hydra._internal.utils.",
    "omegaconf.",
    "lightning.pytorch.cli.",
    "pytorch_lightning.cli.",
    "pydoc.locate",
    "pydantic.utils.import_string",
    "nemo.utils.model_utils.import_class_by_path",
    "sentence_transformers.util.import_from_string",
)
_MODULES: Final = frozenset(
    {
        "os", "posix", "nt", "subprocess", "builtins", "__builtin__", "sys", "shutil", "importlib", "pty",
        "ctypes", "socket", "runpy", "pickle", "marshal",
    }
)  # fmt: skip
"""Modules that lead to code wherever they are found as an attribute."""
_GONE: Final = frozenset(
    {
        "imp", "distutils", "asyncore", "asynchat", "smtpd", "cgi", "cgitb", "commands", "popen2", "pipes",
        "telnetlib",
    }
)  # fmt: skip


def meaning(name: str, arguments: Mapping[str, str] | None = None) -> tuple[Verdict, str]:
    """What importing a name and calling it does.

    Args:
        name: dotted, e.g. `torch.nn.Linear`; a colon or slash may stand before the last part.
        arguments: keyword arguments as texts, as far as they are texts.

    Returns:
        the verdict, and why, as the end of a sentence that begins with the name.
    """
    path = name.replace(":", ".").strip()
    given = arguments or {}
    touched = next((text for text in given.values() if _ACCOUNT.search(text)), None)
    if touched is not None and "." in path:
        return "dangerous", f"is given a file of the account or the system: {touched[:80]}"
    if path in _PLAIN:
        return "inert", "is harmless"
    parts = path.split(".")
    if not all(part.isidentifier() for part in parts):
        return (
            ("inert", "is no dotted name") if len(path) > 500 or not path else ("note", "is no dotted name")
        )
    top = parts[0]
    if len(parts) == 1 and (effect := rules.payload("builtins", top)):
        return "dangerous", effect
    standard = top in sys.stdlib_module_names or top in _GONE or top in rules.dangers().payload_modules
    through = next((index for index in range(1, len(parts) - 1) if _leads(parts, index)), 0)
    if (standard or top in KNOWN) and not (through and path.startswith(_LOOKUPS)):
        return _known(path, parts, given, standard=standard)
    if through:
        return "dangerous", f"reaches {'.'.join(parts[through:])} through {top}"
    if any(part in rules.dangers().segments for part in parts):
        return "dangerous", "reaches the interpreter through an object's internals"
    return "note", f"is code of the package {top}, which is trusted as far as that package is"


def _leads(parts: list[str], index: int) -> bool:
    """Whether a part of a name is a module that another one holds, and what follows it a payload."""
    module = parts[index].lstrip("_")
    return module in _MODULES and rules.payload(module, ".".join(parts[index + 1 :])) is not None


def _known(path: str, parts: list[str], given: Mapping[str, str], *, standard: bool) -> tuple[Verdict, str]:
    if path.startswith(_LOOKUPS):
        for looked in given.values():
            level, why = meaning(looked) if not looked.startswith(_LOOKUPS) else ("inert", "")
            if level == "dangerous":
                return level, f"looks up {looked}, which {why}"
        writes = path.endswith(".save")
        return ("unproven", "writes a file") if writes else ("inert", "looks up a name")
    if path == "torch.hub.load":
        return _hub(given)
    if _true(given, "trust_remote_code"):
        return "unproven", "runs the code of the repository that it is given (trust_remote_code)"
    if path in _LOADERS:
        return _loader(path, given)
    for index in range(1, len(parts)):
        module, name = ".".join(parts[:index]), ".".join(parts[index:])
        if effect := rules.payload(module, name):
            if not standard and (said := _files(effect, given)):
                return said
            return "dangerous", effect
    if path == "functools.partial":
        return "inert", "binds arguments of a function that is judged itself"
    if standard:
        if parts[0] in _HARMLESS_MODULES and (len(parts) < 3 or parts[1] in _HARMLESS_CLASSES):
            return "inert", "only computes"
        effect = rules.gadget(parts[0], ".".join(parts[1:])) or rules.gadget(".".join(parts[:-1]), parts[-1])
        if (
            path.startswith("pathlib.")
            and len(parts) > 2
            and parts[-1].startswith(("write_", "unlink", "rmdir"))
        ):
            return "dangerous", "writes or deletes a file"
        return "unproven", effect or "is a part of the standard library whose effect is unknown"
    last = parts[-1]
    if said := _special(path, last, given):
        return said
    if last in rules.dangers().callables and last not in _USUAL:
        return "dangerous", f"{last} executes what it is given"
    return "inert", "belongs to a known library"


def _special(path: str, last: str, given: Mapping[str, str]) -> tuple[Verdict, str] | None:
    """What functions of known libraries do with what they are given."""
    if _EXECUTES.match(path):
        return "dangerous", f"{last} executes what it is given"
    if path.startswith("webdataset.") and (text := _first(given, "pipe:")):
        return "dangerous", f"runs the command {text[:80]}"
    if _INDIRECT.match(path):
        return "unproven", f"{last} runs or fetches what it is given"
    if path == "evaluate.load" and _first(given, "", within="/"):
        return "unproven", "runs the script of a metric from a repository"
    if path in {"gym.make", "gymnasium.make"} and _first(given, "", within=":"):
        return "unproven", "imports the module before the colon"
    if "custom_pipeline" in given:
        return "unproven", "runs the pipeline of a repository (custom_pipeline)"
    place = _first(given, ("/", "~", "../", "..\\")) if _SAVES.match(last) else None
    return ("unproven", f"writes a file outside the folder: {place[:80]}") if place else None


def _first(given: Mapping[str, str], start: str | tuple[str, ...], *, within: str = "") -> str | None:
    return next((text for text in given.values() if text.startswith(start) and within in text), None)


def _files(effect: str, given: Mapping[str, str]) -> tuple[Verdict, str] | None:
    """Known libraries that read tables are what configurations name; where they read or write matters."""
    if not effect.startswith(_ACCESS):
        return None
    places = [text for text in given.values() if "://" in text or text.startswith(("/", "~", "../"))]
    writes = effect.startswith("writes") and bool(places)
    sensitive = any(part in text for text in places for part in ("/etc/", ".ssh", "/proc/", "~"))
    if writes or sensitive:
        return "dangerous" if sensitive else "unproven", f"{effect}: {places[0][:80]}"
    return "note", f"{effect} that the configuration names"


_ACCESS: Final = ("opens a file", "writes a file", "maps a file", "opens a database", "reads a file")
_USUAL: Final = frozenset(
    {
        "compile", "shell", "loads", "interact", "literal_eval", "unlink", "spawn",
    }
)  # fmt: skip
"""Names that execute something elsewhere, and are harmless in the known libraries."""


def _true(given: Mapping[str, str], name: str) -> bool:
    return given.get(name, "").lower() in {"true", "yes", "on", "1"}


def _hub(given: Mapping[str, str]) -> tuple[Verdict, str]:
    repository = given.get("repo_or_dir", given.get("0", ""))
    if repository.startswith(_REPOSITORIES) or given.get("source") == "local":
        return "unproven", f"runs hubconf.py of {repository}"
    return "dangerous", f"runs hubconf.py of {repository or 'a repository'}, code that is downloaded"


def _loader(path: str, given: Mapping[str, str]) -> tuple[Verdict, str]:
    where = next((text for text in given.values() if "://" in text), None)
    pickled = path.endswith(("joblib.load", "read_pickle")) or _true(given, "allow_pickle")
    pickled = pickled or given.get("weights_only", "").lower() == "false"
    if path == "numpy.load" and not _true(given, "allow_pickle"):
        return "inert", "loads plain arrays"
    if pickled and where is not None:
        return "dangerous", f"unpickles {where[:80]}"
    if given.get("safe_mode", "").lower() == "false":
        return "dangerous", "loads a Keras file with its code"
    return "unproven", "loads another file, which may hold code"


def beside(name: str, into: Reading) -> tuple[Verdict, str] | None:
    """What the source of a name says when it stands beside the configuration; None when it does not."""
    from modelward.artifact.around.source import analyse
    from modelward.artifact.encoding import source

    parts = name.replace(":", ".").split(".")
    for count in range(len(parts) - 1, 0, -1):
        stem = "/".join(parts[:count])
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            content = into.beside(path)
            if content is None:
                continue
            into.spend(1 + len(content) // 100)
            analysis = analyse(source(content))
            worst = next((effect for effect in analysis.payload if effect.level == "dangerous"), None)
            if worst is not None:
                return "dangerous", f"is in {path}, where {worst.message}: {worst.call}"
            if analysis.problem is not None:
                return "unproven", f"is in {path}: {analysis.problem}"
            if analysis.payload:
                return (
                    "unproven",
                    f"is in {path}, where {analysis.payload[0].message}: {analysis.payload[0].call}",
                )
            return "note", f"is in {path}, which shows nothing but model code"
    return None
