"""What a text is, by its name and content.

One table: a kind has a format, a pattern for the last part of the name, and what the content must show, where
the name alone would be too weak. The first kind that fits wins; a text that fits none stays what it was.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from modelward.artifact.format import Format, Sniffed


class Kind(msgspec.Struct, frozen=True):
    """One kind of text.

    Attributes:
        format: what it is.
        names: pattern that the whole last part of the name matches, in lower case; "" for any name.
        content: patterns that the first 64 KiB contain, all of them; none for any content.
        of: formats that the content alone may say; empty for every text.
        paths: pattern that the whole path contains, in lower case; "" for any.
    """

    format: Format
    names: str
    content: tuple[str, ...] = ()
    of: frozenset[Format] = frozenset()
    paths: str = ""


_JSON: Final[frozenset[Format]] = frozenset({"json"})
_PROSE: Final[frozenset[Format]] = frozenset({"text", "csv", "yaml", "toml"})
_YAML: Final = r".+\.ya?ml(\.j2|\.tmpl)?"
_HF: Final = (
    r"(config|tokenizer_config|tokenizer|generation_config|preprocessor_config|processor_config|adapter_config|"
    r"(?:modular_)?model_index|special_tokens_map|image_processor_config|video_preprocessor_config|scheduler_config|modules|"
    r"feature_extractor_config|config_sentence_transformers|sentence_bert_config|adapter_model_config)\.json"
)

_HF_KEYS: Final = (
    r'"(model_type|architectures|auto_map|tokenizer_class|transformers_version|_class_name|added_tokens|'
    r"torch_dtype|chat_template|processor_class|feature_extractor_type|image_processor_type|peft_type|"
    r"custom_pipelines|bos_token(_id)?|eos_token(_id)?|pretrained_cfg|__version__|max_seq_length|"
    r'_name_or_path)"|"type"[ \n]?:[ \n]?"[\w.]+"|\\u00[0-9a-f]{2}'
)

KINDS: Final[tuple[Kind, ...]] = (
    # what loaders act on, known by its name where the content alone is no proof
    Kind("chat-template", r".+\.jinja2?"),
    Kind("chat-template", r".*chat_template.*\.json", (r"\{[{%#]|\\u00[0-9a-fA-F]",)),
    Kind(
        "hf-config",
        _HF,
        (_HF_KEYS,),
        _JSON,
    ),
    Kind("shard-index", r".+\.index(\..+)?\.json", (r'"weight_map"[ \t\r\n]*:',), _JSON),
    Kind("mlflow", r"mlmodel"),
    # keys and credentials before everything that shares their endings
    Kind(
        "secrets",
        r"\.env(\..+)?|.+\.env|[._]netrc|\.pypirc|\.npmrc|\.git-credentials|\.htpasswd|\.pgpass|credentials(\.json)?|"
        r"id_(rsa|dsa|ecdsa|ed25519)|.+\.(pem|key|ppk)|kaggle\.json|service[-_]account.*\.json|"
        r"client_secret.*\.json|secrets?\.(ya?ml|json|toml|txt)|\.dockercfg|\.dockerconfigjson|\.boto|\.s3cfg",
    ),
    Kind("secrets", "", (r"\A\s{0,80}-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----",)),
    # containers and serving
    Kind(
        "dockerfile",
        r"(dockerfile|containerfile)([._-].*)?|.+\.(dockerfile|containerfile)",
        (r"(?mi)^[ \t]*(from|arg)[ \t]+\S",),
    ),
    Kind("compose", r"(docker-|podman-)?compose([._-].*)?\.ya?ml", (r"(?m)^(services|include)[ \t]*:",)),
    Kind(
        "kubernetes", _YAML, (r"(?m)^(- )?[ \t]*apiVersion[ \t]*:[ \t]*\S", r"(?m)^[ \t]*kind[ \t]*:[ \t]*\S")
    ),
    Kind("kubernetes", r".+\.json", (r'"apiVersion"[ \t]*:', r'"kind"[ \t]*:'), _JSON),
    Kind("serving-config", r"config\.properties", (r"(?m)^[ \t]*\w[\w.]*[ \t]*=",)),
    Kind("triton", r".*config\.pbtxt", (r"\w[ \t]*[:\[{]",)),
    Kind("serving-config", r".+\.(config|conf|pbtxt)", (r"model_config_list[ \t]*[:{]",)),
    Kind(
        "serving-config",
        r"model-settings\.json|settings\.json",
        (r'"(implementation|parallel_workers|http_port|grpc_port)"',),
        _JSON,
    ),
    Kind(
        "serving-config",
        r"(bentofile|bento|model-config)\.ya?ml",
        (r"(?m)^[ \t]*(service|minWorkers|maxWorkers|handler|runners|deviceType)[ \t]*:",),
    ),
    # dependencies
    Kind(
        "lock-file",
        r"(poetry|uv|pdm|pipfile|conda|yarn|cargo|pixi)\.lock|pylock(\..+)?\.toml|package-lock\.json|"
        r"npm-shrinkwrap\.json|pnpm-lock\.ya?ml|conda-lock.*\.ya?ml",
    ),
    Kind("requirements", r".*(requirements|constraints).*\.(txt|in|pip)", of=_PROSE),
    Kind("requirements", r".+\.(txt|in)", of=_PROSE, paths=r"(^|/)requirements/[^/]+$"),
    Kind(
        "conda", r"(environment|conda|python_env)([._-].*)?\.ya?ml", (r"(?m)^(dependencies|channels)[ \t]*:",)
    ),
    Kind(
        "package-manifest",
        r"pyproject\.toml|setup\.cfg|package\.json|pipfile|pixi\.toml|pdm\.toml|cargo\.toml",
    ),
    # documents
    Kind(
        "model-card",
        r"readme.*\.md|model[-_]?card.*\.md",
        (r"\A\ufeff?---[ \t]*\r?\n", r"\n---[ \t]*(\r?\n|\Z)"),
    ),
    Kind("model-card", r"model[-_]?card.*\.(md|json|ya?ml)"),
    Kind(
        "licence",
        r"(un)?licen[cs]e([._-].*)?|copying([._-].*)?|notice([._-].*)?|.+[._-]licen[cs]e(\.(txt|md))?",
        of=_PROSE,
    ),
    # programs; a setup.py is a program first
    Kind("notebook", r".+\.ipynb"),
    Kind("notebook", "", (r'"nbformat"[ \t]*:[ \t]*\d', r'"(cells|worksheets)"[ \t]*:'), _JSON),
    Kind("python", r".+\.(py|pyw|pyi)"),
    Kind("python", r"[^.]+", (r"\A#![^\n]{0,200}\bpython[\d.]*\b",)),
    Kind("shell", r".+\.(sh|bash|zsh|ksh)"),
    Kind("shell", r"[^.]+|\..*rc|\..*profile", (r"\A#![^\n]{0,200}\b(ba|z|k|da)?sh\b",)),
    # what is left of markup
    Kind("yaml", _YAML, of=_PROSE),
    Kind("toml", r".+\.toml", of=_PROSE),
    Kind("xml", "", (r"\A\ufeff?\s{0,200}<\?xml\b",)),
)
"""Every kind, the most particular first."""


def refine(found: Sniffed, name: str, head: bytes) -> Sniffed:
    """The more particular kind of a text, or what it was found to be.

    Args:
        found: what the content alone says; one of `format.TEXTUAL`.
        name: path or member name.
        head: first 64 KiB.
    """
    path = name.lower().replace("\\", "/")
    leaf = path.rsplit("/", 1)[-1].rsplit("!", 1)[-1]
    text: str | None = None
    for kind in KINDS:
        if kind.of and found.format not in kind.of:
            continue
        if kind.names and not re.fullmatch(kind.names, leaf):
            continue
        if kind.paths and not re.search(kind.paths, path):
            continue
        if kind.content:
            text = head.decode("utf-8", "replace") if text is None else text
            if not all(re.search(pattern, text) for pattern in kind.content):
                continue
        return Sniffed(kind.format, _reason(kind))
    return found


def _reason(kind: Kind) -> str:
    by = " and ".join(
        what for what, used in (("name", kind.names or kind.paths), ("content", kind.content)) if used
    )
    return f"by its {by}"
