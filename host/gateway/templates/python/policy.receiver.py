"""{{NAME}}: refuses clients whose EHLO name has one of the words in `settings.words`."""

from dataclasses import dataclass

from secmx import Address, Parameter, Ruling, Session, reject, settings


@dataclass
class Settings:
    """The settings, as `[config]` in policy.toml has them."""

    words: list[str]


def check() -> None:
    settings(Settings)


def mail(session: Session, _reverse_path: Address | None, _parameters: list[Parameter]) -> Ruling | None:
    hello = (session.hello() or "").lower()
    if any(word.lower() in hello for word in settings(Settings).words):
        return reject(550, "5.7.1", "Not welcome here", "hello.word")
    return None
