"""Write the names that Keras itself can make from a configuration: src/modelward/artifact/formats/keras_classes.json.

    KERAS_BACKEND=torch python tools/keras_classes.py keras-2.15.0-py3-none-any.whl tf_keras-2.21.0-py3-none-any.whl

Keras 3 is imported; the wheels of Keras 2, which needs TensorFlow, are read as syntax trees.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import sys
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Path(__file__).parents[1] / "src/modelward/artifact/formats/keras_classes.json"
ROOTS = {
    "Layer", "Model", "Operation", "Optimizer", "OptimizerV2", "Metric", "Loss", "Initializer", "Regularizer",
    "Constraint", "LearningRateSchedule", "Policy", "DTypePolicy", "SeedGenerator", "Wrapper", "KerasSaveable",
}  # fmt: skip
FUNCTIONS = (
    "activations",
    "losses",
    "metrics",
    "initializers",
    "regularizers",
    "constraints",
    "ops",
    "quantizers",
    "random",
)
OUTSIDE = {"saving", "testing", "callbacks", "datasets", "applications", "benchmarks", "tests", "testing_infra", "integration_test",
           "legacy_tf_layers", "estimator", "distribute", "dtensor", "visualization", "wrappers", "backend", "export"}  # fmt: skip
"""Packages whose names no configuration of a model holds."""
CONVERTERS = {"get", "serialize", "deserialize"}
"""Functions that make objects from configurations; no configuration names them."""
OLDER = {
    "AtrousConvolution1D", "AtrousConvolution2D", "BatchNormalizationV1", "BatchNormalizationV2", "ConvRecurrent2D", "CuDNNGRU",
    "CuDNNLSTM", "DenseFeaturesV2", "GRUV1", "GRUV2", "Highway", "InputLayer", "LSTMV1", "LSTMV2", "MaxoutDense", "Merge", "PolicyV1",
    "Recurrent", "SequenceFeatures", "SimpleRNNCell", "SlicingOpLambda", "TFOpLambda", "TensorFlowOpLayer", "ClassMethod",
    "InstanceMethod", "InstanceProperty", "ThresholdedReLU", "TimeDistributedDense", "Nadam", "TFOptimizer",
}  # fmt: skip
"""Classes of Keras 1.2 to 2.15 that no wheel read here defines under this name, or that are made by name alone."""


def plain(module: str) -> str:
    """The module's name without the marks of a release."""
    return ".".join(
        part for part in module.replace("tf_keras", "keras").split(".") if part not in {"src", "api"}
    )


def keras3(classes: dict[str, set[str]], functions: dict[str, set[str]]) -> str:
    """Names of the installed Keras 3."""
    import keras
    from keras.src import api_export
    from keras.src.saving.keras_saveable import KerasSaveable

    for name, found in api_export.REGISTERED_NAMES_TO_OBJS.items():
        module, _, leaf = name.rpartition(".")
        if inspect.isclass(found) and (issubclass(found, KerasSaveable) or "from_config" in dir(found)):
            if not set(module.split(".")) & OUTSIDE:
                classes[module].add(leaf)
        elif inspect.isfunction(found) and module.split(".")[1:2] and module.split(".")[1] in FUNCTIONS:
            functions[module] |= {leaf} - CONVERTERS
    for info in pkgutil.walk_packages(keras.src.__path__, "keras.src."):
        if set(info.name.split(".")) & OUTSIDE or info.name.endswith(("_test", "test_case")):
            continue
        try:
            module = importlib.import_module(info.name)
        except ImportError:
            continue
        for leaf, found in vars(module).items():
            if inspect.isclass(found) and issubclass(found, KerasSaveable) and found.__module__ == info.name:
                classes[plain(info.name)].add(leaf)
    return str(keras.__version__)


