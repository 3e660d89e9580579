"""Single flight: while a key is being loaded, everybody who asks for it waits for that one load.

A load runs in a task of its own, so a waiter that is cancelled (a client that went away), the first one too, takes
nobody with it. A flight is *open* while later readers may join it and its value may be stored. `detach` closes it:
those who wait still get their value, nobody joins any more, and nothing is stored. That is the fence against stale
fills: a load that began before an invalidation of its key is detached by it.

A loader that waits, directly or through other loaders, for its own key would wait for ever: it gets an error instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import ContextVar, copy_context
from typing import Any

from tenfold.core.errors import ContractError, Unavailable

_flying: ContextVar[Flight | None] = ContextVar("tenfold_cache_flight", default=None)


class Flight:
    """One load. `parent` is the flight whose loader asked for it; `waits_for` what its own loader waits for now."""

    __slots__ = ("future", "ident", "land", "name", "parent", "task", "timer", "waits_for")

    task: asyncio.Task[None]
    timer: asyncio.TimerHandle

    def __init__(self, ident: Hashable, name: str, land: Callable[[Any], None], future: asyncio.Future[Any]) -> None:
        self.ident = ident
        self.name = name
        self.land = land
        self.future = future
        self.parent = _flying.get()
        self.waits_for: list[Flight] = []


class Flights:
    """The open flights of one cache, by what they load. Belongs to one event loop."""

    def __init__(self) -> None:
        self._open: dict[Hashable, Flight] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def join(
        self,
        ident: Hashable,
        name: str,
        load: Callable[[], Awaitable[Any]],
        land: Callable[[Any], None],
        timeout_s: float,
        *,
        fresh: bool = False,
    ) -> Any:
        """The value of the open flight for `ident`; there is one load, however many join.

        `fresh` starts a new load in any case and detaches an open one, which may have read before the caller asked.
        `land` is called with the value, before any waiter gets it, unless the flight was detached. An exception of the
        loader reaches everybody who waits. After `timeout_s` the load is given up and all get `Unavailable`.
        """
        flight = self._open.get(ident)
        _refuse_circle(ident, name, flight)
        if flight is None or fresh:
            flight = self._take_off(ident, name, load, land, timeout_s)
        waiter = _flying.get()
        if waiter is None:
            return await asyncio.shield(flight.future)
        waiter.waits_for.append(flight)
        try:
            return await asyncio.shield(flight.future)
        finally:
            waiter.waits_for.remove(flight)

    @property
    def inside(self) -> bool:
        """Whether the caller is a loader, or was called by one."""
        return _flying.get() is not None

    def is_open(self, ident: Hashable) -> bool:
        """Whether a load for `ident` is under way that others may join."""
        return ident in self._open

    def detach(self, ident: Hashable) -> None:
        """Nobody joins the open flight for `ident` any more, and its value is not stored."""
        self._open.pop(ident, None)

    def detach_where(self, chosen: Callable[[Hashable], bool]) -> None:
        """`detach` for the open flights that `chosen` names."""
        for ident in [ident for ident in self._open if chosen(ident)]:
            del self._open[ident]

    def detach_all(self) -> None:
        """`detach` for every open flight."""
        self._open.clear()

    def _take_off(
        self,
        ident: Hashable,
        name: str,
        load: Callable[[], Awaitable[Any]],
        land: Callable[[Any], None],
        timeout_s: float,
    ) -> Flight:
        loop = asyncio.get_running_loop()
        flight = Flight(ident, name, land, loop.create_future())
        context = copy_context()
        context.run(_flying.set, flight)
        flight.task = loop.create_task(self._fly(flight, load), name=f"load {name}", context=context)
        # The timer also keeps the task alive: the loop itself holds tasks weakly.
        flight.timer = loop.call_later(timeout_s, self._give_up, flight, timeout_s)
        self._open[ident] = flight
        return flight

    async def _fly(self, flight: Flight, load: Callable[[], Awaitable[Any]]) -> None:
        try:
            value = await load()
            if self._open.get(flight.ident) is flight:
                flight.land(value)
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            self._end(flight, error=error)
        except BaseException:
            self._end(flight, error=Unavailable(f"Loading {flight.name} was stopped before it finished."))
            raise
        else:
            self._end(flight, value=value)

    def _give_up(self, flight: Flight, timeout_s: float) -> None:
        hint = "The value was not loaded; asking again starts a new load."
        self._end(flight, error=Unavailable(f"Loading {flight.name} took more than {timeout_s:g} s.", hint=hint))
        flight.task.cancel()

    def _end(self, flight: Flight, value: Any = None, error: Exception | None = None) -> None:
        flight.timer.cancel()
        if self._open.get(flight.ident) is flight:
            del self._open[flight.ident]
        if flight.future.done():  # given up before; the loader came back all the same
            return
        if error is None:
            flight.future.set_result(value)
        else:
            flight.future.set_exception(error)
            flight.future.exception()  # seen: when every waiter has gone, that is no error of its own


def _refuse_circle(ident: Hashable, name: str, target: Flight | None) -> None:
    """Raises when the loader that runs here would wait for itself by waiting for `ident`."""
    waiter = _flying.get()
    if waiter is None:
        return
    path = [name]
    above: Flight | None = waiter
    while above is not None:
        path.append(above.name)
        if above.ident == ident and not above.future.done():
            raise _circle(path)
        above = above.parent
    if target is not None and not waiter.future.done() and _leads_to(target, waiter):
        raise _circle([name, waiter.name, name])


def _leads_to(start: Flight, wanted: Flight) -> bool:
    """Whether `start`, by what its loader waits for and so on, waits for `wanted`."""
    reached, seen = [start], {id(start)}
    for flight in reached:
        if flight is wanted:
            return True
        new = [other for other in flight.waits_for if id(other) not in seen]
        seen.update(map(id, new))
        reached.extend(new)
    return False


def _circle(path: list[str]) -> ContractError:
    return ContractError(
        f"The loader of {path[-1]} asks for its own key: {' <- '.join(path)}.",
        hint="A loader may read other keys, but not the one it is loading; load the value from the database there.",
        code="TF-CACHE-CIRCLE",
    )
