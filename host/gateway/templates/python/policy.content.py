"""{{NAME}}: keeps messages whose subject has one of the words in `settings.words`."""

from dataclasses import dataclass

from secmx import Message, Ruling, Session, quarantine, settings


@dataclass
class Settings:
    """The settings, as `[config]` in policy.toml has them."""

    words: list[str]


def check() -> None:
    settings(Settings)


def inspect(_session: Session, message: Message) -> Ruling | None:
    subject = " ".join(message.text("Subject")).lower()
    for word in settings(Settings).words:
        if word.lower() in subject:
            return quarantine("subject.word", f'the subject has "{word}"')
    return None
