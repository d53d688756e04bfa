"""Configurations of Hugging Face's libraries: what code of a repository, or of another one, they bring in.

Sources: transformers 4.57 (`dynamic_module_utils.py`: `auto_map` and `repo--module.Class`, and
`pipelines/__init__.py`: `custom_pipelines`), diffusers 0.35 (`pipeline_utils.py`: `model_index.json`),
sentence-transformers 5 (`modules.json`), peft 0.17 (`auto_mapping`), timm 1.0 (`config.json`). Fast
tokenizers (`tokenizer.json`) hold no code.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.formats import object_yaml, shipped, targets
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.around.python.payload import Effect
    from modelward.artifact.formats.targets import Verdict
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LARGEST: Final = 512 << 20
PLAIN: Final = 16 << 20
"""Largest text, in bytes, that is decoded whole when it is no strict JSON (NaN, Infinity)."""
MODULES: Final = 64
"""Most modules of a repository that are followed through their relative imports."""

_DIFFUSERS: Final = frozenset(
    {
        "pipelines", "schedulers", "models", "allegro", "amused", "animatediff", "audioldm", "audioldm2",
        "aura_flow", "blip_diffusion", "bria", "chroma", "cogvideo", "cogview3", "cogview4", "consisid",
        "consistency_models", "controlnet", "controlnet_hunyuandit", "controlnet_sd3", "controlnet_xs",
        "cosmos", "dance_diffusion", "ddim", "ddpm", "deepfloyd_if", "dit", "easyanimate", "flux",
        "hidream_image", "hunyuan_image", "hunyuan_video", "hunyuandit", "i2vgen_xl", "kandinsky",
        "kandinsky2_2", "kandinsky3", "kandinsky5", "kolors", "latent_consistency_models",
        "latent_diffusion", "latent_diffusion_uncond", "latte", "ledits_pp", "ltx", "lucy", "lumina",
        "lumina2", "marigold", "mochi", "musicldm", "omnigen", "pag", "paint_by_example", "pia",
        "pixart_alpha", "pndm", "prx", "qwenimage", "repaint", "sana", "score_sde_ve",
        "semantic_stable_diffusion", "shap_e", "skyreels_v2", "spectrogram_diffusion", "stable_audio",
        "stable_cascade", "stable_diffusion", "stable_diffusion_3", "stable_diffusion_attend_and_excite",
        "stable_diffusion_diffedit", "stable_diffusion_gligen", "stable_diffusion_k_diffusion",
        "stable_diffusion_ldm3d", "stable_diffusion_panorama", "stable_diffusion_safe",
        "stable_diffusion_sag", "stable_diffusion_xl", "stable_video_diffusion", "stochastic_karras_ve",
        "t2i_adapter", "text_to_video_synthesis", "unclip", "unidiffuser", "versatile_diffusion",
        "visualcloze", "vq_diffusion", "alt_diffusion", "wan", "wuerstchen",
    }
)  # fmt: skip
"""Modules of diffusers itself that stand where a library's name may stand."""


class _Refused(Exception):
    """The text is no JSON, so that no loader takes it."""


class _Config(msgspec.Struct, frozen=True):
    """The keys that name code; everything else is passed over without being kept."""

    auto_map: object = None
    custom_pipelines: object = None
    chat_template: object = None
    trust_remote_code: object = None
    auto_mapping: object = None
    tokenizer_class: object = None
    model_type: object = None
    architectures: object = None
    architecture: object = None
    peft_type: object = None
    transformers_version: object = None
    license: object = None
    base_model_name_or_path: object = None
    custom_code: object = None
    class_name: object = msgspec.field(default=None, name="_class_name")
    diffusers_version: object = msgspec.field(default=None, name="_diffusers_version")
    target: object = msgspec.field(default=None, name="_target_")
    default_prompt_name: object = None


def read(data: Buffer, into: Reading) -> None:
    """Judge every name of code in a configuration."""
    if len(data) > LARGEST:
        raise Malformed(f"{len(data)} bytes of JSON; {LARGEST} are read")
    raw = bytes(data[:])
    try:
        _document(raw, into)
    except _Refused as error:
        into.note("hf-config.damaged", f"no loader takes the configuration, since it is no JSON: {error}")
    into.proven = True


def _document(raw: bytes, into: Reading) -> None:
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        _modules(_loads(raw), into)
    else:
        config = _config(raw)
        _facts(config, into)
        alone = raw.count(b"auto_map") == (config.auto_map is not None)
        _auto_map(config.auto_map if alone else _nested(_loads(raw), "auto_map"), into)
        _pipelines(config.custom_pipelines, into)
        _templates(config.chat_template, into)
        _mapping(config.auto_mapping, into)
        if config.class_name is not None and _pipeline(config.class_name, into.name):
            _index(_loads(raw), into)
        if into.name.rsplit("/", 1)[-1] in {"config.json", "generation_config.json"}:
            _generate(into)
        if config.trust_remote_code is True:
            into.unproven("hf-config.trust", "the configuration switches trust_remote_code on")
    if b"_target_" in raw or b"class_path" in raw or b'"py/' in raw:
        for root in object_yaml.documents(raw):
            object_yaml.judge(root, into)


