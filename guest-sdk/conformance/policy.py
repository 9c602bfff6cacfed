"""Touches everything that a policy can see and do. `cases.toml` says what must come of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import secmx
from secmx import Address, Answer, Certificate, Channel, ClientCertificate, Destination, Exchanger, Level, Message, Opacity, Parameter
from secmx import Part, ReceiverRole, Ruling, SenderRole, Session, Source, TlsVersion, accept, quarantine, reject, settings


@dataclass
class Settings:
    act: str = ""


def or_dash(text: object) -> str:
    return "-" if text is None else str(text)


def bits(*all: bool) -> str:
    return "".join("1" if bit else "0" for bit in all)


def path(address: Address | None) -> str:
    return f"{address.local_part}@{address.domain}" if address else "-"


def words(parameters: list[Parameter]) -> str:
    return " ".join(given.keyword if given.value is None else f"{given.keyword}={given.value}" for given in parameters)


def channel(it: Channel | None) -> str:
    if it is None:
        return "-"
    marks = bits(it.level == Level.DOMAIN, it.version == TlsVersion.TLS1_3)
    return f"{marks} {it.cipher} {it.group} {or_dash(it.server_name)}"


def certificate(it: Certificate | None) -> str:
    return f"{it.subject} {it.issuer} {','.join(it.dns_names)} {len(it.sha256)} {it.sha256[31]} {it.not_after}" if it else "-"


def exchanger(it: Exchanger) -> str:
    marks = bits(it.source == Source.SECMX_SRV, it.dnssec_secure, it.expected == Level.DOMAIN)
    return f"{it.index} {it.name} {it.port} {it.preference} {marks}"


def check() -> None:
    if settings(Settings).act == "refuse":
        raise ValueError("refused as told")


def greet(session: Session) -> None:
    session.set_role(ReceiverRole.SECURE_ONLY)
    session.set_client_certificate(ClientCertificate.REQUEST)
    optional = [session.client_name(), session.hello(), session.authenticated_as()]
    results = [session.authentication_result("spf"), session.authentication_result("dkim"), session.tag("before")]
    facts = [session.id(), session.listener(), session.client_address(), *optional, *results]
    session.set_tag("facts", " ".join(map(or_dash, facts)))
    session.set_tag("channel", channel(session.channel()))
    session.set_tag("peer", certificate(session.peer_certificate()))
    session.set_tag("again", or_dash(session.tag("channel")))


def mail(_session: Session, reverse_path: Address | None, parameters: list[Parameter]) -> Ruling:
    return reject(550, "5.1.8", f"{path(reverse_path)} {words(parameters)}", "told.mail")


def recipient(_session: Session, reverse_path: Address | None, forward_path: Address, parameters: list[Parameter]) -> Ruling:
    return secmx.defer(451, "4.7.1", f"{path(reverse_path)} {path(forward_path)} {words(parameters)}", "told.recipient")


def facts(message: Message) -> Ruling:
    recipients = [f"{path(to.address)} {words(to.parameters)}" for to in message.recipients()]
    fields = [f"{field.name}={field.value.decode().strip()}" for field in message.fields()]
    text = [message.id(), path(message.reverse_path()), words(message.parameters()), ",".join(recipients), str(message.octets())]
    rest = [",".join(fields), ",".join(message.text("subject")), message.read(3, 4).decode(), or_dash(message.tag("before"))]
    return quarantine("told.facts", "|".join(text + rest))


def parts(message: Message) -> Ruling:
    def part(it: Part) -> str:
        marks = bits(it.attachment, it.opacity == Opacity.CLEAR)
        return " ".join(map(or_dash, [it.index, it.parent, it.content_type, it.charset, it.file_name, it.decoded_octets, marks]))

    digest = message.digest(1)
    text = [",".join(map(part, message.parts())), or_dash(message.part_text(1, 6)), message.read_part(1, 1, 3).decode()]
    found = message.find(["nothing", "GRUSS", "Gruss"], True)
    return quarantine("told.parts", "|".join([*text, f"{len(digest)} {digest[0]}", ",".join(map(str, found))]))


def changes(message: Message) -> Ruling:
    message.add_field("X-Told", "grün")
    message.replace_field("Subject", "told")
    removed = message.remove_field("X-Old")
    message.add_recipient(Address("di", "health.test"))
    gone = [message.remove_recipient(Address(name, "health.test")) for name in ("cy", "nobody")]
    message.set_tag("class", "secret")
    message.demand(SenderRole.SECURE_ONLY, Level.HOST)
    message.add_evidence(0, 7, "seen")
    failed = [works(lambda: message.journal("kept")), works(lambda: message.journal("none")), works(lambda: message.remove_part(9))]
    replaced = works(lambda: message.replace_part(9, "text/plain", b"x"))
    return accept("told.changes", f"{removed} {bits(*gone)} {bits(*failed)} {bits(replaced)}")


def works(change: Callable[[], None]) -> bool:
    try:
        change()
        return True
    except Exception:
        return False


def host(_message: Message) -> Ruling:
    secmx.debug("one 1")
    secmx.info("two 2")
    secmx.warn("three 3")
    secmx.count("told", 2)
    listed = [secmx.in_list("blocked", "192.0.2.7"), secmx.in_list("blocked", "192.0.2.8")]
    return accept("told.host", f"{bits(*listed)} {bits(secmx.now().year > 2023)}")


def store(_message: Message) -> Ruling:
    before = secmx.store.get("word")
    secmx.store.set("word", "kept", ttl=3600)
    sums = [secmx.store.increment("sum", 2), secmx.store.increment("sum", -5)]
    try:
        secmx.store.set("much", bytes(1 << 21))
        end = "taken"
    except ValueError:
        end = "refused"
    after = secmx.store.get("word") or b""
    return accept("told.store", f"{or_dash(before)} {after.decode()} {sums[0]} {sums[1]} {end}")


def dns(_message: Message) -> Ruling:
    def why(name: str) -> str:
        try:
            return str(secmx.look_up(name, "TXT"))
        except secmx.NoAnswer as error:
            return error.why

    found = secmx.look_up("known.test", "TXT")
    rest = " ".join(map(why, ["none.test", "down.test", "forged.test"]))
    return accept("told.dns", f"{','.join(found.values)} {bits(found.secure)} {rest}")


def discard(_message: Message) -> Ruling:
    return secmx.discard("told.discard", "dropped as told")


def throw(_message: Message) -> Ruling:
    raise RuntimeError("the author's own words")


def loop(_message: Message) -> Ruling:
    while True:
        pass


def memory(_message: Message) -> Ruling:
    return accept("told.memory", str(len(bytearray(1 << 30))))


def bad_field(message: Message) -> None:
    message.add_field("X-Told", "one\r\nX-Smuggled: two")


def bad_reply(_message: Message) -> Ruling:
    return reject(250, "2.0.0", "no refusal", "told.bad-reply")


def wrong_type(_message: Message) -> Any:
    return "a ruling, or so it thinks"


ACTS: dict[str, Callable[[Message], Ruling | None]] = {
    "facts": facts,
    "parts": parts,
    "changes": changes,
    "host": host,
    "store": store,
    "dns": dns,
    "discard": discard,
    "raise": throw,
    "loop": loop,
    "memory": memory,
    "bad-field": bad_field,
    "bad-reply": bad_reply,
    "wrong-type": wrong_type,
}


def inspect(_session: Session, message: Message) -> Ruling | None:
    act = ACTS.get(settings(Settings).act)
    return act(message) if act else None


def route(to: Destination) -> Ruling:
    to.set_role(SenderRole.SECURE_ONLY)
    to.attempt(1, Level.HOST)
    to.attempt(0, Level.DOMAIN)
    to.when_proved(secmx.Bounce(secmx.Reason("told.proved", "nothing better")))
    to.when_unknown(secmx.Defer())
    answers = bits(to.secmx() == Answer.FOUND, to.mx() == Answer.UNKNOWN, to.best_level() == Level.HOST)
    text = [to.domain(), ",".join(map(path, to.recipients())), path(to.reverse_path()), to.message_id()]
    more = [f"{or_dash(to.tag('class'))} {or_dash(to.tag('none'))}", str(to.waited()), str(to.attempts()), answers, to.sts_mode()]
    rest = [",".join(map(exchanger, to.exchangers())), bits(to.channel() is None)]
    return accept("told.route", "|".join(text + more + rest))


def admit(destination: Destination, to: Exchanger) -> Ruling:
    facts = [channel(destination.channel()), certificate(destination.peer_certificate()), exchanger(to)]
    return quarantine("told.admit", "|".join(facts))
