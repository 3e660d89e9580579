"""The style law, as functions from source text to breaches, so that each law can be shown to bite."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "tenfold"
FILE_LINES = 600
FUNCTION_LINES = 70
MARKERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

FORBIDDEN_CALLS = {
    "time.time": ("core/clock.py",),
    "time.time_ns": ("core/clock.py",),
    "time.monotonic": ("core/clock.py", "hosts/"),
    "time.sleep": ("hosts/", "control/deployment.py", "cli/", "prove/"),
    "datetime.now": (),
    "datetime.utcnow": (),
    "random.": ("core/randomness.py",),
    "secrets.": ("core/randomness.py",),
    "uuid.uuid1": (),
    "uuid.uuid4": (),
    "os.urandom": (),
    "subprocess.": ("hosts/",),
    "os.fork": ("hosts/",),
    "os.posix_spawn": ("hosts/",),
    "os.system": (),
    "os.popen": (),
    "asyncio.create_subprocess_exec": ("hosts/",),
    "asyncio.create_subprocess_shell": (),
    "print": (
        "cli/",
        "hosts/keeper.py",
        "control/controller.py",
        "dashboard/__main__.py",
        "serve/process.py",
        "serve/balancer/__main__.py",
    ),
}
"""What is called only in the rooms that own it. Time, randomness and processes come from outside everywhere else;
print belongs to the command line, and to the entry points of processes, whose output is their log."""


@dataclass(frozen=True)
class Breach:
    """One breach: where, and which law."""

    place: str
    law: str

    def __str__(self) -> str:
        return f"{self.place}: {self.law}"


def sources() -> list[Path]:
    """All modules of the package; templates of new services are not ours."""
    return [path for path in sorted(SOURCE.rglob("*.py")) if "templates" not in path.parts]


def room(path: Path) -> str:
    """The path inside the package, with forward slashes."""
    return path.relative_to(SOURCE).as_posix()


def too_long(name: str, text: str) -> Iterator[Breach]:
    """Files over the wall, functions over theirs (docstrings do not count)."""
    lines = text.count("\n") + 1
    if lines > FILE_LINES:
        yield Breach(name, f"{lines} lines; the wall is {FILE_LINES}")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            length = (node.end_lineno or 0) - first.lineno + 1
            if length > FUNCTION_LINES:
                yield Breach(f"{name}:{node.lineno}", f"{node.name} has {length} lines; the wall is {FUNCTION_LINES}")


def calls_out_of_place(name: str, text: str) -> Iterator[Breach]:
    """Calls of clocks, randomness, processes and print outside the rooms that own them."""
    tree = ast.parse(text)
    origin = _imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = _dotted(node.func, origin)
            for banned, owners in FORBIDDEN_CALLS.items():
                hit = called.startswith(banned) if banned.endswith(".") else called == banned
                if hit and not any(name.startswith(owner) for owner in owners):
                    yield Breach(f"{name}:{node.lineno}", f"calls {called}, which belongs to {owners or 'nobody'}")


def _imported_names(tree: ast.AST) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
        elif isinstance(node, ast.Import):
            found.update({alias.asname: alias.name for alias in node.names if alias.asname})
    return found


def _dotted(node: ast.expr, origin: dict[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(origin.get(node.id, node.id))
    return ".".join(reversed(parts)).replace("datetime.datetime.", "datetime.")


def without_docstring(name: str, text: str) -> Iterator[Breach]:
    """Public modules, classes and functions that do not say what they are for. Methods of the backends' scopes repeat
    a protocol whose methods say it."""
    tree = ast.parse(text)
    if ast.get_docstring(tree) is None and text.strip():
        yield Breach(name, "the module has no docstring")
    for node in tree.body:
        public = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_"
        if public and ast.get_docstring(node) is None:
            yield Breach(f"{name}:{node.lineno}", f"{node.name} has no docstring")


def leftovers(name: str, text: str) -> Iterator[Breach]:
    """Markers of unfinished work."""
    for number, line in enumerate(text.splitlines(), 1):
        if MARKERS.search(line):
            yield Breach(f"{name}:{number}", "a leftover marker")


def step_numbers(name: str, text: str) -> Iterator[Breach]:
    """Comparisons with a step's number: what a step changes is data in topology/steps.py."""
    if name == "topology/steps.py":
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            named = any(getattr(side, "attr", getattr(side, "id", "")) == "step" for side in sides)
            numbered = any(isinstance(side, ast.Constant) and isinstance(side.value, int) for side in sides)
            if named and numbered:
                yield Breach(f"{name}:{node.lineno}", "compares a step's number")


_DOTTED = re.compile(r"\btenfold(?:\.\w+)+")
_FROM = re.compile(r"from (tenfold[\w.]*) import (\([^)]*\)|[^\n]*)")


def _named(text: str) -> set[str]:
    """The modules that a text names with their whole path, and what it imports from one."""
    found: set[str] = set()
    for dotted in _DOTTED.findall(text):
        parts = dotted.split(".")
        found |= {".".join(parts[:end]) for end in range(2, len(parts) + 1)}
    for module, names in _FROM.findall(text):
        found |= {f"{module}.{name}" for name in re.findall(r"\w+", names)}
    return found


def unreachable(texts: dict[str, str], entry_points: set[str]) -> Iterator[Breach]:
    """Modules that nothing imports or names, and that are no entry point."""
    named = {name: _named(text) for name, text in texts.items()}
    for name in texts:
        module = "tenfold." + name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        if name == "__init__.py" or module in entry_points:
            continue
        if not any(module in found for other, found in named.items() if other != name):
            yield Breach(name, "nothing imports it, and it is no entry point")
