"""Certificates of the encrypted door."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tenfold.core.errors import SpecError
from tenfold.engines.haproxy.tls import DAYS, check_certificate, end_date_argv, expires_at, self_signed_argv

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="not run: there is no openssl here")


def run(argv: tuple[str, ...]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, bytes]:
    """A certificate, its key, and the key of another one."""
    folder = tmp_path_factory.mktemp("certificates")
    run(self_signed_argv(str(folder / "one.pem"), str(folder / "one.key"), ("a.example", "10.0.0.1", "::1")))
    run(self_signed_argv(str(folder / "two.pem"), str(folder / "two.key")))
    return tuple((folder / name).read_bytes() for name in ("one.pem", "one.key", "two.key"))  # type: ignore[return-value]


@needs_openssl
def test_one_that_we_made_is_good_for_its_names_and_time(tmp_path: Path, made: tuple[bytes, bytes, bytes]) -> None:
    path = tmp_path / "both.pem"
    path.write_bytes(made[0] + made[1])
    check_certificate(path)
    until = expires_at(run(end_date_argv(path)))
    assert until is not None
    assert abs(until - datetime.now(UTC) - timedelta(days=DAYS)) < timedelta(hours=1)
    told = run(("openssl", "x509", "-in", str(path), "-noout", "-ext", "subjectAltName"))
    assert "DNS:a.example, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1" in told


@needs_openssl
def test_what_does_not_fit_is_refused_with_why(tmp_path: Path, made: tuple[bytes, bytes, bytes]) -> None:
    certificate, key, other = made
    locked = tmp_path / "locked.key"
    plain = tmp_path / "plain.key"
    plain.write_bytes(key)
    run(("openssl", "pkey", "-in", str(plain), "-aes256", "-passout", "pass:secret", "-out", str(locked)))
    for content, why in (
        (certificate + other, "its key belongs to another certificate"),
        (certificate, "it does not hold a certificate and the key"),
        (key, "it does not hold a certificate and the key"),
        (b"nonsense", "it does not hold a certificate and the key"),
        (b"", "it does not hold a certificate and the key"),
        (certificate + locked.read_bytes(), "its key is protected by a password"),
    ):
        path = tmp_path / "both.pem"
        path.write_bytes(content)
        with pytest.raises(SpecError, match=why) as refused:
            check_certificate(path)
        assert refused.value.code == "TF-TLS"
        assert str(path) in refused.value.message
    with pytest.raises(SpecError, match="it is not there"):
        check_certificate(tmp_path / "missing.pem")
    with pytest.raises(SpecError, match="cannot be used"):
        check_certificate(tmp_path)


@pytest.mark.parametrize("printed", ["", "unable to load certificate", "notAfter=", "notAfter=tomorrow"])
def test_a_date_that_was_not_printed_is_none(printed: str) -> None:
    assert expires_at(printed) is None


def test_a_date_that_was_printed_is_read() -> None:
    assert expires_at("notAfter=Dec 23 19:13:41 2027 GMT\n") == datetime(2027, 12, 23, 19, 13, 41, tzinfo=UTC)
