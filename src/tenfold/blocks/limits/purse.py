"""What one process holds of one shared limit and key: its lease, who waits for tokens, and until when none come."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from tenfold.blocks.limits.leasing import NOTHING_BACK, Back, Grant
from tenfold.blocks.limits.policy import lease_size
from tenfold.blocks.limits.rule import Key, Rule
from tenfold.core.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a wish for tokens: by how many nanoseconds it is over the limit (up to 0: they are reserved), and
    the lease that they are from."""

    over_ns: int
    serial: int = 0


@dataclass(slots=True)
class Purse:
    """Tokens of one rule and key. All times are monotonic nanoseconds."""

    rule: Rule
    key: Key
    name: str
    left: int = 0
    granted: int = 0
    span: int = -1
    until_ns: int = 0
    """Until when the lease may be spent."""
    room: int = 0
    """What the bucket had beside the lease when it was last looked at."""
    used_ns: int = 0
    owed_until_ns: int = 0
    """The TAT that this process knew of before it shared the limit, until it has told the database."""
    refused_until_ns: int = 0
    refused_cost: int = 0
    """As much as this, or more, was not there; asking before `refused_until_ns` is of no use."""
    serial: int = 0
    """Grows with each lease, so that what was reserved from one is never put into another."""
    asking: bool = False
    waiting: deque[tuple[int, asyncio.Future[Answer]]] = field(default_factory=deque)

    def reserve(self, cost: int, now_ns: int) -> Answer | None:
        """Tokens at once, or a refusal that is known already; None when the database has to be asked."""
        self.used_ns = now_ns
        if self.left >= cost and now_ns < self.until_ns and not self.waiting:
            return self._reserved(cost)
        if now_ns < self.refused_until_ns and cost >= self.refused_cost:
            return Answer(self.refused_until_ns - now_ns)
        return None

    def _reserved(self, cost: int) -> Answer:
        self.left -= cost
        return Answer(-(self.left + self.room) * self.rule.interval_ns, self.serial)

    def release(self, cost: int, answer: Answer) -> None:
        """What was reserved is not needed. It is lost when its lease has been given back meanwhile."""
        if answer.serial == self.serial:
            self.left += cost

    def wait(self, cost: int) -> asyncio.Future[Answer]:
        """A place in the line for tokens."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append((cost, future))
        return future

    def wishes(self) -> tuple[int, int]:
        """How many tokens the next lease needs, and how many it should have: enough for all who wait, and some more."""
        costs = [cost for cost, future in self.waiting if not future.done()]
        if not costs:
            return 0, 0
        return costs[0], min(self.rule.burst, max(sum(costs), lease_size(self.rule.terms)))

    def give_up(self) -> Back:
        """The lease, which is not spent from now on."""
        if self.granted == 0:
            return NOTHING_BACK
        back = Back(self.span, self.granted, self.left)
        self.left = self.granted = 0
        self.serial += 1
        return back

    def take_back(self, back: Back) -> None:
        """Goes on with a lease that was not given back after all: the database surely did nothing."""
        if back is not NOTHING_BACK:
            self.span, self.granted, self.left = back.span, back.granted, back.left

    def fill(self, grant: Grant, asked_ns: int, now_ns: int, need: int) -> None:
        """Takes what was granted. `asked_ns` is when it was asked for: the lease ends by then at the latest."""
        self.left = self.granted = grant.tokens
        self.span, self.room = grant.span, grant.room
        self.until_ns = asked_ns + grant.valid_ns
        if need and not grant.tokens:
            self.refused_cost, self.refused_until_ns = need, now_ns + grant.wait_ns

    def serve(self, now_ns: int, *, empty: bool) -> None:
        """Hands tokens to those who wait, in their order. `empty`: there are no more, so the others are refused."""
        while self.waiting:
            cost, future = self.waiting[0]
            if future.done():
                self.waiting.popleft()
            elif self.left >= cost:
                self.waiting.popleft()
                future.set_result(self._reserved(cost))
            elif empty:
                self.waiting.popleft()
                future.set_result(Answer(self._short(cost, now_ns)))
            else:
                return

    def _short(self, cost: int, now_ns: int) -> int:
        """By how many nanoseconds a cost is over what is there: at least until what is missing has come back."""
        missing = max(1, cost - self.left - self.room) * self.rule.interval_ns
        return max(missing, self.refused_until_ns - now_ns if cost >= self.refused_cost else 0, 1)

    def drop(self) -> None:
        """Nobody who still waits can be served: the database cannot be asked."""
        while self.waiting:
            _, future = self.waiting.popleft()
            if not future.done():
                future.set_exception(Unavailable("The database cannot be asked.", code="TF-LIMIT-AWAY"))

    def idle(self, now_ns: int, after_ns: int) -> bool:
        """Whether nobody has wanted anything for so long."""
        return not self.asking and not self.waiting and now_ns - self.used_ns > after_ns
