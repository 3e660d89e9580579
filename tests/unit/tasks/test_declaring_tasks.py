"""What a task may be, and how its arguments travel."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import MetaData

from tenfold.blocks.database import Database
from tenfold.blocks.tasks import JobRefused, Tasks
from tenfold.blocks.tasks.cron import due, first_after, made
from tenfold.blocks.tasks.enqueueing import Names
from tenfold.blocks.tasks.finishing import padded
from tenfold.blocks.tasks.host import Identity, identity, is_gone
from tenfold.blocks.tasks.task import Codec
from tenfold.core.clock import ManualClock
from tenfold.core.errors import ContractError
from tenfold.core.randomness import SeededRandomness


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


def make_tasks() -> Tasks:
    return Tasks(Database(MetaData()), ManualClock(), SeededRandomness(1))


def test_arguments_come_back_as_their_annotations_say() -> None:
    def function(a: int, b: Point, c: list[str] | None = None, *, d: datetime | None = None) -> None: ...

    codec, now = Codec(function), datetime(2026, 1, 2, tzinfo=UTC)
    payload = codec.encode("f", (1, Point(2)), {"d": now})
    assert codec.decode(payload) == ((), {"a": 1, "b": Point(2), "c": None, "d": now})


@given(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(codec="utf-8"), max_size=50), st.booleans())
def test_any_value_comes_back_the_same(number: int, text: str, flag: bool) -> None:
    def function(number: int, text: str, flag: bool = False) -> None: ...

    codec = Codec(function)
    assert codec.decode(codec.encode("f", (number, text), {"flag": flag})) == ((number, text, flag), {})
    assert "\x00" not in codec.encode("f", (number, text), {})


def test_a_stored_job_fits_a_function_that_got_an_argument_with_a_default_and_no_other() -> None:
    def grown(a: int, b: int = 2) -> None: ...
    def shrunk() -> None: ...
    def needy(a: int, b: int) -> None: ...

    assert Codec(grown).decode('{"a":1}') == ((1, 2), {})
    for function in (shrunk, needy):
        with pytest.raises(msgspec.ValidationError):
            Codec(function).decode('{"a":1}')


def test_a_default_that_can_be_changed_is_not_shared() -> None:
    def function(a: list[int] = []) -> None: ...  # noqa: B006

    codec = Codec(function)
    (first,), _ = codec.decode("{}")
    first.append(1)
    assert codec.decode("{}") == (([],), {})


def test_functions_whose_arguments_have_no_names_are_refused() -> None:
    def many(*args: int) -> None: ...
    def named(**kwargs: int) -> None: ...
    def placed(a: int, /) -> None: ...

    tasks = make_tasks()
    for function in (many, named, placed):
        with pytest.raises(ContractError, match="TF-TASK-FUNCTION"):
            tasks.task()(function)


def test_what_json_cannot_hold_is_refused_when_it_is_enqueued() -> None:
    def function(a: Any) -> None: ...

    with pytest.raises(JobRefused, match="do not fit"):
        Codec(function).encode("f", (object(),), {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue": ""},
        {"queue": "a\nb"},
        {"priority": 101},
        {"priority": True},
        {"concurrency": 0},
        {"timeout": "never"},
        {"keep": "-1s"},
        {"unique": ("b",)},
        {"name": "tf:x"},
        {"name": "a\tb"},
    ],
)
def test_options_that_are_not_possible_are_refused_at_import_time(wrong: dict[str, Any]) -> None:
    async def function(a: int) -> None: ...

    with pytest.raises(ContractError, match="TF-TASK-OPTIONS"):
        make_tasks().task(**wrong)(function)


def test_two_tasks_cannot_have_one_name() -> None:
    tasks = make_tasks()

    @tasks.task("a")
    async def one() -> None: ...

    with pytest.raises(ContractError, match="TF-TASK-TWICE"):

        @tasks.task("a")
        async def other() -> None: ...


def test_a_time_without_a_zone_is_refused() -> None:
    tasks = make_tasks()

    @tasks.task()
    async def one() -> None: ...

    with pytest.raises(ContractError, match="time zone"):
        one.with_(at=datetime(2026, 1, 1))
    assert one.with_(at=datetime(2026, 1, 1, tzinfo=UTC)).at_us == 1_767_225_600_000_000


def test_ids_only_grow_whatever_the_clock_does() -> None:
    clock = ManualClock()
    names = Names(clock, SeededRandomness(1))
    ids = []
    for step in (0, 5, -60, 0, 1, -3600, 0, 7200):
        clock.step_wall(step)
        ids += [names.next(clock.wall_us()) for _ in range(3)]
    assert ids == sorted(set(ids))
    assert {len(each) for each in ids} == {26}


@given(st.integers(1, 300))
def test_lists_have_few_sizes(count: int) -> None:
    ids = [str(n) for n in range(count)]
    assert padded(ids)[:count] == ids
    assert set(padded(ids)) == set(ids)
    assert (len(padded(ids)) & (len(padded(ids)) - 1)) == 0


def test_a_process_is_gone_when_its_pid_is_nobodys_or_anothers() -> None:
    here = identity()
    assert not is_gone(here, here)
    assert is_gone(dataclasses.replace(here, started=here.started - 1), here)
    assert is_gone(dataclasses.replace(here, pid=2**22 + 1), here)
    assert not is_gone(Identity("another host", 1, 1), here), "only somebody on its host can say so"
    assert not is_gone(Identity("", 1, 1), Identity("", 1, 1))


def cron(expression: str, missed: Any = "once", zone: str = "UTC") -> Any:
    tasks = make_tasks()

    @tasks.task()
    async def nightly() -> None: ...

    return made(nightly, expression, missed, zone)


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def test_a_cron_fires_at_the_next_time_and_once_for_all_that_were_missed() -> None:
    hourly = cron("0 * * * *")
    fired = us("2026-01-01T10:00:00+00:00")
    assert due(hourly, fired, us("2026-01-01T10:59:59.999999+00:00")) is None
    assert due(hourly, fired, us("2026-01-01T11:00:00+00:00")) == (us("2026-01-01T11:00:00+00:00"), True)
    assert due(hourly, fired, us("2026-01-03T00:30:00+00:00")) == (us("2026-01-03T00:00:00+00:00"), True)
    assert due(hourly, us("2026-01-05T00:00:00+00:00"), us("2026-01-03T00:30:00+00:00")) is None, "the clock went back"


def test_a_cron_that_skips_fires_only_what_is_in_time() -> None:
    hourly, fired = cron("0 * * * *", "skip"), us("2026-01-01T10:00:00+00:00")
    assert due(hourly, fired, us("2026-01-01T11:00:59+00:00")) == (us("2026-01-01T11:00:00+00:00"), True)
    assert due(hourly, fired, us("2026-01-01T11:01:01+00:00")) == (us("2026-01-01T11:00:00+00:00"), False)


def test_a_cron_follows_summer_time() -> None:
    daily = cron("30 2 * * *", zone="Europe/Berlin")
    gap = first_after(daily, us("2026-03-28T12:00:00+01:00"))
    assert gap == us("2026-03-29T03:00:00+02:00"), "02:30 does not exist on that day"
    assert first_after(daily, gap) == us("2026-03-30T02:30:00+02:00")
    twice = first_after(daily, us("2026-10-24T12:00:00+02:00"))
    assert twice == us("2026-10-25T02:30:00+02:00")
    assert first_after(daily, twice) == us("2026-10-26T02:30:00+01:00"), "02:30 comes twice and fires once"


@pytest.mark.parametrize(
    ("expression", "missed", "zone"),
    [
        ("* * * *", "once", "UTC"),
        ("61 * * * *", "once", "UTC"),
        ("* * * * *", "twice", "UTC"),
        ("* * * * *", "once", "Mars"),
    ],
)
def test_a_cron_that_is_none_is_refused(expression: str, missed: str, zone: str) -> None:
    with pytest.raises(ContractError, match="TF-TASK-CRON"):
        cron(expression, missed, zone)


def test_a_cron_passes_no_arguments() -> None:
    tasks = make_tasks()

    @tasks.task()
    async def needy(a: int) -> None: ...

    with pytest.raises(ContractError, match="needs a"):
        tasks.cron("* * * * *")(needy)  # type: ignore[arg-type]
