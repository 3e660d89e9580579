"""What `tenfold load` says of requests that were not done: refused by a rule of the service, or failed."""

from __future__ import annotations

import json

import pytest

from tenfold.cli.load import _Tally, _tell
from tenfold.prove.history import Operation, Status


def operation(status: Status, http: int) -> Operation:
    return Operation(
        process=1,
        function="transfer",
        key="k",
        value=None,
        start_us=0,
        sent_us=0,
        end_us=4000,
        status=status,
        http=http,
    )


def tally_of(*outcomes: tuple[Status, int]) -> _Tally:
    tally = _Tally()
    for status, http in outcomes:
        tally.add(operation(status, http))
    return tally


OK, POOR, LIMITED = (Status.OK, 200), (Status.FAIL, 409), (Status.FAIL, 429)


def test_a_transfer_without_money_frightens_nobody() -> None:
    tally = tally_of(OK, OK, POOR, LIMITED)
    assert tally.second() == "     2 ok/s   p99      4.0 ms   2 refused by a rule of the service, 0 failed so far"
    assert tally.total() == "2 ok, 2 refused by a rule of the service, 0 failed"


@pytest.mark.parametrize("lost", [(Status.FAIL, 0), (Status.UNKNOWN, 0), (Status.FAIL, 503), (Status.UNKNOWN, 500)])
def test_what_nobody_answered_as_it_should_has_failed(lost: tuple[Status, int]) -> None:
    assert tally_of(OK, POOR, lost).total() == "1 ok, 1 refused by a rule of the service, 1 failed"


def test_nothing_is_said_of_refusals_that_there_were_not() -> None:
    assert tally_of(OK).total() == "1 ok, 0 failed"
    assert _Tally().total() == "nothing was sent"


def test_json_has_the_outcomes_by_the_words_of_a_proof(capsys: pytest.CaptureFixture[str]) -> None:
    _tell(tally_of(OK, POOR, (Status.UNKNOWN, 0)), None, 10, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"outcomes", "rate", "late", "ms"}
    assert told["outcomes"] == {"ok": 1, "fail": 1, "unknown": 1}
