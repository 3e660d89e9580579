"""What the keeper does with its children: restarts, gives up, drains, kills, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from keeping import LIMIT_S, House, alive, ask_pid, house, until, web

from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.hosts import wire
from tenfold.hosts.client import KeeperStart, left_running, start_keeper, stop_left, wait_until_gone
from tenfold.hosts.identity import Identity, identity_of
from tenfold.hosts.logs import Rotation
from tenfold.hosts.records import Launch, Record, Records

NOBODY = 65534


@pytest.fixture
def here(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / ".tenfold") as made:
        yield made


def sleeper(node: str, *, stage: int = 1, note: Path | None = None) -> Launch:
    """A child that ends at once on SIGTERM and notes when."""
    code = (
        "import signal, sys, time, pathlib\n"
        "def end(*_):\n"
        f"    open({str(note)!r}, 'a').write('{node}\\n')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    return Launch(node=node, argv=(sys.executable, "-c", code), cwd="/", stage=stage, grace_s=5.0)


def test_a_child_that_says_that_trying_again_will_not_help_is_not_started_again(here: House) -> None:
    here.start(web(mode="hopeless"))
    until(lambda: here.fact()["state"] == "failed", "it has failed")
    fact = here.fact()
    assert fact["exit_code"] == 3
    assert fact["restarts"] == 0
    assert fact["report"] == {"error": {"code": "TF-APP", "message": "The app does not import.", "hint": "Repair it."}}
    assert "web-1 cannot run: The app does not import." in here.log()


def test_a_crash_loop_backs_off_and_is_reported_with_its_last_words(here: House) -> None:
    here.start(web(mode="crash"))
    until(lambda: here.fact()["crash_loop"], "the crash loop is seen")
    fact = here.fact()
    assert fact["restarts"] >= 4
    assert fact["exit_code"] == 1
    assert fact["tail"][-1] == "it fell over"
    assert "will be started again in" in here.log()
    assert here.client.ask("stop", node="web-1")["how"] == "gone"


def test_a_command_that_does_not_exist_is_a_failure_in_one_sentence(here: House) -> None:
    here.start(Launch(node="web-1", argv=("/no/such/program",), cwd="/"))
    until(lambda: here.fact()["state"] == "failed", "it has failed")
    assert here.fact()["report"]["error"]["message"] == "/no/such/program cannot be started: No such file or directory."


def test_a_command_that_may_not_be_run_is_one_too(here: House, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    here.start(Launch(node="web-1", argv=(str(program),), cwd="/"))
    until(lambda: here.fact()["state"] == "failed", "it has failed")
    assert here.fact()["report"]["error"]["message"] == f"{program} cannot be started: Permission denied."


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: becoming another user needs root")
def test_a_command_that_another_user_may_not_run_is_one_too(here: House, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    here.start(Launch(node="web-1", argv=(str(program),), cwd="/", user="nobody", restart=False))
    until(lambda: here.fact()["state"] == "failed", "it has failed")
    said = here.fact()["report"]["error"]
    assert said["code"] == "TF-SPAWN"
    assert said["message"].startswith(f"{program} cannot be started: sh: ")


DIES_BEFORE_IT_RECORDS = """
import asyncio, os, signal, sys
from tenfold.hosts.process import Reaper

