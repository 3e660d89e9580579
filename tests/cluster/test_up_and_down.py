"""`tenfold up` and `down` with a real service: what they promise a person at the terminal."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import Deployed, deployed
from keeping import alive, until

from tenfold.core.files import FileLock
from tenfold.hosts.client import wait_until_gone


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path / "svc") as made:
        yield made


def get(address: str, path: str = "/") -> str:
    with urllib.request.urlopen(f"{address}{path}", timeout=20) as answer:
        return answer.read().decode()


def test_up_prints_an_address_that_answers_and_down_leaves_nothing(small: Deployed) -> None:
    said = small.tenfold("up")
    assert said.code == 0, said
    assert "small runs." in said.out
    assert "starting web-1" in said.err
    facts = small.status()
    assert facts["address"] in said.out
    assert facts["state"] == "running"
    assert get(facts["address"]) == f"{facts['nodes'][0]['pid']} grey"
    assert len(small.processes()) == 3
    down = small.tenfold("down")
    assert down.code == 0
    assert "Everything is stopped." in down.out
    assert small.processes() == []
    assert small.tenfold("status").code == 3


def test_up_and_down_again_find_their_work_done(small: Deployed) -> None:
    assert small.tenfold("down").out == "Nothing was running.\n"
    first = small.up()
    second = small.up()
    assert first["fresh"]
    assert not second["fresh"]
    assert second["changed"] == []
    assert second["keeper"]["pid"] == first["keeper"]["pid"]
    assert second["nodes"][0]["pid"] == first["nodes"][0]["pid"]
    small.tenfold("down")
    assert "Nothing was running." in small.tenfold("down").out


def test_two_ups_at_once_make_one_deployment(small: Deployed) -> None:
    ups = [small.start("up", "--json") for _ in range(3)]
    facts = []
    for up in ups:
        out, err = up.communicate(timeout=60)
        assert up.returncode == 0, err
        facts.append(json.loads(out))
    assert len({fact["keeper"]["pid"] for fact in facts}) == 1
    assert sorted(fact["fresh"] for fact in facts) == [False, False, True]
    assert len(small.processes()) == 3


def test_a_stale_lock_file_of_a_dead_process_stops_nobody(small: Deployed) -> None:
    (small.state / "run").mkdir(parents=True)
    for name in ("up.lock", "keeper.lock"):
        (small.state / "run" / name).write_text(f"{os.getpid()}\n")
    assert small.up()["fresh"]


def test_an_up_that_has_to_wait_says_for_whom(small: Deployed) -> None:
    (small.state / "run").mkdir(parents=True)
    with FileLock(small.state / "run" / "up.lock"):
        said = small.tenfold("up", "--timeout", "300ms")
    assert said.code == 1
    assert f"another `tenfold up` (pid {os.getpid()}) is at work here" in said.err
    assert "Gave up waiting" in said.err


def test_a_taken_port_names_its_holder_and_leaves_nothing(small: Deployed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        said = small.tenfold("up", "--port", str(port))
    assert said.code == 1
    assert f"Port {port} of 127.0.0.1 is taken by pid {os.getpid()}" in said.err
    assert "another port with --port" in said.err
    assert small.processes() == []


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("nowhere:app", "nowhere"),
        ("small_app:nothing", "nothing"),
        ("broken_app:app", "broken_app"),
        ("dying_app:app", "exit code 7"),
    ],
)
def test_an_app_that_cannot_start_is_told_in_its_own_words_and_leaves_nothing(
    small: Deployed, app: str, says: str
) -> None:
    (small.root / "broken_app.py").write_text("import small_app\nraise ValueError('not today')\n")
    (small.root / "dying_app.py").write_text("import os\nos._exit(7)\n")
    small.spec(app=app)
    said = small.tenfold("up")
    assert said.code == 1
    assert says in said.err
    assert "Traceback" not in said.err
    assert small.processes() == []
    small.spec()
    assert small.up()["fresh"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("[service", "tenfold.toml"), ('[service]\nname = "x"\napp = "a:b"\ncolour = 1\n', "colour"), ("", "service")],
)
def test_a_wrong_spec_is_told_before_anything_is_started(small: Deployed, text: str, says: str) -> None:
    (small.root / "tenfold.toml").write_text(text)
    said = small.tenfold("up")
    assert said.code == 1
    assert says in said.err
    assert not small.state.exists()


def test_ctrl_c_during_up_leaves_nothing(small: Deployed) -> None:
    (small.root / "slow_app.py").write_text("import time\ntime.sleep(60)\n")
    small.spec(app="slow_app:app")
    up = small.start("up")
    log = small.state / "logs" / "keeper.log"
    until(lambda: log.exists() and "migrate started" in log.read_text(), "the migration is running")
    up.send_signal(signal.SIGINT)
    _out, err = up.communicate(timeout=60)
    assert up.returncode == 130
    assert err.endswith("Interrupted.\n")
    assert small.processes() == []


def test_live_values_reach_the_running_process(small: Deployed) -> None:
    first = small.up()
    small.spec('[settings]\ncolour = "blue"\n')
    second = small.up()
    assert second["epoch"] == first["epoch"] + 1
    assert get(second["address"]) == f"{first['nodes'][0]['pid']} blue"
    assert any("settings.colour" in change for change in second["changed"])


def test_a_change_that_needs_a_new_process_loses_no_request(small: Deployed) -> None:
    first = small.up()
    failed, answered, stop = [], [], threading.Event()
    host, port = "127.0.0.1", int(first["address"].rpartition(":")[2])

    def client(path: str) -> None:
        conn = http.client.HTTPConnection(host, port, timeout=20)
        while not stop.is_set():
            try:
                conn.request("GET", path)
                answered.append(conn.getresponse().read().split()[0])
            except (OSError, http.client.HTTPException) as error:
                failed.append(error)
                conn.close()
        conn.close()

    threads = [threading.Thread(target=client, args=(path,)) for path in ("/", "/", "/slow", "/slow")]
    for thread in threads:
        thread.start()
    old = first["nodes"][0]["pid"]
    for number in range(2):
        small.spec(f'[web]\nkeep_alive = "{20 + number}s"\n')
        changed = small.up()
        assert [node["ready"] for node in changed["nodes"]] == [True]
        old, before = changed["nodes"][0]["pid"], old
        assert old != before
        until(lambda pid=old: str(pid).encode() in answered, "the new process answers")
        assert not alive(before)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(small.processes()) == 3


def test_a_change_whose_new_process_does_not_start_is_undone(small: Deployed) -> None:
    first = small.up()
    small.spec('[settings]\ncolour = "blue"\n', app="nowhere:app")
    said = small.tenfold("up")
    assert said.code == 1
    assert "nowhere" in said.err
    assert get(first["address"]) == f"{first['nodes'][0]['pid']} grey"
    assert small.status()["state"] == "running"
    small.spec()
    assert small.up()["changed"] == []


def test_a_process_that_was_given_up_is_told_and_comes_back_once_it_can(small: Deployed) -> None:
    pid = small.up()["nodes"][0]["pid"]
    code = small.state / "versions" / "v1" / "small_app.py"
    good = code.read_text()
    code.write_text("this is not python\n")
    os.kill(pid, signal.SIGKILL)
    until(lambda: small.status()["nodes"][0]["state"] == "failed", "the keeper gives up")
    assert small.status()["state"] == "degraded"
    assert "small_app" in small.tenfold("status").out
    said = small.tenfold("up")
    assert said.code == 1
    assert "small_app" in said.err
    code.write_text(good)
    again = small.up()
    assert again["state"] == "running"
    assert get(again["address"]) == f"{again['nodes'][0]['pid']} grey"


def test_a_deployment_that_failed_without_anybody_waiting_is_brought_up_by_the_next_up(small: Deployed) -> None:
    small.spec(app="nowhere:app")
    up = small.start("up")
    until(lambda: small.status()["keeper"], "the keeper runs")
    up.kill()
    until(lambda: small.status()["state"] == "failed", "it has failed")
    assert "nowhere" in small.tenfold("status").out
    small.spec()
    assert small.up()["state"] == "running"


def test_what_only_a_new_start_can_change_is_refused_and_nothing_changes(small: Deployed) -> None:
    first = small.up()
    small.spec('[database]\npath = "data/other.db"\n[settings]\ncolour = "blue"\n')
    said = small.tenfold("up")
    assert said.code == 1
    assert "database.path cannot change while the deployment runs" in said.err
    assert small.status()["epoch"] == first["epoch"]
    assert small.tenfold("up", "--port", "1").code == 1
    assert "grey" in get(first["address"])


def test_a_killed_keeper_is_replaced_by_up_and_what_runs_goes_on(small: Deployed) -> None:
    first = small.up()
    os.kill(first["keeper"]["pid"], signal.SIGKILL)
    assert wait_until_gone(first["keeper"]["pid"], 10)
    orphaned = small.tenfold("status", "--json")
    assert orphaned.code == 3
    assert orphaned.facts()["state"] == "degraded"
    assert get(first["address"]) == f"{first['nodes'][0]['pid']} grey"
    second = small.up()
    assert second["keeper"]["pid"] != first["keeper"]["pid"]
    assert second["nodes"][0]["pid"] == first["nodes"][0]["pid"]
    assert second["address"] == first["address"]
    assert len(small.processes()) == 3


def test_down_stops_what_a_killed_keeper_left(small: Deployed) -> None:
    first = small.up()
    os.kill(first["keeper"]["pid"], signal.SIGKILL)
    assert wait_until_gone(first["keeper"]["pid"], 10)
    assert "Everything is stopped." in small.tenfold("down").out
    assert small.processes() == []


def test_everything_killed_at_once_comes_back_with_its_data(small: Deployed) -> None:
    address = small.up()["address"]
    for number in range(5):
        get(address, f"/add/{number}")
    for pid in small.processes():
        os.kill(pid, signal.SIGKILL)
        assert wait_until_gone(pid, 10)
    again = small.up()
    assert again["fresh"]
    assert get(again["address"], "/count") == "5"


def test_killing_the_web_process_while_it_is_written_to_loses_no_acknowledged_row(small: Deployed) -> None:
    address = small.up()["address"]
    acknowledged, stop = [], threading.Event()

    def writer(start: int) -> None:
        number = start
        while not stop.is_set():
            number += 4
            try:
                get(address, f"/add/{number}")
                acknowledged.append(number)
            except (OSError, http.client.HTTPException):
                pass

    threads = [threading.Thread(target=writer, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    pid = small.web_pid()
    for _ in range(3):
        seen = len(acknowledged)
        until(lambda seen=seen: len(acknowledged) > seen + 20, "rows are written")
        os.kill(pid, signal.SIGKILL)
        before, pid = (
            pid,
            until(
                lambda old=pid: next(
                    (node["pid"] for node in small.status()["nodes"] if node["ready"] and node["pid"] != old), 0
                ),
                "another process is ready",
            ),
        )
        assert before != pid
    stop.set()
    for thread in threads:
        thread.join()
    assert int(get(address, "/count")) >= len(acknowledged) > 60


def test_a_killed_controller_is_started_again_and_takes_over(small: Deployed) -> None:
    first = small.up()
    os.kill(first["controller"]["pid"], signal.SIGKILL)
    assert get(first["address"]) == f"{first['nodes'][0]['pid']} grey"
    small.spec('[settings]\ncolour = "green"\n')
    second = small.up()
    assert second["controller"]["pid"] != first["controller"]["pid"]
    assert get(first["address"]) == f"{first['nodes'][0]['pid']} green"


@pytest.mark.parametrize("kind", ["migrate", "new-process"])
def test_a_controller_killed_in_the_middle_of_a_replacement_converges(small: Deployed, kind: str) -> None:
    first = small.up()
    slow = "import time, pathlib\nif not pathlib.Path('go').exists(): time.sleep(%d)\nfrom small_app import *\n"
    (small.root / "slow_app.py").write_text(slow % (3 if kind == "migrate" else 1))
    small.spec(app="slow_app:app")
    up = small.start("up")
    wanted = "migrate" if kind == "migrate" else "web-2"
    keeper_log = small.state / "logs" / "keeper.log"
    until(lambda: keeper_log.read_text().count(f"{wanted} started") > (kind == "migrate"), f"{wanted} has started")
    os.kill(first["controller"]["pid"], signal.SIGKILL)
    up.communicate(timeout=60)
    assert get(first["address"])
    (small.root / "go").touch()
    last = small.up()
    assert last["state"] == "running"
    assert [node["ready"] for node in last["nodes"]] == [True]
    assert len(small.processes()) == 3
    assert json.loads((small.state / "map.json").read_text())["app"] == "slow_app:app"


def test_a_map_that_was_lost_is_made_anew_with_an_epoch_that_still_grows(small: Deployed) -> None:
    small.up()
    small.spec('[settings]\ncolour = "blue"\n')
    epoch = small.up()["epoch"]
    small.tenfold("down")
    (small.state / "map.json").unlink()
    assert small.up()["epoch"] > epoch


def test_a_damaged_map_is_named_with_what_to_do(small: Deployed) -> None:
    small.up()
    small.tenfold("down")
    (small.state / "map.json").write_text('{"epoch": 1')
    said = small.tenfold("up")
    assert said.code == 1
    assert "map.json is not a map" in said.err
    assert "remove the damaged file first" in said.err
    assert small.processes() == []


def test_run_stays_in_the_foreground_and_ends_with_zero_on_sigterm(small: Deployed) -> None:
    run = small.start("run")
    facts = until(lambda: found if (found := small.status())["state"] == "running" else None, "it runs")
    assert facts["keeper"]["pid"] == run.pid
    get(facts["address"], "/hello")
    run.send_signal(signal.SIGTERM)
    out, _err = run.communicate(timeout=60)
    assert run.returncode == 0
    assert "/hello" in out
    assert small.processes() == []


def test_run_ends_with_an_error_when_the_app_cannot_start(small: Deployed) -> None:
    small.spec(app="nowhere:app")
    said = small.tenfold("run")
    assert said.code == 1
    assert "nowhere" in said.out
    assert small.processes() == []


def test_run_beside_a_deployment_that_runs_is_refused(small: Deployed) -> None:
    small.up()
    said = small.tenfold("run")
    assert said.code == 1
    assert "small runs already." in said.err


def test_logs_show_what_the_processes_wrote(small: Deployed) -> None:
    address = small.up()["address"]
    get(address, "/look-at-me")
    until(lambda: "/look-at-me" in small.tenfold("logs", "web-1").out, "the access log has the request")
    assert "web-1      | " in small.tenfold("logs").out
    assert small.tenfold("logs", "web-1", "-n", "0").out == ""
    wrong = small.tenfold("logs", "web-9")
    assert wrong.code == 1
    assert "There are logs of" in wrong.err


def test_logs_follow_until_ctrl_c(small: Deployed) -> None:
    address = small.up()["address"]
    follow = small.start("logs", "web-1", "-f", "-n", "0")
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(follow.stdout.readline()))
    reader.start()
    deadline = time.monotonic() + 30
    while reader.is_alive() and time.monotonic() < deadline:  # it follows from when it has started
        get(address, "/followed")
        reader.join(0.2)
    follow.send_signal(signal.SIGINT)
    _out, err = follow.communicate(timeout=20)
    reader.join()
    assert "/followed" in lines[0]
    assert follow.returncode == 130
    assert "Traceback" not in err


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: acting as another user needs root")
def test_an_ordinary_user_is_told_that_the_state_folder_cannot_be_written(small: Deployed) -> None:
    small.root.chmod(0o755)
    for folder in small.root.parents:
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    script = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    probe = subprocess.run(
        [script, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True, text=True, check=True
    )
    if "True" not in probe.stdout:
        pytest.skip("not run: no interpreter that an ordinary user can execute")
    code = (
        "import sys; from pathlib import Path\n"
        f"sys.path[:0] = {[path for path in __import__('sys').path if 'src' in path]!r}\n"
        "from tenfold.core.files import private_dir\n"
        f"private_dir(Path({str(small.state)!r}))\n"
    )
    said = subprocess.run([script, "-c", code], capture_output=True, text=True, user=65534, group=65534, check=False)
    assert f"Cannot make the folder {small.state}: Permission denied." in said.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: mounting a small file system needs root")
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_up_on_a_disk_that_takes_nothing_says_so_and_leaves_nothing(small: Deployed, how: str) -> None:
    small.state.mkdir()
    size = "4k" if how == "full" else "16m,ro"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(small.state)], check=True)
    try:
        said = small.tenfold("up")
        assert said.code == 1
        assert ("No space left on device" if how == "full" else "Read-only file system") in said.err
        assert "Traceback" not in said.err
        assert small.processes() == []
    finally:
        subprocess.run(["umount", str(small.state)], check=True)
