"""The move `change_nodes`, on every step: other web servers and workers take the place of those that run (`scale`,
`deploy`, `rollback`, a setting that only new processes take).

New ones start beside the old ones and get clients (workers: jobs) once they are ready, with new code once they have
lived for a while; only then do clients leave the old ones. A code that does not start, or dies at once, never sees a
client or a job.
"""

from __future__ import annotations

from tenfold.core.errors import TenfoldError
from tenfold.core.journal import Fenced
from tenfold.moves.base import Move, Progress, Stage
from tenfold.moves.context import Context
from tenfold.moves.nodes import maps, policy
from tenfold.moves.nodes.policy import NodeChange, names_of
from tenfold.moves.nodes.tier import LOOK_S, Tier, Unready, never
from tenfold.moves.publishing import require_all, require_one
from tenfold.topology.wants import processes_shown
from tenfold.topology.working import CODED, coded

MIGRATE_LIMIT_S = 3700.0
CONTRACT_TRIES = 3
CONTRACT_REST_S = 2.0


async def build(context: Context) -> Move:
    """The move for a deployment; it only reads maps."""
    return make(Tier(context))


def make(tier: Tier) -> Move:
    """The move over a tier."""
    stages = ChangeNodes(tier)
    change = stages.change
    facts = {
        "starts": list(change.joins),
        "stops": list(change.leaves),
        "version": change.version,
        "expected_s": stages.expected_s,
        "expected_hold_ms": 0,
    }
    return Move("change_nodes", stages.title, stages.stages(), "leave", facts)


