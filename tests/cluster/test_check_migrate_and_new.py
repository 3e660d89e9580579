"""`tenfold new`, `check` and `migrate` as a person uses them, with the service running and without."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import COMMAND, Deployed, Said, deployed

SMALLER = ', Column("text", Text(100))'
LARGER = ', Column("text", Text(100)), Column("title", Text(50))'


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path / "svc") as made:
        yield made


def tenfold(folder: Path, *words: str) -> Said:
    done = subprocess.run([*COMMAND, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def change(small: Deployed, before: str, after: str) -> None:
    app = small.root / "small_app.py"
    assert before in app.read_text()
    app.write_text(app.read_text().replace(before, after))


# new


def test_a_new_service_keeps_the_contract_passes_its_tests_and_runs(tmp_path: Path) -> None:
    made = tenfold(tmp_path, "new", "my-notes")
    assert made.code == 0, made
    root = tmp_path / "my-notes"
    assert f"cd {root.name}" in made.out
    assert (root / ".gitignore").read_text().splitlines()[0] == ".tenfold/"
    check = tenfold(root, "check")
    assert (check.code, check.out.splitlines()[-1]) == (0, "The contract is kept.")
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error"], cwd=root, capture_output=True, text=True, check=False
    )
    assert tests.returncode == 0, tests.stdout
    assert "3 passed" in tests.stdout
    spec = root / "tenfold.toml"
    spec.write_text(spec.read_text().replace("8000", "0"))
    up = json.loads(tenfold(root, "up", "--json").out)
    try:
        note = urllib.request.Request(f"{up['address']}/notes", data=b"hello")
        with urllib.request.urlopen(note, timeout=20) as answer:
            where = answer.headers["location"]
        with urllib.request.urlopen(f"{up['address']}{where}", timeout=20) as answer:
            assert answer.read() == b"hello"
    finally:
        assert tenfold(root, "down").code == 0


@pytest.mark.parametrize(
    "name", ["Notes", "1st", "-x", "a_b", "notes-", "x" * 32, "json", "class", "tenfold", "tests", ""]
)
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    said = tenfold(tmp_path, "new", "--", name)
    assert said.code == 1
    assert "cannot be the name of a service" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    said = tenfold(tmp_path, "new", "notes")
    assert said.code == 1
    assert "exists already" in said.err
    assert list((tmp_path / "notes").iterdir()) == []


def test_the_facts_of_a_new_service_are_json_when_asked(tmp_path: Path) -> None:
    facts = tenfold(tmp_path, "new", "notes", "--json").facts()
    assert facts["root"] == str(tmp_path / "notes")
    assert "notes/app.py" in facts["files"]


# check


def test_check_lists_tables_statements_and_transactions(small: Deployed) -> None:
    found = small.tenfold("check", "--json").facts()
    assert found["tables"] == [{"name": "notes", "home": "home()", "plain": False}]
    assert found["transactions"] == [{"name": "small_app.add", "key": [], "isolation": "serializable"}]
    by_name = {each["name"]: each["runs_in"] for each in found["statements"]}
    assert by_name["small_app.ADD"] == ["a transaction without a key"]
    assert "a read scope without a key" in by_name["small_app.COUNT"]
    assert found["breaches"] == []
    assert not small.state.exists(), "check starts and writes nothing"


def test_check_tells_what_will_be_felt_later(small: Deployed) -> None:
    change(
        small,
        "async def app_(",
        '@tf.database.transaction(key=("a", "b"), isolation="snapshot")\n'
        "async def move(tx, a, b):\n    pass\n\nasync def app_(",
    )
    said = small.tenfold("check")
    assert said.code == 0, said
    assert "notes stays on one shard for ever" in said.out
    assert "small_app.move spans 2 keys" in said.out
    assert "small_app.move runs below SERIALIZABLE (isolation snapshot)" in said.out


@pytest.mark.parametrize(
    ("before", "after", "code", "says"),
    [
        ('"text", Text(100)', '"text", sqlalchemy.Text()', "TF-TABLE-1", "not portable"),
        ('Column("id", Int64, primary_key=True)', 'Column("id", Int64)', "TF-TABLE-3", "no primary key"),
        ("home=home()", 'home=sharded_by("nothing")', "TF-TABLE-8", "'nothing' does not exist"),
        (
            "ADD = insert(notes)",
            'ADD = insert(notes).values(text="x").prefix_with("OR REPLACE")',
            "TF-STMT-3",
            "raw SQL",
        ),
        ("async def add(tx, id, text):\n    await", "def add(tx, id, text):\n    return", "TF-TX-6", "async"),
    ],
)
def test_a_breach_is_named_by_its_rule_and_check_ends_with_one(
    small: Deployed, before: str, after: str, code: str, says: str
) -> None:
    change(small, "from tenfold import", "import sqlalchemy\nfrom tenfold import sharded_by,")
    change(small, before, after)
    said = small.tenfold("check", "--json")
    assert said.code == 1, said
    (breach,) = said.facts()["breaches"]
    assert breach["code"] == code
    assert says in breach["message"]
    shown = small.tenfold("check")
    assert shown.code == 1
    assert code in shown.out


def test_a_statement_that_may_run_nowhere_is_found_without_running_it(small: Deployed) -> None:
    change(small, "from tenfold import", "from tenfold import sharded_by,")
    change(small, "home=home()", 'home=sharded_by("id")')
    change(
        small, "COUNT = select(func.count()).select_from(notes)", "COUNT = select(notes.c.text).group_by(notes.c.text)"
    )
    (breach,) = small.tenfold("check", "--json").facts()["breaches"]
    assert (breach["where"], breach["code"]) == ("small_app.COUNT", "TF-KEY-1")


def test_an_app_that_does_not_import_is_told_with_its_line(small: Deployed) -> None:
    change(small, "app = tf.asgi(app_)", "app = tf.asgi(nothing)")
    said = small.tenfold("check")
    assert said.code == 1
    assert "small_app.py, line" in said.out
    assert "nothing" in said.out
    assert "Traceback" not in said.out + said.err


# migrate


def test_migrate_makes_the_database_before_the_first_up(small: Deployed) -> None:
    dry = small.tenfold("migrate", "--dry-run")
    assert "table notes: would be created" in dry.out
    assert not small.state.exists()
    done = small.tenfold("migrate", "--json").facts()
    assert done["created"] == ["table notes"]
    assert Path(done["database"]).exists()
    assert small.tenfold("migrate").out == "The database is up to date.\n"
    assert small.up()["state"] == "running"


def test_a_new_column_is_brought_to_a_service_that_runs(small: Deployed) -> None:
    address = small.up()["address"]
    with urllib.request.urlopen(f"{address}/add/1", timeout=20) as answer:
        assert answer.status == 201
    change(small, SMALLER, LARGER)
    refused = small.tenfold("migrate")
    assert refused.code == 1
    assert "column notes.title is missing" in refused.err
    assert "tenfold migrate --new" in refused.err
    written = small.tenfold("migrate", "--new", "titles")
    assert written.code == 0, written
    assert "Wrote migrations/versions/0002_titles.py" in written.out
    pid = small.web_pid()
    done = small.tenfold("migrate")
    assert "revision 0002 (titles): applied" in done.out
    assert "The database before this:" in done.out
    assert small.web_pid() == pid, "an expanding revision needs no restart"
    with urllib.request.urlopen(f"{address}/count", timeout=20) as answer:
        assert answer.read() == b"1"
    assert small.tenfold("check").code == 0


def test_check_says_that_a_revision_is_missing(small: Deployed) -> None:
    small.tenfold("migrate", "--new", "first")
    change(small, SMALLER, LARGER)
    said = small.tenfold("check", "--json")
    assert said.code == 1
    assert said.facts()["breaches"][0]["code"] == "TF-MIGRATE-2"


def test_up_with_a_failing_revision_says_which_and_why_and_starts_nothing(small: Deployed) -> None:
    small.tenfold("migrate", "--new", "first")
    (file,) = (small.root / "migrations" / "versions").glob("*.py")
    file.write_text(f"{file.read_text()}    op.execute('SELECT * FROM nowhere')\n")
    said = small.tenfold("up")
    assert said.code == 1
    assert "Revision 0001 (first) failed and was rolled back" in said.err
    assert "no such table: nowhere" in said.err
    assert small.processes() == []


def test_no_copy_can_be_waived_only_while_nothing_runs(small: Deployed) -> None:
    small.up()
    said = small.tenfold("migrate", "--no-backup")
    assert said.code == 1
    assert "tenfold down" in said.err
