"""Finds the service: imports the app that the map names, and says what is wrong in a way that its author can act on."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tenfold.core.errors import SpecError, TenfoldError
from tenfold.serve.asgi import TenfoldASGI


class AppError(SpecError):
    """The service's app cannot be imported, or is not what `tf.asgi` returns."""

    code = "TF-APP"
    title = "The service does not start"


def load_app(name: str, root: Path) -> TenfoldASGI:
    """The app that `name` ("package.module:attribute") means, with `root` (the folder of the service's code: that of
    tenfold.toml, or a version's) first on the import path.

    Raises `AppError` that names the file and line at fault.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise AppError(
            f'app = "{name}" in tenfold.toml does not name an object.',
            hint='Write it as "package.module:attribute", such as "shortener.app:app".',
        )
    # First, even if it is on the path already: the code of another version may be there too.
    sys.path[:] = [str(root), *(entry for entry in sys.path if entry != str(root))]
    module = _import(module_name, name, root)
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise AppError(
                f'The module {module_name} ({module.__file__}) has no "{attribute}", which app = "{name}" names.',
                hint=_similar(module, attribute),
            )
    if not isinstance(found, TenfoldASGI):
        raise AppError(
            f'app = "{name}" is a {type(found).__module__}.{type(found).__qualname__}, not what tf.asgi returns.',
            hint=f'Wrap it at the end of {module.__file__}: "{attribute} = tf.asgi({attribute})".',
        )
    return found


def _import(module_name: str, name: str, root: Path) -> ModuleType:
    try:
        with _kept():
            return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise AppError(
                f'app = "{name}" in tenfold.toml names the module {error.name}, which is not below {root}.',
                hint="Correct the name, or start from the folder that holds the package.",
            ) from None
        raise _at_fault(error, root) from error
    except TenfoldError as error:
        where = _place(error, root)
        raise AppError(f"{where}: {error.message}", hint=error.hint, code=error.code) from error
    except (Exception, SystemExit) as error:
        raise _at_fault(error, root) from error


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Nearly all that an import makes stays: looking through it for garbage costs a tenth of the time to start, and
    later, again and again, a pause of the whole process. What is there in the end is looked at no more."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was:
            gc.enable()


def _at_fault(error: BaseException, root: Path) -> AppError:
    hint = "Correct that line; the trace above shows how it was reached."
    if isinstance(error, ModuleNotFoundError):
        hint = f"Install what provides {error.name} into {sys.prefix}, or correct the import."
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return AppError(f"{_place(error, root)}: {type(error).__name__}: {message}", hint=hint)


def _place(error: BaseException, root: Path) -> str:
    """File and line: the deepest ones that belong to the service, since that is what its author can change."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(root)]
    chosen = (own or frames)[-1]
    return f"{chosen.filename}, line {chosen.lineno}"


def _similar(module: ModuleType, attribute: str) -> str:
    apps = [key for key, value in vars(module).items() if isinstance(value, TenfoldASGI)]
    if apps:
        return f'It has "{apps[0]}"; write that behind the colon.'
    return f'Define it: "{attribute} = tf.asgi(...)".'
