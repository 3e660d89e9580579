"""What one look at a closing door does, with connections that only say how they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from tenfold.serve.door import Door
from tenfold.serve.drain import GRACE_S, LOOK_EVERY_S, share_of, wind_down


@dataclass(eq=False)
class Http:
    """An HTTP connection."""

    idle: float | None = None
    streaming: bool = False
    done: list[str] = field(default_factory=list)

    def announce_close(self) -> None:
        self.done.append("announced")

    def idle_since(self) -> float | None:
        return self.idle

    def close_if_quiet(self) -> bool:
        self.done.append("closed")
        return True

    def sweep(self, now: float) -> None:
        raise AssertionError("that is not the drain's business")

    def streams(self) -> bool:
        return self.streaming

    def end_stream(self) -> None:
        self.done.append("ended")
        self.streaming = False


@dataclass(eq=False)
class Socket:
    """A WebSocket."""

    quiet: bool = True
    ended: bool = False

    def is_quiet(self) -> bool:
        return self.quiet

    def end(self) -> None:
        self.ended = True


def closing(*connections: Http, sockets: tuple[Socket, ...] = (), private: bool = False) -> Door:
    door = Door(private=private, quiet_s=0.25 if private else 5.0)
    door.closing, door.since = True, 100.0
    door.connections.update(connections)
    door.websockets.update(sockets)
    return door


@pytest.mark.parametrize(("private", "limit_s"), [(False, 5.0), (True, 0.25)])
def test_only_what_was_silent_for_long_enough_is_closed(private: bool, limit_s: float) -> None:
    busy, fresh, silent = Http(), Http(idle=100.0 + 0.01), Http(idle=100.0)
    wind_down(closing(busy, fresh, silent, private=private), 100.0 + limit_s)
    assert (busy.done, fresh.done, silent.done) == ([], [], ["closed"])


def test_a_quiet_websocket_goes_at_once_a_busy_one_has_the_grace() -> None:
    quiet, busy = Socket(), Socket(quiet=False)
    door = closing(sockets=(quiet, busy))
    wind_down(door, 100.0)
    assert (quiet.ended, busy.ended) == (True, False)
    door.websockets.discard(quiet)
    wind_down(door, 100.0 + GRACE_S - 0.01)
    assert not busy.ended
    wind_down(door, 100.0 + GRACE_S)
    assert busy.ended


def looks(door: Door, http: list[Http], sockets: list[Socket]) -> list[int]:
    """How many are left after each look until the grace is over."""
    left = []
    for look in range(round(GRACE_S / LOOK_EVERY_S) + 1):
        wind_down(door, 100.0 + look * LOOK_EVERY_S)
        door.websockets -= {each for each in sockets if each.ended}
        left.append(len(door.websockets) + sum(each.streaming for each in http))
    return left


@pytest.mark.parametrize(("streams", "sockets"), [(1, 0), (0, 1), (3, 4), (500, 0), (0, 500), (400, 600), (1000, 1000)])
def test_lasting_connections_go_evenly_and_all_within_the_grace(streams: int, sockets: int) -> None:
    http, lasting = [Http(streaming=True) for _ in range(streams)], [Socket() for _ in range(sockets)]
    left = looks(closing(*http, sockets=tuple(lasting)), http, lasting)
    assert left[-1] == 0
    counts = [streams + sockets, *left]
    steps = [before - after for before, after in pairwise(counts)]
    assert max(steps) <= (streams + sockets) * LOOK_EVERY_S / GRACE_S + 1, "they do not all come back at once"


@pytest.mark.parametrize("lasting", [0, 1, 39, 40, 41, 10_000])
@pytest.mark.parametrize("waited", [0.0, 0.5, GRACE_S - LOOK_EVERY_S, GRACE_S, 100.0])
def test_a_share_is_never_nothing_and_never_too_much(lasting: int, waited: float) -> None:
    share = share_of(lasting, waited)
    assert (share == 0) is (lasting == 0)
    assert share <= lasting
    if waited >= GRACE_S - LOOK_EVERY_S:
        assert share == lasting
