"""Workloads against a perfect service in memory: what they ask is what the probe takes, and what they record holds;
against one with a fault, their checker is the one that speaks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from tenfold.core.randomness import SeededRandomness
from tenfold.prove.history import Operation, Recording, Status, Window
from tenfold.prove.probe.limits import ACCOUNTS, BALANCE, DRAWS, ELEMENTS, NAME, WAIT_MS
from tenfold.prove.verdict import Outcome, Verdict
from tenfold.prove.workloads import KNOWN, PROBE, Answer, Request, Workload
from tenfold.prove.workloads.shortener import SHORTEN, check_links

PROCESSES = 5
STEPS = 2000
Serve = Callable[[Request], Answer]


class Perfect:
    """What the probe and the shortener are, in memory. `broken` names the one fault that it has."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.sets: dict[str, list[str]] = {}
        self.registers: dict[str, list[str]] = {}
        self.stale: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.banks: dict[str, list[int]] = {}
        self.links: dict[str, str] = {}
        self.done: dict[str, Answer] = {}
        self.numbers = itertools.count(1)
        self.asked = 0
        self.cookie = ""

    def __call__(self, request: Request) -> Answer:
        self.asked += 1
        key = request.headers.get("idempotency-key", "")
        if key in self.done and self.broken != "made-twice":
            return self.done[key]
        answer = self.answer(request)
        if key:
            self.done[key] = answer
        return answer

    def answer(self, request: Request) -> Answer:
        body = msgspec.json.decode(request.body) if request.body else {}
        self.cookie = request.headers.get("cookie", "")
        if request.path == SHORTEN:
            code = f"c{next(self.numbers)}"
            self.links[code] = body["url"]
            return json({"code": code}, 201)
        if not request.path.startswith(PROBE):
            code = request.path.removeprefix("/")
            if self.broken == "link-lost" and self.asked % 50 == 0:
                return Answer(404)
            return Answer(302, {"location": self.links[code]})
        kind, key = request.path.removeprefix(PROBE).split("/")
        assert re.fullmatch(rf"[A-Za-z0-9._:-]{{1,{NAME}}}", key)
        found: Answer = getattr(self, f"{request.method.lower()}_{kind}")(key, body)
        return found

    def post_set(self, key: str, body: Any) -> Answer:
        if not (self.broken == "lost" and self.asked % 50 == 0):
            self.sets.setdefault(key, []).append(body["value"])
        assert len(self.sets[key]) <= ELEMENTS
        return json({})

    def get_set(self, key: str, _: Any) -> Answer:
        return json({"values": self.sets.get(key, [])})

    def post_register(self, key: str, body: Any) -> Answer:
        self.registers.setdefault(key, []).append(body["value"])
        return json({"version": len(self.registers[key])})

    def get_register(self, key: str, _: Any) -> Answer:
        values = self.registers.get(key, [])
        if self.broken == "stale-read" and self.asked % 20 == 0:
            values = values[:-1]
        return json({"value": values[-1] if values else None, "version": len(values)})

    def get_cache(self, key: str, _: Any) -> Answer:
        version = len(self.registers.get(key, []))
        if self.broken == "stale":
            version = self.stale.setdefault(key, version)
        return json({"value": "x", "version": version, "from": "cache"})

    def post_counter(self, key: str, body: Any) -> Answer:
        twice = 2 if self.broken == "too-high" and self.asked % 50 == 0 else 1
        self.counts[key] = self.counts.get(key, 0) + body["by"] * twice
        return json({"count": self.counts[key]})

    def get_counter(self, key: str, _: Any) -> Answer:
        return json({"count": self.counts.get(key, 0)})

    def post_bank(self, key: str, body: Any) -> Answer:
        balances = self.banks.setdefault(key, [BALANCE] * ACCOUNTS)
        assert body["giver"] != body["taker"]
        if balances[body["giver"]] < body["amount"]:
            return Answer(409)
        balances[body["giver"]] -= body["amount"]
        if not (self.broken == "total-changed" and self.asked % 50 == 0):
            balances[body["taker"]] += body["amount"]
        return json({})

    def post_tasks(self, key: str, body: Any) -> Answer:
        assert 0 <= body["takes_ms"] <= WAIT_MS
        if not (self.broken == "job-lost" and self.asked % 50 == 0):
            self.counts[key] = 2 if self.broken == "job-twice" and self.asked % 50 == 0 else 1
        return json({"job": key})

    def get_tasks(self, key: str, _: Any) -> Answer:
        return self.get_effects(key, _) if key in self.counts else Answer(409)

    def get_effects(self, key: str, _: Any) -> Answer:
        return json({"count": self.counts.get(key, 0), "starts": ["0.1000"]})

    def post_session(self, key: str, body: Any) -> Answer:
        if not (self.broken == "change-lost" and self.asked % 50 == 0):
            self.counts[key] = self.counts.get(key, 0) + body["by"]
        return self.shown(key, self.counts.get(key, 0))

    def get_session(self, key: str, _: Any) -> Answer:
        """What a process shows at worst that nobody told of a change: the version that the visitor comes with."""
        known = re.findall(rf"session(?:_at)?={re.escape(key)}\.(\d+)", self.cookie)
        count = max(map(int, known), default=0) if self.asked % 3 == 0 else self.counts.get(key, 0)
        return self.shown(key, max(0, count - (self.broken == "old-tab" and self.asked % 20 == 0)))

    def shown(self, key: str, count: int) -> Answer:
        kind = "session_at" if f"__Host-tf_session={key}." in self.cookie else "session"
        cookie = f"tf_token=x; Path=/\n__Host-tf_{kind}={key}.{count}; Path=/; HttpOnly"
        answer = json({"count": count})
        return Answer(200, {**answer.headers, "set-cookie": cookie}, answer.body)

    def get_bank(self, key: str, _: Any) -> Answer:
        return json({"balances": self.banks.get(key, [BALANCE] * ACCOUNTS)})

    def post_ids(self, kind: str, body: Any) -> Answer:
        assert 1 <= body["count"] <= DRAWS
        drawn = [next(self.numbers) for _ in range(body["count"])]
        if self.broken == "id-twice" and self.asked % 50 == 0:
            drawn[0] -= 1
        return json({"ids": drawn})


