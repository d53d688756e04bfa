"""Malicious folders of model hubs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evil_onnx import SOFT_TEMPLATES, TEMPLATES
from evil_texts import ATTACK, PLAIN, _json

from vectors.asm import Vector, payload
from vectors.encoders import safetensors
from vectors.writers import Member, archive

if TYPE_CHECKING:
    from collections.abc import Iterator


def vectors() -> Iterator[tuple[str, Vector]]:
    """Pairs of `known` or `held-out` and a vector."""
    for group in (hub, templates, sentences):
        yield from group()


WEIGHTS = safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4))


def hub() -> Iterator[tuple[str, Vector]]:
    config = {"architectures": ["AcmeModel"], "model_type": "acme"}
    auto = {
        **config,
        "auto_map": {"AutoConfig": "configuration_acme.Config", "AutoModel": "modeling_acme.Model"},
    }
    remote = {**config, "auto_map": {"AutoModel": "acme/other-repo--modeling_acme.Model"}}
    yield (
        "known",
        Vector(
            "hub-auto-map",
            "bare",
            "repo",
            {"config.json": _json(auto), "model.safetensors": WEIGHTS},
            "not-clean",
        ),
    )
    yield "known", Vector("hub-auto-map", "bare file", "config.json", _json(auto), "not-clean")
    yield (
        "known",
        Vector(
            "hub-auto-map",
            "with a payload",
            "repo",
            {
                "config.json": _json(auto),
                "modeling_acme.py": ATTACK,
                "configuration_acme.py": PLAIN,
                "model.safetensors": WEIGHTS,
            },
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-auto-map",
            "with harmless code",
            "repo",
            {"config.json": _json(auto), "modeling_acme.py": PLAIN, "model.safetensors": WEIGHTS},
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-auto-map",
            "code of another repository",
            "repo",
            {"config.json": _json(remote), "model.safetensors": WEIGHTS},
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-auto-map",
            "in the tokenizer",
            "repo",
            {
                "config.json": _json({"model_type": "bert"}),
                "tokenizer_config.json": _json(
                    {"tokenizer_class": "Tok", "auto_map": {"AutoTokenizer": ["tok.Tok", None]}}
                ),
                "tok.py": ATTACK,
            },
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-auto-map",
            "in the preprocessor",
            "repo",
            {
                "preprocessor_config.json": _json({"auto_map": {"AutoImageProcessor": "proc.P"}}),
                "proc.py": ATTACK,
            },
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-auto-map",
            "nested in the text config",
            "config.json",
            _json({"model_type": "llava", "text_config": auto}),
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-auto-map",
            "with a byte order mark",
            "config.json",
            b"\xef\xbb\xbf" + _json(auto),
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-auto-map",
            "trust asked for",
            "config.json",
            _json({**config, "trust_remote_code": True}),
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-code",
            "custom generate",
            "repo",
            {"config.json": _json({"model_type": "llama"}), "custom_generate/generate.py": ATTACK},
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-code",
            "diffusers component",
            "repo",
            {
                "model_index.json": _json(
                    {
                        "_class_name": "AcmePipeline",
                        "unet": ["acme_pipeline", "UNet"],
                        "scheduler": ["diffusers", "DDIMScheduler"],
                    }
                ),
                "pipeline.py": ATTACK,
            },
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-code",
            "adapter of another class",
            "repo",
            {
                "adapter_config.json": _json(
                    {
                        "peft_type": "LORA",
                        "auto_mapping": {"base_model_class": "Popen", "parent_library": "subprocess"},
                    }
                )
            },
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-index",
            "shard outside",
            "repo",
            {
                "model.safetensors.index.json": _json(
                    {"metadata": {}, "weight_map": {"w": "../../../nonexistent/a.safetensors"}}
                )
            },
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-index",
            "absolute pickle shard",
            "repo",
            {
                "pytorch_model.bin.index.json": _json(
                    {"metadata": {}, "weight_map": {"w": "/nonexistent/a.bin"}}
                )
            },
            "not-clean",
        ),
    )
    yield (
        "known",
        Vector(
            "hub-pickles",
            "beside safetensors",
            "repo",
            {
                "config.json": _json({"model_type": "bert"}),
                "model.safetensors": WEIGHTS,
                "pytorch_model.bin": archive(Member("a/data.pkl", payload(2)), Member("a/version", b"3\n")),
            },
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-pickles",
            "training arguments",
            "repo",
            {"config.json": _json({"model_type": "bert"}), "training_args.bin": payload(2)},
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-pickles",
            "optimizer state",
            "repo",
            {
                "config.json": _json({"model_type": "bert"}),
                "optimizer.pt": archive(Member("optimizer/data.pkl", payload(2))),
            },
        ),
    )
    yield (
        "held-out",
        Vector(
            "hub-pickles",
            "head of setfit",
            "repo",
            {"config_setfit.json": b"{}", "model_head.pkl": payload(4)},
        ),
    )


def templates() -> Iterator[tuple[str, Vector]]:
    for name in ("globals of cycler", "lipsum", "names joined", "format string"):
        expect = "not-clean" if name in SOFT_TEMPLATES else "dangerous"
        group = "known" if name in {"globals of cycler", "lipsum"} else "held-out"
        yield (
            group,
            Vector(
                "tokenizer-template",
                f"{name}, tokenizer_config",
                "tokenizer_config.json",
                _json({"tokenizer_class": "LlamaTokenizer", "chat_template": TEMPLATES[name]}),
                expect,
            ),
        )
        yield (
            "held-out",
            Vector(
                "tokenizer-template",
                f"{name}, own file",
                "repo",
                {
                    "config.json": _json({"model_type": "llama"}),
                    "chat_template.jinja": TEMPLATES[name].encode(),
                },
                expect,
            ),
        )
    several = [
        {"name": "default", "template": "{{ messages[0].content }}"},
        {"name": "rag", "template": TEMPLATES["lipsum"]},
    ]
    yield (
        "held-out",
        Vector(
            "tokenizer-template",
            "second of a list",
            "tokenizer_config.json",
            _json({"tokenizer_class": "T", "chat_template": several}),
        ),
    )
    yield (
        "held-out",
        Vector(
            "tokenizer-template",
            "of a processor",
            "repo",
            {"processor_config.json": _json({"processor_class": "P", "chat_template": TEMPLATES["lipsum"]})},
        ),
    )
    yield (
        "held-out",
        Vector(
            "tokenizer-template",
            "in chat_template.json",
            "chat_template.json",
            _json({"chat_template": TEMPLATES["globals of cycler"]}),
        ),
    )


def sentences() -> Iterator[tuple[str, Vector]]:
    def modules(kind: str) -> dict[str, bytes]:
        return {
            "modules.json": _json([{"idx": 0, "name": "0", "path": "", "type": kind}]),
            "config_sentence_transformers.json": b'{"__version__": {}}',
        }

    yield (
        "held-out",
        Vector(
            "sentence-transformers",
            "module of its own code",
            "repo",
            {**modules("acme_st.Pooler"), "acme_st.py": ATTACK},
        ),
    )
    yield (
        "held-out",
        Vector(
            "sentence-transformers",
            "class of the standard library",
            "repo",
            modules("subprocess.Popen"),
            "not-clean",
        ),
    )
