"""Makes `.venv` at the root and installs Tenfold into it; `make` calls it before everything else.

    python3 scripts/install.py [services | dev]     what runs the services, or what tests and checks them too

Standard library only, and written so that an old interpreter can still read it: it is the file that says which one is
needed. The stamp `.venv/installed` is written last and holds what was installed (this folder, the interpreter, the
contents of pyproject.toml, which of the two). So an install that was interrupted, a folder that was moved and a changed
pyproject.toml are all noticed, and repaired by the next call. A lock lets two calls at once take turns.
"""

import fcntl
import hashlib
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "installed")
LOCK = os.path.join(ROOT, ".venv.lock")
LOG = os.path.join(VENV, "install.log")
APT_LINE = "apt-get install python3 python3-venv make"
TAIL_LINES = 25


def main(extra="services"):
    """Brings `.venv` up to date; exit 0 when it is, 1 with the reason when it cannot be."""
    problem = unfit()
    if problem:
        return fail(
            problem + "\nTenfold needs python3 >= 3.11 with venv, and make. On Debian or Ubuntu:\n\n    " + APT_LINE
        )
    with open(LOCK, "w") as lock:
        wait_for(lock)
        if installed().endswith("\ndev"):
            extra = "dev"
        if installed() == wanted(extra):
            return 0
        return install(extra)


def unfit():
    """Why this interpreter cannot carry Tenfold, or an empty string."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < (3, 11):
        return "Found Python " + version + " at " + sys.executable + "."
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian ships it apart, in python3-venv
        import venv  # noqa: F401, PLC0415
    except ImportError:
        return "Python " + version + " at " + sys.executable + " comes without venv."
    return ""


def wait_for(lock):
    """Takes the lock; says so once if another install holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("Another install is running in this folder; waiting for it.")
        fcntl.flock(lock, fcntl.LOCK_EX)


def wanted(extra):
    """What the stamp must say."""
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as source:
        digest = hashlib.sha256(source.read()).hexdigest()
    return "\n".join([ROOT, os.path.realpath(sys.executable), digest, extra])


def installed():
    """What the stamp says, or an empty string."""
    if not os.access(os.path.join(VENV, "bin", "python"), os.X_OK):
        return ""
    try:
        with open(STAMP) as stamp:
            return stamp.read()
    except OSError:
        return ""


def install(extra):
    """Makes the environment anew, updates it when nothing but pyproject.toml changed, or adds what is missing of it."""
    target, before = wanted(extra), installed()
    fresh = before.split("\n")[:2] != target.split("\n")[:2]
    more = before.split("\n")[:3] == target.split("\n")[:3]
    if os.path.exists(STAMP) and not more:  # what is only added to stays what it was, also when that is interrupted
        os.unlink(STAMP)
    if fresh:
        say("Making .venv with " + sys.executable)
        made = subprocess.run(
            [sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            return fail(
                made.stdout + made.stderr + "\n.venv could not be made. On Debian or Ubuntu:\n\n    " + APT_LINE
            )
    what = "what tests and checks need" if more else "Tenfold and what it needs"
    say("Installing " + what + " (up to a minute, log in .venv/install.log)")
    # Tenfold may be running: then it stays where it is, and only what comes with the extra is added.
    names = needs(extra) if more else ["--editable", ".[" + extra + "]"]
    # What is imported is compiled then; all the rest (a fifth of the work) never needs to be.
    if pip("install", "--no-input", "--no-compile", *names) != 0:
        return fail(tail(LOG) + "\nThe install failed (see above); run the same command again to go on.")
    if sys.dont_write_bytecode:
        compile_all()
    with open(STAMP + ".new", "w") as stamp:
        stamp.write(target)
    os.replace(STAMP + ".new", STAMP)
    say("Installed.")
    return 0


def needs(extra):
    """What an extra of ours names besides our own extras."""
    import tomllib  # noqa: PLC0415 - an old interpreter does not have it

    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as source:
        named = tomllib.load(source)["project"]["optional-dependencies"][extra]
    return [name for name in named if not name.startswith("tenfold[")]


def compile_all():
    """Compiles everything once where Python keeps nothing that it compiles (PYTHONDONTWRITEBYTECODE, as in many
    containers): there each process would compile all that it imports again, and start half as fast."""
    say("  compiling, because PYTHONDONTWRITEBYTECODE is set")
    python = os.path.join(VENV, "bin", "python")
    for folder in (VENV, os.path.join(ROOT, "src")):  # a file that cannot be compiled is one that nobody imports
        subprocess.run([python, "-m", "compileall", "-q", "-j", "0", folder], stdout=subprocess.DEVNULL, check=False)


def pip(*arguments):
    """Runs pip, its words to the log, a counter of packages to the terminal; returns its exit code."""
    environment = dict(
        os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore", PYTHONUNBUFFERED="1"
    )
    command = [os.path.join(VENV, "bin", "python"), "-m", "pip", *arguments]
    counted = 0
    with open(LOG, "w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
        )
        for line in process.stdout:
            log.write(line)
            counted += line.startswith("Collecting ")
            if line.startswith("Collecting ") and counted % 10 == 0:
                say("  " + str(counted) + " packages found")
            if line.startswith("Installing collected packages"):
                say("  writing " + str(line.count(",") + 1) + " packages")
        return process.wait()


def tail(path):
    """The last lines of a file."""
    with open(path) as source:
        return "".join(source.readlines()[-TAIL_LINES:])


def say(text):
    """A line for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def fail(text):
    """Says why, and returns the exit code for it."""
    say(text)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(fail("\nInterrupted; run the same command again to go on."))
