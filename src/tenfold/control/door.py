"""What balancers need before they start: HAProxy, the secret by which web servers know them, a certificate."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tenfold.control.place import Place
from tenfold.core.errors import TenfoldError
from tenfold.core.files import atomic_write, private_dir, storage_errors
from tenfold.core.secrets import DOOR, Secrets
from tenfold.engines.haproxy.programs import Program, choose, installed
from tenfold.engines.haproxy.tls import check_certificate, self_signed_argv
from tenfold.hosts.commands import output_of, run_quietly
from tenfold.topology.map import Map, TlsMap

SELF_SIGNED = "self-signed.pem"
OPENSSL_LIMIT_S = 30.0


async def find_haproxy() -> Program:
    """The HAProxy of this machine. Raises TF-HAPROXY-MISSING or TF-HAPROXY-VERSION with what to install."""
    return choose(await asyncio.to_thread(installed, output_of))


async def prepare_door(place: Place, wanted: Map) -> None:
    """Makes what the balancers of a map need and what is not there yet. Raises what stands against them.

    Safe to repeat: what is there is looked at and left as it is.
    """
    await find_haproxy()
    await asyncio.to_thread(_prepare, place, wanted.public.tls)


def _prepare(place: Place, tls: TlsMap | None) -> None:
    secrets = place.state / "secrets"
    Secrets(secrets).ensure(DOOR)
    if tls is None:
        return
    certificate = Path(tls.certificate)
    if certificate == secrets / SELF_SIGNED and not certificate.exists():
        _make_certificate(certificate)
    check_certificate(certificate)


def _make_certificate(path: Path) -> None:
    """Writes a certificate of our own with its key, for localhost; browsers warn of it."""
    with (
        storage_errors("make a certificate in", path.parent),
        tempfile.TemporaryDirectory(dir=private_dir(path.parent), prefix=".certificate-") as folder,
    ):
        certificate, key = Path(folder) / "certificate", Path(folder) / "key"
        why = run_quietly(self_signed_argv(str(certificate), str(key)), {}, OPENSSL_LIMIT_S)
        if why:
            raise TenfoldError(
                f"openssl could not make a certificate: {why.rstrip('.')}.",
                hint="Install openssl, or name a PEM file of your own as [tls] certificate.",
                code="TF-TLS",
            )
        atomic_write(path, certificate.read_bytes() + key.read_bytes())
