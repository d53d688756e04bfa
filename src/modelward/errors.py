"""Every error modelward raises, and what the user can do about it.

The tree (an indented error is a kind of the one above it):

    ModelwardError              anything modelward refuses to do; exit code 2 unless said otherwise
      InputError                what was given cannot be used
        FileMissing             a path does not exist or cannot be read
        FileDamaged             a file is empty, truncated or not what its content claims
        RemoteRefused           a URL must not be asked, or does not answer
        FormatUnknown           a file's content is of no format modelward opens
        UnsafeArtifact          loading was not proven harmless, so it was not loaded
        ColumnMissing           a named column is not in the table
        ShapeMismatch           model and data do not fit
        ConfigInvalid           a configuration file or option has an unknown key or bad value
        PolicyInvalid           a policy is empty or contradictory
        BudgetInvalid           a budget cannot be read
        PathUnsafe              a path leaves its folder, or two paths may name one file
        ContentUnstable         a file changed while it was read
        KeyUnusable             a key cannot be read, is of the wrong kind, or its passphrase is wrong
      ModelFault                the model failed on unmodified data
        ModelRaised             it raised
        ModelHung               it did not answer in time
        ModelNonFinite          it answered NaN or an infinity
      Unsupported               a capability is absent here
        ExtraMissing            an optional dependency is not installed
        OperatorUnsupported     a graph has an operator the importer does not know or got wrong
        SandboxUnavailable      the kernel cannot protect the child process
        KeyServiceFailed        a token, a key server or a database does not do what is asked of it
      SandboxFault              the sandboxed child did not answer
        SandboxDied             it was killed or crashed
        SandboxTimeout          it used up its time
      LedgerError               the evidence store
        LedgerTampered          a record was altered, removed, inserted or reordered
        LedgerUnwritable        the store cannot be written (read-only folder, full disk)
        OutputUnwritable        a report, seal or other result cannot be written
      DocumentInvalid           a document that was made is not valid by its schema
      PolicyRefused             the policy is not satisfied; exit code 1
      SealRefused               a seal does not hold; exit code 1
        SealDamaged             a seal, bundle, proof or checkpoint is not what its format allows
        SignatureInvalid        a signature is not by the key that it names
        SignerMissing           too few of the keys that must sign did
        KeyExpired              a key is not valid at this time
        Revoked                 a key or a root was revoked
        ContentChanged          a file is not the one that was sealed
        RecipientWrong          none of the keys at hand opens it
        ProofInvalid            a proof does not lead to the root
        RolledBack              something older than what was seen before

Each error owns the sentence the user reads (`str(error)`) and the advice below it (`error.advice`). The
command line only prints them.
"""

from typing import ClassVar, Final


class ModelwardError(Exception):
    """Root of everything modelward raises on purpose.

    Attributes:
        advice: one sentence on what to do next; class-wide, or given at the raise for this case.
        exit_code: what the command line returns, 1 or 2.
    """

    default_advice: ClassVar[str] = "Run `modelward --help` for the commands and their examples."
    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice: Final = advice or self.default_advice


class InputError(ModelwardError):
    """What was given cannot be used. Catch it to ask the user again."""


class FileMissing(InputError):
    """A path does not exist, is not of the expected kind, or cannot be read."""

    default_advice = "Check the path and its permissions."


class FileDamaged(InputError):
    """A file is empty, truncated, or does not hold what its first bytes announce."""

    default_advice = "Write the file again from its source; compare its size and digest with the original."


class RemoteRefused(InputError):
    """A URL leads where only a named host may be asked, or its server does not answer as it should."""

    default_advice = "Check the URL; download the file and scan it from the disk if the server is unusual."


class FormatUnknown(InputError):
    """The content of a file is of no format that modelward opens."""

    default_advice = (
        "Models: torch state_dict, safetensors, ONNX, skops, pickle or joblib, XGBoost JSON or UBJ, "
        "LightGBM text, CatBoost JSON. Data: npz, npy, csv, parquet."
    )


class UnsafeArtifact(InputError):
    """Loading the file was not proven harmless, so it was not loaded."""

    default_advice = (
        "Run `modelward scan` on the file to see the calls it would make; prefer safetensors, ONNX or skops."
    )


class ColumnMissing(InputError):
    """A column that an option names is not in the table."""

    default_advice = "Name a column of the file's header."


class ShapeMismatch(InputError):
    """Model and data do not fit each other."""

    default_advice = "Give data in the model's own input space: same features, same order, same shape."


class ConfigInvalid(InputError):
    """A configuration file or an option has an unknown key or a value out of range."""

    default_advice = "`modelward init` writes a commented configuration file to start from."


class PolicyInvalid(InputError):
    """A policy is empty, contradictory or cannot be read; an empty policy would accept everything."""

    default_advice = "State at least one requirement, or leave the policy out to use the built-in baseline."


class BudgetInvalid(InputError):
    """A budget cannot be read."""

    default_advice = "Write seconds, passes and queries like `60s,1e6p,5000q`; each part is optional."


