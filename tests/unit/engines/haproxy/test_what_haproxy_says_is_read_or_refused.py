"""Answers of the runtime API: read into facts, or refused with what was said."""

from __future__ import annotations

import pytest

from tenfold.engines.haproxy.runtime import (
    HaproxyRefusedError,
    ServerState,
    parse_info,
    parse_servers,
    parse_stats,
    refused,
    shown,
)

STATE_HEAD = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port\n"
)


def state(address: str = "127.0.0.1", running: int = 2, admin: int = 0, weight: int = 1, name: str = "-") -> str:
    return f"{STATE_HEAD}3 web 1 web-1 {address} {running} {admin} {weight} 1 9 6 3 4 6 0 0 0 {name} 9001 - 0 0 - - 0\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (state(), ServerState("web", "web-1", "127.0.0.1:9001", "ready", True, 1)),
        (state("::1"), ServerState("web", "web-1", "[::1]:9001", "ready", True, 1)),
        (state(name="db.example"), ServerState("web", "web-1", "db.example:9001", "ready", True, 1)),
        (state(running=0), ServerState("web", "web-1", "127.0.0.1:9001", "ready", False, 1)),
        (state(running=1), ServerState("web", "web-1", "127.0.0.1:9001", "ready", True, 1)),
        (state(running=3, admin=8), ServerState("web", "web-1", "127.0.0.1:9001", "drain", False, 1)),
        (state(admin=16), ServerState("web", "web-1", "127.0.0.1:9001", "drain", True, 1)),
        (state(admin=1), ServerState("web", "web-1", "127.0.0.1:9001", "maint", True, 1)),
        (state(admin=4), ServerState("web", "web-1", "127.0.0.1:9001", "maint", True, 1)),
        (state(admin=9, weight=7), ServerState("web", "web-1", "127.0.0.1:9001", "maint", True, 7)),
    ],
)
def test_the_state_of_a_server(text: str, expected: ServerState) -> None:
    assert parse_servers(text) == (expected,)


@pytest.mark.parametrize("text", ["", "Permission denied", "2\n# be_id", STATE_HEAD + "3 web 1 web-1 x 2\n", "1\nx\n"])
def test_another_answer_is_not_taken_for_a_state(text: str) -> None:
    with pytest.raises(HaproxyRefusedError, match="something else"):
        parse_servers(text)


STATS = (
    "# pxname,svname,qcur,scur,slim,stot,bin,bout,dreq,econ,eresp,wretr,wredis,status,weight,type,check_status,"
    "hrsp_5xx,req_tot,qtime,rtime,\n"
    "public,FRONTEND,,2,1000,9,10,20,3,,,,,OPEN,,0,,4,8,,,\n"
    "web,web-1,5,1,7,9,10,20,,1,2,3,4,UP,100,2,L7OK,6,,11,12,\n"
    "web,BACKEND,5,1,7,9,10,20,0,1,2,3,4,UP,100,1,,6,,11,12,\n\n"
)


def test_numbers_of_servers_and_proxies() -> None:
    stats = parse_stats(STATS)
    (server,) = stats.servers
    assert (server.name, server.status, server.current, server.queue, server.limit) == ("web-1", "UP", 1, 5, 7)
    assert (server.requests, server.answers_5xx, server.connect_errors, server.response_errors) == (9, 6, 1, 2)
    front, back = stats.frontend("public"), stats.backend("web")
    assert front is not None
    assert back is not None
    assert (front.requests, front.current, front.denied, front.queue) == (8, 2, 3, 0)
    assert (back.requests, back.queue) == (9, 5)
    assert stats.backend("public") is None
    assert stats.waiting == 10, "a backend's own queue is of those without a server"


@pytest.mark.parametrize("text", ["", "Permission denied", "# pxname,svname\nweb,web-1\n", STATS.replace(",9,", ",x,")])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(HaproxyRefusedError, match="something else"):
        parse_stats(text)


def test_facts_about_the_whole() -> None:
    text = (
        "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 7\nUptime_sec: 3\nCurrConns: 1\nMaxconn: 9\nCumReq: 5\n"
        "Stopping: 0\nTasks: 2\nIdle_pct: 99\n"
    )
    info = parse_info(text)
    assert (info.version, info.pid, info.stopping, info.requests) == ("2.6.12", 7, False, 5)
    assert parse_info(text.replace("Stopping: 0", "Stopping: 1")).stopping
    with pytest.raises(HaproxyRefusedError):
        parse_info(text.replace("Pid: 7\n", ""))


@pytest.mark.parametrize(
    ("command", "answer", "is_refused"),
    [
        ("add server web/a 1:1", "New server registered.\n", False),
        ("add server web/a 1:1", "Already exists a server with the same name in backend.\n", True),
        ("del server web/a", "Server deleted.\n", False),
        ("del server web/a", "Server still has connections attached to it, cannot remove it.\n", True),
        ("enable server web/a", "", False),
        ("enable server web/a", "No such server.\n", True),
        ("set server web/a addr 1 port 2", "IP changed from '1' to '2' by 'stats socket command'", False),
        ("set server web/a addr 1 port 2", "no need to change the addr, no need to change the port", False),
        ("set server web/a addr 1 port 2", "", True),
        ("set server web/a addr 1 port 2", "Invalid addr address or port", True),
    ],
)
def test_a_refusal_is_told_from_success(command: str, answer: str, is_refused: bool) -> None:
    assert refused(command, answer) is is_refused


def test_a_command_is_shown_without_its_options() -> None:
    assert shown("add server web/a 127.0.0.1:1 weight 1 check") == "add server web/a 127.0.0.1:1 weight"
