"""A controller that dies (as by SIGKILL) at the n-th line of its journal, once: before or after it is written.

`DIE_AT` is n, `DIE_WHEN` is `before` or `after`, `DIE_MARK` names a file that a death leaves behind. Lines are counted
from the moment at which the file `DIE_ARMED` is there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from tenfold.control import controller

MARK, ARMED = Path(os.environ["DIE_MARK"]), Path(os.environ["DIE_ARMED"])
written = controller.Journal.append
lines: list[str] = []


def append(self: Any, kind: str, data: Any, epoch: int) -> Any:
    if ARMED.exists():
        lines.append(kind)
    dies = len(lines) == int(os.environ["DIE_AT"]) and not MARK.exists()
    if dies and os.environ["DIE_WHEN"] == "before":
        MARK.touch()
        os._exit(9)
    record = written(self, kind, data, epoch)
    if dies:
        MARK.touch()
        os._exit(9)
    return record


controller.Journal.append = append
sys.exit(controller.main())
