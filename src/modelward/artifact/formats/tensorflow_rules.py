"""What the operators of a TensorFlow graph can do to the machine that runs it.

Sources: the registry of TensorFlow (`tensorflow_ops.json`, written by tools/tensorflow_ops.py) and
the kernels behind it; TensorFlow, SECURITY.md: "models are programs"; Zhu et al., "My Model is Malware to
You: Transforming AI Models into Malware by Abusing TensorFlow APIs", IEEE S&P 2025 (files and network).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

_LIST: Final = Path(__file__).with_name("tensorflow_ops.json")

_PYTHON: Final = "calls a Python function of the process"
_NETWORK: Final = "opens a network connection"
DANGEROUS: Final = {
    "PyFunc": _PYTHON,
    "PyFuncStateless": _PYTHON,
    "EagerPyFunc": _PYTHON,
    "ReadFile": "reads any file",
    "WriteFile": "writes any file",
    "MatchingFiles": "lists the files of any folder",
    "DatasetFromGraph": "runs a graph that is hidden in a string",
    "Abort": "ends the process",
    "RpcServer": _NETWORK,
    "RpcServerStart": _NETWORK,
    "RpcServerRegister": _NETWORK,
    "RpcClient": _NETWORK,
    "RpcCall": _NETWORK,
    "DataServiceDataset": _NETWORK,
    "DataServiceDatasetV2": _NETWORK,
    "DataServiceDatasetV3": _NETWORK,
    "DataServiceDatasetV4": _NETWORK,
    "RegisterDataset": _NETWORK,
    "RegisterDatasetV2": _NETWORK,
}
"""Operators that no exported model needs, and that act on files, on the network or on the process."""

PLACES: Final = {
    "Save": (0,), "SaveV2": (0,), "SaveSlices": (0,), "MergeV2Checkpoints": (0, 1), "SaveDataset": (1,),
    "SaveDatasetV2": (1,), "DistributedSave": (1,), "DatasetToTFRecord": (1,),
    "ExperimentalDatasetToTFRecord": (1,), "CacheDataset": (1,), "CacheDatasetV2": (1,),
    "SnapshotDataset": (1,), "SnapshotDatasetV2": (1,), "CreateSummaryFileWriter": (1,),
    "CreateSummaryDbWriter": (1,), "SerializeTRTResource": (1,),
}  # fmt: skip
"""Operators that write where an input says -> its number; every saved model has some, for checkpoints."""
WRITERS: Final = frozenset(PLACES)
READERS: Final = frozenset(
    (
        "Restore", "RestoreV2", "RestoreSlice", "LoadDataset", "TextLineDataset", "TFRecordDataset",
        "TFRecordDatasetV2", "FixedLengthRecordDataset", "FixedLengthRecordDatasetV2", "CSVDataset",
        "CSVDatasetV2", "ExperimentalCSVDataset", "SqlDataset", "ExperimentalSqlDataset", "LMDBDataset",
        "ExperimentalLMDBDataset", "MatchingFilesDataset", "ExperimentalMatchingFilesDataset",
        "LoadAndRemapMatrix", "GenerateVocabRemapping", "DTensorRestoreV2", "ListSnapshotChunksDataset",
        "SnapshotChunkDataset", "SnapshotDatasetReader", "InitializeTRTResource",
    )
)  # fmt: skip
"""Operators that read where a string says."""
PASSED: Final = frozenset(
    (
        "QueueEnqueue", "QueueEnqueueV2", "QueueEnqueueMany", "QueueEnqueueManyV2",
        "InitializeTableFromTextFile", "InitializeTableFromTextFileV2",
    )
)  # fmt: skip
"""Operators that pass the names of files on to readers; training graphs name their own data here."""
RARE: Final = frozenset(
    (
        "LoadDataset", "SaveDataset", "SaveDatasetV2", "DistributedSave", "DatasetToTFRecord",
        "ExperimentalDatasetToTFRecord", "DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "Skipgram",
        "RecordInput",
    )
)  # fmt: skip
"""Operators on files that exports of models do not have, wherever their paths come from."""
HOST: Final = {
    "XlaCustomCall": "calls a function of a native library by name",
    "XlaCustomCallV2": "calls a function of a native library by name",
    "XlaHostCompute": "calls back to the host of an accelerator",
    "_XlaHostComputeMlir": "calls back to the host of an accelerator",
    "TRTEngineOp": "runs an engine of TensorRT, which cannot be read",
    "RemoteCall": "runs a function on another machine",
    "FileSystemSetConfiguration": "changes how files of the process are opened",
    "DumpTensor": "writes tensors to files",
    "CalibrationStatisticsSaver": "writes statistics to a file",
    "MlirPassthroughOp": "runs a program that stands in a string",
    "_TPUCompileMlir": "runs a program that stands in a string",
    "DeserializeIterator": "runs a graph that is hidden in a value",
    "WorkerHeartbeat": "controls the process of a worker",
}
"""Operators that leave the graph, and that few models need."""
SENSITIVE: Final = re.compile(
    r"^/(?:etc|proc|sys|dev|boot|root|var/(?:log|run|spool))/|^/[*?]|"
    r"/\.(?:ssh|aws|kube|gnupg|docker|netrc|config)\b|"
    r"\bid_rsa\b|shadow$|passwd$|credentials?\b|\.env$|^[a-z]+://(?!/)",
    re.IGNORECASE,
)
"""Places that no data set of a model lies in."""
OUTSIDE: Final = re.compile(
    r"^(?:TFText>|TFIO>|IO>|Addons>|TFRA>|SimpleML|Sentencepiece|TFDF>|DecisionForest>)"
)
"""Prefixes of the operators of well-known companions of TensorFlow."""
COMPANIONS: Final = {
    "TFText>": "tensorflow-text",
    "Sentencepiece": "tensorflow-text",
    "TFIO>": "tensorflow-io",
    "IO>": "tensorflow-io",
    "Addons>": "tensorflow-addons",
    "TFRA>": "tensorflow-recommenders-addons",
    "SimpleML": "tensorflow-decision-forests",
    "TFDF>": "tensorflow-decision-forests",
    "DecisionForest>": "tensorflow-decision-forests",
}
"""Prefix -> the package whose native library registers such operators."""
FILES: Final[dict[str, tuple[str, ...]]] = {
    "FixedUnigramCandidateSampler": ("vocab_file",),
    "Skipgram": ("filename",),
    "RecordInput": ("file_pattern",),
}
"""Operators that read where an attribute says -> its name."""
ADDRESSES: Final[dict[str, tuple[str, ...]]] = {
    "PrintV2": ("output_stream",),
    "ImmutableConst": ("memory_region_name",),
    "DebugIdentity": ("debug_urls",),
    "DebugIdentityV2": ("debug_urls",),
    "DebugIdentityV3": ("debug_urls",),
    "DebugNanCount": ("debug_urls",),
    "DebugNumericSummary": ("debug_urls",),
    "DebugNumericSummaryV2": ("debug_urls",),
    "Copy": ("debug_ops_spec",),
    "CopyHost": ("debug_ops_spec",),
    "EncodeProto": ("descriptor_source",),
    "DecodeProtoV2": ("descriptor_source",),
    "XlaCallModule": (),
}
"""Operator -> attributes that name a file or an address, which no exported model gives."""
TEXT: Final = frozenset(
    (
        "CaseFoldUTF8", "NormalizeUTF8", "NormalizeUTF8WithOffsetsMap", "FindSourceOffsets",
        "RegexSplitWithOffsets",
        "WordpieceTokenizeWithOffsets", "WhitespaceTokenizeWithOffsets", "WhitespaceTokenizeWithOffsetsV2",
        "UnicodeScriptTokenizeWithOffsets", "SplitMergeTokenizeWithOffsets", "SentenceFragments", "RougeL",
        "NgramsStringJoin", "ConstrainedSequence", "MaxSpanningTree", "RegexSplit", "TokenizerFromLogits",
        "FastWordpieceTokenizeWithOffsets", "FastBertNormalize", "FastSentencepieceTokenize",
        "ByteSplitWithOffsets",
        "RoundRobinTrim", "RoundRobinGenerateMasks", "BoiseTagsToOffsets", "OffsetsToBoiseTags",
    )
)  # fmt: skip
"""Operators of tensorflow-text without a prefix."""
CONSOLES: Final = frozenset(("stderr", "stdout", "log(info)", "log(warning)", "log(error)", ""))
"""Where PrintV2 may write."""


@cache
def _listed() -> dict[str, list[str] | str]:
    document: dict[str, list[str] | str] = msgspec.json.decode(_LIST.read_bytes())
    return document


@cache
def known() -> frozenset[str]:
    """Names of the operators that TensorFlow registers itself."""
    return frozenset(_listed()["operators"])


def placed() -> frozenset[str]:
    """Those of them that are given a text which is called like a file, an address or a program."""
    return frozenset(_listed()["placed"])


def companion(operator: str) -> str | None:
    """The package that is known to register an operator, or None."""
    if operator in TEXT:
        return "tensorflow-text"
    found = OUTSIDE.match(operator)
    return COMPANIONS[found[0]] if found else None
