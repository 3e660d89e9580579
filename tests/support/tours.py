"""Tours that never were, for tests of what is said and drawn of them."""

from __future__ import annotations

from tenfold.control.advice.model import Advice, Words
from tenfold.tour.model import Climb, Move, Stop, Tour, Trial


def trial(rate: float, p99_ms: float = 50.0, *, failed: int = 0, lag_ms: float = 1.0) -> Trial:
    """A trial of three seconds."""
    sent = round(rate * 3)
    return Trial(rate, 3.0, sent, sent - failed, p99_ms / 4, p99_ms, p99_ms * 2, lag_ms)


def climb(held_ms: float = 0.0, failed: int = 0) -> Climb:
    """A climb under 100 requests a second."""
    return Climb((Move("copy_to_postgres", 9.5, held_ms),), 10.0, trial(100, 80.0, failed=failed))


ADVICE = Advice("stay", "Stay: nothing is full.", Words("advice.past", {"minutes": 3}))


def stop(step: int, rate: float, **more: object) -> Stop:
    """A stop that carried `rate`."""
    found = {"roles": {"web": 1}, "p50_ms": 12.0, "p99_ms": 120.0, "advice": ADVICE, **more}
    return Stop(step, "a-slug", rate=rate, trials=(trial(rate), trial(rate * 1.5, 900.0)), **found)  # type: ignore[arg-type]


STOPS = (
    stop(1, 180.0),
    stop(2, 95.0, roles={"web": 1, "database": 1}, climb=climb(602.4)),
    stop(3, 210.0, roles={"web": 2, "balancer": 2, "database": 1}, climb=climb()),
    stop(3, 1430.0, wide=True, roles={"web": 4, "balancer": 2, "database": 1}, climb=climb(), at_least=True),
)


def tour(*stops: Stop, language: str = "en", **more: object) -> Tour:
    """A tour over some stops, on capped nodes."""
    found = {"parts": {"web": 0.15, "database": 0.6}, "took_s": 301.5, **more}
    return Tour("shortener", 1_700_000_000_000_000, "0.1.0", language, 2, seconds=60.0, stops=stops, **found)  # type: ignore[arg-type]
