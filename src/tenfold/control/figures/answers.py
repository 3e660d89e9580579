"""What nodes answer on their control sockets, as far as figures need it: questions as lines, answers as values.

A node of another version may answer less, or refuse: then there is no value, and that is no error.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tenfold.control.figures.look import BalancerNumbers
from tenfold.hosts import wire
from tenfold.serve.told import NodeNumbers

LIST = wire.encode({"op": "list"})
NUMBERS = wire.encode({"op": "numbers"})
STATUS = wire.encode({"op": "status"})
COUNTS = wire.encode({"op": "jobs", "do": "counts"})
_RUNS = ("starting", "running", "stopping")

T = TypeVar("T")


class Child(msgspec.Struct, frozen=True):
    """One child as the keeper lists it."""

    node: str
    state: str
    pid: int | None = None

    @property
    def runs(self) -> bool:
        """Whether it has a process now."""
        return self.pid is not None and self.state in _RUNS


class _List(msgspec.Struct, frozen=True):
    nodes: tuple[Child, ...]


class _Server(msgspec.Struct, frozen=True):
    current: int = 0
    queue: int = 0


class _Status(msgspec.Struct, frozen=True):
    servers: tuple[_Server, ...]
    haproxy_pid: int | None = None
    requests: int = 0
    failed: int = 0
    connections: int = 0
    queue: int | None = None
    age_s: float = 0.0


class _Queue(msgspec.Struct, frozen=True):
    ready: int


class _Queues(msgspec.Struct, frozen=True):
    queues: tuple[_Queue, ...]


_list = msgspec.json.Decoder(_List)
_numbers = msgspec.json.Decoder(NodeNumbers)
_status = msgspec.json.Decoder(_Status)
_queues = msgspec.json.Decoder(_Queues)


def children_in(answer: bytes | None) -> tuple[Child, ...] | None:
    """The children of a keeper; None when it did not say them."""
    found = _read(_list, answer)
    return found.nodes if found is not None else None


def numbers_in(answer: bytes | None) -> NodeNumbers | None:
    """The numbers of a web server or worker; None when it did not say them."""
    return _read(_numbers, answer)


def balancer_in(answer: bytes | None) -> BalancerNumbers | None:
    """The numbers in a balancer's status; None when it did not say them, or while it has no HAProxy."""
    found = _read(_status, answer)
    if found is None or found.haproxy_pid is None:
        return None
    return BalancerNumbers(
        life=found.haproxy_pid,
        requests=found.requests,
        failed=found.failed,
        connections=found.connections,
        in_flight=sum(server.current for server in found.servers),
        queue=sum(server.queue for server in found.servers) if found.queue is None else found.queue,
        age_s=found.age_s,
    )


def due_in(answer: bytes | None) -> int | None:
    """How many jobs could run now and wait; None when nobody said so."""
    found = _read(_queues, answer)
    return sum(queue.ready for queue in found.queues) if found is not None else None


def _read(decoder: msgspec.json.Decoder[T], answer: bytes | None) -> T | None:
    if answer is None:
        return None
    try:
        return decoder.decode(answer)
    except msgspec.MsgspecError:
        return None
