"""What a person decided about the libraries of neural networks; `allowlist_reviewed.py` takes it in.

The methods named here were read in the releases that `allowlist.json` states. A module of torch is given its state by
`Module.__setstate__`, which updates the dictionary of the instance; a configuration, an argument object or a tokenizer
by the default mechanism. What is left to decide is who else listens: `__new__`, `__getattr__`, `__del__`, functions.
"""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]

LIBRARIES: tuple[str, ...] = (
    "accelerate", "botorch", "chex", "diffusers", "einops", "flair", "flax", "gpytorch", "gymnasium", "hydra", "jax", "jaxlib", "kornia",
    "lightning", "lightning_fabric", "lightning_utilities", "linear_operator", "ml_dtypes", "monai", "open_clip", "optax", "peft", "pytorch_forecasting",
    "pytorch_lightning", "pytorch_tabnet", "segmentation_models_pytorch", "sentence_transformers", "skorch", "speechbrain", "stable_baselines3", "timm",
    "torch_geometric", "torchmetrics", "torchvision", "ultralytics",
)  # fmt: skip
LEFT: tuple[str, ...] = ("convert_", "modular_", "dummy_", "modeling_tf_", "modeling_flax_")
"""Beginnings of the names of modules that bring nothing that is saved."""
LEFT_PARTS: frozenset[str] = frozenset(
    ("commands", "cli", "exporters", "datapipes", "_internal", "passes", "experimental", "codegen_utils")
)
"""Packages of these libraries that bring nothing that is saved."""
VALUES: tuple[str, ...] = (
    "transformers.optimization", "transformers.activations", "transformers.data.data_collator", "transformers.trainer_utils",
    "transformers.pytorch_utils", "transformers.modeling_rope_utils", "torch.utils.data._utils.collate", "torchvision.ops", "timm.layers",
    "optax", "diffusers.optimization", "einops", "torch_geometric.nn.resolver", "torchmetrics.functional", "torch.ao.quantization.observer",
    "torchmetrics.utilities.data", "torchmetrics.metric", "torch.ao.quantization.fake_quantize", "torch.optim.swa_utils", "torchvision.transforms.functional",
)  # fmt: skip
"""Modules whose public functions may be referred to; none of their functions reaches code, files or connections."""

SETSTATE: dict[str, str] = {
    "transformers.feature_extraction_utils.BatchFeature": "dict",  # feature_extraction_utils.py: read; stores one value
    "torchmetrics.metric.Metric": "metric",  # metric.py: read; __dict__.update, then wraps its own update and compute
    "gpytorch.kernels.kernel.Kernel": "module",  # kernels/kernel.py: read; __dict__ = state, by Module.__setattr__
    "gymnasium.spaces.space.Space": "fields",  # space.py: read; renames two items, __dict__.update
    "gymnasium.spaces.box.Box": "fields",  # box.py: read; the same, and the text of two arrays
    "gymnasium.spaces.discrete.Discrete": "fields",  # discrete.py: read; the same, and a default
    "gymnasium.spaces.multi_discrete.MultiDiscrete": "fields",  # multi_discrete.py: read; the same, and zeros
    "torch_geometric.data.data.BaseData": "dict",  # data.py: read; stores each item
    "torch_geometric.data.storage.BaseStorage": "dict",  # storage.py: read; stores each item, weakref.ref of its parent
    "einops.layers.RearrangeMixin": "fields",  # layers/__init__.py: read; __init__ parses the text of a pattern
    "einops.layers.ReduceMixin": "fields",  # as above, and the name of a reduction
    "ultralytics.nn.modules.block.AAttn": "module",  # block.py: read; multiplies two numbers, see checks.check_module
    "timm.layers.ml_decoder.TransformerDecoderLayerOptimal": "module",  # ml_decoder.py: read; first a default activation
    "stable_baselines3.common.vec_env.vec_normalize.VecNormalize": "fields",  # vec_normalize.py: read; names of a space, __dict__.update
    # timm/optim/*.py: read; each calls that of Optimizer, then group.setdefault and numbers of its groups
    **{f"timm.optim.{name}": "fields" for name in (
        "adabelief.AdaBelief", "adafactor.Adafactor", "adafactor_bv.AdafactorBigVision", "adamw.AdamWLegacy", "adan.Adan", "adopt.Adopt", "kron.Kron",
        "lamb.Lamb", "laprop.LaProp", "lars.Lars", "lion.Lion", "mars.Mars", "muon.Muon", "nadamw.NAdamW", "nvnovograd.NvNovoGrad", "radam.RAdamLegacy",
        "rmsprop_tf.RMSpropTF", "sgdw.SGDW")},
    "torch._C.Generator": "data",  # native: seen; a seed, an offset and a tensor, whose size and numbers are checked
    "torch.distributed.checkpoint.metadata.TensorProperties": "data",  # metadata.py: read; five values, compares one with an enumeration
    "torch.distributed._shard.sharded_tensor.metadata.TensorProperties": "data",  # metadata.py: read; the same
    "torch.distributed._shard.checkpoint.metadata.TensorProperties": "data",  # the same, under an older name
}  # fmt: skip

