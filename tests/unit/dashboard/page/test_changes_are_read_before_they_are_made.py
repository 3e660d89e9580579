"""The ladder, plans, moves, faults and load: every change is read first, named, and sent once."""

from __future__ import annotations

from typing import Any

import page_scenes as scenes
import pytest
from browsing import Browser
from page_looking import look, look_of, until
from page_server import PageServer

TITLE = "document.getElementById('plan-title')?.textContent"
OPEN = "document.getElementById('plan').open"


def click(page: Browser, selector: str) -> None:
    """Clicks what is there at this moment, although it may be drawn anew at any time."""
    until(page, look_of("click"), selector)


def sent(server: PageServer, path: str) -> list[Any]:
    """What was posted there."""
    return [body for posted, body in server.posted if posted == path]


def test_a_climb_shows_its_plan_and_then_is_made(page: Browser, server: PageServer) -> None:
    click(page, "[data-key=climb]")
    until(page, "document.querySelectorAll('#plan .planned li').length > 10")
    said = page.text("#plan")
    assert "Climb to step 2" in said
    assert "52,000 rows (18.4 MB)" in said.replace("\u00a0", " ")
    assert "the point of no return" in said
    assert sent(server, "/api/do") == [], "nothing is done before it was read"
    assert page.script("return document.activeElement.textContent") == "Cancel", "Enter alone changes nothing"
    click(page, "#plan-go")
    until(page, f"!{OPEN}")
    assert sent(server, "/api/plan") == sent(server, "/api/do") == [{"to": "climb", "step": 2}]


def test_a_rung_says_what_its_step_would_bring_here(page: Browser, server: PageServer) -> None:
    server.ladder = scenes.ladder(2)
    look(page, server)
    until(page, "document.querySelector('.rung.next .brings')")
    said = page.text(".rung.next")
    assert "What it would bring here now" in said
    assert "no web server is full." in said
    assert "web-1 uses 41 % of the one core that it can use, at 310 requests/s." in said
    click(page, "#language")
    until(page, "document.documentElement.lang === 'ko'")
    until(page, "document.querySelector('.rung.next .brings').textContent.includes('코어의 41 %를 씁니다')")
    click(page, "#language")
    server.ladder = scenes.ladder(1)
    server.tell_of_a_move()
    until(page, "document.querySelector('.rung.later details .brings')")


def test_the_steps_that_nobody_can_take_yet_are_one_line_until_it_is_unfolded(
    page: Browser, server: PageServer
) -> None:
    drawn = "document.querySelector('.rung.here').getBoundingClientRect().bottom < innerHeight"
    assert page.script(f"return {drawn}"), "where we are is seen without scrolling"
    assert page.text("[data-key=head-later]").split("\n")[1:] == ["steps 4 to 11", "later"]
    assert not page.shows("[data-key=head-11]")
    click(page, "[data-key=head-later]")
    until(page, "document.querySelector('[data-key=steps-later]').open")
    click(page, "[data-key=head-11]")
    assert page.shows("[data-key=step-11] .promise")
    page.script("document.querySelector('[data-key=head-11]').focus()")
    server.ladder = scenes.ladder(2)
    server.tell_of_a_move()
    until(page, "document.querySelector('.rung.here .number').textContent === '2'")
    assert page.shows("[data-key=step-11] .promise"), "it stays unfolded when the ladder is drawn anew"
    assert page.script("return document.activeElement.dataset.key") == "head-11"


def test_a_plan_can_be_left(page: Browser, server: PageServer) -> None:
    click(page, "[data-key=climb]")
    until(page, "document.getElementById('plan-go')")
    page.press("escape")
    until(page, f"!{OPEN}")
    assert sent(server, "/api/do") == []


@pytest.mark.parametrize(
    ("language", "said", "verb"),
    [
        ("en", "The SQLite file is put aside.", "Give the way back up"),
        ("ko", "SQLite 파일을 따로 둡니다.", "돌아갈 길 없애기"),
    ],
)
def test_what_is_destroyed_is_named(page: Browser, server: PageServer, language: str, said: str, verb: str) -> None:
    gone = {"move": "drop_way_back", "stage": "archive", "says": "The SQLite file is put aside."}
    server.ladder, server.lang = scenes.ladder(2), language
    server.picture = scenes.on_a_database()
    server.posts["/api/plan"] = lambda body: (200, scenes.plan(body["to"], destroys=(gone,)))
    look(page, server)
    click(page, "[data-key=finalize]")
    until(page, "document.querySelector('.destroys')")
    assert said in page.text(".destroys")
    assert page.attribute("#plan-go", "class") == "danger"
    assert page.text("#plan-go") == verb


