"""Limits that several processes share: tokens are prepaid from the database, and spent here without asking it.

Several limits are charged together or not at all because tokens are reserved one limit after another, and put back when
one of them refuses. While the database is away, leases are spent up, and then each rule's `when_away` decides.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from itertools import islice

from tenfold.blocks.limits.decision import Decision
from tenfold.blocks.limits.memory import Charge, count, merged, tightest
from tenfold.blocks.limits.policy import NS, arrive, share
from tenfold.blocks.limits.purse import Answer, Purse
from tenfold.blocks.limits.rows import Rows
from tenfold.blocks.limits.rule import Key, Rule, row_name
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError, Unavailable, UnknownOutcome

PURSES_MAX = 100_000
"""Keys of which a process holds anything at most."""
AWAY_AFTER_S = 1.0
"""A database that has not answered for so long is away; a planned move holds writes for less."""
PROBE_S = 0.25
"""How often a database that is away is tried again."""
LOOKED_AT = 2_000
"""Keys that are looked at in one round of tidying, so that it never takes long."""
IDLE_NS = NS // 2
"""A lease that nobody wanted anything of for so long is given back."""


class Shared:
    """This process's part of all shared limits."""

    def __init__(self, rows: Rows, clock: Clock) -> None:
        self.rows = rows
        self.processes = 1
        """Among how many a limit is divided while the database is away."""
        self.away = False
        self._monotonic = clock.monotonic
        self._purses: OrderedDict[tuple[Rule, Key], Purse] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._tried_ns = 0
        self._taking = 0
        self.local = 0
        """Decisions that were made without the database."""

    # -- charges ------------------------------------------------------------------------------------------------------

    def at_once(self, rule: Rule, key: Key, cost: int) -> Decision | None:
        """The decision on one limit, if the database is not needed for it."""
        purse = self._purses.get((rule, key))
        answer = purse.reserve(cost, self._now_ns()) if purse is not None else None
        if answer is None:
            return None
        decision = Decision(rule, answer.over_ns)
        if answer.over_ns <= 0:
            rule.allowed += 1
        elif rule.shadow:
            rule.shadowed += 1
        else:
            rule.refused += 1
        return decision

    async def take(self, charges: Sequence[Charge]) -> Decision:
        """Charges all of these limits, or none when one of them refuses."""
        known = self._refused(charges := merged(charges))
        if known is not None:
            count(known)
            return known
        held: list[Callable[[], None]] = []
        parts: list[Decision] = []
        complete = False
        self._taking += 1
        try:
            for rule, key, cost in charges:
                part = await self._reserve(rule, key, cost, held)
                parts.append(part)
                if not part.allowed:
                    break
            else:
                complete = True
        finally:
            self._taking -= 1
            if not complete:  # refused, or the caller is cancelled
                for put_back in held:
                    put_back()
        decision = tightest(parts)
        count(decision)
        return decision

    def _refused(self, charges: Sequence[Charge]) -> Decision | None:
        """A refusal that is known already, so that nothing has to be reserved and put back for it."""
        now_ns = self._now_ns()
        for rule, key, cost in charges:
            purse = self._purses.get((rule, key))
            answer = purse.refused(cost, now_ns) if purse is not None and not rule.shadow else None
            if answer is not None:
                return tightest([Decision(rule, answer.over_ns)])
        return None

    async def _reserve(self, rule: Rule, key: Key, cost: int, held: list[Callable[[], None]]) -> Decision:
        """Reserves from one limit; adds to `held` how to undo it."""
        purse = self._purse(rule, key)
        answer = purse.reserve(cost, self._now_ns())
        if answer is None:
            try:
                answer = await self._ask(purse, cost)
            except TenfoldError:
                return self._alone(rule, key, cost, held)
        if answer.over_ns <= 0:
            held.append(partial(purse.release, cost, answer))
        return Decision(rule, answer.over_ns)

    async def _ask(self, purse: Purse, cost: int) -> Answer:
        """Waits for the database, but not for long. Raises `Unavailable` while it is away."""
        if self.away:
            self._probe(purse)
            raise Unavailable("The database is away.", code="TF-LIMIT-AWAY")
        future = purse.wait(cost)
        self._begin(purse)
        try:
            async with asyncio.timeout(AWAY_AFTER_S):
                return await future
        except (TimeoutError, asyncio.CancelledError) as error:
            if future.done() and not future.cancelled() and future.exception() is None:
                purse.release(cost, future.result())  # it came at this very moment
            if isinstance(error, asyncio.CancelledError):
                raise
            self.away = True
            raise Unavailable("The database does not answer.", code="TF-LIMIT-AWAY") from None

    @property
    def busy(self) -> bool:
        """Whether a charge is under way, or the database is being asked."""
        return self._taking > 0 or bool(self._tasks)

    @property
    def purses(self) -> int:
        """Of how many keys this process holds anything."""
        return len(self._purses)

    def _purse(self, rule: Rule, key: Key) -> Purse:
        purse = self._purses.get((rule, key))
        if purse is None:
            if len(self._purses) >= PURSES_MAX:
                self._purses.popitem(last=False)  # its lease runs out by itself
            purse = self._purses[rule, key] = Purse(rule, key, row_name(rule.name, key))
            # What was charged here while this process was alone goes along with the first question.
            purse.owed_until_ns = rule.tats.pop(key, 0)
        return purse

    # -- the database -------------------------------------------------------------------------------------------------

    def _begin(self, purse: Purse) -> None:
        """Asks for the next lease, unless that is under way. The request's scope is left behind: a repeated request is
        charged again, and its own transactions keep their numbers."""
        if purse.asking:
            return
        purse.asking = True
        task = asyncio.get_running_loop().create_task(self._fetch(purse), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _probe(self, purse: Purse) -> None:
        now_ns = self._now_ns()
        if not self._tasks and now_ns - self._tried_ns > PROBE_S * NS:
            self._tried_ns = now_ns
            self._begin(purse)

    async def _fetch(self, purse: Purse) -> None:
        """Gives the lease back and takes the next, until nobody waits."""
        try:
            await self._renew(purse)
            while purse.waiting:  # who came meanwhile
                await self._renew(purse)
        except TenfoldError:
            self.away = True
        finally:
            purse.asking = False
            purse.drop()

    async def _renew(self, purse: Purse) -> None:
        asked_ns = self._now_ns()
        ask = purse.next_question(asked_ns)
        try:
            grant = await self.rows.lease(purse.name, purse.rule.terms, ask)
        except UnknownOutcome:  # the lease may have been given back: then it must not be spent
            raise
        except TenfoldError:
            purse.take_back(ask.back)
            raise
        self.away = False
        purse.fill(ask, grant, asked_ns, self._now_ns())

    # -- without it ---------------------------------------------------------------------------------------------------

    def _alone(self, rule: Rule, key: Key, cost: int, held: list[Callable[[], None]]) -> Decision:
        """What the rule says for the time in which the database is away."""
        self.local += 1
        if rule.limit.when_away == "open":
            return Decision(rule, 0, local=True)
        if rule.limit.when_away == "closed":
            return Decision(rule, NS, local=True)
        now_ns, terms = self._now_ns(), share(rule.terms, self.processes)
        after_ns, over_ns = arrive(rule.shares.get(key, 0), now_ns, cost, terms)
        if over_ns <= 0:
            rule.keep_share(key, after_ns, now_ns)
            held.append(partial(rule.return_share, key, cost * terms.interval_ns))
        return Decision(rule, over_ns, local=True)

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    def tidy(self) -> None:
        """Gives back the leases that nobody uses, and forgets keys that say nothing."""
        now_ns = self._now_ns()
        for place, purse in list(islice(self._purses.items(), LOOKED_AT)):
            self._purses.move_to_end(place)
            if not purse.idle(now_ns, IDLE_NS):
                continue
            if (purse.left or purse.spare) and not self.away:
                self._begin(purse)
            elif now_ns >= purse.refused_until_ns:
                del self._purses[place]

    async def stop(self) -> None:
        """Gives back what was not spent; a database that is away keeps nobody waiting."""
        for purse in list(self._purses.values()):
            if (purse.left or purse.spare) and not self.away:
                self._begin(purse)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=AWAY_AFTER_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        self._purses.clear()

    def _now_ns(self) -> int:
        return int(self._monotonic() * NS)
