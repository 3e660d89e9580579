"""`tenfold advise` from an advice: the sentence, the reasons, the command and the table of pressures."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from advice_lab import STEP_1, STEP_3, every_second, traffic

from tenfold.cli import main as cli
from tenfold.cli.advise import advice_lines
from tenfold.control.advice import advise


def lines(advice: object) -> list[str]:
    return [click.unstyle(line) for line in advice_lines("shop", advice)]  # type: ignore[arg-type]


def test_an_advice_to_climb_has_its_command_and_how_to_see_its_plan() -> None:
    said = lines(advise(STEP_1, every_second(STEP_1, cpu={"web": 0.95})))
    assert said[0] == "shop: step"
    assert said[1].startswith("  Climb to step 3 (load balancer): web-1 uses 95 % of its one core")
    assert "  tenfold climb 3   (`tenfold plan climb 3` says first what it would do)" in said


def test_the_command_of_a_scale_can_be_planned_too() -> None:
    said = lines(advise(STEP_3, every_second(STEP_3, cpu={"web": 0.95})))
    assert any("`tenfold plan scale web=3`" in line for line in said)


def test_who_stays_gets_no_command() -> None:
    said = lines(advise(STEP_1, every_second(STEP_1)))
    assert said[0] == "shop: stay"
    assert not any("tenfold plan" in line for line in said)


def test_the_pressures_are_a_table_of_columns() -> None:
    figures = every_second(STEP_1, cpu={"web": 0.4}, public=traffic(100, 4.0, 20.0, 0.25))
    rows = lines(advise(STEP_1, figures))[-7:]
    assert rows[0].split() == ["tier", "resource", "used", "of", "full", "room"]
    assert any(row.split() == ["web", "CPU", "0.4", "1", "40%", "2.1x"] for row in rows)
    assert any(row.split() == ["machine", "memory", "8GB", "16GB", "50%"] for row in rows)
    assert any(row.split() == ["web", "failed", "requests", "0.2%", "1.0%", "25%"] for row in rows)
    assert len({len(row) for row in rows}) == 1


def test_nothing_is_advised_where_nothing_was_seen() -> None:
    said = lines(advise(STEP_1, []))
    assert said[0] == "shop: too little"
    assert len(said) == 2


def test_a_service_that_does_not_run_is_no_riddle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tenfold.toml").write_text('[service]\nname = "shop"\napp = "shop.app:app"\n')
    assert cli.run(["--dir", str(tmp_path), "advise"]) == cli.EXIT_NOT_RUNNING
    assert "Nothing runs here." in capsys.readouterr().err
