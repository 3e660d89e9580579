"""How the service says no: one field, one sentence, the same in JSON and beside the form's field."""

from __future__ import annotations


class Refusal(Exception):
    """What a client asked for cannot be done.

    `field` names the input at fault (`url`, `alias`, `expires`, or `body` for the request as a whole), `sentence` tells
    a person what is wrong and what would be right, `status` is the HTTP status.
    """

    def __init__(self, field: str, sentence: str, *, status: int = 400) -> None:
        assert sentence.endswith("."), "a refusal is a sentence"
        super().__init__(sentence)
        self.field = field
        self.sentence = sentence
        self.status = status
