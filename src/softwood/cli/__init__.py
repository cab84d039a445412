"""The command line: ``softwood fit``, ``predict``, ``score``, ``certify``, ``export``, ``show``, ``bench``, ``doctor``,
``demo``.

Every command is a thin face over functions that can be called from Python as well. Results go to standard output
(with ``--json`` one JSON document and nothing else), progress and messages to standard error. Exit codes: 0 done,
1 it ran but a check failed, 2 bad usage or input, 130 stopped by Ctrl-C. Rooms are imported inside the commands,
so that ``softwood --help`` brings neither torch nor numba.
"""

import os

# Idle OpenMP threads that spin take the cores from the threads that work; has to be set before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from softwood.cli._app import main

__all__ = ["main"]
