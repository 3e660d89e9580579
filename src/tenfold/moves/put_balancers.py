"""The move `put_balancers` (step 3): two balancers take the public socket over from the web server, which stays behind
them on a private address.

Both sides accept from the same socket for a while, so nobody is turned away. The web server stops accepting in
place: what it has accepted it finishes, and each further answer asks the client to connect anew.
"""

from __future__ import annotations

from tenfold.moves.base import Move, Progress, Stage
from tenfold.moves.context import Context
from tenfold.moves.nodes import maps, policy
from tenfold.moves.nodes.policy import names_of
from tenfold.moves.nodes.tier import LOOK_S, Tier, never
from tenfold.moves.publishing import refuse_silent, require_one


async def build(context: Context) -> Move:
    """The move for a deployment; it only reads maps."""
    return make(Tier(context))


def make(tier: Tier) -> Move:
    """The move over a tier."""
    stages = PutBalancers(tier)
    facts = {"balancers": list(stages.balancers), "web": list(stages.web), "expected_s": 6, "expected_hold_ms": 0}
    return Move("put_balancers", "Put balancers before the web servers", stages.stages(), "quiet", facts)


class PutBalancers:
    """The stages of the move over one deployment."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self.context = tier.context
        self.before = tier.context.before
        wanted = tier.context.wanted
        self.nodes = wanted.of_role("balancer")
        self.balancers = names_of(self.nodes)
        self.fresh = tuple(name for name in self.balancers if self.before.node(name) is None)
        self.web = names_of(self.before.of_role("web"))
        self.limit_s = wanted.web.drain_limit_s

    def stages(self) -> tuple[Stage, ...]:
        """All of them, in order."""
        balancers, web = policy.shown(self.balancers), policy.shown(self.web)
        return (
            Stage("prepare", "Looks for HAProxy; makes the secret that proves that a request comes from a balancer.",
                  self.prepare, never),
            Stage("addresses", f"Opens a private address on {web}, to balancers only.",
                  self.give_addresses, never, self.take_addresses),
            Stage("balancers", f"Starts {balancers} on the public socket, where {web} goes on accepting too.",
                  self.start, never, self.stop, limit_s=policy.start_limit_s(len(self.nodes)) + self._stop_s()),
            Stage("close_web_door", f"Leaves the public socket to {balancers}; what {web} has accepted goes on.",
                  self.close_web_door, never, self.open_web_door, limit_s=120.0),
            Stage("quiet", f"Waits until no client is left on {web} past the balancers, {self.limit_s:g} s at most.",
                  self.wait, self.is_quiet, limit_s=self.limit_s + 60.0),
        )  # fmt: skip

    def _stop_s(self) -> float:
        return policy.grace_s(self.before) + 60.0

    async def prepare(self, progress: Progress) -> None:
        """Finds HAProxy, makes secret and certificate. They may stay when the move is undone."""
        await self.context.prepare_door()

    async def give_addresses(self, progress: Progress) -> None:
        """Publishes a private address for each web server; all of them listen there then."""
        addresses = {name: await self.context.address_of(name) for name in self.web}
        result = await self.context.publish(lambda current: maps.with_addresses(current, addresses))
        refuse_silent(result, self.web)
        require_one(result, self.web)
        progress.fact("addresses", addresses)

    async def take_addresses(self, progress: Progress) -> None:
        """Takes them back: no balancer is there that would use them."""
        old = {node.name: node.address for node in self.before.of_role("web")}
        await self.context.publish(lambda current: maps.with_addresses(current, old))

    async def start(self, progress: Progress) -> None:
        """Starts the balancers, which accept at once."""
        await self.context.publish(lambda current: maps.with_more(current, self.nodes))
        await self.tier.start(self.balancers, progress)

    async def stop(self, progress: Progress) -> None:
        """Stops those that this move started, while the web servers accept."""
        await self.open_web_door(progress)
        await self.tier.stop(self.fresh, progress)
        await self.context.publish(lambda current: maps.without(current, self.fresh))
        await self.tier.stop(self.fresh, progress)  # somebody who restored the map before may have started them again

    async def close_web_door(self, progress: Progress) -> None:
        """Leaves the public socket to the balancers, once all of them are ready (the mover may have died since)."""
        await self.tier.start(self.balancers, progress)
        result = await self.tier.publish(lambda current: maps.with_door(current, "balancer"), progress)
        refuse_silent(result, self.web)

    async def open_web_door(self, progress: Progress) -> None:
        """Makes the web servers accept again; one of them has to say so before balancers may leave."""
        if self.before.public.door != "web":
            return
        result = await self.context.publish(lambda current: maps.with_door(current, "web"))
        facts = await self.context.node_facts()
        if any(name in facts and facts[name].kept for name in self.web):
            require_one(result, self.web)

    async def wait(self, progress: Progress) -> None:
        """Waits for clients that came before the balancers did. Who is silent for so long keeps its connection."""
        monotonic = self.context.clock.monotonic
        began = monotonic()
        while True:
            left, silent = await self.tier.public_connections(self.web)
            waited = monotonic() - began
            if not (left or silent) or waited >= self.limit_s:
                break
            who = f"; {policy.shown(silent)} does not say" if silent else ""
            progress.say(f"Waiting for {left} connections past the balancers{who}", done=round(waited),
                         total=round(self.limit_s), unit="s")  # fmt: skip
            await self.tier.sleep(LOOK_S)
        progress.fact("waited_s", round(waited, 1))
        progress.fact("connections_left", left)

    async def is_quiet(self) -> bool:
        """Whether nobody is left past the balancers."""
        left, silent = await self.tier.public_connections(self.web)
        return self.context.current().public.door == "balancer" and not left and not silent
