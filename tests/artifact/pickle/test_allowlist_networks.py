"""Objects of libraries of neural networks: what people share is inert, and no entry opens a road to code.

The pickles are written opcode by opcode as torch.save and pickle write them, so that no library is needed.
"""

import importlib.util
import io
import pickle

import pytest

from modelward.artifact.pickle import rules
from modelward.artifact.verdict import inspect_bytes

P4 = b"\x80\x04"


def text(value):
    raw = value.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def name(path):
    module, _, qualname = path.partition(":")
    return text(module) + text(qualname) + b"\x93"


def call(path, *args):
    return name(path) + b"(" + b"".join(args) + b"tR"


def new(path, *args):
    return name(path) + b"(" + b"".join(args) + b"t\x81"


def mapping(**items):
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def tupled(*items):
    return b"(" + b"".join(items) + b"t"


def state(made, given):
    return made + given + b"b"


def whole(*parts):
    return P4 + b"".join(parts) + b"."


NONE, ONE, TRUE = b"N", b"K\x01", b"\x88"
PAYLOAD = name("os:system")
FUNCTION = name("torch.nn.functional:relu")
EMPTY = tupled()
DEVICE = call("torch:device", text("cpu"))
BERT = "transformers.models.bert.modeling_bert:BertModel"
OUTPUT = "transformers.modeling_outputs:BaseModelOutput"
METRIC = "torchmetrics.aggregation:MeanMetric"
HPARAMS = "lightning.fabric.utilities.data:AttributeDict"
NUMPY = tupled(name("numpy:ndarray"), tupled(b"K\x00"), b"C\x01b")
FLOAT = state(call("numpy:dtype", text("f4"), b"\x89", TRUE),
              tupled(b"K\x03", text("<"), NONE, NONE, NONE, b"J\xff\xff\xff\xff", b"J\xff\xff\xff\xff", b"K\x00"))  # fmt: skip
ARRAY = tupled(ONE, tupled(ONE), FLOAT, b"\x89", b"C\x04\0\0\0\0")
JAX = "jax._src.array:_reconstruct_array"
MAKER = name("numpy._core.multiarray:_reconstruct")
PACKED = text("__torch__.torch.classes.quantized.LinearPackedParamsBase")
PROPERTIES = "torch.distributed.checkpoint.metadata:TensorProperties"
INDEX = "torch.distributed.checkpoint.metadata:MetadataIndex"
FORMAT = call("torch.distributed.checkpoint.metadata:_MEM_FORMAT_ENCODING", b"K\x00")

INERT = {
    "module": state(new(BERT), mapping(training=TRUE, _modules=mapping(), config=state(
        new("transformers.models.bert.configuration_bert:BertConfig"), mapping(hidden_size=ONE)))),
    "arguments": state(new("transformers.training_args:TrainingArguments"), mapping(
        output_dir=text("out"), lr_scheduler_type=call("transformers.trainer_utils:SchedulerType", text("linear")),
        optim=call("transformers.training_args:OptimizerNames", text("adamw_torch")),
        hub_strategy=call("transformers.trainer_utils:HubStrategy", text("every_save")),
        distributed_state=state(new("accelerate.state:PartialState"), mapping(device=DEVICE)),
        accelerator_config=state(new("transformers.trainer_pt_utils:AcceleratorConfig"), mapping(split_batches=TRUE)))),
    "output": call(OUTPUT, NONE, NONE) + b"(" + text("logits") + ONE + b"u",
    "schedule": call("functools:partial", name("transformers.optimization:_get_constant_lambda")),
    "adapter": state(new("peft.tuners.lora.config:LoraConfig"), mapping(r=ONE, peft_type=call("peft.utils.peft_types:PeftType", text("LORA")))),
    "vision": state(new("torchvision.models.resnet:ResNet"), mapping(inplanes=ONE)),
    "detection": state(new("ultralytics.nn.tasks:DetectionModel"), mapping(args=state(
        call("ultralytics.utils:IterableSimpleNamespace"), mapping(imgsz=ONE)))),
    "timm": state(new("timm.models.vision_transformer:VisionTransformer"), mapping(depth=ONE)),
    "hyperparameters": new(HPARAMS) + b"(" + text("optimizer") + name("torch.optim.adam:Adam") + b"u",
    "metric": state(new(METRIC, text("M")), mapping(_computed=NONE)),
    "generator": state(call("torch._C:Generator", DEVICE), tupled(ONE, NONE, ONE)),
    "packed weights": state(new("torch:ScriptObject"), tupled(tupled(ONE, NONE), PACKED)),
    "checkpoint table": b"}" + state(new(INDEX), mapping(fqn=text("w"), offset=NONE, index=NONE)) + state(
        new(PROPERTIES), tupled(name("torch:float32"), call("torch.serialization:_get_layout", text("torch.strided")), b"\x89", FORMAT, b"\x89")) + b"s",
    "jax array": call(JAX, MAKER, NUMPY, ARRAY, mapping(weak_type=b"\x89")),
    "optax state": new("optax._src.transform:ScaleByAdamState", ONE, mapping(), mapping()),
    "frozen dictionary": call("flax.core.frozen_dict:FrozenDict", mapping(a=ONE)),
    "graph": state(new("torch_geometric.data.data:Data"), mapping(_store=state(
        new("torch_geometric.data.storage:GlobalStorage"), mapping(_mapping=mapping(x=ONE))))),
    "scaler": call("collections:defaultdict", name("torch.amp.grad_scaler:_refresh_per_optimizer_state")),
    "kept method": mapping(f=call("builtins:getattr", new(BERT), text("prepare_inputs_for_generation"))),
}  # fmt: skip
"""What files on the hub hold: each with the least that says what it is."""


