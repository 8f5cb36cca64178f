"""Two years of the timer's runs, decided by certbot as it is on this host: when is a certificate renewed?

Runs in certbot's environment, under libfaketime, which reads the clock from a file. Certificates are made here, so that
they begin when that clock says; a real authority's clock cannot be set. Prints one JSON object a case.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import random
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from certbot._internal.renewal import should_autorenew
from certbot._internal.storage import RenewableCert
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

HOUR = datetime.timedelta(hours=1)
START = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.test.example")])


def set_clock(now: datetime.datetime) -> None:
    clock = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])
    # In one go: it is read again whenever something asks for the time.
    new = clock.with_suffix(".new")
    new.write_text(f"@{now:%Y-%m-%d %H:%M:%S}\n")
    new.replace(clock)


def due(lifetime: float) -> float:
    """Hours after which a renewal is due, as certbot and Let's Encrypt have it."""
    return lifetime / 2 if lifetime < 240 else lifetime * 2 / 3


class Lineage:
    """A certificate in certbot's own layout."""

    def __init__(self, place: Path, lifetime: float) -> None:
        self.lifetime = lifetime
        self.conf = place / "renewal" / "shop.conf"
        for directory in ("archive/shop", "live/shop", "renewal"):
            (place / directory).mkdir(parents=True)
        self.archive = place / "archive" / "shop"
        lines = ["version = 5.8.0", f"archive_dir = {self.archive}"]
        for kind in ("cert", "privkey", "chain", "fullchain"):
            (self.archive / f"{kind}1.pem").write_text("")
            link = place / "live" / "shop" / f"{kind}.pem"
            link.symlink_to(f"../../archive/shop/{kind}1.pem")
            lines.append(f"{kind} = {link}")
        lines += ["[renewalparams]", "server = https://ca.test.example/dir"]
        self.conf.write_text("\n".join(lines) + "\n")

    def issue(self, now: datetime.datetime) -> None:
        self.begin, self.end = now, now + self.lifetime * HOUR
        made = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), x509.random_serial_number(), self.begin, self.end)
        self.archive.joinpath("cert1.pem").write_bytes(made.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM))

    def is_due(self, authority: Authority) -> bool:
        return should_autorenew(RenewableCert(str(self.conf), SimpleNamespace()), authority)


class Authority:
    """One that suggests a time (ARI), or does not, and goes down for a while whenever a renewal becomes due."""

    def __init__(self, lineage: Lineage, suggests: bool, down: float) -> None:
        self.lineage, self.suggests, self.down = lineage, suggests, down

    def is_up(self, now: datetime.datetime) -> bool:
        begin = self.lineage.begin + due(self.lineage.lifetime) * HOUR
        return not begin <= now < begin + self.down * HOUR

    def get(self, server: str) -> Authority:
        if not self.is_up(datetime.datetime.now(datetime.UTC)):
            raise OSError(f"{server} does not answer")
        return self

    def renewal_time(self, _: bytes) -> tuple[datetime.datetime | None, datetime.datetime]:
        again = datetime.datetime.now() + 6 * HOUR
        return self.lineage.begin + due(self.lineage.lifetime) * HOUR if self.suggests else None, again


def two_years(lifetime: float, suggests: bool, down: float) -> dict[str, float]:
    """Run the timer, and tell how that went, in hours."""
    chance = random.Random(lifetime)
    with tempfile.TemporaryDirectory() as place:
        lineage = Lineage(Path(place), lifetime)
        authority = Authority(lineage, suggests, down)
        set_clock(START)
        lineage.issue(START)
        renewals, tries, age_when_tried, left = 0, 0, lifetime, lifetime
        for slot in range(2 * 365 * 2):
            now = START + slot * 12 * HOUR + chance.randrange(11 * 3600) * HOUR / 3600
            set_clock(now)
            left = min(left, (lineage.end - now) / HOUR)
            if not lineage.is_due(authority):
                continue
            tries += 1
            age_when_tried = min(age_when_tried, (now - lineage.begin) / HOUR)
            if authority.is_up(now):
                lineage.issue(now)
                renewals += 1
    return {"renewals": renewals, "tries": tries, "youngest": age_when_tried, "left": left, "due": due(lifetime)}


logging.disable()  # certbot would tell of an authority that is down, each time
for case in json.loads(sys.argv[1]):
    print(json.dumps({**case, **two_years(**case)}), flush=True)
