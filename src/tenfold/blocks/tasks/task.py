"""A task: a function that can be enqueued, its options, and how its arguments travel."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, get_type_hints, overload

import msgspec

from tenfold.blocks.database.own.tasks import PAYLOAD_LIMIT
from tenfold.blocks.tasks.errors import JobRefused
from tenfold.blocks.tasks.policy import PRIORITIES, Retry, duration_us
from tenfold.core.errors import ContractError

if TYPE_CHECKING:
    from tenfold.blocks.tasks import Tasks

P = ParamSpec("P")
R = TypeVar("R")
Unique = tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Options:
    """What a task was declared with; durations in microseconds."""

    queue: str
    retry: Retry
    timeout_us: int
    priority: int
    unique: Unique
    concurrency: int | None
    keep_us: int


class Codec:
    """A function's arguments as JSON, by their names and annotations."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._ready: tuple[type[msgspec.Struct], msgspec.json.Decoder[Any]] | None = None
        parameters = list(inspect.signature(function).parameters.values())
        self.parameters = {each.name: each for each in parameters}
        self._by_name = any(each.kind is inspect.Parameter.KEYWORD_ONLY for each in parameters)
        if any(each.kind in _LOOSE for each in parameters):
            raise ContractError(
                f"The task {function.__qualname__} takes *args, **kwargs or arguments without a name.",
                hint="Name each argument: a job's arguments are stored by name.",
                code="TF-TASK-FUNCTION",
            )

    def _made(self) -> tuple[type[msgspec.Struct], msgspec.json.Decoder[Any]]:
        """The shape of the arguments; made when it is first needed, because annotations may name what comes later."""
        try:
            hints = get_type_hints(self._function)
            fields = [_field(each, hints.get(each.name, Any)) for each in self.parameters.values()]
            shape = msgspec.defstruct("Arguments", fields, forbid_unknown_fields=True)
            self._ready = (shape, msgspec.json.Decoder(shape))
        except Exception as error:
            raise ContractError(
                f"The arguments of the task {self._function.__qualname__} cannot be stored: {error}.",
                hint="Annotate them with what JSON can hold: plain values, lists, dicts, dataclasses, Structs.",
                code="TF-TASK-FUNCTION",
            ) from error
        return self._ready

    def encode(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The arguments as JSON; `JobRefused` when they do not fit the function or are too large."""
        shape, decoder = self._ready or self._made()
        try:
            encoded = msgspec.json.encode(shape(*args, **kwargs))
            decoder.decode(encoded)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise JobRefused(f"The arguments of a {name} job do not fit: {error}.", hint=f"It takes: {self}.") from None
        if len(encoded) > PAYLOAD_LIMIT:
            raise JobRefused(
                f"The arguments of a {name} job have {len(encoded):,} bytes; allowed: {PAYLOAD_LIMIT:,}.",
                hint="Store the data in a table or with `tf.files`, and pass its key.",
            )
        return encoded.decode()

    def decode(self, payload: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a stored job; `msgspec.MsgspecError` when they do not fit the function."""
        _, decoder = self._ready or self._made()
        arguments = decoder.decode(payload)
        if self._by_name:
            return (), {name: getattr(arguments, name) for name in self.parameters}
        return msgspec.structs.astuple(arguments), {}

    def __str__(self) -> str:
        return ", ".join(str(each) for each in self.parameters.values()) or "no arguments"


_LOOSE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


def _field(parameter: inspect.Parameter, hint: Any) -> Any:
    if parameter.default is inspect.Parameter.empty:
        return parameter.name, hint
    default = parameter.default
    if isinstance(default, list | dict | set):
        return parameter.name, hint, msgspec.field(default_factory=default.copy)
    return parameter.name, hint, default


@dataclass(frozen=True, slots=True)
class Order(Generic[P, R]):
    """How one job is to be enqueued; made by a task, or by its `with_`."""

    task: Task[P, R]
    delay_us: int = 0
    at_us: int | None = None
    priority: int = 0
    queue: str = "default"
    key: Any = None

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Enqueues a job in a transaction of its own (of `key`, when one was given); its id once it is committed."""
        return await self.task.tasks.enqueue_alone(self, args, kwargs)


class Mark(Protocol):
    """Makes a task of a function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class Task(Generic[P, R]):
    """A task function. Calling it runs it here and now; `enqueue` makes a job of it."""

    def __init__(
        self, tasks: Tasks, function: Callable[P, Awaitable[R]] | Callable[P, R], name: str, options: Options
    ) -> None:
        self.tasks = tasks
        self.name = name
        self.options = options
        self.function: Callable[..., Any] = function
        self.codec = Codec(function)
        self.is_async = inspect.iscoroutinefunction(function)
        self.lane = "" if options.concurrency is None else name
        """Jobs with a limit wait in a lane of their own, so that those of others are found without looking at them."""
        self.plain: Order[P, R] = Order(self, priority=options.priority, queue=options.queue)
        self._results: msgspec.json.Decoder[Any] | None = None
        for each in options.unique or ():
            if each not in self.codec.parameters:
                raise ContractError(
                    f"The task {name} has no argument {each!r}, which `unique` names.",
                    hint=f"It takes: {self.codec}.",
                    code="TF-TASK-OPTIONS",
                )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self.function(*args, **kwargs)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Enqueues a job in a transaction of its own; its id once it is committed."""
        return await self.tasks.enqueue_alone(self.plain, args, kwargs)

    def with_(
        self,
        *,
        delay: str | float | None = None,
        at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        key: Any = None,
    ) -> Order[P, R]:
        """The task with other options for one job: after `delay`, or `at` a time; another priority or queue.

        `key`: `enqueue` without a transaction of the caller's uses one of this key, so that the job lives with it.
        """
        if at is not None and (delay is not None or at.utcoffset() is None):
            raise ContractError(
                "`at` is a datetime with a time zone, and does not go with `delay`.", code="TF-TASK-OPTIONS"
            )
        changes: dict[str, Any] = {"key": key}
        if delay is not None:
            changes["delay_us"] = duration_us(delay, "delay")
        if at is not None:
            changes["at_us"] = round(at.timestamp() * 1e6)
        if priority is not None:
            changes["priority"] = checked_priority(priority)
        if queue is not None:
            changes["queue"] = checked_queue(queue)
        return dataclasses.replace(self.plain, **changes)

    def sole(self, payload: str) -> str | None:
        """The hash of the job's unique key; None when the task has none."""
        unique = self.options.unique
        if unique is None:
            return None
        arguments, by_name = self.codec.decode(payload)
        values = by_name or dict(zip(self.codec.parameters, arguments, strict=True))
        text = msgspec.json.encode([self.name, *(values[name] for name in unique)], order="deterministic")
        return hashlib.blake2b(text, digest_size=16, person=b"tf_job").hexdigest()


def checked_priority(value: int) -> int:
    """The priority; `ContractError` when it is not a whole number within the bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > PRIORITIES:
        raise ContractError(
            f"priority is {value!r}; allowed: a whole number from -{PRIORITIES} to {PRIORITIES}.",
            code="TF-TASK-OPTIONS",
        )
    return value


def checked_queue(value: str) -> str:
    """The queue's name; `ContractError` when it is not one."""
    if not isinstance(value, str) or not 0 < len(value) <= 100 or not value.isprintable():
        raise ContractError(f"queue is {value!r}; allowed: 1 to 100 printable characters.", code="TF-TASK-OPTIONS")
    return value