def json(value: Any, status: int = 200) -> Answer:
    return Answer(status, {"content-type": "application/json"}, msgspec.json.encode(value))


def played(workload: Workload, serve: Serve, *, seed: int = 7) -> Recording:
    """Clients in turn, one request at a time, and the final reads."""
    randomness = SeededRandomness(seed)
    clock = itertools.count(0, 10)
    operations: list[Operation] = []

    def ask(process: int, request: Request) -> None:
        sent = next(clock)
        answer = serve(request)
        status = Status.OK if answer.status < 400 else Status.FAIL
        value = workload.observed(request, answer, status)
        operations.append(operation_of(workload, request, process, value, sent, next(clock), answer, status))

    for step in range(STEPS):
        ask(step % PROCESSES, workload.next(step % PROCESSES, randomness))
    for request in workload.final():
        ask(PROCESSES, request)
    return Recording(tuple(operations), (), seed)


def operation_of(
    workload: Workload,
    request: Request,
    process: int,
    value: Any,
    sent: int,
    end: int,
    answer: Answer,
    status: Status,
) -> Operation:
    return Operation(
        process,
        request.function,
        request.key,
        value,
        sent,
        sent,
        end,
        status,
        node="web-1",
        http=answer.status,
        workload=workload.name,
        keyed=request.keyed,
    )


def one_verdict(workload: Workload, recording: Recording) -> Verdict:
    (verdict,) = workload.check(recording)
    return verdict


@pytest.mark.parametrize("name", KNOWN)
def test_a_perfect_service_passes(name: str):
    workload = KNOWN[name]("run")
    verdicts = workload.check(played(workload, Perfect()))
    for verdict in verdicts:
        assert verdict.verdict is Outcome.HOLDS, verdict
        assert verdict.id in workload.promises
        assert verdict.workload == workload.name == name
    assert max(verdict.n for verdict in verdicts) > 100


@pytest.mark.parametrize(
    ("name", "fault", "anomaly"),
    [
        ("set", "lost", "lost"),
        ("register", "stale-read", "stale-read"),
        ("counter", "too-high", "too-high"),
        ("bank", "total-changed", "total-changed"),
        ("ids", "id-twice", "id-twice"),
        ("sessions", "stale-read", "read-your-writes"),
        ("cache", "stale", "stale"),
        ("tasks", "job-lost", "lost"),
        ("tasks", "job-twice", "twice"),
        ("tabs", "change-lost", "too-low"),
        ("tabs", "old-tab", "monotonic-reads"),
        ("shortener", "link-lost", "link-lost"),
        ("shortener", "made-twice", "made-twice"),
    ],
)
def test_a_service_with_one_fault_is_found_out(name: str, fault: str, anomaly: str):
    workload = KNOWN[name]("run")
    verdicts = workload.check(played(workload, Perfect(fault)))
    assert [verdict for verdict in verdicts if verdict.verdict is Outcome.BROKEN and anomaly in verdict.anomalies]


