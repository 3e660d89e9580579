"""What leaves the dashboard as text carries no secret: the net of core/redact.py, and the deployment's own by value."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tenfold.core.redact import MASK, redact_text, sounds_secret
from tenfold.dashboard.picture.model import Node, Picture, Tier

SHORTEST, LONG = 8, 20
"""Shorter texts in the folder of the secrets are too common to be masked wherever they appear, and words of letters
only unless they are long."""
FILE_MAX = 64 * 1024

_WORD = re.compile(r"[A-Za-z0-9+/=_-]+")
_NAMED = re.compile(r"""(["']?)([A-Za-z_][\w-]{0,60})\1(\s*[=:]\s*)(?:"[^"]*"|'[^']*'|[^\s,;}"']+)""")


class Redactor:
    """The secrets of one deployment, read again when a file of theirs has changed."""

    def __init__(self, secrets: Path) -> None:
        self._folder = secrets
        self._stamp: tuple[object, ...] = ()
        self._values: tuple[str, ...] = ()

    def text(self, text: str) -> str:
        """The text with every secret masked: by its value, by a name that sounds like one, inside an address."""
        for value in self._known():
            if value in text:
                text = text.replace(value, MASK)
        return _NAMED.sub(_masked, redact_text(text))

    def facts(self, told: Any) -> Any:
        """The same with every secret masked in every text of it, however deep it stands."""
        if isinstance(told, str):
            return self.text(told)
        if isinstance(told, Mapping):
            return {name: self.facts(value) for name, value in told.items()}
        return [self.facts(each) for each in told] if isinstance(told, list | tuple) else told

    def picture(self, picture: Picture) -> Picture:
        """The picture, with every secret masked in what is said of why something is as it is: a service may have put
        its own into the error that it ended with."""
        move = picture.move and replace(picture.move, reason=self.text(picture.move.reason))
        says = tuple(self.text(sentence) for sentence in picture.says)
        return replace(picture, tiers=tuple(map(self._tier, picture.tiers)), move=move, says=says)

    def _tier(self, tier: Tier) -> Tier:
        return replace(tier, nodes=tuple(self._node(node) if node.says else node for node in tier.nodes))

    def _node(self, node: Node) -> Node:
        return replace(node, says=self.text(node.says))

    def _known(self) -> tuple[str, ...]:
        """The values, longest first, so that no part of one is left."""
        files, stamp = [], self._stamp
        with contextlib.suppress(OSError):  # a file goes while we look, say: the next text looks again
            files = sorted(path for path in self._folder.iterdir() if path.is_file())
            stamp = tuple((path.name, path.stat().st_mtime_ns) for path in files)
        if stamp != self._stamp:
            found = {word for path in files for word in _words(path)}
            self._stamp, self._values = stamp, tuple(sorted(found, key=len, reverse=True))
        return self._values


def _words(path: Path) -> set[str]:
    """The words of a file of secrets that are long enough to be one, and no times or words of a language."""
    try:
        text = path.read_bytes()[:FILE_MAX].decode(errors="replace")
    except OSError:
        return set()
    found = {word for word in _WORD.findall(text) if len(word) >= SHORTEST and not word.isdigit()}
    return {word for word in found if len(word) >= LONG or not word.isalpha()}


def _masked(found: re.Match[str]) -> str:
    quote, name, between = found[1], found[2], found[3]
    return f"{quote}{name}{quote}{between}{MASK}" if sounds_secret(name) else found[0]