@pytest.mark.parametrize(
    ("key", "wish"),
    [("descend", {"to": "descend", "step": 2}), ("deploy", {"to": "deploy"}), ("rollback", {"to": "rollback"})],
)
def test_each_button_sends_its_wish(page: Browser, server: PageServer, key: str, wish: dict[str, Any]) -> None:
    server.ladder = scenes.ladder(3)
    server.picture = scenes.balanced()
    look(page, server)
    click(page, f"[data-key={key}]")
    click(page, "#plan-go")
    until(page, f"!{OPEN}")
    assert sent(server, "/api/do") == [wish]


def test_scaling_sends_the_numbers_that_were_chosen(page: Browser, server: PageServer) -> None:
    server.ladder = scenes.ladder(3, web=3, workers=1)
    look(page, server)
    until(page, "document.getElementById('scale-web').value === '3'")
    assert page.property("[data-key=scale]", "disabled")
    click(page, "[data-key=scale-web1]")
    click(page, "[data-key=scale-web1]")
    click(page, "[data-key=scale]")
    click(page, "#plan-go")
    until(page, f"!{OPEN}")
    assert sent(server, "/api/do") == [{"to": "scale", "web": 5, "worker": 1}]


def test_numbers_that_nobody_chose_follow_the_deployment(page: Browser, server: PageServer) -> None:
    until(page, "document.getElementById('scale-web').value === '1'")
    server.ladder = scenes.ladder(3, web=2)
    server.tell_of_a_move()
    until(page, "document.getElementById('scale-web').value === '2'")
    click(page, "[data-key=scale-web1]")
    server.ladder = scenes.ladder(3, web=4)
    server.tell_of_a_move()
    until(page, "document.querySelector('.rung.here .number').textContent === '3'")
    chosen = page.script("return document.getElementById('scale-web').value")  # at once: the card may be drawn anew
    assert chosen == "3", "what was chosen stays"


def test_a_refusal_is_shown_with_what_to_do_next(page: Browser, server: PageServer) -> None:
    told = {"detail": "PostgreSQL is not installed.", "hint": "Run `tenfold doctor`.", "code": "TF-ENGINE-MISSING"}
    server.posts["/api/plan"] = lambda body: (409, told)
    click(page, "[data-key=climb]")
    until(page, "document.querySelector('#plan .problem')")
    for part in told.values():
        assert part in page.text("#plan .problem")
    assert not page.script("return document.getElementById('plan-go')")
    assert any("409" in each for each in page.complaints())


def test_a_page_of_an_earlier_start_fetches_its_token_anew(page: Browser, server: PageServer) -> None:
    server.token = "token-2"
    click(page, "[data-key=climb]")
    until(page, "document.getElementById('plan-go')")
    assert sent(server, "/api/plan") == [{"to": "climb", "step": 2}]
    assert any("403" in each for each in page.complaints())


def test_while_a_move_runs_its_stages_are_seen_and_nothing_else_begins(page: Browser, server: PageServer) -> None:
    server.show(scenes.moving("copy"))
    until(page, "!document.getElementById('move').hidden")
    assert "18,300 of 52,000 rows" in page.text("#move")
    assert page.script("return document.querySelectorAll('.stage.done').length") == 4
    assert page.text(".stage.now").startswith("Copies the rows")
    until(page, "document.querySelector('[data-key=climb]').disabled")
    server.show(scenes.moving("hold"))
    until(page, "document.querySelector('.stage.now').textContent.startsWith('New writes wait')")
    assert "Writes held 38" in page.text("#move .held")
    server.show(scenes.on_a_database())
    until(page, "document.getElementById('move').hidden")


def test_an_abort_is_confirmed(page: Browser, server: PageServer) -> None:
    server.show(scenes.moving("copy"))
    click(page, "#abort")
    until(page, f"({TITLE} ?? '').startsWith('Abort')")
    assert "as it was before" in page.text("#plan")
    click(page, "#plan .danger")
    until(page, f"!{OPEN}")
    assert sent(server, "/api/do") == [{"to": "abort"}]


def test_a_fault_is_named_before_it_is_made(page: Browser, server: PageServer) -> None:
    server.show(scenes.balanced())
    click(page, "[data-node=web-2]")
    click(page, "#node [data-fault=pause]")
    until(page, f"({TITLE} ?? '').includes('web-2')")
    assert "stands still for 10 s" in page.text("#plan")
    assert sent(server, "/api/break") == []
    click(page, "#plan .danger")
    until(page, f"!{OPEN}")
    assert page.script("return !document.getElementById('node').open"), "the picture is where it is seen"
    assert sent(server, "/api/break") == [{"node": "web-2", "how": "pause", "for_s": 10}]
    until(page, "document.getElementById('notice').textContent === 'web-2: it stood still'")


def test_the_haproxy_of_a_balancer_is_broken_apart_from_its_balancer(page: Browser, server: PageServer) -> None:
    server.show(scenes.balanced())
    click(page, "[data-node=balancer-2]")
    assert "balancer-2 leads haproxy-2" in page.text("#node .faults")
    for how in ("kill", "pause"):
        assert page.shows(f"[data-victim=haproxy-2][data-fault={how}]")
    click(page, "[data-victim=haproxy-2][data-fault=kill]")
    until(page, f"({TITLE} ?? '').includes('haproxy-2')")
    assert "The process 4722 of haproxy-2 is killed" in page.text("#plan")
    click(page, "#plan .danger")
    until(page, f"!{OPEN}")
    assert sent(server, "/api/break") == [{"node": "haproxy-2", "how": "kill", "for_s": 10}]


