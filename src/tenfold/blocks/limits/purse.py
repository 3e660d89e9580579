"""What one process holds of one shared limit and key: its lease, who waits for tokens, and until when none come."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from tenfold.blocks.limits.leasing import NOTHING_BACK, Ask, Back, Grant
from tenfold.blocks.limits.policy import lease_size
from tenfold.blocks.limits.rule import Key, Rule
from tenfold.core.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a wish for tokens: by how many nanoseconds it is over the limit (up to 0: they are reserved), and
    the lease that they are from (0: they were asked for, and taken at `at_ns` of the database's clock)."""

    over_ns: int
    serial: int = 0
    at_ns: int = 0


@dataclass(slots=True)
class Purse:
    """Tokens of one rule and key. All times are monotonic nanoseconds."""

    rule: Rule
    key: Key
    name: str
    left: int = 0
    """Tokens of the lease that are not spent."""
    granted: int = 0
    ready: int = 0
    """Tokens that have just come for those who wait."""
    spare: int = 0
    """Tokens that came for somebody who did not want them any more: given back with the next question."""
    spare_ns: int = 0
    """When the first of them were taken, by the database's clock."""
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
    serial: int = 1
    """Grows with each lease, so that what was reserved from one is never put into another."""
    asking: bool = False
    waiting: deque[tuple[int, asyncio.Future[Answer]]] = field(default_factory=deque)

    def reserve(self, cost: int, now_ns: int) -> Answer | None:
        """Tokens at once, or a refusal that is known already; None when the database has to be asked."""
        self.used_ns = now_ns
        if self.left >= cost and now_ns < self.until_ns and not self.waiting:
            return self._from_lease(cost)
        return self.refused(cost, now_ns)

    def refused(self, cost: int, now_ns: int) -> Answer | None:
        """The refusal of a cost that is known already, if it is."""
        if now_ns < self.refused_until_ns and cost >= self.refused_cost and self.left < cost:
            return Answer(self.refused_until_ns - now_ns)
        return None

    def _from_lease(self, cost: int) -> Answer:
        self.left -= cost
        return Answer(-(self.left + self.room) * self.rule.interval_ns, self.serial)

    def release(self, cost: int, answer: Answer) -> None:
        """What was reserved is not needed. It is lost when its lease has been given back meanwhile."""
        if not answer.serial:
            self._put_aside(cost, answer.at_ns)
        elif answer.serial == self.serial:
            self.left += cost

    def wait(self, cost: int) -> asyncio.Future[Answer]:
        """A place in the line for tokens."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append((cost, future))
        return future

    def next_question(self, now_ns: int) -> Ask:
        """Gives the lease up, which is not spent from now on, and asks for what is wanted next: enough for all who
        wait, and a lease if it is worth one."""
        costs = [cost for cost, future in self.waiting if not future.done()]
        size = lease_size(self.rule.terms) if costs else 0
        more = size if size > 1 else 0  # a single token is asked for when it is wanted
        back = NOTHING_BACK
        if self.granted or self.spare:
            back = Back(self.span, self.granted, self.left, self.spare, self.spare_ns)
            self.left = self.granted = self.spare = 0
            self.serial += 1
        return Ask(costs[0] if costs else 0, sum(costs), more, back, max(0, self.owed_until_ns - now_ns))

    def take_back(self, back: Back) -> None:
        """Goes on with a lease that was not given back after all: the database surely did nothing."""
        if back is not NOTHING_BACK:
            self.span, self.granted, self.left = back.span, back.granted, back.left
            self._put_aside(back.spare, back.since_ns)

    def fill(self, ask: Ask, grant: Grant, asked_ns: int, now_ns: int) -> None:
        """Takes what was granted, and hands it to those who wait. `asked_ns` is when it was asked for: the lease is
        good from then on."""
        self.left = self.granted = grant.leased
        self.ready = grant.tokens - grant.leased
        self.span, self.room, self.owed_until_ns = grant.span, grant.room, 0
        self.until_ns = asked_ns + grant.valid_ns
        if ask.need and not grant.tokens:
            self.refused_cost, self.refused_until_ns = ask.need, now_ns + grant.wait_ns
        self._serve(now_ns, grant.at_ns, empty=grant.tokens < ask.now)
        self._put_aside(self.ready, grant.at_ns)
        self.ready = 0

    def _put_aside(self, tokens: int, at_ns: int) -> None:
        if tokens:
            self.spare_ns = min(self.spare_ns, at_ns) if self.spare else at_ns
            self.spare += tokens

    def _serve(self, now_ns: int, at_ns: int, *, empty: bool) -> None:
        """Hands tokens to those who wait, in their order. `empty`: there are no more, so the others are refused."""
        while self.waiting:
            cost, future = self.waiting[0]
            if future.done():
                self.waiting.popleft()
            elif self.ready >= cost:
                self.waiting.popleft()
                self.ready -= cost
                over_ns = -(self.ready + self.left + self.room) * self.rule.interval_ns
                future.set_result(Answer(over_ns, 0, at_ns))
            elif self.left >= cost:
                self.waiting.popleft()
                future.set_result(self._from_lease(cost))
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
