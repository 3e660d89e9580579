"""The stream of pictures: everybody sees the newest, nobody holds up another, and it ends when it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from tenfold.core.errors import Unavailable
from tenfold.dashboard import feed as module
from tenfold.dashboard.feed import VIEWERS_MAX, Feed


def on_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 10.0))

    run.__name__ = test.__name__
    return run


async def beginning(stream: AsyncIterator[bytes]) -> None:
    assert (await anext(stream)).startswith(b"retry: ")


@on_loop
async def test_a_viewer_gets_the_newest_at_once_and_then_each_new_one() -> None:
    feed = Feed()
    feed.publish(b"1")
    stream = feed.enter()
    await beginning(stream)
    assert await anext(stream) == b"event: picture\ndata: 1\n\n"
    feed.publish(b"2")
    assert await anext(stream) == b"event: picture\ndata: 2\n\n"


@on_loop
async def test_a_slow_viewer_misses_pictures_and_no_move() -> None:
    feed = Feed()
    stream = feed.enter()
    await beginning(stream)
    feed.publish(b"1")
    feed.move(b'"begun"')
    feed.publish(b"2")
    feed.move(b'"ended"')
    said = [await anext(stream) for _ in range(3)]
    assert said == [
        b'event: move\ndata: "begun"\n\n',
        b'event: move\ndata: "ended"\n\n',
        b"event: picture\ndata: 2\n\n",
    ]


@on_loop
async def test_a_move_of_before_is_not_told_again() -> None:
    feed = Feed()
    feed.move(b'"old"')
    feed.publish(b"1")
    stream = feed.enter()
    await beginning(stream)
    assert await anext(stream) == b"event: picture\ndata: 1\n\n"


@on_loop
async def test_viewers_are_counted_and_bounded_and_leave_their_place() -> None:
    feed = Feed()
    streams = [feed.enter() for _ in range(VIEWERS_MAX)]
    for stream in streams:
        await beginning(stream)
    assert feed.viewers == VIEWERS_MAX
    with pytest.raises(Unavailable) as caught:
        feed.enter()
    assert caught.value.code == "TF-DASHBOARD-FULL"
    await streams[0].aclose()  # type: ignore[attr-defined]
    assert feed.viewers == VIEWERS_MAX - 1
    await beginning(feed.enter())


@on_loop
async def test_silence_is_filled_with_a_comment() -> None:
    feed = Feed()
    stream = feed.enter()
    await beginning(stream)
    before, module.HEARTBEAT_S = module.HEARTBEAT_S, 0.01
    try:
        assert await anext(stream) == b": nothing new\n\n"
    finally:
        module.HEARTBEAT_S = before


@on_loop
async def test_closing_ends_every_stream() -> None:
    feed = Feed()
    stream = feed.enter()
    await beginning(stream)
    waiting = asyncio.create_task(anext(stream, b"the end"))
    await asyncio.sleep(0)
    feed.close()
    assert await waiting == b"the end"
    assert feed.viewers == 0


@on_loop
async def test_who_looks_wakes_who_draws() -> None:
    feed = Feed()
    drawing = asyncio.create_task(feed.wanted(60.0))
    await asyncio.sleep(0)
    asked = asyncio.create_task(feed.next(5.0))
    await drawing
    feed.publish(b"now")
    assert await asked == b"now"
    with pytest.raises(Unavailable):
        await feed.next(0.01)
