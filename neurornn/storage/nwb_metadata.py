"""What an NWB file tells of session and subject: what is given, and defaults that are true of a network.

The defaults pass ``nwbinspector`` without a remark. Of an activity that is no network's nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import xarray as xr

from neurornn.storage.schema import origin
from neurornn.vocabulary import TRIAL, UNIT, VERSION, InputError, unknown_name

METADATA = (
    *("session_description", "identifier", "session_start_time", "session_id", "experimenter"),
    *("experiment_description", "institution", "lab", "keywords", "related_publications", "notes"),
    *("protocol", "pharmacology", "surgery", "virus", "stimulus_notes", "data_collection"),
    *("source_script", "source_script_file_name", "timestamps_reference_time"),
)
"""Fields of an NWB file that can be given."""
SUBJECT = (
    *("subject_id", "species", "sex", "age", "age__reference", "date_of_birth", "description"),
    *("genotype", "strain", "weight"),
)
"""Fields of its subject."""
_LISTS = ("experimenter", "keywords", "related_publications")
"""Fields of which there may be several."""


def file_fields(activity: xr.Dataset, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the file: what is given, and what the activity tells for the rest.

    Raises
    ------
    InputError
        Where NWB has no such field, or a moment is none.
    """
    for name in given:
        if name not in METADATA:
            unknown_name("field of an NWB file", name, METADATA)
    fields = {
        "session_description": "Activity of units on trials",
        "identifier": str(uuid4()),
        "session_start_time": datetime.now(UTC),
    }
    fields |= _of_network(activity) | dict(given)
    fields["session_start_time"] = _moment(fields["session_start_time"])
    for name in _LISTS:
        if isinstance(fields.get(name), str):
            fields[name] = [fields[name]]
    return fields


def subject_fields(activity: xr.Dataset, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of the subject, the network; none where there is no network and nothing is given.

    Raises
    ------
    InputError
        Where NWB has no such field.
    """
    for name in given or {}:
        if name not in SUBJECT:
            unknown_name("field of the subject", name, SUBJECT)
    fields = {}
    weights = _weights(activity)
    if weights:
        fields = {
            "subject_id": f"network-{weights}",
            "species": "In silico",
            "sex": "U",
            "age": "P0D/",
            "description": "Simulated recurrent neural network; no animal",
        }
    return fields | dict(given or {})


def _of_network(activity: xr.Dataset) -> dict[str, Any]:
    """Return what is true of the activity of a network that this package has run."""
    weights = _weights(activity)
    if not weights:
        return {}
    told = origin(activity).get("task")
    task = str(told.get("name") or told.get("class")) if isinstance(told, dict) else "a task"
    sizes = f"{activity.sizes.get(TRIAL)} trials, {activity.sizes.get(UNIT)} units"
    return {
        "session_description": f"Simulated activity of a recurrent neural network on trials of {task}",
        "session_id": f"weights-{weights}",
        "experimenter": "Simulation, neurornn",
        "institution": "Simulated, no laboratory",
        "keywords": ["recurrent neural network", "simulation", task],
        "experiment_description": (
            f"A network was run on trials of {task} by neurornn {VERSION} ({sizes}); no animal."
        ),
    }


def _weights(activity: xr.Dataset) -> str:
    """Return the first digits of the weights' digest, empty where there is no network."""
    return str(origin(activity).get("weights_sha256", ""))[:12]


def _moment(given: Any) -> Any:
    """Return a moment with a time zone; one without is of this computer's."""
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError as error:
            raise InputError(
                "`session_start_time` must be a datetime or ISO text like '2026-11-20T12:00+01:00', "
                f"got {given!r}"
            ) from error
    return given.astimezone() if isinstance(given, datetime) and given.tzinfo is None else given