async def main():
    process = Reaper().start(
        ("/bin/touch", sys.argv[1]), cwd="/", env={}, output=2, descriptors=(), gated=True
    )
    if sys.argv[2] == "go":
        process.let_go()
        await process.ended.wait()
    print(process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("go", ["go", "dies"])
def test_a_child_of_a_keeper_that_died_before_it_was_recorded_does_nothing(tmp_path: Path, go: str) -> None:
    """Or nobody would know of it: a second process under the name of the one that the next keeper starts."""
    made = tmp_path / "made"
    command = [sys.executable, "-c", DIES_BEFORE_IT_RECORDS, str(made), go]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as keeper:
        assert keeper.stdout is not None
        pid = int(keeper.stdout.readline())
    until(lambda: not alive(pid), "it has ended")
    assert made.exists() == (go == "go")


def test_a_stopped_child_first_finishes_what_it_has_begun(here: House) -> None:
    here.start(web(mode="slow"))
    pid = here.ready()
    with here.connect() as conn:
        conn.sendall(b"GET / HTTP/1.1\r\n\r\n")
        time.sleep(0.1)  # it is inside of its half second of work
        assert here.client.ask("stop", timeout_s=10.0, node="web-1")["how"] == "drained"
        answer = b"".join(iter(lambda: conn.recv(65536), b""))
    assert answer.endswith(str(pid).encode())
    assert here.client.node("web-1") is None
    assert not alive(pid)


def test_a_child_that_ignores_its_signal_is_killed_after_its_grace(here: House) -> None:
    here.start(web(mode="stubborn", grace_s=0.2))
    pid = here.ready()
    assert here.client.ask("stop", timeout_s=10.0, node="web-1")["how"] == "killed"
    assert not alive(pid)


def test_a_shutdown_leaves_no_process_no_socket_and_no_record(here: House) -> None:
    here.start(web(mode="child"), web("web-2"))
    pids = [here.ready(), here.ready("web-2")]
    grandchildren = [int(pid) for pid in Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split()]
    assert len(grandchildren) == 1
    assert here.client.shutdown(10.0) == {"web-1": "drained", "web-2": "drained"}
    until(lambda: not any(alive(pid) for pid in [*pids, *grandchildren, here.pid]), "all processes are gone")
    assert not list((here.state / "run").glob("*.json"))
    assert not list((here.state / "run").glob("*.sock"))
    with pytest.raises(ConnectionRefusedError):
        here.get()


def test_lower_stages_are_stopped_first(here: House, tmp_path: Path) -> None:
    note = tmp_path / "order"
    here.start(
        sleeper("web-1", stage=1, note=note), sleeper("db-1", stage=2, note=note), sleeper("head", stage=0, note=note)
    )
    for node in ("web-1", "db-1", "head"):
        until(lambda node=node: "up" in here.log(node), f"{node} is up")
    here.client.shutdown(10.0)
    assert note.read_text().split() == ["head", "web-1", "db-1"]


def test_sigterm_means_shutdown_and_a_hangup_means_nothing(here: House) -> None:
    here.start(web())
    pid = here.ready()
    os.kill(here.pid, signal.SIGHUP)
    assert here.get() == pid
    os.kill(here.pid, signal.SIGTERM)
    assert wait_until_gone(here.pid, LIMIT_S)
    until(lambda: not alive(pid), "the web process is gone")


def test_the_keeper_outlives_the_terminal_that_started_it(here: House) -> None:
    here.start(web())
    assert os.getsid(here.pid) == here.pid != os.getsid(0)
    assert os.getsid(here.ready()) != here.pid


def test_a_second_keeper_for_the_same_state_is_refused(here: House) -> None:
    here.start(web())
    with pytest.raises(TenfoldError, match=rf"A keeper \(pid {here.pid}\) already looks after"):
        start_keeper(KeeperStart(here.state, "127.0.0.1", 0, Rotation()))
    assert here.get() == here.ready()


def test_a_taken_port_is_refused_naming_the_process_that_holds_it(here: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(TenfoldError, match=rf"Port {port} of 127\.0\.0\.1 is taken by pid {os.getpid()} \(\S+"):
            here.start(port=port)
    assert not left_running(here.state)
    here.start(web(), port=port)
    assert here.get() == here.ready()


def test_a_record_of_a_recycled_pid_is_not_adopted(here: House) -> None:
    (here.state / "run").mkdir()
    mine = identity_of(os.getpid())
    assert mine is not None
    recycled = Identity(mine.pid, mine.start_ticks - 1, mine.boot)
    Records(here.state / "run").write(Record(web(), recycled))
    Records(here.state / "run").write(Record(web("web-2"), Identity(mine.pid, mine.start_ticks, "another-boot")))
    assert not left_running(here.state)
    here.start(web("web-3"))
    assert [node["node"] for node in here.client.nodes()] == ["web-3"]


def test_a_damaged_record_does_not_keep_a_keeper_from_starting(here: House) -> None:
    (here.state / "run").mkdir()
    (here.state / "run" / "web-9.json").write_text('{"launch": {"node": 7')
    here.start(web())
    assert here.get() == here.ready()


def test_a_zombie_is_as_good_as_gone(here: House) -> None:
    process = subprocess.Popen(["true"])
    try:
        until(lambda: not alive(process.pid), "it is a zombie")
        assert identity_of(process.pid) is None
        assert wait_until_gone(process.pid, 1.0)
    finally:
        process.wait()


def test_what_a_dead_keeper_left_can_be_stopped_without_a_keeper(here: House) -> None:
    here.start(web(), web("web-2", mode="stubborn", grace_s=0.2))
    pids = [here.ready(), here.ready("web-2")]
    here.kill_keeper()
    assert stop_left(left_running(here.state)) == {"web-1": "drained", "web-2": "killed"}
    assert not any(alive(pid) for pid in pids)


def test_a_state_folder_whose_socket_paths_are_too_long_for_the_kernel_works(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100) / ("b" * 100) / ".tenfold"
    with house(deep) as made:
        pid = made.start(web()).ready()
        made.kill_keeper()
        made.start()
        assert made.get() == pid
        assert made.fact()["adopted"]


@pytest.mark.parametrize("host", ["::", "::1"])
def test_ipv6_and_both_families_at_once(here: House, host: str) -> None:
    here.start(web(), host=host)
    pid = here.ready()
    for dial in ["::1", "127.0.0.1"] if host == "::" else ["::1"]:
        with socket.create_connection((dial, here.port), timeout=10) as conn:
            assert ask_pid(conn) == pid


def test_another_address_can_be_opened_for_the_processes_to_come(here: House) -> None:
    here.start(web())
    first, old = here.ready(), (here.host, here.port)
    fresh = here.client.ask("listen", host="127.0.0.1", port=0)
    here.client.spawn(web("web-2"))
    second = here.ready("web-2")
    with socket.create_connection((fresh["host"], fresh["port"]), timeout=10) as conn:
        assert ask_pid(conn) == second
    with socket.create_connection(old, timeout=10) as conn:
        assert ask_pid(conn) == first


def test_publishing_a_map_says_who_has_taken_it_over_and_who_has_not(here: House) -> None:
    here.start(web(), web("web-2"), sleeper("other", note=here.state / "note"))
    here.ready()
    hung = here.ready("web-2")
    assert here.client.ask("publish", epoch=4) == {"ok": True, "acked": ["web-1", "web-2"], "missing": {}}
    os.kill(hung, signal.SIGSTOP)
    answer = here.client.ask("publish", epoch=5, limit_s=0.3)
    assert answer["acked"] == ["web-1"]
    assert answer["missing"] == {"web-2": "web-2.sock did not answer within 0.3 s."}
    os.kill(hung, signal.SIGCONT)


def test_ports_are_handed_out_by_name_and_stay_over_keepers(here: House) -> None:
    here.start(web())
    here.ready()
    first, other = (here.client.ask("port", name=name)["port"] for name in ("db-1", "db-2"))
    assert first != other
    assert here.client.ask("port", name="db-1")["port"] == first
    here.kill_keeper()
    here.start()
    assert here.client.ask("port", name="db-1")["port"] == first


def test_a_waiting_question_ends_with_the_child(here: House) -> None:
    here.start(web())
    once = Launch(node="once", argv=(sys.executable, "-c", "print('{\"made\": 3}')"), cwd="/", restart=False)
    here.client.spawn(once)
    answer = here.client.ask("wait", timeout_s=LIMIT_S, node="once")
    assert answer["finished"]
    assert answer["exit_code"] == 0
    assert answer["report"] == {"made": 3}


def test_logs_are_rotated_while_the_child_writes(here: House) -> None:
    here.start(web(mode="noisy"), rotation=Rotation(size=200, keep=50))
    here.ready()
    for _ in range(60):
        here.get()
    rotated = here.state / "logs" / "web-1.log.1"
    until(rotated.exists, "the log is rotated")
    files = [*sorted((here.state / "logs").glob("web-1.log.*")), here.state / "logs" / "web-1.log"]
    until(lambda: sum(file.read_text().count("GET / HTTP/1.1") for file in files) == 60, "every line is there")
    here.client.ask("rotation", size=10_000_000, keep=2)


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (b"not json\n", "not JSON"),
        (b"[1]\n", "not a JSON object"),
        (b'{"op": "explode"}\n', "does not know 'explode'"),
        (b'{"op": "spawn"}\n', "does not say how to start"),
        (b'{"op": "spawn", "node": "../x", "argv": ["true"], "cwd": "/"}\n', "is not a node's name"),
        (b'{"op": "spawn", "node": "x", "argv": [], "cwd": "/"}\n', "needs a command"),
        (b'{"op": "spawn", "node": "x", "argv": ["true"], "cwd": "/", "grace_s": -1}\n', "not between 0 and 3600"),
        (b'{"op": "stop", "node": "nobody"}\n', "no node 'nobody'"),
        (b'{"op": "publish"}\n', "wrong value"),
        (b'{"op": "publish", "epoch": "many"}\n', "wrong value"),
        (b'{"op": "rotation", "size": 0, "keep": 1}\n', "one byte or more"),
        (b'{"op": "listen", "host": "192.0.2.1", "port": 0}\n', "not an address of this machine"),
        (b"[" * 60_000 + b"\n", "not JSON"),
        (b"x" * 70_000 + b"\n", "A line may have 65536 bytes"),
    ],
)
def test_a_wrong_question_gets_a_sentence_and_the_keeper_lives_on(here: House, question: bytes, says: str) -> None:
    here.start(web())
    with wire.connect_unix(here.client.socket, 5.0) as conn, conn.makefile("rb") as answers:
        conn.sendall(question)
        answer = json.loads(answers.readline())
    assert answer["ok"] is False
    assert says in answer["error"]["message"]
    assert here.get() == here.ready()