READ_HOOKS: set[tuple[str, str]] = {
    ("__getattr__", "accelerate:PartialState"), ("__getattr__", "accelerate:AcceleratorState"),  # AttributeError
    ("__getattr__", "transformers:BatchFeature"),  # not asked: it has a __setstate__
    *(("__getattr__", short) for short in ("torch_geometric:Data", "torch_geometric:BaseData", "torch_geometric:HeteroData", "torch_geometric:TemporalData",
      "torch_geometric:BaseStorage", "stable_baselines3:VecEnvWrapper", "gpytorch:Module")),  # not asked: they have a __setstate__
    *(("__setattr__", short) for short in ("torch_geometric:Data", "torch_geometric:BaseData", "torch_geometric:HeteroData", "torch_geometric:TemporalData",
      "torch_geometric:BaseStorage")),  # not run: stored by __dict__
    ("__setattr__", "torchmetrics:Metric"),  # RuntimeError for six names, else that of Module
    ("__setattr__", "gpytorch:Prior"),  # asks itself for a longer name; its base distribution for none that loading sets
    ("__setattr__", "sentence_transformers:CrossEncoder"),  # one name to object.__setattr__, else that of Module
    ("__new__", "segmentation_models_pytorch:SegmentationModel"), ("__new__", "huggingface_hub:ModelHubMixin"),  # defaults of its own __init__
    ("__getattr__", "diffusers:ConfigMixin"),  # AttributeError as long as it has no state
    ("__getattr__", "flax:Module"),  # AttributeError for the names that pickle asks for
    *(("__getattr__", f"{top}:AttributeDict") for top in ("lightning", "lightning_fabric", "pytorch_lightning")),  # self[key]: see KEYED
}  # fmt: skip
ASKED = "__getattr__"
"""A module that defines this is not asked while it is given a state: `Module.__setstate__` is found first, and looks
into the dictionary of the instance only. So wrappers that pass unknown names on (peft, FSDP, DataParallel) are read."""

ENUMS: set[str] = {
    # transformers/utils/generic.py, ExplicitEnum: its _missing_ raises ValueError with the names it has
    *(f"transformers:{name}" for name in (
        "DebugOption", "GenerationMode", "PaddingMode", "AnnotationFormat", "ChannelDimension", "ImageType", "DecodeType", "TapasTruncationStrategy",
        "ModelType", "ClassificationFunction", "AggregationStrategy", "TruncationStrategy", "FSDPOption", "HPSearchBackend", "HubStrategy",
        "IntervalStrategy", "SaveStrategy", "SchedulerType", "OptimizerNames", "PaddingStrategy", "TensorType", "EvaluationStrategy",
        "ParallelMode", "Action", "QuantizationMethod", "AWQLinearVersion", "ShardedDDPOption", "JitFlag")),
    "sentence_transformers:BatchSamplers", "sentence_transformers:MultiDatasetBatchSamplers",  # the same
}  # fmt: skip
"""Enumerations with a `_missing_` of their own that was read."""

