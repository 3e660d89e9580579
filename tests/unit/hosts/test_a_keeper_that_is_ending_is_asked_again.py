"""A keeper that is being killed may take a question and never answer it; who only looks must not fail over that."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

import pytest

from tenfold.hosts import client, wire
from tenfold.hosts.client import KeeperClient


def dying(state: Path, times: int) -> threading.Thread:
    """A socket that cuts off so many connections, and then is gone."""
    (state / "run").mkdir(parents=True)
    listener = wire.listen_unix(state / "run" / "keeper.sock")

    def serve() -> None:
        for _ in range(times):
            listener.accept()[0].close()
        listener.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_looking_goes_on_until_nobody_is_there(tmp_path: Path) -> None:
    thread = dying(tmp_path, 3)
    assert KeeperClient(tmp_path).runs() is False
    thread.join()


def test_an_order_is_never_given_twice(tmp_path: Path) -> None:
    thread = dying(tmp_path, 1)
    with pytest.raises(wire.WentAway, match="without an answer"):
        KeeperClient(tmp_path).ask("shutdown")
    thread.join()


def test_waiting_works_with_descriptors_beyond_those_that_select_takes() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip("not run: needs a limit of 2,000 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    read, write = os.pipe()
    try:
        high = os.dup2(read, 1500)
        assert client._readable(high, 0.0) is False
        os.write(write, b"x")
        assert client._readable(high, 5.0) is True
        os.close(high)
    finally:
        os.close(read)
        os.close(write)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
