"""At what pace a process starts beside others that serve: it must not take the processor away from them.

What is imported at a start keeps a core busy for a second. On a small machine clients feel that, so a process that
has no clients yet starts at a low priority, where the kernel lets us raise it again (as root, or by RLIMIT_NICE).
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

GENTLE = 10
_NORMAL_NEEDS = 20
"""RLIMIT_NICE that allows nice 0, see setrlimit(2)."""


def may_return(uid: int, limit: int) -> bool:
    """Whether a process may raise its priority back to normal; `limit` is its RLIMIT_NICE, -1 for none. Pure."""
    return uid == 0 or limit < 0 or limit >= _NORMAL_NEEDS


@contextlib.contextmanager
def gently(wanted: bool) -> Iterator[None]:
    """The body runs at a low priority, if that is wanted and can be ended. Threads begun in it stay there."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    gentle = wanted and before == 0 and may_return(os.geteuid(), resource.getrlimit(resource.RLIMIT_NICE)[0])
    if gentle:
        os.setpriority(os.PRIO_PROCESS, 0, GENTLE)
    try:
        yield
    finally:
        if gentle:
            os.setpriority(os.PRIO_PROCESS, 0, before)
