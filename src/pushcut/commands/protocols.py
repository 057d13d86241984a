"""The papers' protocols, by the names of their commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pushcut.commands import data_scarcity, failure_modes, generalisation
from pushcut.commands.protocol import Study

STUDIES: Mapping[str, Study[Any]] = {
    "generalisation": generalisation.STUDY,
    "data-scarcity": data_scarcity.STUDY,
    "failure-modes": failure_modes.STUDY,
}
