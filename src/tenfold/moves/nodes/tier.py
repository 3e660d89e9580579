"""The processes that serve as a move handles them: many at once, and maps that balancers must follow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import Any, TypeVar

from tenfold.core.errors import TenfoldError
from tenfold.moves.base import Progress
from tenfold.moves.context import Context, PublishResult
from tenfold.moves.nodes import policy
from tenfold.moves.nodes.maps import Change
from tenfold.moves.publishing import NotTakenOver
from tenfold.topology.map import Map

T = TypeVar("T")

LOOK_S = 0.2


class Unready(TenfoldError):
    """A process that clients are to come to is not ready, or did not stay so."""

    code = "TF-MOVE-UNREADY"


@dataclass
class Tier:
    """Web servers, workers and balancers of one deployment, as one mover handles them."""

    context: Context
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    @property
    def current(self) -> Map:
        """The map as it is now."""
        return self.context.current()

    # -- processes ----------------------------------------------------------------------------------------------------

    async def start(self, names: Iterable[str], progress: Progress) -> None:
        """Makes each of these run and be ready, a few at a time; raises why the first one that fails does not."""
        wanted = list(names)
        if not wanted:
            return
        progress.say(f"Starting {policy.shown(wanted)}", done=0, total=len(wanted), unit=_unit(wanted))
        room, ready = asyncio.Semaphore(policy.AT_ONCE), 0

        async def one(name: str) -> None:
            nonlocal ready
            async with room:
                await self._start_one(name)
            ready += 1
            progress.say(f"{name} is ready", done=ready, total=len(wanted), unit=_unit(wanted))

        await together(one(name) for name in wanted)

    async def _start_one(self, name: str) -> None:
        fact = (await self.context.node_facts()).get(name)
        if fact is not None and not fact.kept:  # it is ending still: nobody of that name is started beside it
            await self.context.stop_node(name, policy.grace_s(self.current))
        await self.context.start_node(name)

    async def stop(self, names: Iterable[str], progress: Progress) -> dict[str, str]:
        """Makes each of these end, all at once, each after what was begun there; how, by name.

        Those that the keeper does not have are left out.
        """
        listed = await self.context.node_facts()
        running = [name for name in names if name in listed]
        if not running:
            return {}
        grace_s = policy.grace_s(self.current)
        how: dict[str, str] = {}
        doing = f"Waiting until {policy.shown(running)} finished what was begun there, {grace_s:g} s at most"
        progress.say(doing, done=0, total=len(running), unit=_unit(running))

        async def one(name: str) -> None:
            how[name] = await self.context.stop_node(name, grace_s)
            progress.say(doing, done=len(how), total=len(running), unit=_unit(running))

        await together(one(name) for name in running)
        return how

    async def are_gone(self, names: Iterable[str]) -> bool:
        """Whether none of these runs. One that is ending is waited for: the answer holds afterwards."""
        wanted = list(names)
        facts = await self.context.node_facts()
        for name in wanted:
            if name in facts and facts[name].state == "stopping":
                await self.context.stop_node(name, policy.grace_s(self.current))
        facts = await self.context.node_facts()
        return all(name not in facts or facts[name].ended for name in wanted)

    async def require_ready(self, names: Iterable[str]) -> None:
        """Raises `Unready` unless each of these runs and is ready."""
        if names := policy.unready(await self.context.node_facts(), names):
            raise Unready(
                f"{policy.shown(names)} {'is' if len(names) == 1 else 'are'} not ready.",
                hint=f"See `tenfold logs {names[0]}`, then run the command again.",
            )

    # -- maps ---------------------------------------------------------------------------------------------------------

    async def publish(self, change: Change, progress: Progress) -> PublishResult:
        """Publishes a map that every balancer takes over; who else has, the caller judges.

        A balancer that does not answer is stopped and started anew, one after the other; `NotTakenOver` names one
        that answers and refuses.
        """
        result = await self.context.publish(change)
        facts = await self.context.node_facts()
        for name in sorted(policy.names_of(self.current.of_role("balancer"))):
            if name in result.silent:
                await self._mend(name, result, progress)
            elif name not in facts or not facts[name].kept:  # a mover died between its end and its new start
                await self._start_one(name)
        return result

    async def _mend(self, name: str, result: PublishResult, progress: Progress) -> None:
        why = result.silent[name]
        if policy.cure_of(await self.context.node_status(name)) == "refuse":
            raise NotTakenOver(
                f"{name} does not take over map {result.epoch}: {why}",
                hint=f"It serves on by the map before; see `tenfold logs {name}`.",
            )
        progress.say(f"{name} does not answer ({why}): it is started anew")
        progress.fact(f"{name}_restarted", why)
        await self.context.stop_node(name, policy.RESTART_GRACE_S)
        await self.context.start_node(name)

    # -- clients ------------------------------------------------------------------------------------------------------

    async def public_connections(self, names: Iterable[str]) -> tuple[int, tuple[str, ...]]:
        """How many connections clients have to these web servers past the balancers, and which do not say."""
        wanted = list(names)
        statuses: Mapping[str, dict[str, Any]] = {name: await self.context.node_status(name) for name in wanted}
        return policy.public_connections(await self.context.node_facts(), statuses)


async def together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Does all of it at once. The first failure is raised once nothing of the rest is under way any more."""
    tasks = [asyncio.ensure_future(each) for each in work]
    if not tasks:
        return
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def never() -> bool:
    """The look of stages that are simply done again: repeating them changes nothing."""
    return False


def _unit(counted: Sized) -> str:
    return "process" if len(counted) == 1 else "processes"
