"""A process breaks its promises only when it was told so twice."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tenfold.core.errors import UsageError
from tenfold.prove.mutants import MUTANTS, chosen
from tenfold.prove.workloads import KNOWN


def test_no_variable_means_no_mutant():
    assert chosen({}) == ""
    assert chosen({"TENFOLD_TESTING": "1"}) == ""
    assert chosen({"TENFOLD_MUTANT": ""}) == ""


@pytest.mark.parametrize("permission", [{}, {"TENFOLD_TESTING": ""}, {"TENFOLD_TESTING": "yes"}])
def test_a_mutant_without_permission_is_refused(permission: dict[str, str]):
    with pytest.raises(UsageError, match="TENFOLD_TESTING=1 is not set"):
        chosen({"TENFOLD_MUTANT": "ignore-token", **permission})


def test_an_unknown_mutant_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="reply-before-commit"):
        chosen({"TENFOLD_MUTANT": "nonsense", "TENFOLD_TESTING": "1"})


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_names_a_workload_that_exists(name: str):
    assert chosen({"TENFOLD_MUTANT": name, "TENFOLD_TESTING": "1"}) == name
    assert MUTANTS[name].workload in KNOWN


def test_a_service_with_a_probe_never_loads_them():
    code = (
        "import sys, tenfold; tf = tenfold.Tenfold('x'); tf.asgi(tenfold.Probe(tf, None)); import tenfold.serve.web;"
        "print([name for name in sys.modules if name.startswith(('tenfold.prove', 'tenfold.control'))])"
    )
    environment = {"TENFOLD_MUTANT": "ignore-token", "TENFOLD_TESTING": "1"}
    loaded = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    names = loaded.stdout
    assert "tenfold.prove.probe.app" in names
    assert "mutants" not in names
    assert "checkers" not in names
    assert "workloads" not in names
    assert "control" not in names
