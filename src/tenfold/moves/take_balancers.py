"""The move `take_balancers` (the way back from step 3): the web server takes the public socket back, and the balancers
leave after what their clients began."""

from __future__ import annotations

from tenfold.moves.base import Move, Progress, Stage
from tenfold.moves.context import Context
from tenfold.moves.nodes import maps, policy
from tenfold.moves.nodes.policy import names_of
from tenfold.moves.nodes.tier import Tier, never
from tenfold.moves.publishing import refuse_silent, require_one


async def build(context: Context) -> Move:
    """The move for a deployment; it only reads maps."""
    return make(Tier(context))


def make(tier: Tier) -> Move:
    """The move over a tier."""
    stages = TakeBalancers(tier)
    facts = {"balancers": list(stages.balancers), "web": list(stages.web), "expected_s": 4, "expected_hold_ms": 0}
    return Move("take_balancers", "Take the balancers away", stages.stages(), "stop_balancers", facts)


class TakeBalancers:
    """The stages of the move over one deployment."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self.context = tier.context
        self.before = tier.context.before
        self.balancers = names_of(self.before.of_role("balancer"))
        self.web = names_of(node for node in self.before.of_role("web") if node.traffic == "on")

    def stages(self) -> tuple[Stage, ...]:
        """All of them, in order."""
        balancers, web = policy.shown(self.balancers), policy.shown(self.web)
        starting_s = policy.start_limit_s(len(self.balancers))
        return (
            Stage("open_web_door", f"Opens the public socket on {web} too.",
                  self.open_web_door, never, self.close_web_door, limit_s=60.0 + starting_s),
            Stage("stop_balancers", f"Ends {balancers} after what clients began there. From here on it only goes "
                  "forward.", self.stop, self.are_stopped, self.start, limit_s=self._stop_s() + starting_s),
            Stage("forget", f"Closes the private address of {web}.",
                  self.forget, never, limit_s=self._stop_s()),
        )  # fmt: skip

    def _stop_s(self) -> float:
        return policy.grace_s(self.before) + 60.0

    async def open_web_door(self, progress: Progress) -> None:
        """Makes every web server accept on the public socket. What the balancers say to it makes no difference."""
        result = await self.context.publish(lambda current: maps.with_door(current, "web"))
        refuse_silent(result, self.web)
        require_one(result, self.web)

    async def close_web_door(self, progress: Progress) -> None:
        """Leaves the socket to the balancers again, once they are ready."""
        door = self.before.public.door
        if door == "balancer":
            await self.tier.start(self.balancers, progress)
        await self.context.publish(lambda current: maps.with_door(current, door))

    async def stop(self, progress: Progress) -> None:
        """Ends the balancers. The web servers accept since the stage before; that is asked once more."""
        await self.open_web_door(progress)
        progress.fact("ended", await self.tier.stop(self.balancers, progress))

    async def are_stopped(self) -> bool:
        """Whether none of them runs."""
        return await self.tier.are_gone(self.balancers)

    async def start(self, progress: Progress) -> None:
        """Starts again those that ended."""
        await self.tier.start(self.balancers, progress)

    async def forget(self, progress: Progress) -> None:
        """Takes the balancers off the map, then, when surely none runs, the addresses that they used.

        One runs when somebody brought the deployment up by the map before, after a restart of the machine, say.
        """
        await self.context.publish(lambda current: maps.without(current, self.balancers))
        await self.tier.stop(self.balancers, progress)
        addresses = {node.name: "" for node in self.before.of_role("web")}
        await self.context.publish(lambda current: maps.with_addresses(current, addresses))
