"""Place: the map on disk grows, is fenced, and follows tenfold.toml."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tenfold.control.changes import refuse_new_start
from tenfold.control.place import Place, next_map
from tenfold.core.errors import SpecError, UsageError
from tenfold.topology.diff import diff
from tenfold.topology.map import Map

SPEC = '[service]\nname = "small"\napp = "a:b"\n'


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "tenfold.toml").write_text(SPEC)
    made = Place(tmp_path)
    made.prepare()
    return made


def first(place: Place) -> Map:
    wanted = place.wanted(place.read_spec(), None)
    place.write_map(wanted)
    return wanted


def test_a_map_comes_back_as_it_was_written(place: Place) -> None:
    assert place.read_map() is None
    assert first(place) == place.read_map()
    assert place.map_file.stat().st_mode & 0o777 == 0o600


def test_an_unchanged_spec_keeps_the_epoch_and_a_changed_one_raises_it_by_one(place: Place) -> None:
    current = first(place)
    assert place.wanted(place.read_spec(), current) is current
    place.spec_file.write_text(SPEC + "[settings]\na = 1\n")
    assert place.wanted(place.read_spec(), current).epoch == current.epoch + 1


def test_one_and_true_are_different_settings(place: Place) -> None:
    place.spec_file.write_text(SPEC + "[settings]\na = 1\n")
    current = first(place)
    place.spec_file.write_text(SPEC + "[settings]\na = true\n")
    assert place.wanted(place.read_spec(), current).epoch == current.epoch + 1


def test_the_nodes_that_run_are_kept_whatever_their_names(place: Place) -> None:
    current = first(place)
    renamed = msgspec.structs.replace(current, nodes=(msgspec.structs.replace(current.nodes[0], name="web-2"),))
    assert place.wanted(place.read_spec(), renamed) is renamed


def test_a_map_is_never_replaced_by_an_older_or_another_one_of_its_epoch(place: Place) -> None:
    current = first(place)
    newer = next_map(current, msgspec.structs.replace(current, settings={"a": 1}))
    place.write_map(newer)
    place.write_map(newer)
    for stale in (current, msgspec.structs.replace(newer, settings={"a": 2})):
        with pytest.raises(UsageError, match="is not written"):
            place.write_map(stale)
    assert place.read_map() == newer


def test_a_lost_map_goes_on_above_the_highest_epoch_known(place: Place) -> None:
    assert place.wanted(place.read_spec(), None, after=41).epoch == 42


def test_host_and_port_of_the_command_line_win(place: Place) -> None:
    spec = Place(place.root, host="::", port=9000).read_spec()
    assert (spec.public.host, spec.public.port) == ("::", 9000)


def test_a_missing_spec_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"There is no .*tenfold\.toml") as raised:
        Place(tmp_path).read_spec()
    assert "tenfold new NAME" in raised.value.hint


def test_a_spec_that_is_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "tenfold.toml").mkdir()
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        Place(tmp_path).read_spec()


def test_changes_that_need_a_new_start_are_refused_by_name(place: Place) -> None:
    current = first(place)
    moved = msgspec.structs.replace(current, public=msgspec.structs.replace(current.public, port=1, host="::"))
    with pytest.raises(UsageError, match=r"public\.host, public\.port cannot change"):
        refuse_new_start(diff(current, moved).changes)
    refuse_new_start(diff(current, msgspec.structs.replace(current, settings={"a": 1})).changes)
