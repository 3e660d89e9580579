"""Migrations in two halves: what only adds before the new code runs, what takes away after the old code has left."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from migrating import Place, service

from tenfold.control import migrate as module
from tenfold.control.migrations.planning import Plan, TwoDeploys, in_phase
from tenfold.control.migrations.revisions import Revision
from tenfold.core.errors import UsageError
from tenfold.topology import map as maps
from tenfold.topology.spec import parse_spec


def plan_of(kinds: str) -> Plan:
    """A plan whose pending revisions have these kinds: "ec" expands, then contracts."""
    full = {"e": "expand", "c": "contract"}
    line = tuple(Revision(f"{at:04d}", "x", full[kind]) for at, kind in enumerate(kinds, 1))
    return Plan((1,), stamp=(Revision("0000", "x", "expand"),), apply=line, notes=("a note",))


@pytest.mark.parametrize("kinds", ["".join(row) for size in range(6) for row in itertools.product("ec", repeat=size)])
def test_the_halves_of_a_plan_are_the_whole_in_order_or_it_is_refused(kinds: str) -> None:
    whole = plan_of(kinds)
    if "ce" in kinds:
        with pytest.raises(TwoDeploys) as raised:
            in_phase(whole, "expand")
        first = kinds.index("c") + 1
        assert f"last revision is {first:04d}" in raised.value.hint
        return
    before = in_phase(whole, "expand")
    assert (before.own, before.stamp) == (whole.own, whole.stamp)
    assert all(revision.kind == "expand" for revision in before.apply)
    left = msgspec.structs.replace(whole, own=(), stamp=(), apply=whole.apply[len(before.apply) :])
    after = in_phase(left, "contract")
    assert all(revision.kind == "contract" for revision in after.apply)
    assert (*before.apply, *after.apply) == whole.apply
    assert before.left == after.apply, "who runs the first half knows whether there is a second"
    assert after.own == after.stamp == ()


def test_what_contracts_is_pending_only_when_there_is_such_a_revision() -> None:
    assert in_phase(plan_of("ee"), "contract").apply == ()
    assert [each.kind for each in in_phase(plan_of("ec"), "contract").apply] == ["expand", "contract"], "in order"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.write(2, "first")
    made.migrate(2)
    return made


def test_new_writes_what_is_added_and_what_goes_as_two_revisions(place: Place) -> None:
    """Version 3 adds a title; 4 takes the kind away and has longer codes."""
    assert place.write(4, "titles") == ["0002_titles.py", "0003_titles_what_goes.py"]
    files = sorted((place.root / "migrations" / "versions").glob("0*.py"))
    kinds = ['kind = "contract"' in path.read_text() for path in files]
    assert kinds == [False, False, True]
    before = place.migrate(4, phase="expand")
    assert before.applied == ("0002 (titles)",)
    place.sql("INSERT INTO links (code, url, kind, title, tf_bucket) VALUES ('c', 'https://example.com/', 'a', 't', 7)")
    assert not place.migrate(4, phase="expand").changes
    assert place.migrate(4, phase="contract", dry_run=True).applied == ("0003 (titles, what goes)",)
    assert place.migrate(4, phase="contract").applied == ("0003 (titles, what goes)",)
    assert place.sql("SELECT code, title FROM links") == [("c", "t")]
    assert not place.migrate(4).changes
    assert place.applied()[-2:] == [("0002", "expand"), ("0003", "contract")]


def test_older_code_starts_between_the_halves_and_says_why_it_cannot_after_them(place: Place) -> None:
    older = place.root / "older"
    shutil.copytree(place.root / "migrations", older / "migrations")
    place.write(4, "titles")
    place.migrate(4, phase="expand")

    def rolled_back(phase: str) -> bool:
        return module.migrate(service(2), older, place.path, phase=phase).changes

    assert not rolled_back("expand")
    assert not rolled_back("contract")
    place.migrate(4, phase="contract")
    with pytest.raises(UsageError, match="Revision 0003 of newer code has taken away what this code needs"):
        rolled_back("expand")


def test_code_from_before_the_first_revision_runs_until_something_is_taken_away(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.migrate(2)
    place.write(4, "titles")
    older = tmp_path / "older"
    older.mkdir()
    place.migrate(4, phase="expand")
    assert not module.migrate(service(2), older, place.path, phase="expand").changes
    place.migrate(4, phase="contract")
    with pytest.raises(UsageError, match="of newer code has taken away what this code needs"):
        module.migrate(service(2), older, place.path, phase="expand")


def test_a_revision_that_takes_away_before_one_that_adds_is_refused_and_nothing_is_done(place: Place) -> None:
    place.revision(2, "op.execute('SELECT 1')", more='kind = "contract"')
    place.revision(3, "op.execute('SELECT 1')")
    before = place.dump()
    with pytest.raises(TwoDeploys, match=r"Revision 0002 \(by hand\) takes away .* revision 0003 \(by hand\)"):
        place.migrate(2, phase="expand")
    assert place.dump() == before
    assert place.migrate(2).applied == ("0002 (by hand)", "0003 (by hand)"), "while nothing runs there is no such order"


def test_one_revision_that_takes_away_and_adds_what_the_new_code_needs_is_refused(place: Place) -> None:
    place.write(3, "titles")
    file = place.root / "migrations" / "versions" / "0002_titles.py"
    file.write_text(file.read_text().replace('kind = "expand"', 'kind = "contract"'))
    with pytest.raises(TwoDeploys, match=r"before it, column links\.title is missing") as raised:
        place.migrate(3, phase="expand")
    assert "Make it two revisions" in raised.value.hint
    assert place.migrate(3).applied == ("0002 (titles)",)


def test_without_revisions_tables_are_made_before_and_nothing_is_left_for_after(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.migrate(1, phase="expand").created == ("table links",)
    assert place.migrate(2, phase="contract").changes is False
    assert place.migrate(2, phase="expand").created == ("table users",)
    assert not place.migrate(1, phase="expand").changes, "more than older code knows is in nobody's way"


# A version's code, in a process of its own

APP = """
from tenfold import Column, Int64, Tenfold, home
tf = Tenfold("small")
import part
tf.table(part.NAME, Column("id", Int64, primary_key=True), home=home())
async def app_(scope, receive, send): pass
app = tf.asgi(app_)
"""


def deployment(root: Path) -> tuple[Path, maps.Map]:
    """A folder, a version v1 of other code, and the map."""
    version = root / ".tenfold" / "versions" / "v1"
    version.mkdir(parents=True)
    for folder, name in ((root, "of_folder"), (version, "of_version")):
        (folder / "small_app.py").write_text(APP)
        (folder / "part.py").write_text(f'NAME = "{name}"\n')
    spec = parse_spec('[service]\nname = "small"\napp = "small_app:app"\n')
    current = maps.map_of(spec, root=str(root), state=str(root / ".tenfold"), previous=None)
    (root / "map.json").write_bytes(maps.encode(current))
    return version, current


def ran(root: Path, *words: str) -> dict[str, object]:
    argv = [sys.executable, "-P", "-m", "tenfold.control.migrate", "--map", str(root / "map.json"), "--json", *words]
    environment = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, timeout=60)
    said = (done.stdout if done.returncode == 0 else done.stderr).splitlines()[-1]
    return dict(json.loads(said))


def test_a_versions_migration_runs_its_own_code_and_no_other(tmp_path: Path) -> None:
    version, _ = deployment(tmp_path)
    assert ran(tmp_path, "--version", "v1", "--phase", "expand")["created"] == ["table of_version"]
    assert ran(tmp_path)["created"] == ["table of_folder"]
    (version / "part.py").unlink()
    error = ran(tmp_path, "--version", "v1")["error"]
    assert "No module named 'part'" in str(error), "what a version lacks is not found in the folder"


def test_what_is_pending_is_told_and_not_done(tmp_path: Path) -> None:
    deployment(tmp_path)
    told = ran(tmp_path, "--version", "v1", "--phase", "expand", "--pending")
    assert told["pending"] is True
    assert "table of_version: would be created" in told["what"]
    assert not (tmp_path / ".tenfold" / "data").exists()
    assert ran(tmp_path, "--version", "v1", "--phase", "contract", "--pending") == {"pending": False, "what": []}
    ran(tmp_path, "--version", "v1", "--phase", "expand")
    assert ran(tmp_path, "--version", "v1", "--phase", "expand", "--pending") == {"pending": False, "what": []}
