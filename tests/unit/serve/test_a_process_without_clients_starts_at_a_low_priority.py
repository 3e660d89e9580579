"""Who has no clients yet leaves the processor to those that have."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tenfold.serve.pace import GENTLE, gently, may_return


@pytest.mark.parametrize(
    ("uid", "limit", "expected"),
    [(0, 0, True), (1000, 0, False), (1000, 19, False), (1000, 20, True), (1000, -1, True)],
)
def test_only_who_can_come_back_goes_down(uid: int, limit: int, expected: bool) -> None:
    assert may_return(uid, limit) is expected


def test_the_priority_is_low_inside_and_as_before_afterwards() -> None:
    code = (
        "import os\nfrom tenfold.serve.pace import gently\nseen = []\n"
        "try:\n    with gently(True):\n        seen.append(os.getpriority(os.PRIO_PROCESS, 0)); raise KeyError\n"
        "except KeyError:\n    seen.append(os.getpriority(os.PRIO_PROCESS, 0))\nprint(*seen)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    before = os.getpriority(os.PRIO_PROCESS, 0)
    expected = GENTLE if os.geteuid() == 0 and before == 0 else before
    assert said == [str(expected), str(before)]


def test_a_process_with_clients_starts_at_full_pace() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with gently(False):
        assert os.getpriority(os.PRIO_PROCESS, 0) == before