def _config(raw: bytes) -> _Config:
    try:
        return msgspec.json.decode(raw, type=_Config)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return msgspec.convert(_loads(raw), _Config)


def _loads(raw: bytes) -> object:
    """JSON as Python's own parser takes it: NaN and infinities included.

    Raises:
        Malformed: it is too large or nested too deeply.
        _Refused: it is no JSON object or list.
    """
    if len(raw) > PLAIN:
        raise Malformed(f"{len(raw)} bytes that are no strict JSON; {PLAIN} are read")
    try:
        value: object = json.loads(raw.decode("utf-8-sig", "replace"))
    except RecursionError as error:
        raise Malformed("the JSON is nested too deeply") from error
    except ValueError as error:
        raise _Refused(str(error)[:120]) from error
    if not isinstance(value, dict | list):
        raise _Refused("it is no JSON object")
    return value if isinstance(value, list) else {str(key): part for key, part in value.items()}


def _facts(config: _Config, into: Reading) -> None:
    into.facts["framework"] = (
        "diffusers" if config.diffusers_version else "peft" if config.peft_type else "transformers"
    )
    known = {
        "producer": config.model_type or config.architecture or config.tokenizer_class or config.class_name,
        "format_version": config.transformers_version or config.diffusers_version,
        "licence": config.license,
    }
    for key, value in known.items():
        if isinstance(value, str):
            into.facts[key] = value[:200]


# --- code of the repository ---------------------------------------------------------------------------------


def _auto_map(given: object, into: Reading) -> None:
    """`{"AutoModel": "modeling_x.Model"}` or `["tokenization_x.Slow", null]`, `user/repo--module.Class`."""
    done: set[str] = set()
    for name in _names(given):
        into.spend()
        if name not in done and len(done) < 1000:
            done.add(name)
            _code(name, "auto_map", into)


def _nested(given: object, key: str) -> list[object]:
    """Every value of a key, at any depth: parts of a model have configurations of their own."""
    found: list[object] = []
    stack = [given]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            found += [item[key]] if key in item else []
            stack += item.values()
        elif isinstance(item, list):
            stack += item
    return found


def _names(given: object) -> Iterator[str]:
    """The texts in a value, at any depth of a few levels."""
    stack = [(given, 0)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, str):
            yield item
        elif depth < 6 and isinstance(item, dict):
            stack += [(part, depth + 1) for part in reversed(item.values())]
        elif depth < 6 and isinstance(item, list):
            stack += [(part, depth + 1) for part in reversed(item)]


def _code(name: str, key: str, into: Reading) -> None:
    """A class of a module that `trust_remote_code=True` imports."""
    repository, _, local = name.rpartition("--")
    if repository:
        message = (
            f"{key} names {local} of another repository, {repository}, whose code trust_remote_code=True runs"
        )
        into.unproven("hf-config.other-repository", message)
        return
    module = local.rsplit(".", 1)[0]
    message = f"{key} names {local}: code of the repository runs with trust_remote_code=True"
    worst, why = _module(module, into)
    if worst == "dangerous":
        into.dangerous("hf-config.payload", f"{message}; {why[0]}", call=why[1])
    else:
        into.unproven("hf-config.remote-code", f"{message} ({why[0]})")


