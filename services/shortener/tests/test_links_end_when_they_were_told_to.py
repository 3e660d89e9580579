"""The end of a link, from what a client wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.links.expiry import moment_of
from shortener.refusal import Refusal

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires_in", "later"),
    [
        (90, 90),
        ("90", 90),
        ("30s", 30),
        ("5m", 300),
        ("12h", 43_200),
        ("7d", 604_800),
        ("2w", 1_209_600),
        (" 7 D ", 604_800),
    ],
)
def test_a_duration_counts_from_now(expires_in: int | str, later: int):
    assert moment_of(expires_in, None, NOW) == NOW + timedelta(seconds=later)


@pytest.mark.parametrize(
    "text", ["2026-05-02T12:00:00Z", "2026-05-02t12:00:00z", "2026-05-02T14:00:00+02:00", "2026-05-02 12:00:00.000Z"]
)
def test_a_moment_is_turned_into_utc(text: str):
    moment = moment_of(None, text, NOW)
    assert moment == datetime(2026, 5, 2, 12, 0, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(("expires_in", "expires_at"), [(None, None), ("", ""), (None, "")])
def test_nothing_said_means_for_ever(expires_in: str | None, expires_at: str | None):
    assert moment_of(expires_in, expires_at, NOW) is None


@pytest.mark.parametrize(
    ("expires_in", "expires_at", "says"),
    [
        (0, None, "in the future"),
        (-5, None, "number of seconds"),
        ("soon", None, "number of seconds"),
        ("1.5h", None, "number of seconds"),
        ("٣d", None, "number of seconds"),
        ("7y", None, "number of seconds"),
        (10**15, None, "number of seconds"),
        ("999999999999w", None, "ten years"),
        (None, "2026-05-01T11:59:59Z", "in the future"),
        (None, "2046-05-01T12:00:00Z", "ten years"),
        (None, "2026-05-02", "with its offset"),
        (None, "2026-05-02T12:00:00", "with its offset"),
        (None, "2026-02-30T12:00:00Z", "with its offset"),
        (None, "9999-12-31T23:59:59-23:59", "with its offset"),
        (None, "tomorrow", "with its offset"),
        ("7d", "2026-05-02T12:00:00Z", "not both"),
    ],
)
def test_what_makes_no_sense_is_refused(expires_in: int | str | None, expires_at: str | None, says: str):
    with pytest.raises(Refusal, match=says) as caught:
        moment_of(expires_in, expires_at, NOW)
    assert caught.value.field == "expires"


@given(st.integers() | st.text(max_size=20), st.none() | st.text(max_size=30))
def test_any_input_gives_a_later_moment_or_a_refusal(expires_in: int | str, expires_at: str | None):
    try:
        moment = moment_of(expires_in, expires_at, NOW)
    except Refusal:
        return
    assert moment is None or moment > NOW
