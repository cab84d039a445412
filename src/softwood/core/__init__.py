"""Core: what every room stands on, without torch.

Errors that say what came, what is allowed and what to do; validation of parameters; ``Budget``, the size that a
model may have; ``capability``, the metadata that the paper table, the docs and the contract suite are made from;
and the file format of every artefact (JSON + safetensors, versioned, checksummed, written whole or not at all).
"""

from softwood.core._budget import Budget
from softwood.core._capability import Capability, capabilities, capability, capability_of
from softwood.core._errors import (
    DamagedFileError,
    InputError,
    MissingExtraError,
    SoftwoodError,
    SoftwoodWarning,
    UnsupportedError,
)
from softwood.core._files import artifact_exists, check_replaceable, load_artifact, save_artifact, write_atomic
from softwood.core._validation import check_choice, check_number, entry_point, require

__all__ = [
    "Budget",
    "Capability",
    "DamagedFileError",
    "InputError",
    "MissingExtraError",
    "SoftwoodError",
    "SoftwoodWarning",
    "UnsupportedError",
    "artifact_exists",
    "capabilities",
    "capability",
    "capability_of",
    "check_choice",
    "check_number",
    "check_replaceable",
    "entry_point",
    "load_artifact",
    "require",
    "save_artifact",
    "write_atomic",
]
