"""One loaded version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from riverlens_serving.session import Session


@dataclass(frozen=True, slots=True)
class Servable:
    """What answers requests."""

    signature_defs: Mapping[str, Any]
    """Every SignatureDef of the MetaGraphDef by key; of TF2 exports, `__saved_model_init_op` too."""
    session: Session
