"""Mail to the listed domains goes out secure only (SOS), or not at all."""

from dataclasses import dataclass

from secmx import Destination, SenderRole, settings


@dataclass
class Settings:
    domains: list[str]
    """`health.test` is that domain, `.health.test` every domain below it."""


def check() -> None:
    if not settings(Settings).domains:
        raise ValueError("`domains` names no domain")


def route(destination: Destination) -> None:
    domain = destination.domain()
    for entry in settings(Settings).domains:
        if domain == entry or (entry.startswith(".") and domain.endswith(entry)):
            destination.set_role(SenderRole.SECURE_ONLY)
