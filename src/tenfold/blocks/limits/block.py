"""The limits of one service: rules from the code and from tenfold.toml, and charges against them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tenfold.blocks.database import Database
from tenfold.blocks.database.scope import current_scope
from tenfold.blocks.limits.decision import Decision, LimitExceeded
from tenfold.blocks.limits.headers import fields_of
from tenfold.blocks.limits.keys import address_of, api_key_of, http_scope
from tenfold.blocks.limits.memory import Charge, charge_all, charge_one
from tenfold.blocks.limits.policy import NS, retry_after_s
from tenfold.blocks.limits.routes import Routes
from tenfold.blocks.limits.rows import Rows
from tenfold.blocks.limits.rule import Key, Rule
from tenfold.blocks.limits.rules import Rules, checked
from tenfold.blocks.limits.sharing import Sharing, processes_of
from tenfold.blocks.limits.stats import LimitsStats, stats_of
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError
from tenfold.core.randomness import Randomness
from tenfold.topology.limits import Over, WhenAway
from tenfold.topology.map import Map

log = logging.getLogger("tenfold.limits")

Facts = dict[str, Any]


async def _nobody() -> str | None:
    return None


class Limits:
    """Limits of one service: `tf.limits`.

    With one process that works, charges are decided in its memory (`charge`, synchronous). With several they share
    each limit through the database, and `take` is the form that works everywhere.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        *,
        rows_now_ns: Callable[[], int] | None = None,
    ) -> None:
        """`rows_now_ns` stands for the clock of the database, in tests."""
        self._database = database
        self._clock = clock
        self._monotonic = clock.monotonic
        self._randomness = randomness
        self.rules = Rules()
        self._sharing = Sharing(self.rules, Rows(database, rows_now_ns), clock)
        self._deferred = 0
        self.off = False
        """Whether all limits are off: every charge is allowed and nothing is counted (for load tests)."""
        self.routes: Routes | None = None
        """Which rules count requests by themselves; None when none does."""
        self.who: Callable[[], Awaitable[str | None]] = _nobody
        """Says who the user of the current request is, for keys of limits that name the user."""
        self.enqueue: Callable[[str, Facts], Awaitable[str | None]] | None = None
        """Makes a job of a request: (name of the task, what it is told); its id, None when it cannot be one."""

    # -- rules --------------------------------------------------------------------------------------------------------

    def rule(
        self,
        name: str,
        rate: str,
        *,
        burst: int | None = None,
        key: str = "address",
        routes: tuple[str, ...] | list[str] = (),
        methods: tuple[str, ...] | list[str] = (),
        cost: int = 1,
        over: Over = "refuse",
        task: str = "",
        shadow: bool = False,
        when_away: WhenAway = "local",
    ) -> Rule:
        """Declares a limit: `tf.limits.rule("create", "20/minute", burst=5)`; a `[[limit]]` of its name replaces it.

        `ContractError` for values that are not allowed, that contradict each other, or that differ from those of
        another rule of this name. The arguments mean what docs/configuration.md says of `[[limit]]`.
        """
        declared = checked(
            {
                "name": name, "rate": rate, "key": key, "routes": list(routes), "methods": list(methods),
                "cost": cost, "over": over, "task": task, "shadow": shadow, "when_away": when_away, "burst": burst,
            }
        )  # fmt: skip
        rule = self.rules.declare(declared, self._now_ns())
        self._compile()
        return rule

    # -- charges ------------------------------------------------------------------------------------------------------

    def charge(self, *charges: tuple[Rule, Key] | tuple[Rule, Key, int]) -> Decision:
        """Charges all of these limits, or none when one of them refuses; at once, in this process's memory.

        A charge is (rule, key) or (rule, key, cost). `ContractError` for a cost that could never be allowed.
        """
        if len(charges) == 1:
            given = charges[0]
            rule = given[0]
            cost = given[2] if len(given) == 3 else rule.cost
            if cost.__class__ is int and 0 < cost <= rule.burst and not self._sharing.on and not self.off:
                return charge_one(rule, given[1], cost, int(self._monotonic() * 1e9))
        return self._charge(charges)

    def _charge(self, charges: tuple[Any, ...]) -> Decision:
        complete = [_complete(each) for each in charges]
        if not complete:
            raise _misused("No limit was named.", "Give (rule, key), or (rule, key, cost).")
        if self.off:
            return Decision(complete[0][0], -complete[0][0].tolerance_ns)
        if self._sharing.on:
            raise ContractError(
                "A limit was charged with `charge`, and several processes share it.",
                hint="Write `await tf.limits.take(...)`, which works on every step.",
                code="TF-LIMIT-SHARED",
            )
        return charge_all(complete, self._now_ns())

    async def take(self, *charges: tuple[Rule, Key] | tuple[Rule, Key, int]) -> Decision:
        """Like `charge`, on every step, and not inside a transaction: its body may run again, or not at all."""
        if self._database.in_transaction():
            raise ContractError(
                "A limit was charged inside a transaction's body.", hint="Charge before it.", code="TF-LIMIT-TX"
            )
        if self._sharing.changing is not None:
            await asyncio.shield(self._sharing.changing)
        if self._sharing.on and not self.off and charges:
            complete = [_complete(each) for each in charges]
            decision = self._sharing.shared.at_once(*complete[0]) if len(complete) == 1 else None
            return decision or await self._sharing.shared.take(complete)
        return self.charge(*charges)

    async def require(self, *charges: tuple[Rule, Key] | tuple[Rule, Key, int]) -> Decision:
        """Charges, or raises `LimitExceeded` (429). The response gets RateLimit headers either way."""
        decision = await self.take(*charges)
        self.show(decision)
        if not decision.allowed:
            raise self.exceeded(decision)
        return decision

    def exceeded(self, decision: Decision) -> LimitExceeded:
        """The error for a refusal, with a Retry-After that is spread."""
        return LimitExceeded(decision, retry_after_s(decision.retry_after_s, self._randomness.uniform()))

    def show(self, decision: Decision) -> None:
        """Adds the RateLimit headers of a decision to the response of the current request, if there is one."""
        scope = current_scope()
        if scope is None or not scope.http or self.off:
            return
        fields = fields_of(decision)

        async def add(status: int) -> list[tuple[bytes, bytes]]:
            return fields

        scope.before_answer(add)

    # -- requests -----------------------------------------------------------------------------------------------------

    async def count_request(self, scope: Mapping[str, Any], *, to_defer: bool = False) -> Decision | None:
        """Charges the limits whose routes and methods a request (its ASGI scope) fits; None when there are none.

        `to_defer`: only those that refuse, for a request that becomes a job. None was charged when the one that
        defers was over; and nothing else bounds how many jobs one client makes.
        """
        matched = self.routes.find(scope.get("method", "GET"), scope["path"]) if self.routes is not None else []
        if to_defer:
            matched = [(rule, route) for rule, route in matched if rule.limit.over == "refuse"]
        if not matched:
            return None
        charges = [(rule, await self._key(rule, route, scope)) for rule, route in matched]
        return await self.take(*charges)

    async def _key(self, rule: Rule, route: str, scope: Mapping[str, Any]) -> Key:
        parts = []
        for part in rule.limit.key:
            if part == "route":
                parts.append(route)
                continue
            found = None
            if part == "user":
                found = await self.who()
            elif part == "api-key":
                found = api_key_of(scope)
            parts.append(f"{part} {found}" if found is not None else address_of(scope))
        return parts[0] if len(parts) == 1 else tuple(parts)

    def task_for(self, decision: Decision) -> str:
        """The task that a refused request becomes; empty unless all limits that refuse it defer."""
        tasks = {part.rule.limit.task for part in decision.each() if not part.allowed}
        return tasks.pop() if len(tasks) == 1 and self.enqueue is not None else ""

    async def defer(self, task: str, facts: Facts) -> str | None:
        """Makes a job of a request that was refused; its id, None when it cannot be one."""
        assert self.enqueue is not None, "asked only when it can"
        job = await self.enqueue(task, facts)
        self._deferred += job is not None
        return job

    # -- keys ---------------------------------------------------------------------------------------------------------

    def address(self) -> str:
        """The client's address, as a key: IPv6 by its /64."""
        return address_of(http_scope())

    def api_key(self) -> str | None:
        """A hash of the client's API key (`Authorization: Bearer ...` or `X-Api-Key`); None without one."""
        return api_key_of(http_scope())

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to share what is left with the other processes, where there are some."""
        if self.off:
            log.warning("All rate limits are off (TENFOLD_LIMITS=off).")
        else:
            await self._sharing.open()

    async def stop(self) -> None:
        """Gives back what was not spent; what was charged is left to the process that comes after."""
        await self._sharing.close()

    def adopt(self, new: Map) -> None:
        """Goes by a newer map. What was charged stays charged."""
        self.rules.adopt(new.limits, self._now_ns())
        self._sharing.adopt(processes_of(new))
        self._compile()

    def stats(self) -> LimitsStats:
        """What was decided in this process."""
        shared = self._sharing.shared
        return stats_of(
            self.rules.by_name.values(),
            deferred=self._deferred,
            local=shared.local,
            purses=shared.purses,
            away=shared.away,
        )

    def switch_off(self) -> None:
        """Every charge is allowed from now on."""
        self.off = True
        self._compile()

    def _compile(self) -> None:
        rules = self.rules.on_routes()
        self.routes = Routes(rules) if rules and not self.off else None

    def _now_ns(self) -> int:
        return int(self._monotonic() * NS)


def _complete(given: tuple[Any, ...]) -> Charge:
    """A charge with its cost; `ContractError` for one that cannot be meant."""
    if len(given) not in (2, 3) or not isinstance(given[0], Rule):
        raise _misused(f"{given!r} is no charge.", "Give (rule, key), or (rule, key, cost).")
    rule, key = given[0], given[1]
    cost = given[2] if len(given) == 3 else rule.cost
    if isinstance(cost, bool) or not isinstance(cost, int) or not 0 < cost <= rule.burst:
        raise _misused(
            f'The limit "{rule.name}" was charged {cost!r}, and allows {rule.burst} at once, so it could never pass.',
            f"Charge a whole number from 1 to {rule.burst}, or set a larger burst.",
        )
    return rule, key, cost


def _misused(what: str, hint: str) -> ContractError:
    return ContractError(what, hint=hint, code="TF-LIMIT-CHARGE")