@pytest.mark.parametrize("what", INERT)
def test_what_people_share_is_inert(what, level):
    assert level(whole(INERT[what])) == "inert"


@pytest.mark.parametrize("what", INERT)
def test_a_payload_anywhere_after_it_is_dangerous(what, level):
    assert level(whole(b"]", INERT[what], b"a", call("os:system", text("id")), b"a")) == "dangerous"


@pytest.mark.parametrize("what", INERT)
def test_a_second_state_is_not_inert(what, level):
    """The first state may hold anything that a second one would call."""
    assert level(whole(state(state(INERT[what], mapping(a=ONE)), mapping(a=ONE)))) != "inert"


ATTACKS = {
    "another native class": state(new("torch:ScriptObject"), tupled(ONE, text("__torch__.torch.classes.aoti.Model"))),
    "no native class": state(new("torch:ScriptObject"), tupled(ONE, ONE)),
    "native class with a callable": state(new("torch:ScriptObject"), tupled(FUNCTION, PACKED)),
    "state of a script object that is a dictionary": state(new("torch._C:ScriptObject"), mapping(a=ONE)),
    "metric whose update is replaced": state(new(METRIC), mapping(update=FUNCTION)),
    "metric whose wrapper is replaced": state(new(METRIC), mapping(_wrap_update=FUNCTION)),
    "metric whose registration is replaced": state(new(METRIC), mapping(register_buffer=FUNCTION)),
    "metric with values": new(METRIC, FUNCTION),
    "output of a callable": call(OUTPUT, FUNCTION),
    "output with a named attribute": call(OUTPUT, tupled(tupled(text("__class__"), FUNCTION))),
    "item of an output that is a method": call(OUTPUT, NONE) + b"(" + text("__setstate__") + ONE + b"u",
    "item of an output that is a callable": call(OUTPUT, NONE) + b"(" + text("logits") + FUNCTION + b"u",
    "hyperparameters that are asked for a method": new(HPARAMS) + b"(" + text("__setstate__") + FUNCTION + b"u",
    "hyperparameters with a key that is no text": new(HPARAMS) + b"(" + ONE + FUNCTION + b"u",
    "enumeration of an object": call("transformers.trainer_utils:SchedulerType", new(BERT)),
    "a type that is called": call("torch:float32", ONE),
    "generator of no device": call("torch._C:Generator", text("cpu")),
    "generator with a callable": state(call("torch._C:Generator", DEVICE), tupled(FUNCTION, NONE, ONE)),
    "properties with a callable": state(new(PROPERTIES), tupled(FUNCTION, NONE, b"\x89", FORMAT, b"\x89")),
    "key with a callable": b"}" + state(new(INDEX), mapping(fqn=FUNCTION)) + ONE + b"s",
    "array made by another function": call(JAX, FUNCTION, NUMPY, ARRAY, mapping()),
    "array of another class": call(JAX, MAKER, tupled(name("torch:Tensor"), tupled(b"K\x00"), b"C\x01b"), ARRAY, mapping()),
    "array with a short state": call(JAX, MAKER, NUMPY, tupled(ONE), mapping()),
    "array described by a callable": call(JAX, MAKER, NUMPY, ARRAY, mapping(weak_type=FUNCTION)),
    "frozen dictionary of callables": call("flax.core.frozen_dict:FrozenDict", mapping(a=FUNCTION)),
    "packed sequence of numbers": new("torch.nn.utils.rnn:PackedSequence", ONE, ONE, NONE, NONE),
    "module whose registration is replaced": state(new(BERT), mapping(register_buffer=FUNCTION)),
    "module with a method of its own": state(new(BERT), mapping(__call__=FUNCTION)),
    "attention that multiplies what it is given": state(new("ultralytics.nn.modules.block:AAttn"), mapping(num_heads=FUNCTION)),
    "any method of a module": call("builtins:getattr", new(BERT), text("from_pretrained")),
    "a kept method of something else": call("builtins:getattr", new("argparse:Namespace"), text("load_hook")),
    "pattern that is a callable": state(new("einops.layers.torch:Rearrange"), mapping(pattern=FUNCTION, axes_lengths=mapping())),
    "space with a callable": state(new("gymnasium.spaces.box:Box"), mapping(low=FUNCTION)),
    "optimizer with a callable": state(new("timm.optim.lamb:Lamb"), mapping(defaults=FUNCTION)),
    "settings with a class of their own": state(call("ultralytics.utils:IterableSimpleNamespace"), mapping(__class__=FUNCTION)),
    "settings with arguments": call("ultralytics.utils:IterableSimpleNamespace", ONE),
    "layers that write and run source": state(new("torch_geometric.nn.conv.gcn_conv:GCNConv"), mapping(inspector=ONE)),
    "a net that loads what it holds": state(new("skorch.classifier:NeuralNetClassifier"), mapping(device=text("cpu"))),
    "a list of a library that is called": call("transformers.activations:get_activation", text("gelu")),
}  # fmt: skip
"""Uses of the entries that go beyond what was read."""


