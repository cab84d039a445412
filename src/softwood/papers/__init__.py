"""Papers: each one's claim, and the check that anyone can run to see it hold or fall short here.

A paper's method lives in the room of what it learns. Its file in this room says what it claims and holds
``check(size, seed)``: measures of ours and of every baseline from the same run, and bars that were set before it.
``entries`` lists all 127 with their last verdict, ``reproduce`` runs checks, ``eject`` writes a script to start from.
"""

from softwood.papers._eject import eject
from softwood.papers._gallery import pages
from softwood.papers._paper import FAMILIES, KINDS, ORIGINS, SIZES, Bar, Evidence, Measure, NeedsData, Paper
from softwood.papers._run import check_here, expected_seconds, record_of, reproduce, run_seed
from softwood.papers._shelf import VERDICTS, Entry, built, entries, evidence_folder, load, read_record, verdict

__all__ = [
    "FAMILIES",
    "KINDS",
    "ORIGINS",
    "SIZES",
    "VERDICTS",
    "Bar",
    "Entry",
    "Evidence",
    "Measure",
    "NeedsData",
    "Paper",
    "built",
    "check_here",
    "eject",
    "entries",
    "evidence_folder",
    "expected_seconds",
    "load",
    "pages",
    "read_record",
    "record_of",
    "reproduce",
    "run_seed",
    "verdict",
]