def test_a_node_that_runs_is_not_started_twice(here: House) -> None:
    here.start(web())
    with pytest.raises(TenfoldError, match="web-1 already runs"):
        here.client.spawn(web())


def test_many_conversations_at_once_are_bounded(here: House) -> None:
    here.start(web())
    here.ready()
    held = [wire.connect_unix(here.client.socket, 5.0) for _ in range(80)]
    with pytest.raises(TenfoldError, match="Too many conversations"):
        here.client.ask("hello")
    for conn in held:
        conn.close()

    def answers_again() -> bool:
        try:
            return bool(here.client.ask("hello"))
        except Unavailable:
            return False

    until(answers_again, "it answers again")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: acting as another user needs root")
def test_another_user_is_refused_even_where_the_socket_can_be_reached(here: House, tmp_path: Path) -> None:
    here.start(web())
    pid = here.ready()
    for folder in (here.state, here.state / "run"):
        folder.chmod(0o777)
    here.client.socket.chmod(0o777)
    folder = os.open(here.state / "run", os.O_PATH)
    outside = (
        "import os, socket\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "conn = socket.socket(socket.AF_UNIX)\n"
        f"conn.connect('/proc/self/fd/{folder}/keeper.sock')\n"
        'conn.sendall(b\'{"op":"shutdown"}\\n\')\n'
        "print(conn.recv(4096).decode())\n"
    )
    try:
        said = subprocess.run(
            ["python3", "-c", outside], capture_output=True, text=True, pass_fds=[folder], check=False
        )
    finally:
        os.close(folder)
    assert "TF-NOT-YOURS" in said.stdout, said
    assert here.get() == pid


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: mounting a small file system needs root")
def test_a_full_disk_keeps_what_runs_running_and_is_told_in_a_sentence(tmp_path: Path) -> None:
    state = tmp_path / ".tenfold"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(state)], check=True)
    try:
        with house(state) as made:
            made.start(web())
            first = made.ready()
            fill(state / "ballast")
            assert made.get() == first
            os.kill(first, signal.SIGKILL)
            second = made.ready(other_than=first)
            assert made.get() == second
            with pytest.raises(TenfoldError, match=r"Cannot write .*ports\.json: No space left on device"):
                made.client.ask("port", name="db-1")
            (state / "ballast").unlink()
            made.client.ask("port", name="db-1")
            assert made.client.shutdown(10.0) == {"web-1": "drained"}
    finally:
        subprocess.run(["umount", str(state)], check=True)