@pytest.mark.parametrize("what", ATTACKS)
def test_other_uses_are_not_inert(what, level):
    assert level(whole(ATTACKS[what])) != "inert"


DANGEROUS = {
    "pair of a quantisation": new("torch.ao.quantization.qconfig:QConfig", PAYLOAD, NONE),
    "output": call(OUTPUT, PAYLOAD),
    "array": call(JAX, PAYLOAD, tupled(text("id")), ARRAY, mapping()),
    "hyperparameter": new(HPARAMS) + b"(" + text("f") + PAYLOAD + b"u",
    "schedule": call("functools:partial", PAYLOAD, text("id")),
    "factory": call("collections:defaultdict", PAYLOAD),
    "graph from source": call("torch.fx.graph_module:reduce_graph_module", mapping(), text("import os")),
}


@pytest.mark.parametrize("what", DANGEROUS)
def test_a_payload_that_is_given_to_it_is_dangerous(what, level):
    assert level(whole(DANGEROUS[what])) == "dangerous"


@pytest.mark.parametrize(
    "path", [METRIC, "einops.layers.torch:Rearrange", "einops.layers.torch:Reduce", BERT, OUTPUT]
)
def test_no_base_whose_making_runs_methods(path):
    """A class that the file builds on it could replace the method that is called."""
    entry = rules.find(*path.split(":"))
    assert entry is not None
    assert entry.kind == "class"
    assert not entry.base


@pytest.mark.parametrize(
    "path", ["torch.nn.modules.linear:Linear", "lightning.pytorch.core.module:LightningModule"]
)
def test_modules_are_bases(path):
    entry = rules.find(*path.split(":"))
    assert entry is not None
    assert entry.base
    assert entry.state == "module"


def test_a_state_kind_after_a_minus_is_no_base():
    assert rules._written_out("-module") == rules.Entry("class", state="module")
    assert rules._written_out("module") == rules.Entry("class", state="module", base=True)
    assert rules._written_out("value") == rules.Entry("value")


def test_real_objects_of_torch():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    values = {
        "generator": torch.Generator(),
        "scaler": torch.amp.GradScaler("cpu"),
        "cyclic": torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.2),
        "loader": torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2)), shuffle=True),
        "sequence": torch.nn.utils.rnn.pack_padded_sequence(torch.ones(2, 3, 1), [3, 2], batch_first=True),
    }
    for what, value in values.items():
        buffer = io.BytesIO()
        torch.save(value, buffer)
        assert inspect_bytes(buffer.getvalue(), "a.pt").verdict == "inert", what


def test_real_objects_of_transformers():
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    transformers = importlib.import_module("transformers")
    data = pickle.dumps([transformers.BertConfig(), transformers.GenerationConfig()])
    assert inspect_bytes(data, "a.pkl").verdict == "inert"
