"""The worker process on its own: its status, its maps, how it leaves, and what it does when it cannot work."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from webnode import APP, service
from workernode import a_map, worker

from tenfold.topology.map import ServerMap

FAKE = """
import signal
from serving import FakeRuntime
from tenfold.serve.asgi import TenfoldASGI

runtime = FakeRuntime()
seen = []
signal.signal(signal.SIGUSR1, lambda *_: setattr(runtime, "jobs", 0))

async def framework(scope, receive, send):
    assert scope["type"] == "lifespan"
    while True:
        message = await receive()
        runtime.jobs = 1 if message["type"] == "lifespan.startup" else 0
        print(message["type"], flush=True)
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return

app = TenfoldASGI(framework, runtime)
"""
REAL = """
from tenfold import Tenfold
tf = Tenfold("victim")
app = tf.asgi(None)
"""


def test_it_opens_the_service_says_how_it_is_and_finishes_its_jobs_before_it_leaves(tmp_path: Path) -> None:
    with worker(tmp_path, FAKE, a_map(tmp_path)) as made:
        status = made.until(ready=True)
        assert (status["node"], status["jobs"], status["works"], status["traffic"]) == ("worker-1", 1, True, "on")
        made.with_traffic("off")
        assert made.ask("map", epoch=made.map.epoch)["epoch"] == made.map.epoch
        assert made.ask("status")["traffic"] == "off"
        assert not made.ask("map", epoch=99)["ok"]
        made.ask("drain")
        status = made.until(draining=True)
        assert (status["ready"], status["works"], status["jobs"]) == (False, False, 1)
        assert "leaving" in status["reason"]
        made.process.send_signal(signal.SIGUSR1)
        assert made.exit_code() == 0
        said = made.errors.read_text()
        assert said.count("lifespan.startup") == said.count("lifespan.shutdown") == 1


def test_a_job_that_does_not_end_is_left_at_the_limit_and_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    with worker(tmp_path, FAKE, a_map(tmp_path, '[web]\ndrain_limit = "300ms"\n')) as made:
        made.until(ready=True)
        made.process.send_signal(signal.SIGTERM)
        assert made.exit_code() == 0
        assert "with 1 jobs running" in made.errors.read_text()
    with worker(tmp_path, FAKE, a_map(tmp_path)) as made:
        made.until(ready=True)
        made.process.send_signal(signal.SIGINT)
        made.until(draining=True)
        made.process.send_signal(signal.SIGINT)
        assert made.exit_code() == 0


def test_an_app_that_cannot_be_loaded_ends_with_3_and_its_reason(tmp_path: Path) -> None:
    with worker(tmp_path, "import nowhere_to_be_found\n", a_map(tmp_path)) as made:
        assert made.exit_code() == 3
        last = json.loads(made.errors.read_text().splitlines()[-1])
        assert "nowhere_to_be_found" in last["error"]["message"]


def test_a_worker_whose_database_is_away_stays_up_and_says_why(tmp_path: Path) -> None:
    secret = tmp_path / ".tenfold" / "secrets" / "database-web"
    secret.parent.mkdir(parents=True)
    secret.write_text("a secret\n")
    away = ServerMap("127.0.0.1", 1, "victim", "victim_web", "secrets/database-web", 16)
    with worker(
        tmp_path, REAL, a_map(tmp_path, '[database]\nhold = "200ms"\n', backend="postgres", server=away)
    ) as made:
        sentence = "The PostgreSQL database victim at 127.0.0.1:1 does not answer ([Errno 111] Connection refused)."
        assert made.until(reason=sentence)["ready"] is False
        made.process.send_signal(signal.SIGTERM)
        assert made.exit_code() == 0


def test_a_web_process_that_runs_jobs_finishes_them_before_it_leaves(tmp_path: Path) -> None:
    jobs = 'import signal\nsignal.signal(signal.SIGUSR1, lambda *_: setattr(runtime, "jobs", 0))\nruntime.jobs = 2\n'
    with service(tmp_path, APP + jobs) as made:
        node = made.start().until_ready()
        status = node.ask("status")
        assert (status["jobs"], status["works"]) == (2, True)
        node.ask("drain")
        status = node.ask("status")
        assert (status["jobs"], status["works"], status["draining"]) == (2, False, True)
        assert node.process.poll() is None
        node.process.send_signal(signal.SIGUSR1)
        assert node.exit_code() == 0
