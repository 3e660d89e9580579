"""The shortener: an acknowledged link leads where it should for ever, and a keyed one is made once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tenfold.core.randomness import Randomness
from tenfold.prove.history import Operation, Recording, Status
from tenfold.prove.verdict import Finder, Findings, Verdict, judge
from tenfold.prove.workloads.base import Answer, Request, Values, chance, field, pick, read, write

SHORTEN = "/api/v1/data/shorten"
CREATES = 0.3
AGAIN = 0.1
"""The share of creates that send a keyed request of before once more."""
FOLLOWED = 20_000
"""Links that are followed in the end at most, the newest."""
FOUND = (301, 302, 303, 307, 308)


class ShortenerWorkload:
    """Makes links to unique addresses, half of them keyed, sends keyed requests again, and follows what was made."""

    name = "shortener"
    promises = ("P1",)

    def __init__(self, run: str) -> None:
        self._run = run
        self._values = Values()
        self._codes: list[str] = []
        self._keyed: list[Request] = []

    def next(self, process: int, randomness: Randomness) -> Request:
        """A create, a keyed create once more, or a visit."""
        if self._codes and not chance(randomness, CREATES):
            return _follow(self._codes[pick(randomness, len(self._codes))])
        if self._keyed and chance(randomness, AGAIN):
            return self._keyed[pick(randomness, len(self._keyed))]
        return self._create(process, chance(randomness, 0.5))

    def _create(self, process: int, keyed: bool) -> Request:
        value = self._values.next(process)
        url = f"https://example.com/{self._run}/{value}"
        key = f"{self._run}-shortener-{value}" if keyed else ""
        request = write(SHORTEN, "create", url, url, {"url": url}, idempotency=key)
        if keyed and len(self._keyed) < FOLLOWED:
            self._keyed.append(request)
        return request

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """The code that a create gave, or the address that a visit was led to."""
        if request.function == "create":
            code = field(answer, status, "code")
            if isinstance(code, str):
                self._codes.append(code)
            return code
        if answer is None or answer.status not in FOUND:
            return None
        return answer.headers.get("location", "")

    def final(self) -> list[Request]:
        """A visit to each link that was acknowledged."""
        return [_follow(code) for code in dict.fromkeys(self._codes[-FOLLOWED:])]

    def check(self, recording: Recording) -> list[Verdict]:
        """By `check_links`."""
        return [judge("P1", check_links(recording.of(self.name)), workload=self.name)]


def _follow(code: str) -> Request:
    return read(f"/{code}", "follow", code)


def check_links(operations: Iterable[Operation]) -> Findings:
    """Judges creates (key: address, value: code) and visits (key: code, value: where they led).

    Names `link-lost` (a visit that was sent after the acknowledgement found nothing), `wrong-target`, `code-twice` (one
    code for two addresses) and `made-twice` (a keyed request that was sent again gave another code). `n` counts the
    visits to acknowledged links. Figures: `links`, `keyed`.
    """
    finder = Finder()
    ordered = sorted(operations, key=lambda each: each.end_us)
    made = _codes([each for each in ordered if each.function == "create" and each.status is Status.OK], finder)
    visits = 0
    for visit in ordered:
        create = made.get(visit.key) if visit.function == "follow" else None
        if create is not None and create.end_us < visit.sent_us:
            visits += _judge(create, visit, finder)
    figures = {"links": len(made), "keyed": sum(1 for create in made.values() if create.keyed)}
    return finder.findings("links", visits, "visits", dict(figures))


def _codes(creates: list[Operation], finder: Finder) -> dict[str, Operation]:
    """The first create of each code, in the order of acknowledgement."""
    made: dict[str, Operation] = {}
    by_address: dict[str, Operation] = {}
    for create in creates:
        code = str(create.value)
        first = made.setdefault(code, create)
        if first.key != create.key:
            finder.add("code-twice", code, f"{code} was given to two addresses", first, create)
        before = by_address.setdefault(create.key, create)
        if create.keyed and before.value != create.value:
            finder.add("made-twice", create.key, f"one keyed request gave {before.value} and {code}", before, create)
    return made


def _judge(create: Operation, visit: Operation, finder: Finder) -> bool:
    """Whether the visit says something; what is wrong with it goes to the finder."""
    if visit.http in (404, 410):
        finder.add("link-lost", visit.key, f"{visit.key} led nowhere after it was acknowledged", create, visit)
        return True
    if visit.status is not Status.OK:
        return False
    if visit.value != create.key:
        finder.add("wrong-target", visit.key, f"{visit.key} led to {visit.value}", create, visit)
    return True
