"""The folder of a balancer: generations, and what is kept of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tenfold.core.errors import TenfoldError
from tenfold.serve.balancer.folder import Folder
from tenfold.serve.balancer.launch import balancer_launch, folder_of
from tenfold.topology.map import Map, map_of
from tenfold.topology.spec import parse_spec


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "balancer-1")


def a_map(tmp_path: Path) -> Map:
    spec = parse_spec('[service]\nname = "small"\napp = "small:app"\n', "tenfold.toml")
    return map_of(spec, root=str(tmp_path), state=str(tmp_path / ".tenfold"), previous=None)


def test_a_number_is_above_all_that_left_a_trace(folder: Folder) -> None:
    assert folder.next_generation() == 1
    folder.save_config(3, "three")
    (folder.path / "admin-7.sock").touch()
    folder.save_candidate("not counted")
    assert folder.next_generation() == 8
    folder.forget_all_but([3])
    assert sorted(path.name for path in folder.path.iterdir()) == ["candidate.cfg", "haproxy-3.cfg"]
    assert folder.next_generation() == 4


def test_configurations_are_private_and_whole(folder: Folder) -> None:
    folder.save_config(1, "one")
    assert folder.config(1).stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.read_config(1) == "one"
    assert folder.read_config(2) == ""


def test_the_map_that_was_accepted_is_known_and_a_damaged_one_is_none(folder: Folder, tmp_path: Path) -> None:
    assert folder.accepted() is None
    folder.save_accepted(a_map(tmp_path))
    assert folder.accepted() == a_map(tmp_path)
    (folder.path / "accepted.json").write_text('{"epoch": 1')
    assert folder.accepted() is None


def test_its_socket_has_a_short_name_for_us_in_the_deepest_folder(tmp_path: Path) -> None:
    deep = Folder(tmp_path.joinpath(*["a-very-long-name-of-a-folder"] * 6))
    assert len(deep.admin_path(12)) < 60
    (deep.path / deep.admin(12)).write_text("the same file")
    assert Path(deep.admin_path(12)).read_text() == "the same file"
    deep.close()


def test_programs_that_work_there_are_known_by_the_configuration_that_they_were_started_with(folder: Folder) -> None:
    code = "import time; print('up', flush=True); time.sleep(600)"
    words = [["-f", "haproxy-5.cfg"], ["-c", "-f", "candidate.cfg"], ["haproxy-6.cfg"]]
    places = [folder.path, folder.path, folder.path.parent]
    running = [
        subprocess.Popen([sys.executable, "-c", code, *argv], cwd=place, stdout=subprocess.PIPE)
        for argv, place in zip(words, places, strict=True)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
        found = folder.running(os.path.realpath(sys.executable))
        assert {generation: identity.pid for generation, identity in found.items()} == {5: running[0].pid}
    finally:
        for process in running:
            process.kill()
            process.communicate()


def test_a_folder_that_cannot_be_written_is_an_error_in_one_sentence(folder: Folder) -> None:
    (folder.path / "haproxy-1.cfg").mkdir()
    with pytest.raises(TenfoldError, match="Cannot write"):
        folder.save_config(1, "one")


def test_the_keeper_is_told_what_the_balancer_leaves_and_where(tmp_path: Path) -> None:
    current = a_map(tmp_path)
    launch = balancer_launch(current, "balancer-2", map_file=tmp_path / "map.json", haproxy="/usr/sbin/haproxy")
    assert (launch.leaves, launch.owns) == (
        "/usr/sbin/haproxy",
        str(folder_of(Path(current.state), "balancer-2")),
    )
    assert launch.listener
    assert launch.map
    assert launch.socket
    assert launch.grace_s > current.web.drain_limit_s
    assert launch.stage == 1
