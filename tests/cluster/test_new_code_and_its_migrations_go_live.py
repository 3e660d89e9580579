"""`tenfold deploy` and `rollback` on one server: migrations before and after, folders, wheels, restarts, kills."""

from __future__ import annotations

import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from deployed import Deployed
from tier import Clients, count_of, port_of, tier, until, until_stage, write_code


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Deployed]:
    with tier(tmp_path / "svc") as made:
        yield made


def change(made: Deployed, before: str, after: str) -> None:
    app = made.root / "small_app.py"
    assert before in app.read_text()
    app.write_text(app.read_text().replace(before, after))


def runs(made: Deployed) -> str:
    """The version that the one web server runs."""
    (node,) = [node for node in made.status()["nodes"] if node["ready"]]
    return str(node["version"])


def kept(made: Deployed) -> list[str]:
    return [version["id"] for version in made.tenfold("versions", "--json").facts()["versions"]]


def recorded(made: Deployed) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(made.state / "data" / "small.db")) as connection:
        rows = connection.execute("SELECT revision, kind FROM tf_schema WHERE component = 'small' ORDER BY seq")
        return rows.fetchall()[1:]  # before them, the tables that were made without a revision


def test_a_column_comes_and_another_goes_under_load_and_then_there_is_no_way_back(small: Deployed) -> None:
    write_code(small, "two")
    change(small, 'Column("text", Text(100))', 'Column("title", Text(100))')
    change(small, "id=id, text=text", "id=id, title=text")
    written = small.tenfold("migrate", "--new", "titles")
    assert written.code == 0, written
    names = [line.rpartition("/")[2] for line in written.out.splitlines() if line.startswith("Wrote")]
    assert names == ["0001_tables_as_they_were.py", "0002_titles.py", "0003_titles_what_goes.py"]
    with Clients(port_of(small)) as clients:
        said = small.tenfold("deploy", "--yes")
        assert said.code == 0, said
        until(lambda: clients.seen("two"), "the new code answers")
        assert recorded(small) == [("0001", "expand"), ("0002", "expand"), ("0003", "contract")]
        back = small.tenfold("rollback", "--yes")
        assert back.code == 1
        assert "has taken away what this code needs" in back.err
    assert clients.failed == []
    assert count_of(small) == len(clients.written) > 10
    assert (runs(small), kept(small)) == ("v2", ["v1", "v2"])


def test_a_migration_that_fails_undoes_the_deploy_and_names_the_revision(small: Deployed) -> None:
    write_code(small, "two")
    small.tenfold("migrate", "--new", "first")
    (first,) = (small.root / "migrations" / "versions").glob("0001*.py")
    assert "revision 0001 (first): was there already, recorded" in small.tenfold("migrate").out
    bad = first.with_name("0002_bad.py")
    bad.write_text(
        '"""bad"""\nfrom alembic import op\n\nrevision = "0002"\ndown_revision = "0001"\n\n'
        'def upgrade():\n    op.execute("SELECT * FROM nowhere")\n'
    )
    with Clients(port_of(small)) as clients:
        said = small.tenfold("deploy", "--yes")
    assert said.code == 1
    assert "Revision 0002 (bad) failed and was rolled back" in said.err
    assert (clients.failed, clients.seen("two")) == ([], False)
    assert (runs(small), kept(small)) == ("v1", ["v1"])
    fine = bad.read_text().replace("SELECT * FROM nowhere", "SELECT 1")
    bad.write_text(fine.replace('revision = "0002"', 'kind = "contract"\nrevision = "0002"'))
    first.with_name("0003_late.py").write_text(fine.replace("0002", "0003").replace("0001", "0002"))
    refused = small.tenfold("deploy", "--yes")
    assert refused.code == 1
    assert "Revision 0002 (bad) takes away what the running code may use" in refused.err
    assert "Deploy twice: first the code whose last revision is 0002, then this." in refused.err


def test_other_folders_and_wheels_are_deployed_and_a_rollback_outlives_a_restart(
    small: Deployed, tmp_path: Path
) -> None:
    before = (small.root / "small_app.py").read_text()
    other = tmp_path / "other"
    other.mkdir()
    (other / "small_app.py").write_text(before.replace("'one'", "'folder'"))
    assert small.tenfold("deploy", str(other), "--yes").code == 0
    wheel = tmp_path / "small-2.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("small_app.py", before.replace("'one'", "'wheel'"))
        archive.writestr("small-2.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 2.0\n")
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr("small-2.0.dist-info/WHEEL", tags)
        archive.writestr("small-2.0.dist-info/RECORD", "small_app.py,,\n")
    with Clients(port_of(small)) as clients:
        said = small.tenfold("deploy", str(wheel), "--yes")
        assert said.code == 0, said
        until(lambda: clients.seen("wheel"), "the wheel answers")
        assert small.tenfold("rollback", "v2", "--yes").code == 0
        until(lambda: clients.seen("folder"), "the older version answers")
    assert clients.failed == []
    assert (runs(small), kept(small)) == ("v2", ["v1", "v2", "v3"])
    shown = small.tenfold("versions").out
    assert f" * v2 {'':<5}" in shown
    assert str(wheel) in shown
    for wrong, says in (
        (["deploy", str(tmp_path / "nowhere")], "No such file"),
        (["deploy", str(small.state)], "is the state of this deployment"),
        (["rollback", "v9"], "There is no version v9."),
        (["deploy", str(wheel.with_suffix(".txt"))], "No such file"),
    ):
        said = small.tenfold(*wrong, "--yes")
        assert (said.code, says in said.err) == (1, True), said
    shutil.copytree(other, tmp_path / "till")
    (tmp_path / "till" / "tenfold.toml").write_text('[service]\nname = "till"\napp = "small_app:app"\n')
    assert (
        "is the service 'till', and this deployment runs 'small'" in small.tenfold("deploy", str(tmp_path / "till")).err
    )


def test_a_restart_runs_the_folder_when_it_has_changed_and_what_ran_when_it_has_not(small: Deployed) -> None:
    write_code(small, "two")
    assert small.tenfold("deploy", "--yes").code == 0
    assert small.tenfold("rollback", "--yes").code == 0
    small.tenfold("down")
    small.up()
    assert runs(small) == "v1", "a rollback outlives a restart"
    small.tenfold("down")
    write_code(small, "three")
    small.up()
    assert (runs(small), kept(small)) == ("v3", ["v1", "v2", "v3"])


def test_a_command_that_is_killed_changes_nothing_and_the_same_one_follows_again(small: Deployed) -> None:
    write_code(small, "two")
    first = small.start("deploy", "--yes")
    until_stage(small, "settle")
    first.kill()
    first.communicate()
    refused = small.tenfold("rollback", "--yes")
    assert (refused.code, "The move change_nodes is open" in refused.err) == (1, True)
    again = small.tenfold("deploy", "--yes")
    assert again.code == 0, again
    assert "Following it." in again.err
    assert "This code is version v2, which runs already." in again.out
    assert runs(small) == "v2"
