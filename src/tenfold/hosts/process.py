"""Processes as the keeper sees them: its own children and adopted ones behind one face, waited for on the event loop.

Own children are reaped in one place (`Reaper`), which as pid 1 also reaps orphans that are nobody's. Adopted ones are
not our children any more: their end is seen through a pidfd and their exit code is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tenfold.hosts.accounts import Account
from tenfold.hosts.identity import Identity, identity_of, open_pidfd, send_signal

_GATE = 'IFS= read -r go && exec "$@" </dev/null'
"""Waits for a line before it becomes the program; when whoever should send it dies instead, there is no program."""
_ADDED = ("PWD", "OLDPWD", "SHLVL")
"""What a shell adds to an environment."""
EXEC_FAILED = (126, 127)
"""What a gated process ends with when it cannot become the program."""


class Process:
    """One process that runs or has ended. `exit_code` is negative for a signal, None while it runs or when unknown."""

    def __init__(self, identity: Identity, pidfd: int, *, adopted: bool, gate: IO[bytes] | None = None) -> None:
        self.identity = identity
        self.adopted = adopted
        self.exit_code: int | None = None
        self.ended = asyncio.Event()
        self._pidfd = pidfd
        self._gate = gate
        if adopted:
            asyncio.get_running_loop().add_reader(pidfd, self.end, None)

    @property
    def pid(self) -> int:
        return self.identity.pid

    def let_go(self) -> None:
        """Lets a gated process become its program."""
        if self._gate is not None:
            with contextlib.suppress(BrokenPipeError), self._gate as gate:  # killed meanwhile
                gate.write(b"go\n")
            self._gate = None

    def send(self, number: int) -> None:
        """Signals it, unless it has ended."""
        if not self.ended.is_set():
            send_signal(self._pidfd, number)

    def kill(self) -> None:
        """SIGKILL for it and, while it leads its group, for what it started."""
        if self.ended.is_set():
            return
        with contextlib.suppress(OSError):
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGKILL)
        send_signal(self._pidfd, signal.SIGKILL)

    def end(self, exit_code: int | None) -> None:
        """Notes that it has ended; called by the reaper, or by the loop for adopted ones."""
        if self.ended.is_set():
            return
        if self.adopted:
            asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.exit_code = exit_code
        self.ended.set()


class Reaper:
    """Reaps every child of this process and starts the ones that it is asked for."""

    def __init__(self) -> None:
        self._own: dict[int, tuple[Process, subprocess.Popen[bytes]]] = {}
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        output: int,
        descriptors: Sequence[int],
        account: Account | None = None,
        gated: bool = False,
    ) -> Process:
        """Starts a process in its own session, with `output` as stdout and stderr, as `account` (None: as ourselves).

        A `gated` one waits until it is let go, and ends when we die before: so it can be recorded before it does
        anything. Raises OSError when it cannot.
        """
        if gated:
            _look_for(argv[0])
        popen = subprocess.Popen(  # noqa: S603 - only our own user can say what to run
            _gated(argv, env) if gated else argv,
            cwd=cwd,
            env=env,
            bufsize=0,
            stdin=subprocess.PIPE if gated else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(descriptors),
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=account.groups if account else None,
        )
        # It cannot be reaped before the loop runs again, so its pid is its own until then, dead or not.
        identity = identity_of(popen.pid) or Identity(popen.pid, 0, "")
        process = Process(identity, os.pidfd_open(popen.pid), adopted=False, gate=popen.stdin)
        self._own[popen.pid] = (process, popen)
        return process

    def _reap(self) -> None:
        """Reaps all that ended. What a child of ours left in its process group is killed while its pid still holds the
        group's number."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            own = self._own.pop(ended.si_pid, None)
            if own is not None:
                with contextlib.suppress(OSError):
                    os.killpg(ended.si_pid, signal.SIGKILL)
            _pid, status = os.waitpid(ended.si_pid, 0)
            if own is not None:
                process, popen = own
                popen.returncode = os.waitstatus_to_exitcode(status)  # or Popen would wait for it once more
                process.end(popen.returncode)


def _gated(argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """What waits, and then becomes `argv` with `env` and no more."""
    added = [name for name in _ADDED if name not in env]
    return ["/bin/sh", "-c", f"unset {' '.join(added)}; {_GATE}" if added else _GATE, "sh", *argv]


def _look_for(program: str) -> None:
    """Raises OSError for a program that is not there, or not ours to run."""
    if "/" in program:
        os.stat(program)
        if not os.access(program, os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), program)


def adopt(identity: Identity | None) -> Process | None:
    """A process of a keeper before us, or None when exactly that one no longer runs."""
    pidfd = open_pidfd(identity) if identity else None
    return Process(identity, pidfd, adopted=True) if identity and pidfd is not None else None


def launch_detached(argv: Sequence[str], *, cwd: Path, log: Path, ready: int) -> int:
    """Starts a process that outlives us and our terminal, writing to `log`; `ready` is inherited. Returns its pid."""
    with log.open("ab", buffering=0) as output:
        popen = subprocess.Popen(  # noqa: S603 - our own interpreter
            argv,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(ready,),
            start_new_session=True,
        )
    popen.returncode = 0  # not ours to wait for
    return popen.pid
