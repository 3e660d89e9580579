"""Certificates of the encrypted door: made, checked, and how long they are good. Nothing here starts a process."""

from __future__ import annotations

import errno
import ssl
from datetime import UTC, datetime
from pathlib import Path

from tenfold.core.errors import SpecError

DAYS = 397
"""How long a certificate that we make is good: what browsers accept at most."""


def self_signed_argv(
    certificate: str, key: str, names: tuple[str, ...] = ("localhost", "127.0.0.1")
) -> tuple[str, ...]:
    """The command that makes a certificate and its key, for tests and machines of one's own: browsers warn of it.

    Both files are written; the caller puts them into one, private to it: first the certificate, then the key.
    """
    assert names, "a certificate is for a name"
    kinds = ",".join(f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in names)
    return (
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", key, "-out", certificate, "-days", str(DAYS), "-subj", f"/CN={names[0]}"),
        *("-addext", f"subjectAltName={kinds}", "-addext", "basicConstraints=critical,CA:FALSE"),
    )


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def check_certificate(path: Path) -> None:
    """Whether HAProxy can serve with a PEM file: raises `SpecError`, code TF-TLS, when it cannot.

    The file must hold the certificate (and those between it and its authority) and the key that belongs to it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    passwords: list[str] = []

    def asked() -> str:
        # A key with a password would make HAProxy ask at a terminal that it has not, so it is refused here.
        passwords.append("")
        return ""

    try:
        context.load_cert_chain(path, password=asked)
    except ssl.SSLError as error:
        raise _refused(path, _why(error, bool(passwords))) from None
    except OSError as error:
        raise _refused(
            path, "it is not there" if error.errno == errno.ENOENT else error.strerror or str(error)
        ) from None


def end_date_argv(path: Path) -> tuple[str, ...]:
    """The command whose output `expires_at` reads."""
    return ("openssl", "x509", "-in", str(path), "-noout", "-enddate")


def expires_at(printed: str) -> datetime | None:
    """Until when a certificate is good, from what `end_date_argv` printed; None when that says nothing."""
    _, found, date = printed.strip().partition("notAfter=")
    try:
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(date.strip()), UTC) if found else None
    except ValueError:
        return None


def _why(error: ssl.SSLError, wants_password: bool) -> str:
    if wants_password:
        return "its key is protected by a password"
    if "MISMATCH" in (error.reason or ""):
        return "its key belongs to another certificate"
    return "it does not hold a certificate and the key that belongs to it, as PEM"


def _refused(path: Path, why: str) -> SpecError:
    return SpecError(
        f"The certificate {path} cannot be used: {why}.",
        hint="[tls] certificate names one PEM file: the certificate, those above it, and the key without a password.",
        code="TF-TLS",
    )