KEYED: set[str] = {
    "lightning:AttributeDict",
    "lightning_fabric:AttributeDict",
    "pytorch_lightning:AttributeDict",
}
"""Dictionaries whose items are found as attributes: their keys are ordinary names, so that pickle finds no method."""
NO_BASES: set[str] = {"torchmetrics:Metric", "einops:RearrangeMixin", "einops:ReduceMixin"}
"""Classes whose `__setstate__` calls methods of the instance, which a class that the file makes could replace."""
ITEMS: set[str] = set()
OUTPUTS: set[str] = {"transformers:ModelOutput", "diffusers:BaseOutput"}
"""Dictionaries that are dataclasses too, made by a call with their fields: `__post_init__` sets attributes and items by
the names that its first argument brings, and looks at its values. So arguments are data, and so is what follows."""

FUNCTIONS: dict[str, Fields] = {
    "torch._C.Generator": {"kind": "class", "call": [["#torch.device"]], "state": "data"},
    "torch.nn.utils.rnn.PackedSequence": {
        "kind": "class",
        "new": [["#torch.Tensor", "#torch.Tensor|none", "#torch.Tensor|none", "#torch.Tensor|none"]],
        "call": [["#torch.Tensor", "#torch.Tensor|none", "#torch.Tensor|none", "#torch.Tensor|none"]],
        "state": "dict",
    },  # rnn.py: read; asks a tensor where it lies
    "torch.ao.quantization.qconfig.QConfig": {"kind": "class", "new": [["any*"]], "call": [["any*"]]},  # qconfig.py: read; isinstance of both
    "torch.amp.grad_scaler._refresh_per_optimizer_state": {"kind": "function", "call": [[]], "pure": True},  # grad_scaler.py: read; makes a dictionary
    "torch.cuda.amp.grad_scaler._refresh_per_optimizer_state": {"kind": "function", "call": [[]], "pure": True},  # the same
    **{f"torch.optim.lr_scheduler:CyclicLR.{name}": {"kind": "value"} for name in ("_triangular_scale_fn", "_triangular2_scale_fn", "_exp_range_scale_fn")},
    **{f"torch.optim.swa_utils:SWALR.{name}": {"kind": "value"} for name in ("_linear_anneal", "_cosine_anneal")},
    # keys of a checkpoint's table: frozen dataclasses, hashed by their fields, which are data
    "torch.distributed.checkpoint.metadata.MetadataIndex": {"kind": "class", "state": "fields"},
}  # fmt: skip

FUNCTIONS |= {
    **{f"{module}.ScriptObject": {"kind": "class", "state": "packed"} for module in ("torch", "torch._C")},
    **{f"transformers.modeling_rope_utils:_compute_{name}_parameters": {"kind": "value"} for name in (
        "default_rope", "linear_scaling_rope", "dynamic_ntk", "yarn", "longrope", "llama3")},  # read: frequencies of a configuration
    **{f"transformers.optimization:_get_{name}_lambda": {"kind": "value"} for name in (
        "constant", "constant_schedule_with_warmup_lr", "cosine_schedule_with_warmup_lr", "cosine_with_hard_restarts_schedule_with_warmup_lr",
        "cosine_with_min_lr_schedule_with_warmup_lr_rate", "inverse_sqrt_schedule_lr", "linear_schedule_with_warmup_lr",
        "polynomial_decay_schedule_with_warmup_lr", "wsd_scheduler", "cosine_with_min_lr_schedule_with_warmup_lr")},
    # configuration_utils.py: read; adds, or raises once it is frozen
    "diffusers.configuration_utils.FrozenDict": {"kind": "class", "items": "dict", "state": "dict", "call": [[]]},
    "flax.core.frozen_dict.FrozenDict": {"kind": "class", "call": [["data"]]},  # frozen_dict.py: read; copies dictionaries
    "ml_dtypes.bfloat16": {"kind": "class"},
    "ultralytics.utils.IterableSimpleNamespace": {"kind": "class", "call": [[]], "state": "dict"},  # AttributeError for what it lacks
    "numpy.matrixlib.defmatrix.matrix": {"kind": "class", "state": "ndarray"},  # numpy.matrix before 1.25
}  # fmt: skip
CLASSES: dict[str, Fields] = {
    "numpy.dtype": {
        "call": [
            ["str|=numpy.record|=numpy.void|=numpy.object_|=ml_dtypes.bfloat16", "bool|int?", "bool|int?"]
        ],
        "state": "dtype",
    },
}
