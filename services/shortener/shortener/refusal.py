"""How the service says no: one field, one sentence, the same in JSON and beside the form's field."""

from __future__ import annotations

from typing import Any

from shortener.words import ENGLISH, Words


class Refusal(Exception):
    """What a client asked for cannot be done.

    `field` names the input at fault (`url`, `alias`, `expires` ..., or `body` for the request as a whole), `key` the
    sentence under `refusal.` in the catalogs, which tells a person what is wrong and what would be right; `values` fill
    it. `status` is the HTTP status.
    """

    def __init__(self, field: str, key: str, *, status: int = 400, **values: Any) -> None:
        self.field = field
        self.key = f"refusal.{key}"
        self.status = status
        self.values = values
        super().__init__(self.said(ENGLISH))

    def said(self, words: Words) -> str:
        """The sentence in a language."""
        return words(self.key, **self.values)

    @property
    def sentence(self) -> str:
        """The sentence in English, for programs."""
        return self.said(ENGLISH)
