"""A plugin for MLflow: logged models are sealed, and gated stages and aliases demand that the seal holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelward.vault.mlflow.store import GatedStore


def open_store(store_uri: str | None = None, tracking_uri: str | None = None) -> GatedStore:
    """What MLflow calls for a registry of `modelward+sqlite:///...`, by its entry point.

    Args:
        store_uri: ``modelward+`` and the address of a database.
        tracking_uri: MLflow's; it is not used.

    Raises:
        MlflowException: the gate's configuration is missing or not valid, or the database cannot be opened.
    """
    from modelward.vault.mlflow.store import open_gated

    del tracking_uri
    return open_gated(store_uri or "")
