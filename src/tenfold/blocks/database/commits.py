"""Exactly once: the row that says what a keyed request has already done.

A transaction in a request with an Idempotency-Key writes `tf_commit(id, fingerprint, result)` beside its own rows. When
the request comes again, because the client never saw the answer, the body does not run: the stored result is returned.
The id is a hash of the key and of the ordinal of the transaction in the request, so a replay finds its own rows.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec

from tenfold.core.errors import ContractError, InvalidRequest

RETENTION_S = 24 * 3600
"""How long a result is kept, and so how long a client may take to repeat a request."""

BRIEF_S = 15 * 60
"""How long the row of a transaction without a key is kept: longer than anybody holds a lost COMMIT for."""

PRUNE_EVERY_S = 600
PRUNE_ROWS = 500
"""Rows removed in one transaction at most, so that clearing up never holds writers for long."""

RESULT_LIMIT = 1_000_000
"""Bytes of a stored result."""

_PLAIN = (type(None), bool, int, float, str)


def commit_id(idempotency_key: str, ordinal: int) -> bytes:
    """The 16-byte id of the `ordinal`-th transaction of a keyed request."""
    return hashlib.blake2b(f"{ordinal}:{idempotency_key}".encode(), digest_size=16, person=b"tf_commit").digest()


def other_request(name: str) -> InvalidRequest:
    """The error for a key that was used for a different request before."""
    return InvalidRequest(
        f"This Idempotency-Key was used before for a different request ({name}).",
        hint="Use a new key for a new request; repeat a request with exactly the same content.",
        code="TF-IDEM-1",
        status=422,
    )


class ResultCodec:
    """Encodes a transaction function's results so that a replay returns the same value.

    The function's return annotation decides the type; without one, results must be plain (None, bool, int, float, str),
    which is checked on every run, keyed or not, so that a breach shows on the first day.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self.annotated = inspect.signature(function).return_annotation is not inspect.Signature.empty

    def _resolved(self) -> msgspec.json.Decoder[Any]:
        if self._decoder is None:
            name = self._function.__qualname__
            try:
                hint = get_type_hints(self._function).get("return", Any)
                self._decoder = msgspec.json.Decoder(hint)
            except Exception as error:
                raise ContractError(
                    f"The result of {name} cannot be stored: its return annotation is not usable ({error}).",
                    hint="Return None, plain values, lists, dicts, dataclasses, named tuples or msgspec Structs.",
                    code="TF-TX-4",
                ) from error
        return self._decoder

    def check(self, result: Any) -> None:
        """`ContractError` TF-TX-4 when a result could not be stored for want of a usable annotation."""
        if self.annotated:
            if self._decoder is None:
                self._resolved()
        elif not isinstance(result, _PLAIN):
            raise ContractError(
                f"{self._function.__qualname__} returns a {type(result).__name__} without saying so.",
                hint="Annotate what it returns, so that a replayed request can return the same.",
                code="TF-TX-4",
            )

    def encode(self, result: Any) -> str:
        """JSON text of a result."""
        self._resolved()
        try:
            text = msgspec.json.encode(result).decode()
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise ContractError(
                f"The result of {self._function.__qualname__} cannot be stored: {error}.",
                hint="Return None, plain values, lists, dicts, dataclasses, named tuples or msgspec Structs.",
                code="TF-TX-4",
            ) from error
        if len(text) > RESULT_LIMIT:
            raise ContractError(
                f"The result of {self._function.__qualname__} has {len(text):,} bytes; allowed: {RESULT_LIMIT:,}.",
                hint="Return keys, and read the rest afterwards.",
                code="TF-TX-4",
            )
        return text

    def decode(self, text: str) -> Any:
        """The result that `encode` was given; TF-TX-4 when it is not what the function says that it returns."""
        try:
            return self._resolved().decode(text)
        except msgspec.MsgspecError as error:
            raise ContractError(
                f"The result of {self._function.__qualname__} is not what its annotation says: {error}.",
                hint="Return what is annotated; keep reading old results for a day after you changed the annotation.",
                code="TF-TX-4",
            ) from error