def test_a_node_shows_its_figures_and_its_log(page: Browser, server: PageServer) -> None:
    server.show(scenes.ailing())
    click(page, "[data-node=web-2]")
    until(page, "document.querySelector('#node .log')?.textContent.includes('ready')")
    said = page.text("#node").replace("\u00a0", " ")
    assert "ill: It did not reach the database within 2 s." in said
    assert "71 MB" in said
    assert "93 %" in said


def test_the_load_is_sent_when_the_slider_rests(page: Browser, server: PageServer) -> None:
    for place in (3, 5, 6):
        page.script(look_of("slide"), place)
    until(page, "document.querySelector('.load output').textContent === '50/s'")
    while not sent(server, "/api/load"):
        until(page, "true")
    assert len(sent(server, "/api/load")) == 1, "one wish, not one for each place on the way"
    assert sent(server, "/api/load")[0]["seconds"] == 60
    server.show(scenes.moving())
    until(page, "document.querySelector('.load [role=status]').textContent.includes('120/s')")
    click(page, ".load button")
    until(page, "document.getElementById('load-rate').value === '0'")


def test_a_page_that_may_only_look_has_nothing_to_press(page: Browser, server: PageServer) -> None:
    server.mode = "read-only"
    server.ladder = scenes.ladder(2, mode="read-only")
    server.picture = scenes.moving()
    look(page, server)
    until(page, "document.getElementById('more').textContent.includes('may only look')")
    for key in ("climb", "descend", "scale", "deploy", "rollback", "finalize"):
        assert not page.script("return document.querySelector(`[data-key=${arguments[0]}]`)", key)
    assert not page.script("return document.getElementById('abort') ?? document.querySelector('#load input')")
    click(page, "[data-node=web-1]")
    until(page, "document.getElementById('node').open")
    assert not page.script("return document.querySelector('[data-fault]')")


def test_the_advice_is_said_in_the_language_of_the_page_where_that_is_known(page: Browser, server: PageServer) -> None:
    assert "Stay: the fullest part is at 41 %." in page.text("#advice")
    assert page.script("return document.querySelectorAll('.pressures li').length") == 3


def test_what_an_advice_names_can_be_planned_from_it(page: Browser, server: PageServer) -> None:
    advice = server.ladder["advice"] | {"verdict": "scale", "command": "tenfold scale web=4"}
    server.ladder = {**scenes.ladder(3), "advice": advice}
    look(page, server)
    click(page, "[data-key=follow]")
    until(page, "document.getElementById('plan-go')")
    assert sent(server, "/api/plan") == [{"to": "scale", "web": 4}]


def test_history_requests_proofs_and_figures_are_shown(page: Browser, server: PageServer) -> None:
    click(page, "#tab-history")
    until(page, "document.getElementById('panel-history').textContent.includes('It was aborted.')")
    assert "42\u00a0ms" in page.script("return document.getElementById('panel-history').textContent")
    click(page, "#tab-requests")
    until(page, "document.querySelectorAll('#panel-requests .spent').length === 3")
    said = page.script("return document.getElementById('panel-requests').textContent").replace("\u00a0", " ")
    assert "gate 38 ms · database 22 ms · cache 0.5 ms · the service 18 ms · 3 queries · 1 replay" in said
    click(page, "#tab-proofs")
    until(page, "document.querySelector('#panel-proofs a')")
    assert page.attribute("#panel-proofs a", "href") == "/proofs/2026-11-22T01-00-00/report.html"
    click(page, "#tab-figures")
    until(page, "document.querySelectorAll('#panel-figures .uplot canvas').length >= 5")
    assert "p99 " in page.attribute(".plot:nth-child(3)", "aria-label")


REPORT = """<!doctype html><title>Proof</title><p id=said>A report.</p><script>
let reached = "the page";
try { parent.document.title; } catch { reached = "nobody"; }
document.getElementById("said").textContent = `It runs and reaches ${reached}.`;
</script>"""


def test_the_report_of_a_proof_opens_in_the_page_and_reaches_nothing_of_it(page: Browser, server: PageServer) -> None:
    server.report = REPORT
    click(page, "#tab-proofs")
    click(page, "[data-key='report-2026-11-22T01-00-00']")
    until(page, "document.getElementById('report').open")
    assert page.label("#report").startswith("Proof of ")
    page.say("frame", id=0)
    assert page.text("#said") == "It runs and reaches nobody."
    page.say("frame", id=None)
    page.press("escape")
    until(page, "!document.querySelector('#report iframe')")
    assert not page.script("return document.getElementById('report').open")
