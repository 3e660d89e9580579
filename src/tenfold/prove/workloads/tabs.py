"""Sessions: several tabs of one visitor change one session at once, and no change is lost or seen too late."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from tenfold.core.randomness import Randomness
from tenfold.prove.checkers import counter, sessions
from tenfold.prove.history import Operation, Recording, Status
from tenfold.prove.verdict import Sometimes, Verdict, judge
from tenfold.prove.workloads.base import Answer, Request, Values, chance, field, pick, probe_path, read, write

WRITES = 0.5
USES = 400
"""Requests to one session, so that checking it stays cheap."""

COOKIES = ("_session", "_session_at")
"""How their names end, of the id and of the version that the client has seen; a service may have chosen what comes
before."""

Jar = dict[str, str]


class TabsWorkload:
    """Increments a number in a session and reads it; a client is a tab, which keeps its cookies as a browser does."""

    name = "tabs"
    promises = ("P1", "P8")

    def __init__(self, run: str) -> None:
        self._run = run
        self._values = Values()
        self._begun: dict[str, Jar] = {}
        self._tabs: dict[tuple[int, str], Jar] = {}
        self._current = ""
        self._used = 0

    def next(self, process: int, randomness: Randomness) -> Request:
        """A first visit when there is no session to use, else a change or a read in one tab of the newest."""
        if not self._current or self._used >= USES:
            self._used = 0
            key = f"{self._run}-tabs-{self._values.next(process)}"
            return write(probe_path("session", key), "increment", key, 1, {"by": 1})
        self._used += 1
        key = self._current if len(self._begun) < 2 or chance(randomness, 0.9) else self._earlier(randomness)
        made = (
            write(probe_path("session", key), "increment", key, 1, {"by": 1})
            if chance(randomness, WRITES)
            else read(probe_path("session", key), "read", key)
        )
        return _with_cookies(made, self._tabs.get((process, key), self._begun[key]), process)

    def _earlier(self, randomness: Randomness) -> str:
        known = list(self._begun)[-5:]
        return known[pick(randomness, len(known))]

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """The number that the session has then; cookies are kept as a browser would keep them."""
        cookies = cookies_in(answer)
        if cookies and request.key not in self._begun:
            self._begun[request.key] = cookies
            self._current = request.key
        elif cookies:
            tab = (int(request.headers.get("tf-tab", "0")), request.key)
            jar = self._tabs.pop(tab, self._begun[request.key])  # so that the newest is the last one
            self._tabs[tab] = {**jar, **cookies}
        return field(answer, status, "count")

    def final(self) -> list[Request]:
        """Every session, as the tab that changed it last knows it."""
        newest = {key: jar for (_, key), jar in self._tabs.items()}
        return [
            _with_cookies(read(probe_path("session", key), "total", key), newest.get(key, jar), 0)
            for key, jar in self._begun.items()
        ]

    def check(self, recording: Recording) -> list[Verdict]:
        """By `counter` (no change is lost in the end) and by `sessions` (a tab never sees the past)."""
        operations = recording.of(self.name)
        seen = sessions.check(operations, write="increment")
        tested = [Sometimes("a tab read what it had seen before", int(seen.figures["monotonic-reads"]))]
        return [
            judge("P1", counter.check(map(_by_one, operations), read="total"), workload=self.name),
            judge("P8", seen, workload=self.name, sometimes=tested),
        ]


def cookies_in(answer: Answer | None) -> Jar:
    """The session's cookies that an answer sets, by name."""
    found = {}
    for line in (answer.headers.get("set-cookie", "") if answer is not None else "").split("\n"):
        name, _, value = line.partition(";")[0].strip().partition("=")
        if name.endswith(COOKIES):
            found[name] = value
    return found


def _with_cookies(request: Request, jar: Jar, process: int) -> Request:
    cookie = "; ".join(f"{name}={value}" for name, value in jar.items())
    headers = {**request.headers, "cookie": cookie, "tf-tab": str(process)}
    return Request(
        request.method, request.path, request.function, request.key, request.value, headers, request.body, request.keyed
    )


def _by_one(operation: Operation) -> Operation:
    return structs.replace(operation, value=1) if operation.function == "increment" else operation
