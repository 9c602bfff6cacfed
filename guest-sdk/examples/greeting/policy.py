"""Refuses clients by their address."""

from dataclasses import dataclass

from secmx import Ruling, Session, count, reject, settings


@dataclass
class Settings:
    refuse: list[str]
    """`192.0.2.7` is that address; `192.0.2.` and `2001:db8:` are every address that begins so."""
    text: str = "mail from your address is not taken here"


def check() -> None:
    settings(Settings)


def greet(session: Session) -> Ruling | None:
    address, known = session.client_address(), settings(Settings)
    for entry in known.refuse:
        if address == entry or (entry.endswith((".", ":")) and address.startswith(entry)):
            count("refused")
            return reject(554, "5.7.1", known.text, "greeting.address")
    return None
