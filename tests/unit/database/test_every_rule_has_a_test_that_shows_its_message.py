from __future__ import annotations

import re
from pathlib import Path

import tenfold

SOURCE = Path(tenfold.__file__).parent
TESTS = Path(__file__).parents[2]
CODE = re.compile(r"TF-[A-Z]+(?:-[A-Z0-9]+)*")


def codes(*folders: Path) -> set[str]:
    """The codes that stand in a string in the Python files of these folders."""
    texts = [path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py") if path != Path(__file__)]
    return {code for text in texts for line in text.splitlines() if '"' in line for code in CODE.findall(line)}


def test_each_code_of_the_database_is_asserted_somewhere() -> None:
    raised = codes(SOURCE / "blocks" / "database", SOURCE / "drivers")
    assert {"TF-TX-1", "TF-KEY-1", "TF-TABLE-8", "TF-VALUE"} <= raised
    asserted = codes(TESTS / "conformance" / "database", TESTS / "unit" / "database", TESTS / "unit" / "drivers")
    assert raised - asserted == set(), "each rule needs a test that shows its message"
