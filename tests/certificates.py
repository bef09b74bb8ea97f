"""Certificates for real servers, by openssl: as RFC 5280 has them, which Python 3.13 insists on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


class Certificates:
    """An authority, and what it signs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.authority = folder / "ca.pem"
        self._openssl(
            "req", "-x509", *KEY, "-nodes", "-subj", "/CN=test authority", "-days", "2",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", folder / "ca.key", "-out", self.authority,
        )  # fmt: skip

    def make(self, host: str) -> tuple[Path, Path]:
        """Return certificate and key."""
        certificate, key, wish = (self._folder / f"{host}.{kind}" for kind in ("pem", "key", "csr"))
        self._openssl("req", *KEY, "-nodes", "-subj", f"/CN={host}", "-keyout", key, "-out", wish)
        kind = "IP" if host[0].isdigit() else "DNS"
        names = self._folder / "names"
        names.write_text(f"subjectAltName = {kind}:{host}\nauthorityKeyIdentifier = keyid\n")
        self._openssl(
            "x509", "-req", "-in", wish, "-CA", self.authority, "-CAkey", self._folder / "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", names, "-out", certificate,
        )  # fmt: skip
        return certificate, key

    def _openssl(self, *words: object) -> None:
        try:
            subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("no openssl here; apt-get install openssl")
