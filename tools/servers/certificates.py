"""Certificates of the tests' own, which nobody else trusts."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files: an authority, and what it gave to a server."""

    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path, address: str = "127.0.0.1") -> Certificates:
    """For a server at ``address``."""
    folder.mkdir(parents=True)
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server-key.pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(made.authority))
    issued = authority.issue_cert(address)
    issued.private_key_pem.write_to_path(str(made.key))
    for part in issued.cert_chain_pems:
        part.write_to_path(str(made.certificate), append=True)
    return made
