"""The fields of a launch, also from records of before they were there."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

import pytest

from tenfold.core.errors import TenfoldError, UsageError
from tenfold.hosts import accounts
from tenfold.hosts.accounts import account_of, inherited
from tenfold.hosts.identity import Identity
from tenfold.hosts.records import Launch, Record, Records, launch_of

SERVER = Launch(
    "db-1", ("/bin/true",), "/", user="nobody", stop_signal="SIGINT", stage=2, owns="/data", leaves="/bin/sh"
)


def test_it_survives_the_wire_and_the_disk(tmp_path: Path) -> None:
    assert launch_of(json.loads(json.dumps(asdict(SERVER)))) == SERVER
    record = Record(SERVER, Identity(1, 2, "boot"))
    Records(tmp_path).write(record)
    assert Records(tmp_path).read_all() == [record]


def test_a_record_from_before_these_fields_is_read(tmp_path: Path) -> None:
    later = ("user", "stop_signal", "owns", "leaves")
    launch = {name: value for name, value in asdict(SERVER).items() if name not in later}
    (tmp_path / "db-1.json").write_text(json.dumps({"launch": launch, "process": None}))
    (record,) = Records(tmp_path).read_all()
    assert [getattr(record.launch, name) for name in later] == ["", "SIGTERM", "", ""]
    assert record.launch.stop_number == signal.SIGTERM


@pytest.mark.parametrize("name", ["SIGKILL", "SIGNOTHING", "15", ""])
def test_only_signals_that_ask_are_taken(name: str) -> None:
    with pytest.raises(UsageError, match="is stopped with one of SIGTERM, SIGINT, SIGQUIT"):
        Launch("db-1", ("x",), "/", stop_signal=name)


def test_who_leaves_a_program_running_says_where(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="balancer-1 leaves /bin/sh running: it must say in which folder"):
        Launch("balancer-1", ("x",), "/", leaves="/bin/sh")


def test_only_root_runs_processes_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert account_of("no-such-user-here") is None
    assert inherited("nobody") is os.environ
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert account_of("") is None
    found = account_of("nobody")
    assert found is not None
    assert found.uid != 0
    assert 0 not in found.groups
    with pytest.raises(TenfoldError, match="TF-SPAWN: There is no user 'no-such-user-here'"):
        account_of("no-such-user-here")


def test_another_user_sees_none_of_roots_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(accounts.os, "environ", {"PATH": "/bin", "API_TOKEN": "x", "LANG": "C"})
    assert inherited("nobody") == {"PATH": "/bin", "LANG": "C"}
    assert inherited("") == {"PATH": "/bin", "API_TOKEN": "x", "LANG": "C"}
