"""{{NAME}}: mail to domains that have one of the words in `settings.words` goes securely or not at all."""

from dataclasses import dataclass

from secmx import Destination, SenderRole, settings


@dataclass
class Settings:
    """The settings, as `[config]` in policy.toml has them."""

    words: list[str]


def check() -> None:
    settings(Settings)


def route(destination: Destination) -> None:
    domain = destination.domain()
    if any(word.lower() in domain for word in settings(Settings).words):
        destination.set_role(SenderRole.SECURE_ONLY)