def trees(wheel: Path, only: str = "") -> Iterator[tuple[str, ast.Module]]:
    """Modules of a wheel with their syntax trees; those of one file name."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if (
                re.fullmatch(r"(tf_)?keras/src/.*\.py", name)
                and name.endswith(only)
                and "_test" not in name
                and not set(name.split("/")) & OUTSIDE
            ):
                yield name[:-3].replace("/", ".").removesuffix(".__init__"), ast.parse(archive.read(name))


def registered(wheel: Path) -> set[str]:
    """Names under which Keras 2 registers classes of its own: `Custom>Adam`."""
    return {
        f"Custom>{node.name}"
        for _, tree in trees(wheel)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for mark in node.decorator_list
        if ast.unparse(mark).endswith("register_keras_serializable()")
    }


def keras2(wheel: Path, classes: dict[str, set[str]], functions: dict[str, set[str]]) -> None:
    """Names that a wheel of Keras 2 defines."""
    defined = [
        (plain(module), node)
        for module, tree in trees(wheel)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    ]
    bases = {
        node.name: {ast.unparse(base).split(".")[-1] for base in node.bases}
        for _, node in defined
        if isinstance(node, ast.ClassDef)
    }
    kept = set(ROOTS)
    for _ in range(12):
        kept |= {name for name, above in bases.items() if above & kept}
    for module, node in defined:
        public = [str(text.value) for mark in node.decorator_list if isinstance(mark, ast.Call) and "export" in ast.unparse(mark.func)
                  for text in mark.args if isinstance(text, ast.Constant)]  # fmt: skip
        into = classes if isinstance(node, ast.ClassDef) and node.name in kept else None
        if isinstance(node, ast.FunctionDef) and module.split(".")[1] in FUNCTIONS and public:
            into = functions
        if into is None:
            continue
        if node.name in CONVERTERS:
            continue
        into[module].add(node.name)
        for name in public:
            where, _, leaf = name.rpartition(".")
            if not set(where.split(".")) & OUTSIDE:
                into[plain(where)].add(leaf)


TENSORS = """
K Tensor abs all any arange argmax backend bool bfloat16 complex64 concat cos dtype enumerate exp float float16 float32 float64 image
int int16 int32 int64 int8 gather gather_nd keras layers len linalg list log losses matmul max mean min math multiply newaxis ndim nn np
numpy ops pi pow preprocessing range reduce_all reduce_any reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_std
reduce_sum reduce_variance resize resize_bilinear resize_images reshape round shape signal sin slice space_to_depth depth_to_space split
sqrt square squeeze stack strided_slice string strings subtract sum tensordot tensorflow tf tuple uint8 unstack zip as_list batch_flatten
get_shape int_shape image_data_format epsilon floatx band_part constant convert_to_tensor rgb_to_grayscale grayscale_to_rgb
per_image_standardization standardize_image resize_with_pad central_crop adjust_brightness sparse_tensor_to_dense to_float to_int32
preprocess_input l2_normalize local_response_normalization lrn compat v1 v2 crop_and_resize extract_patches extract_image_patches
truediv floordiv div divide floormod mod boolean_mask sequence_mask one_hot set_shape fill rank size where cast sigmoid tanh softmax
""".split()  # noqa: SIM905 - one name per line would take a page
"""Names that code on tensors asks for, besides the operations of Keras."""
CALLING = {"eval", "function", "get_session", "set_session", "get_value", "set_value", "batch_get_value", "batch_set_value",
           "print_tensor", "configure_and_create_distributed_session", "track_variable", "track_tf_optimizer", "custom_gradient",
           "variable", "observe_object_name", "get_graph", "backend.eval", "get_item", "saturate_cast.eval"}  # fmt: skip
"""Functions of the old backend that run sessions, change state or print."""


def operations(wheels: list[Path]) -> list[str]:
    """Names that code may ask for and only compute with tensors."""
    import keras

    found = set(TENSORS) | {name for name in dir(keras.ops) if not name.startswith("_")}
    for wheel in wheels:
        for module, tree in trees(wheel, "backend.py"):
            del module
            found |= {
                node.name
                for node in tree.body
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            }
    return sorted(found - CALLING)


def main() -> None:
    """Write the table."""
    classes: dict[str, set[str]] = defaultdict(set)
    functions: dict[str, set[str]] = defaultdict(set)
    libraries = {"keras": [keras3(classes, functions)]}
    for wheel in map(Path, sys.argv[1:]):
        keras2(wheel, classes, functions)
        name, release = wheel.name.split("-")[:2]
        libraries.setdefault(name, []).append(release)
    classes["keras"] |= OLDER
    table = {
        "schema": "modelward.keras-classes/1",
        "libraries": libraries,
        "classes": {name: sorted(found) for name, found in sorted(classes.items())},
        "functions": {name: sorted(found) for name, found in sorted(functions.items())},
        "registered": sorted({name for wheel in map(Path, sys.argv[1:]) for name in registered(wheel)}),
        "operations": operations([Path(name) for name in sys.argv[1:]]),
        "stdlib": sorted(name for name in sys.stdlib_module_names if not name.startswith("_")),
    }
    TARGET.write_text(json.dumps(table, separators=(",", ":")).replace("],", "],\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
