"""The command line asks one process about jobs: the first one that lives."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tenfold.control import jobs
from tenfold.control.place import Place
from tenfold.hosts import wire
from tenfold.topology.map import NodeMap


def _place(folder: Path, *names: str) -> Place:
    nodes = tuple(NodeMap(name=name, role="web") for name in names)
    current = SimpleNamespace(of_role=lambda role: nodes if role == "web" else ())
    return cast("Place", SimpleNamespace(run=folder, read_map=lambda: current))


@contextlib.contextmanager
def _listening(path: Path, answer: dict[str, Any] | None) -> Iterator[list[str]]:
    """A process on a control socket; one that is paused has no answer, though the kernel takes the question."""
    asked: list[str] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = listener.accept()
                with conn:
                    asked.append(wire.decode(conn.recv(65536))["op"])
                    conn.sendall(wire.encode(answer or {}))

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        yield asked
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def test_a_process_that_is_paused_costs_a_moment_and_is_asked_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "ALIVE_S", 0.5)
    with (
        _listening(tmp_path / "web-1.sock", None),
        _listening(tmp_path / "web-3.sock", {"ok": True, "queues": []}) as asked,
    ):
        found = jobs.ask_jobs(_place(tmp_path, "web-1", "web-2", "web-3", "web-4"), "counts", limit_s=600.0)
        assert found["queues"] == []
        assert asked == ["status", "jobs"]


def test_when_all_are_paused_or_gone_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ALIVE_S", 0.5)
    with _listening(tmp_path / "web-1.sock", None), pytest.raises(wire.NoAnswer, match="No process"):
        jobs.ask_jobs(_place(tmp_path, "web-1", "web-2"), "counts", limit_s=600.0)
