"""The folders of a supervised server.

    <home>/data       the data: there only when initdb has finished, because it is renamed into place
    <home>/data.new   where initdb works; whatever is left of it was never used and may be removed
    <home>/run        the unix socket, unless its path would be too long for one

The home is `.tenfold/postgres`. PostgreSQL refuses to run as root; when we are, it runs as an unprivileged user, who
cannot enter `.tenfold` (0700), so the home is `/var/lib/tenfold/<service>-<hash of the state folder>` then.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tenfold.core.errors import TenfoldError
from tenfold.core.files import atomic_write, private_dir, storage_errors, sync_dir

USERS = ("postgres", "nobody")
"""As whom it runs when we are root: the first that exists."""
VAR = Path("/var/lib/tenfold")
_LONGEST_SOCKET = 107
"""Bytes of a path that fit into `sockaddr_un`, the closing zero left out."""


@dataclass(frozen=True)
class Home:
    """Where one supervised server lives. `user` is empty when it runs as ourselves."""

    root: Path
    user: str = ""

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def draft(self) -> Path:
        return self.root / "data.new"

    @property
    def password_file(self) -> Path:
        """Holds the superuser's password for as long as initdb runs."""
        return self.root / "password"

    @property
    def socket(self) -> Path:
        """The folder of the unix socket."""
        inside = self.root / "run"
        if len(os.fsencode(inside / ".s.PGSQL.65535")) <= _LONGEST_SOCKET:
            return inside
        return Path(tempfile.gettempdir()) / f"tenfold-{os.geteuid()}-{_short_hash(self.root)}"

    @property
    def exists(self) -> bool:
        """Whether there is a complete data folder."""
        return (self.data / "PG_VERSION").is_file()

    @property
    def major(self) -> int | None:
        """The major version that the data was made by, or None when there is none."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except (OSError, ValueError):
            return None


def home_of(state: Path, service: str, var: Path = VAR) -> Home:
    """Where the server of that deployment lives, by its state folder (absolute) and its service's name."""
    if os.geteuid() != 0:
        return Home(state / "postgres")
    return Home(var / f"{service}-{_short_hash(state)}", _first_user())


def _first_user() -> str:
    for user in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(user).pw_name
    raise TenfoldError(
        f"PostgreSQL does not run as root, and neither {' nor '.join(USERS)} is a user here.",
        hint="Make a user `postgres`, or run Tenfold as an ordinary user.",
        code="TF-PG-INIT",
    )


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:10]


def prepare(home: Home) -> None:
    """Makes the folders that are missing, each private to the server's user. Raises a `TenfoldError` that names one."""
    if home.user:
        with storage_errors("make the folder", home.root.parent):
            home.root.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            home.root.parent.chmod(0o711)  # whatever the umask; who may not list it can still pass through
    for folder in (home.root, home.socket):
        own(home, private_dir(folder))


def own(home: Home, path: Path) -> None:
    """Gives a file or folder to the server's user, when that is not us."""
    if home.user:
        account = pwd.getpwnam(home.user)
        with storage_errors("give away", path):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def write(home: Home, path: Path, text: str) -> None:
    """Writes a file that only the server's user can read."""
    atomic_write(path, text.encode())
    own(home, path)


def begin(home: Home, password: str) -> None:
    """Makes ready for initdb: nothing left of one that was interrupted, and the password where it reads it."""
    assert not home.exists, "data that is there is never made anew"
    with storage_errors("remove", home.draft):
        if home.draft.exists():
            shutil.rmtree(home.draft)
    write(home, home.password_file, password + "\n")


def finish(home: Home) -> None:
    """Puts what initdb made into place, in one step; from now on there is data."""
    forget_password(home)
    with storage_errors("rename", home.draft):
        os.rename(home.draft, home.data)  # refused when `data` holds anything
        sync_dir(home.root)


def forget_password(home: Home) -> None:
    """Removes the file that initdb read the password from."""
    with storage_errors("remove", home.password_file):
        home.password_file.unlink(missing_ok=True)


def remove(home: Home) -> None:
    """Removes the server's data for good. A removal that is interrupted leaves no folder that looks complete."""
    with storage_errors("remove", home.root):
        with contextlib.suppress(FileNotFoundError):
            if home.draft.exists():
                shutil.rmtree(home.draft)
            os.rename(home.data, home.draft)
        for folder in (home.root, home.socket):
            if folder.exists():
                _remove_tree(folder)


def _remove_tree(folder: Path) -> None:
    """Removes a folder; of one that a disk of its own is mounted on, only what is in it."""
    if not os.path.ismount(folder):
        shutil.rmtree(folder)
        return
    for entry in folder.iterdir():
        if entry.is_symlink() or not entry.is_dir():
            entry.unlink()
        elif entry.name != "lost+found":
            shutil.rmtree(entry)


def free_bytes(home: Home) -> int:
    """Free bytes on the disk of the home, or of where it will be."""
    folder = home.root
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
