"""The parts of a migration without a server: what is refused, how a dump is made, what both databases understand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from tenfold.control.migrations import dumping
from tenfold.control.migrations.planning import MigrationRefused, Report, refuse_now
from tenfold.control.migrations.reflecting import plain_sql
from tenfold.engines.postgres.address import ServerUrl
from tenfold.topology.map import DatabaseMap

LOGIN = ServerUrl("db.example.com", 5432, "small", "small_owner", "geheim", "require")
STEP_2 = DatabaseMap("postgres", "/x/small.db", 25.0, 100)
CHANGE = Report("small", applied=("0003 (titles)",))


@pytest.mark.parametrize(
    "change", [CHANGE, Report("x", own=(2,)), Report("x", recorded=("1",)), Report("x", created=("t",))]
)
@pytest.mark.parametrize(
    ("changes", "way_on"),
    [({"way_back": True}, "finalize"), ({"gate": "held"}, "abort"), ({"standby": "sqlite"}, "abort")],
)
def test_no_change_while_a_move_needs_the_tables_as_they_are(
    change: Report, changes: dict[str, object], way_on: str
) -> None:
    database = msgspec.structs.replace(STEP_2, **changes)
    with pytest.raises(MigrationRefused) as told:
        refuse_now(database, change)
    assert way_on in told.value.hint
    refuse_now(database, Report("small"))
    refuse_now(STEP_2, change)


def test_the_refusal_says_what_would_change() -> None:
    with pytest.raises(MigrationRefused, match=r"would change \(revision 0003 \(titles\): would be applied\)"):
        refuse_now(msgspec.structs.replace(STEP_2, way_back=True), CHANGE)


class Runs:
    """Instead of pg_dump: writes a file and remembers how it was asked to."""

    def __init__(self, failure: str = "") -> None:
        self.asked: list[Sequence[str]] = []
        self.variables: Mapping[str, str] = {}
        self.failure = failure

    def __call__(self, argv: Sequence[str], variables: Mapping[str, str], limit_s: float) -> str:
        self.asked.append(argv)
        self.variables = variables
        Path(argv[argv.index("--file") + 1]).write_bytes(b"dump")
        return self.failure


@pytest.fixture
def programs(tmp_path: Path) -> list[Path]:
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.touch(0o755)
    return [tmp_path / "nothing", program.parent]


def test_a_dump_is_private_and_its_password_is_in_no_argument(tmp_path: Path, programs: list[Path]) -> None:
    runs, target = Runs(), dumping.dump_of(tmp_path / "data", "small", "0002/x")
    kept = dumping.keep_dump(LOGIN, 10, target, "small.before-*.dump", run=runs, programs=programs)
    assert kept == (tmp_path / "data" / "small.before-0002_x.dump", "")
    assert target.stat().st_mode & 0o777 == 0o600
    assert runs.asked[0][0] == str(programs[1] / "pg_dump")
    assert not any("geheim" in word for word in runs.asked[0])
    assert runs.variables["PGPASSWORD"] == "geheim"


def test_two_dumps_are_kept(tmp_path: Path, programs: list[Path]) -> None:
    for number in range(4):
        target = dumping.dump_of(tmp_path, "small", f"000{number}")
        dumping.keep_dump(LOGIN, 10, target, "small.before-*.dump", run=Runs(), programs=programs)
    assert sorted(path.name for path in tmp_path.glob("*.dump")) == ["small.before-0002.dump", "small.before-0003.dump"]


@pytest.mark.parametrize(
    ("size", "failure", "reason"),
    [
        (dumping.LARGEST + 1, "", "more than 200,000,000"),
        (10, "server version mismatch", "said: server version mismatch"),
    ],
)
def test_without_a_dump_the_command_is_told(
    tmp_path: Path, programs: list[Path], size: int, failure: str, reason: str
) -> None:
    target = dumping.dump_of(tmp_path, "small", "0002")
    dump, said = dumping.keep_dump(LOGIN, size, target, "*.dump", run=Runs(failure), programs=programs)
    assert dump is None
    assert reason in said
    assert "pg_dump --format custom" in said
    assert "geheim" not in said
    assert list(tmp_path.glob("*.dump*")) == []


def test_where_pg_dump_is_missing_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = dumping.keep_dump(LOGIN, 10, tmp_path / "a.dump", "*.dump", run=Runs(), programs=[])[1]
    assert "pg_dump is not installed here" in said


@pytest.mark.parametrize(
    ("postgres", "both"),
    [
        ("kind = ANY (ARRAY['a'::text, 'b'::text])", "kind IN ('a', 'b')"),
        ("length(t) <= 32", "length(t) <= 32"),
        ("(f > (1)::double precision)", "(f > (1))"),
        ("'x'::character varying(10)", "'x'"),
        ("(tf_bucket >= 0) AND (tf_bucket <= 4095)", "(tf_bucket >= 0) AND (tf_bucket <= 4095)"),
        ("'0'::numeric(10,2)", "'0'"),
    ],
)
def test_postgresqls_own_spelling_is_left_out(postgres: str, both: str) -> None:
    assert plain_sql(postgres) == both