@pytest.mark.parametrize("name", KNOWN)
def test_a_run_in_which_nothing_was_sent_is_vacuous(name: str):
    assert {verdict.verdict for verdict in KNOWN[name]("run").check(Recording())} == {Outcome.VACUOUS}


@pytest.mark.parametrize("name", KNOWN)
def test_the_same_seed_asks_the_same(name: str):
    asked: list[list[Request]] = []
    for _ in range(2):
        mine: list[Request] = []
        perfect = Perfect()

        def serve(request: Request, mine: list[Request] = mine, perfect: Perfect = perfect) -> Answer:
            mine.append(request)
            return perfect(request)

        played(KNOWN[name]("run"), serve)
        asked.append(mine)
    assert asked[0] == asked[1]


@pytest.mark.parametrize("name", KNOWN)
def test_two_runs_never_share_a_key(name: str):
    def keys(run: str) -> set[str]:
        found: set[str] = set()
        perfect = Perfect()

        def serve(request: Request) -> Answer:
            found.add(request.headers.get("idempotency-key", ""))
            if request.value is not None and name in ("set", "register", "counter", "bank", "tabs"):
                found.add(request.key)
            return perfect(request)

        played(KNOWN[name](run), serve)
        return found - {""}

    one, other = keys("one"), keys("other")
    assert not one & other
    assert one or name == "cache"


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("answer", [None, Answer(500), Answer(200, {}, b"\xff["), Answer(200, {}, b"[1]")])
def test_an_answer_that_makes_no_sense_is_recorded_as_nothing_and_never_raises(name: str, answer: Answer | None):
    workload = KNOWN[name]("run")
    randomness = SeededRandomness(3)
    for _ in range(50):
        request = workload.next(1, randomness)
        status = Status.UNKNOWN if answer is None or answer.status == 500 else Status.OK
        recorded = workload.observed(request, answer, status)
        assert recorded is None or recorded == request.value or recorded == ""


def test_a_node_that_was_replaced_counts_its_ids_anew():
    workload = KNOWN["ids"]("run")

    def draw(sent: int, drawn: int) -> Operation:
        fields: dict[str, Any] = {"node": "web-1", "workload": "ids"}
        return Operation(1, "draw", "snowflake", [drawn], sent, sent, sent + 5, Status.OK, **fields)

    back = (draw(0, 10), draw(100, 5))
    assert one_verdict(workload, Recording(back)).anomalies == {"id-out-of-order": 1}
    kill = Window("kill", "web-1", 50, 60, True)
    assert one_verdict(workload, Recording(back, (kill,))).anomalies == {}
    clock = Window("clock", "web-1", 50, 60, True)
    assert one_verdict(workload, Recording(back, (clock,))).anomalies == {"id-out-of-order": 1}


def links(*facts: tuple[str, str, Any, int, int]) -> Iterable[Operation]:
    """(function, key, value, sent, http) of operations that last 5."""
    for function, key, value, sent, http in facts:
        status = Status.OK if http < 400 else Status.FAIL
        yield Operation(1, function, key, value, sent, sent, sent + 5, status, http=http, keyed=True)


def test_links_are_judged_only_from_their_acknowledgement_on():
    early = check_links(links(("create", "u", "c", 10, 201), ("follow", "c", None, 12, 404)))
    assert (early.n, early.anomalies) == (0, {})
    late = check_links(links(("create", "u", "c", 10, 201), ("follow", "c", None, 16, 404)))
    assert (late.n, late.anomalies) == (1, {"link-lost": 1})


def test_links_that_lead_elsewhere_or_are_given_twice_are_named():
    elsewhere = check_links(links(("create", "u", "c", 10, 201), ("follow", "c", "v", 20, 302)))
    assert elsewhere.anomalies == {"wrong-target": 1}
    assert check_links(links(("create", "u", "c", 10, 201), ("create", "v", "c", 20, 201))).anomalies == {
        "code-twice": 1
    }
    assert check_links(links(("create", "u", "c", 10, 201), ("create", "u", "d", 20, 201))).anomalies == {
        "made-twice": 1
    }
