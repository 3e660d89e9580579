"""Everything that a balancer does, as a user who is not root: its HAProxy runs as that user."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from front_door import BACK
from haproxy import needs_haproxy

import tenfold

pytestmark = [
    needs_haproxy,
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0, reason="not run: acting as another user needs root (else all tests are this)"
    ),
]
NOBODY = pwd.getpwnam("nobody")
SCRIPT = Path(__file__).parents[1] / "support" / "door_of_a_user.py"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of nobody's: pytest's own are root's alone."""
    made = Path(tempfile.mkdtemp(prefix="tenfold-door-"))
    os.chown(made, NOBODY.pw_uid, NOBODY.pw_gid)
    yield made
    shutil.rmtree(made)


def variables(place: Path) -> dict[str, str]:
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    folders = [str(Path(tenfold.__file__).parents[1]), str(BACK.parent), *libraries]
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(folders),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(place),
    }


def interpreter(place: Path) -> str:
    """A Python of this version that this user may run and that finds what we need."""
    for program in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        argv = [program, "-c", "import front_door"]
        try:
            as_nobody = subprocess.run(
                argv,
                env=variables(place),
                user=NOBODY.pw_uid,
                group=NOBODY.pw_gid,
                cwd=place,
                capture_output=True,
                check=False,
            )
        except OSError:
            continue
        if as_nobody.returncode == 0:
            return program
    pytest.skip("not run: there is no Python here that an ordinary user may run")


def test_it_starts_takes_over_reloads_and_leaves_nothing(place: Path) -> None:
    done = subprocess.run(
        [interpreter(place), str(SCRIPT), str(place / "small")],
        env=variables(place),
        user=NOBODY.pw_uid,
        group=NOBODY.pw_gid,
        extra_groups=[],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "who": "web-1",
        "uid": NOBODY.pw_uid,
        "taken_over": True,
        "reloads": 1,
        "again": "web-1",
        "how": "killed",
        "left": [],
    }