def fill(ballast: Path) -> None:
    """Takes the last byte of a disk."""
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space left"):
        write_for_ever(descriptor)
    os.close(descriptor)


def write_for_ever(descriptor: int) -> None:
    while True:
        os.write(descriptor, b"x" * 4096)


class Foreground:
    """A keeper that is our own child."""

    def __init__(self, here: House, *first: Launch, wrap: tuple[str, ...] = ()) -> None:
        receive, send = os.pipe()
        argv = KeeperStart(here.state, "127.0.0.1", 0, Rotation(), first).argv(foreground=True, ready=send)
        self.process = subprocess.Popen([*wrap, *argv], stdout=subprocess.PIPE, pass_fds=[send], text=True)
        os.close(send)
        with os.fdopen(receive) as ready:
            answer = json.loads(ready.readline())
        here.pid, here.port = answer["pid"], answer["port"]
        self.said: list[str] = []
        self._reader = threading.Thread(target=lambda: self.said.extend(self.process.stdout))
        self._reader.start()

    def end(self) -> int:
        code = self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        self.process.stdout.close()
        return code


def test_in_the_foreground_logs_go_to_standard_output_and_sigterm_ends_it_with_zero(here: House) -> None:
    foreground = Foreground(here, web(mode="noisy"))
    pid = here.ready()
    here.get()
    until(lambda: any("GET / HTTP/1.1" in line for line in foreground.said), "the log is on standard output")
    os.kill(here.pid, signal.SIGTERM)
    assert foreground.end() == 0
    assert not alive(pid)
    assert any("everything is stopped" in line for line in foreground.said)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: a process namespace needs root")
def test_as_pid_one_it_reaps_orphans(here: House) -> None:
    parent = Launch(node="parent", argv=("sh", "-c", "setsid sleep 0.2 & exit 0"), cwd="/", restart=False)
    foreground = Foreground(here, web(), parent, wrap=("unshare", "--pid", "--fork", "--mount-proc"))
    here.ready()
    unshare = foreground.process.pid
    (keeper,) = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()

    def children() -> list[str]:
        pids = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids]

    until(lambda: len(children()) == 1, "only the web process is left, and no zombie")
    os.kill(int(keeper), signal.SIGTERM)
    assert foreground.end() == 0