def _module(module: str, into: Reading) -> tuple[Verdict, tuple[str, str | None]]:
    """What the source of a module does, with the modules of the repository that it imports."""
    from modelward.artifact.around.source import analyse, siblings
    from modelward.artifact.encoding import source

    pending, seen, problem = [module.replace(".", "/")], set[str](), ""
    while pending and len(seen) < MODULES:
        stem = pending.pop()
        if stem in seen or ".." in stem.split("/"):
            continue
        seen.add(stem)
        content = into.beside(f"{stem}.py")
        if content is None:
            problem = problem or f"{stem}.py does not stand beside it and was not read"
            continue
        into.spend(1 + len(content) // 100)
        text = source(content)
        analysis = analyse(text)
        worst = next((effect for effect in analysis.payload if effect.level == "dangerous"), None)
        if worst is not None:
            return "dangerous", (_said(stem, worst), worst.call)
        if analysis.level:
            problem = (
                analysis.problem
                or f"in {stem}.py, line {analysis.payload[0].line}, {analysis.payload[0].message}"
            )
        folder = stem.rsplit("/", 1)[0] + "/" if "/" in stem else ""
        pending += [folder + name for name in siblings(text)]
    return "unproven", (problem or "what is read of it is ordinary model code", None)


def _said(stem: str, effect: Effect) -> str:
    return f"in {stem}.py, line {effect.line}, {effect.message}"


def _generate(into: Reading) -> None:
    """Programs of the repository that run by their place alone.

    `generate(custom_generate=...)` runs one with `trust_remote_code=True`, an inference endpoint the other.
    """
    content = into.beside("custom_generate/generate.py")
    if content is not None:
        when = "generate() runs it with trust_remote_code=True"
        shipped.source(into, "custom_generate/generate.py", content, when)
    handler = into.beside("handler.py")
    if handler is not None and b"EndpointHandler" in handler:
        shipped.payload(into, "handler.py", handler, "an inference endpoint of the hub imports it")


def _pipelines(given: object, into: Reading) -> None:
    """`{"task": {"impl": "my_pipeline.MyPipeline", ...}}`."""
    for task, entry in list(given.items())[:100] if isinstance(given, dict) else ():
        implementation = entry.get("impl") if isinstance(entry, dict) else None
        if isinstance(implementation, str):
            _code(implementation, f"custom_pipelines[{str(task)[:40]!r}]", into)


def _mapping(given: object, into: Reading) -> None:
    """PEFT: `{"base_model_class": "Net", "parent_library": "__main__"}`; the library is imported."""
    library = given.get("parent_library") if isinstance(given, dict) else None
    if not isinstance(library, str):
        return
    level, why = targets.meaning(f"{library}.Model")
    if level == "dangerous":
        into.dangerous(
            "hf-config.payload", f"auto_mapping imports {library}, which {why}", call=f"import {library}"
        )
    elif level != "inert" and library != "__main__":
        into.unproven(
            "hf-config.auto-mapping", f"auto_mapping imports the module {library}, which is not known"
        )


# --- templates ----------------------------------------------------------------------------------------------


def _templates(given: object, into: Reading) -> None:
    """A text, or a list of `{"name": ..., "template": ...}`."""
    if isinstance(given, str):
        template(given, into, "chat_template")
        return
    for number, entry in enumerate(given[:100] if isinstance(given, list) else []):
        text = entry.get("template") if isinstance(entry, dict) else None
        if isinstance(text, str):
            template(text, into, f"chat_template[{number}]")
    for name, text in list(given.items())[:100] if isinstance(given, dict) else ():
        if isinstance(text, str):
            template(text, into, f"chat_template[{name!r}]")


def template(text: str, into: Reading, where: str) -> None:
    """Judge one template."""
    from modelward.artifact.formats import jinja

    jinja.judge(text, into, where)


# --- diffusers and sentence-transformers --------------------------------------------------------------------


def _pipeline(kind: object, name: str) -> bool:
    """Whether the configuration is that of a pipeline: its lists of two name components."""
    named = not isinstance(kind, str) or kind.endswith("Pipeline")
    return named or name.lower().replace("\\", "/").rsplit("/", 1)[-1].endswith("model_index.json")


def _index(given: object, into: Reading) -> None:
    """`{"_class_name": ..., "unet": ["diffusers", "UNet2DConditionModel"], ...}`."""
    pairs = given.items() if isinstance(given, dict) else ()
    for name, value in list(pairs)[:500]:
        into.spend()
        if name == "_class_name" and isinstance(value, list) and value and isinstance(value[0], str):
            _code(f"{value[0]}.{value[-1]}", "_class_name", into)
        if (
            name.startswith("_")
            or not isinstance(value, list)
            or len(value) not in {2, 3}
            or not isinstance(value[0], str)
        ):
            continue
        library = value[0]
        if len(value) > 2 and isinstance(value[2], dict) and value[2].get("trust_remote_code") is True:
            into.unproven("hf-config.trust", f"{name} comes from a repository with trust_remote_code on")
        if library in _DIFFUSERS:
            continue
        level, why = targets.meaning(f"{library}.{value[1]}")
        if level == "dangerous":
            into.dangerous(
                "hf-config.payload",
                f"{name} is {library}.{value[1]}, which {why}",
                call=f"{library}.{value[1]}",
            )
        elif level != "inert":
            _component(name, library, str(value[1]), into)


def _component(name: str, library: str, kind: str, into: Reading) -> None:
    """A component whose class is in a module of the repository (`unet/my_unet.py`) or an unknown package."""
    for place in (f"{name}.{library}.{kind}", f"{library}.{kind}"):
        if into.beside(place.rsplit(".", 1)[0].replace(".", "/") + ".py") is not None:
            _code(place, name, into)
            return
    into.unproven("hf-config.library", f"{name} is {kind} of {library}, a package that is not known")


def _modules(given: object, into: Reading) -> None:
    """`[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]`."""
    into.facts["framework"] = "sentence-transformers"
    for entry in given[:500] if isinstance(given, list) else []:
        into.spend()
        name = entry.get("type") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            continue
        level, why = targets.meaning(name)
        if level == "dangerous":
            into.dangerous("hf-config.payload", f"a module is {name}, which {why}", call=f"{name}()")
        elif level != "inert":
            _code(name, "modules.json", into)
