"""What a command asks for, what it is told, and what the mover's context refuses; without processes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tenfold.control.changes import refuse_other_server
from tenfold.control.place import Place
from tenfold.control.telling import move_open, refuse_abort
from tenfold.control.words import end_words, plan_words, progress_words, took_words
from tenfold.core.errors import SpecError, UsageError
from tenfold.moves.base import State
from tenfold.topology.map import Map, ServerMap, map_of
from tenfold.topology.spec import parse_spec
from tenfold.topology.steps import step_of
from tenfold.topology.wants import Wants

ONE = map_of(
    parse_spec('[service]\nname = "shop"\napp = "shop.app:app"\n'), root="/srv", state="/srv/.tenfold", previous=None
)
SERVER = ServerMap("127.0.0.1", 5432, "shop", "shop_web", "secrets/database-web", 16)


def on_server(*, way_back: bool) -> Map:
    database = msgspec.structs.replace(ONE.database, backend="postgres", server=SERVER, way_back=way_back)
    moved = msgspec.structs.replace(ONE, database=database)
    return msgspec.structs.replace(moved, step=step_of(moved))


FOREIGN_SERVER = msgspec.structs.replace(SERVER, supervised=False)


TWO, FINAL = on_server(way_back=True), on_server(way_back=False)
FOREIGN = msgspec.structs.replace(TWO, database=msgspec.structs.replace(TWO.database, server=FOREIGN_SERVER))


STAGES = ("a", "b", "c")


@pytest.mark.parametrize(
    ("begun", "done", "back", "late"),
    [
        ((), (), False, False),
        (("a",), (), False, False),
        (("a", "b"), ("a",), False, True),
        (("a", "b"), ("a",), True, False),
        (("a", "b"), ("a", "b"), False, True),
        (STAGES, STAGES, False, True),
    ],
)
def test_an_abort_is_refused_from_the_decision_on(
    begun: tuple[str, ...], done: tuple[str, ...], back: bool, late: bool
) -> None:
    state = State(id="m", move="m", stages=STAGES, no_return="b", begun=begun, done=done, back=back)
    if late:
        with pytest.raises(UsageError) as caught:
            refuse_abort(state)
        assert caught.value.code == "TF-NO-RETURN"
    else:
        refuse_abort(state)
    assert "nothing else is changed meanwhile" in move_open(state).message


def test_progress_is_one_line_with_rows_rate_and_time_left() -> None:
    move = {"move": "copy_to_postgres", "stage": "copy", "back": False, "problem": None}
    progress = {"stage": "copy", "doing": "Copying links", "done": 1000, "total": 3000, "unit": "rows", "rate": 500.0}
    assert progress_words({**move, "progress": {**progress, "left_s": 4.0}}) == (
        "copy: Copying links  1,000 rows of 3,000 rows, 500 rows/s, 4 s left"
    )
    assert progress_words({**move, "progress": {**progress, "unit": "bytes", "left_s": None}}) == (
        "copy: Copying links  1000B of 2.9KB, 500B/s"
    )
    assert progress_words({**move, "back": True, "progress": None}) == "undoing copy: begins"
    problem = {"message": "It broke."}
    assert progress_words({**move, "problem": problem, "progress": {}}).endswith("started again: It broke.")


def test_how_a_move_ended() -> None:
    move = {"move": "copy", "took_s": 2.53, "facts": {"rows": 25, "held_ms": 90.4}, "result": "finished", "reason": ""}
    assert end_words(move) == "The move copy is finished: 2.5 s, 25 rows, writes were held for 90.4 ms."
    undone = {**move, "result": "undone", "reason": "It was aborted."}
    assert end_words(undone).endswith("everything is as it was before. It was aborted.")
    told = ["-", "0 ms", "35 ms", "1 s", "2.5 s", "99.9 s", "1 min 40 s", "59 min 59 s", "1 h 2 min"]
    taken = (None, 0.0, 0.0346, 1.0, 2.53, 99.94, 100, 3599.4, 3725.0)
    assert [took_words(seconds) for seconds in taken] == told


def test_an_empty_plan_says_so() -> None:
    plan = {"service": "shop", "step": 1, "to_step": 1, "open": None, "changes": [], "moves": [], "empty": True}
    assert plan_words(plan) == ["shop is on step 1.", "Nothing is to do."]
    changed = plan_words({**plan, "changes": ["web.metrics: x becomes y"], "empty": False})
    assert "tenfold up" in changed[2]


def test_wants_are_kept_beside_the_map(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.prepare()
    assert place.read_wants() is None
    place.write_wants(Wants("postgres"))
    assert place.read_wants() == Wants("postgres")
    assert place.wants_file.stat().st_mode & 0o777 == 0o600


def test_a_map_is_changed_under_its_lock_and_only_when_it_differs(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.prepare()
    with pytest.raises(SpecError, match="There is no map"):
        place.change_map(lambda current: current)
    place.write_map(ONE)
    assert place.change_map(lambda current: current) == ONE
    moved = place.change_map(lambda _current: TWO)
    assert moved == msgspec.structs.replace(TWO, epoch=ONE.epoch + 1)
    assert place.read_map() == moved

    def fails(_current: Map) -> Map:
        raise UsageError("No.")

    with pytest.raises(UsageError):
        place.change_map(fails)
    assert place.change_map(lambda _current: ONE).epoch == moved.epoch + 1


@pytest.mark.parametrize(
    ("current", "url", "refused"),
    [
        (ONE, "postgresql://me@elsewhere/shop", False),
        (TWO, None, False),
        (TWO, "postgresql://me@127.0.0.1:5432/shop", True),  # that one is Tenfold's own
        (FOREIGN, "postgresql://me:x@127.0.0.1:5432/shop?sslmode=disable", False),
        (FOREIGN, None, False),
        (FOREIGN, "postgresql://me:hunter2@elsewhere:5432/shop", True),
        (FOREIGN, "postgresql://me:hunter2@127.0.0.1:5432/other", True),
    ],
)
def test_another_server_in_the_spec_is_refused_where_the_data_is_on_one(
    current: Map, url: str | None, refused: bool
) -> None:
    spec = parse_spec(
        '[service]\nname = "shop"\napp = "shop.app:app"\n' + (f'[database]\nurl = "{url}"\n' if url else "")
    )
    if not refused:
        refuse_other_server(spec, current)
        return
    with pytest.raises(UsageError) as caught:
        refuse_other_server(spec, current)
    assert "hunter2" not in str(caught.value)