class ChangeNodes:
    """The stages of the move over one deployment."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self.context = tier.context
        self.change = NodeChange(tier.context.before, tier.context.wanted)
        self.fresh = names_of(self.change.fresh)

    @property
    def title(self) -> str:
        """What it is, in one line."""
        change, wanted = self.change, self.change.wanted
        nodes = processes_shown(len(wanted.of_role("web")), len(wanted.of_role("worker")))
        if change.renames_version:
            return f"Bring {change.version or 'the code of the folder'} to {nodes}"
        return f"Replace what runs by {nodes}" if change.joins and change.leaves else f"Go to {nodes}"

    @property
    def expected_s(self) -> int:
        """About how long it takes where nothing is busy, in seconds."""
        rounds = -(-len(self.change.joins) // policy.AT_ONCE)
        return 2 + 2 * rounds + (round(policy.SETTLE_S) + 3 if self.change.renames_version else 0)

    def stages(self) -> tuple[Stage, ...]:
        """All of them, in order; those that have nothing to do are left out."""
        change = self.change
        new, old = policy.shown(change.joins), policy.shown(change.leaves)
        starting_s, stopping_s = policy.start_limit_s(len(change.joins)), policy.grace_s(change.before) + 60.0
        back_s = policy.start_limit_s(len(change.leaves))
        made = [
            Stage("announce", f"Writes {new} into the map, without traffic." if new else "Writes the map.",
                  self.announce, never, self.recall, limit_s=stopping_s + 120.0),
        ]  # fmt: skip
        if change.joins:
            made.append(Stage("start", f"Starts {new} beside those that serve, and waits until all are ready.",
                              self.start, never, self.stop, limit_s=starting_s + stopping_s))  # fmt: skip
        if change.renames_version:
            made.insert(0, Stage("expand", "Applies the migrations that only add, before the new code needs them.",
                                 self.expand, self.is_expanded, limit_s=MIGRATE_LIMIT_S))  # fmt: skip
            made.append(Stage("settle", f"Waits until the new code has run for {policy.SETTLE_S:g} s in one piece.",
                              self.settle, never, limit_s=120.0))  # fmt: skip
        made.append(Stage("switch", self._says_switch(new, old), self.switch, never, self.switch_back, limit_s=300.0))
        leaving = f"Ends {old} after what was begun there." if old else "Nothing is taken away."
        made.append(Stage("leave", f"{leaving} From here on it only goes forward.",
                          self.leave, self.have_left, self.return_, limit_s=stopping_s + back_s))  # fmt: skip
        made.append(Stage("forget", f"Takes {old} off the map." if old else "Writes the final map.",
                          self.forget, never, limit_s=stopping_s + 120.0))  # fmt: skip
        if change.renames_version:
            made.append(Stage("contract", "Applies the migrations that take away what only the old code needed.",
                              self.contract, never, limit_s=MIGRATE_LIMIT_S))  # fmt: skip
        return tuple(made)

    def _says_switch(self, new: str, old: str) -> str:
        has_web = self.change.of_role("web", (*self.change.joins, *self.change.leaves))
        has_workers = self.change.of_role("worker", (*self.change.joins, *self.change.leaves))
        who = " and ".join(word for word, there in (("clients", has_web), ("jobs", has_workers)) if there) or "clients"
        comes = f"{who} come to {new}" if new else ""
        goes = f"{'no longer to' if new else f'{who} come no longer to'} {old}" if old else ""
        said = " and ".join(part for part in (comes, goes) if part) or "clients go on as they did"
        return f"{said[0].upper()}{said[1:]}."

    # -- migrations ---------------------------------------------------------------------------------------------------

    async def expand(self, progress: Progress) -> None:
        """Applies what only adds. It is not undone: the old code lives with what was added."""
        report = await self.context.migrate(self.change.version, "expand")
        self._nothing_to_contract = report.get("left") == []
        progress.fact("expanded", report)

    _nothing_to_contract = False
    """Known for certain; a mover that carries on from after `expand` looks by itself."""

    async def is_expanded(self) -> bool:
        """Whether nothing of it is left."""
        return not await self.context.migration_pending(self.change.version, "expand")

    async def contract(self, progress: Progress) -> None:
        """Applies the rest. The new code serves already: when it cannot be applied, that is told, and the move ends."""
        if self._nothing_to_contract:
            return
        for number in range(1, CONTRACT_TRIES + 1):
            try:
                progress.fact("contracted", await self.context.migrate(self.change.version, "contract"))
                return
            except Fenced:
                raise
            except TenfoldError as error:
                await self.context.node_facts()  # without a keeper nothing can be applied: this stage is tried again
                progress.say(f"The migration failed {number} times: {error.message}")
                if number == CONTRACT_TRIES:
                    progress.fact("migration_left", f"{error.message} `tenfold migrate` applies it later.")
                    return
            await self.tier.sleep(CONTRACT_REST_S)

    # -- new processes ------------------------------------------------------------------------------------------------

    async def announce(self, progress: Progress) -> None:
        """Publishes the new settings, and the new nodes without traffic."""
        balanced = self.change.before.public.door == "balancer"
        wanted = maps.with_traffic(self.change.wanted, self.fresh, "off")
        if balanced:
            web = self.change.of_role("web", self.fresh)
            addresses = {name: await self.context.address_of(name) for name in web}
            wanted = maps.with_addresses(wanted, addresses)
        nodes = tuple(node for node in coded(wanted) if node.name in self.fresh)
        await self.tier.publish(
            lambda current: maps.with_more(maps.settings_of(self.change.wanted, current), nodes), progress
        )

    async def recall(self, progress: Progress) -> None:
        """Gives the map back as it was. New nodes that somebody started again by the map meanwhile are stopped."""
        await self.tier.publish(lambda _current: self.change.before, progress)
        await self.tier.stop(self.fresh, progress)

    async def start(self, progress: Progress) -> None:
        """Starts the new processes."""
        began = self.context.clock.monotonic()
        await self.tier.start(self.change.joins, progress)
        progress.fact("started_s", round(self.context.clock.monotonic() - began, 1))

    async def stop(self, progress: Progress) -> None:
        """Stops them; clients and jobs that came for a moment are finished."""
        await self.tier.stop(self.fresh, progress)

    async def settle(self, progress: Progress) -> None:
        """Waits until each new process has lived long enough in one piece."""
        while True:
            found = policy.settling(await self.context.node_facts(), self.change.joins)
            if found.problem:
                raise Unready(
                    f"The new code does not hold out: {found.problem}.",
                    hint=f"See `tenfold logs {self.change.joins[0]}`; no client and no job came to it.",
                )
            if found.left_s <= 0:
                return
            lived = policy.SETTLE_S - found.left_s
            progress.say("The new code has to live for a while", done=round(lived), total=round(policy.SETTLE_S),
                         unit="s")  # fmt: skip
            await self.tier.sleep(min(LOOK_S, found.left_s))

    # -- clients and jobs ---------------------------------------------------------------------------------------------

    async def switch(self, progress: Progress) -> None:
        """Clients and jobs come to the new processes; once those have said so, no longer to the old ones."""
        await self.tier.require_ready(self.change.joins)
        if self.change.joins:
            result = await self.tier.publish(
                lambda current: maps.with_traffic(current, self.change.joins, "on"), progress
            )
            require_all(result, self.change.joins)
        await self._turn_off(self.change.leaves, self.change.remaining, progress)

    async def switch_back(self, progress: Progress) -> None:
        """Clients and jobs come to the old processes; once a web server of those has said so, no longer to the new."""
        old, joins = self.change.serving, self.change.of_role("web", self.change.joins)
        result = await self.tier.publish(lambda current: maps.with_traffic(current, old, "on"), progress)
        facts = await self.context.node_facts()
        if len(policy.unready(facts, joins)) < len(joins):
            require_one(result, self.change.of_role("web", old))
        await self._turn_off(self.change.joins, old, progress)

    async def _turn_off(self, names: tuple[str, ...], remaining: tuple[str, ...], progress: Progress) -> None:
        if names:
            await self._require_served(names, remaining)
            await self.tier.publish(lambda current: maps.with_traffic(current, names, "off"), progress)

    async def _require_served(self, leaving: tuple[str, ...], remaining: tuple[str, ...]) -> None:
        """Somebody of each role must be ready for what those that leave did; the web servers do what workers did."""
        facts = await self.context.node_facts()
        for role in CODED:
            go, stay = self.change.of_role(role, leaving), self.change.of_role(role, remaining)
            if (stay or role == "web") and not policy.may_turn_off(facts, go, stay):
                raise Unready(
                    f"None of {policy.shown(stay)} is ready, so {policy.shown(go)} go on.",
                    hint=f"See `tenfold logs {stay[0]}`.",
                )

    # -- old processes ------------------------------------------------------------------------------------------------

    async def leave(self, progress: Progress) -> None:
        """Ends the old processes, all at once."""
        await self._require_served(self.change.leaves, self.change.remaining)  # the mover may have died since
        began = self.context.clock.monotonic()
        progress.fact("ended", await self.tier.stop(self.change.leaves, progress))
        progress.fact("left_s", round(self.context.clock.monotonic() - began, 1))

    async def have_left(self) -> bool:
        """Whether none of them runs."""
        return await self.tier.are_gone(self.change.leaves)

    async def return_(self, progress: Progress) -> None:
        """Starts those again that have ended, with the settings that they had."""
        if policy.unready(await self.context.node_facts(), self.change.leaves):
            await self.tier.publish(lambda current: maps.settings_of(self.change.before, current), progress)
            await self.tier.start(self.change.leaves, progress)

    async def forget(self, progress: Progress) -> None:
        """Publishes the map as it was wanted. An old process that somebody started by the map before is stopped."""
        await self.tier.publish(lambda current: maps.final(self.change.wanted, current), progress)
        await self.tier.stop(self.change.leaves, progress)