class PathUnsafe(InputError):
    """A path leads out of its folder, or two paths may name one file on another system."""

    default_advice = "Replace the link by what it points to, or rename one of the two files."


class ContentUnstable(InputError):
    """A file changed while it was read, so no digest of it means anything."""

    default_advice = "Let whatever writes there finish, then run the command again."


class KeyUnusable(InputError):
    """A key cannot be read, is of a kind that is not used for this, or its passphrase is wrong."""

    default_advice = "`modelward keys new` makes a pair; `modelward keys show` says what a file holds."


class ModelFault(ModelwardError):
    """The model failed on unmodified data, so nothing can be measured on it."""

    default_advice = (
        "Check that the data is in the model's input space and that the model works outside modelward."
    )


class ModelRaised(ModelFault):
    """The model raised an error on unmodified data."""


class ModelHung(ModelFault):
    """The model did not answer on unmodified data in the time allowed."""


class ModelNonFinite(ModelFault):
    """The model answered NaN or an infinity on unmodified data."""


class Unsupported(ModelwardError):
    """A capability is absent on this machine or in this version."""


class ExtraMissing(Unsupported):
    """An optional dependency is not installed; the advice names the extra that brings it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"{library} is not installed",
            advice=f"Install it with `pip install 'modelward[{extra}]'`.",
        )


class OperatorUnsupported(Unsupported):
    """A graph holds an operator that the importer does not know, or does not reproduce to its tolerance."""

    default_advice = "Gradient attacks and certificates need this import; query attacks work without it."


class SandboxUnavailable(Unsupported):
    """The kernel cannot protect the child process, so nothing is run in it."""

    default_advice = (
        "Use Linux 5.13 or newer with Landlock and seccomp, or a model format that needs no sandbox."
    )


class KeyServiceFailed(Unsupported):
    """A token, a key server or a database cannot be reached, or refuses what is asked of it."""

    default_advice = "Check its address, its module and what the credentials at hand may do."


class SandboxFault(ModelwardError):
    """The sandboxed child process did not give an answer."""

    default_advice = "Run `modelward scan` on the model file, and try the model on a smaller input."


class SandboxDied(SandboxFault):
    """The sandboxed child was killed or crashed."""


class SandboxTimeout(SandboxFault):
    """The sandboxed child used up its time."""


class LedgerError(ModelwardError):
    """The evidence store or a result file cannot be used."""


class LedgerTampered(LedgerError):
    """The store does not hold the records it once held."""

    default_advice = (
        "Do not trust this store; restore `.modelward/` from a backup, or audit again in a new folder."
    )


class LedgerUnwritable(LedgerError):
    """The store cannot be opened or written."""

    default_advice = "Free space or choose a writable folder; nothing already recorded is lost."


class OutputUnwritable(LedgerError):
    """A report, a seal or another result cannot be written where it was asked for."""

    default_advice = "Choose a path that can be written."


class DocumentInvalid(ModelwardError):
    """A document that modelward made is not valid by the schema of its format, so it was not written."""

    default_advice = "This is a defect of modelward: please report it with the input that led to it."


class PolicyRefused(ModelwardError):
    """The policy is refuted, or cannot be shown to hold."""

    default_advice = "Show what is missing, or change what the policy demands."
    exit_code = 1


class SealRefused(ModelwardError):
    """A seal does not hold. Catch it to refuse what was sealed."""

    default_advice = "Do not use the model; get it again from its publisher."
    exit_code = 1


class SealDamaged(SealRefused):
    """A seal, bundle, container, proof or checkpoint is cut short or not what its format allows."""

    default_advice = "Copy it again from its source; nothing in a damaged seal can be trusted."


class SignatureInvalid(SealRefused):
    """A signature is not by the key that it names, or not over these bytes."""

    default_advice = "Check that the public key is the signer's; else what was signed was altered."


class SignerMissing(SealRefused):
    """Too few of the keys that must sign did."""

    default_advice = "Name the signers' public keys, or have the missing ones sign."


class KeyExpired(SealRefused):
    """A key is not valid at this time."""

    default_advice = "Have it signed again by a key that is valid."


class Revoked(SealRefused):
    """A key or a root was revoked."""

    default_advice = "Go back to the last version that was not revoked; docs/keys.md has the drill."


class ContentChanged(SealRefused):
    """A file is not the one that was sealed: altered, missing, added or renamed."""

    default_advice = "Restore the files that are named, or have the changed model sealed again."


class RecipientWrong(SealRefused):
    """None of the keys at hand opens it."""

    default_advice = "Give the identity of a recipient; `modelward verify` works without one."


class ProofInvalid(SealRefused):
    """A proof does not lead from its leaf to the root, or from one root to the next."""

    default_advice = "Ask the ledger's keeper for the proof again; a log that cannot give it was altered."


class RolledBack(SealRefused):
    """A list, a checkpoint or a clock is older than what was seen before."""

    default_advice = "Get the newest version; if the clock was wrong before, correct it."
