"""Mail whose text carries card numbers or IBANs is kept for a person to look at."""

import re

from secmx import Message, Ruling, Session, octets, quarantine

# Capital letters and digits in groups, one space or hyphen between.
CANDIDATE = re.compile(r"\b(?=((?:[A-Z]{2}\d\d|\d)[A-Z\d]{0,32}\b(?:[ -][A-Z\d]{1,33}\b){0,20}))", re.ASCII)


def inspect(_session: Session, message: Message) -> Ruling | None:
    for part in message.parts():
        text = message.part_text(part.index, 1 << 20) or ""
        for match in CANDIDATE.finditer(text):
            if kind := secret(re.split("[ -]", match[1])):
                at = match.start()
                message.add_evidence(part.index, octets(text[:at]), text[at : at + 4] + "…")
                return quarantine(f"dlp.{kind}", f"{kind} in part {part.index}")
    return None


def secret(groups: list[str]) -> str | None:
    text = ""
    for group in groups:
        text += group
        if re.fullmatch(r"\d{13,19}", text) and luhn(text) % 10 == 0:
            return "card"
        if re.fullmatch(r"[A-Z]{2}\d\d[A-Z\d]{11,30}", text) and iban(text) == 1:
            return "iban"
    return None


def luhn(text: str) -> int:
    return sum(int(c) if at % 2 == 0 else int(c) * 2 - int(c) // 5 * 9 for at, c in enumerate(reversed(text)))


def iban(text: str) -> int:
    """ISO 13616: the country and its digits go to the end, letters count from 10."""
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97
