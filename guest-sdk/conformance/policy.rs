//! Touches everything that a policy can see and do. `cases.toml` says what must come of it.

use secmx_guest::host::{count, in_list, now};
use secmx_guest::serde::Deserialize;
use secmx_guest::{Address, Answer, Certificate, Channel, ClientCertificate, Content, Destination, Exchanger, Exhausted, Level};
use secmx_guest::{Message, Opacity, Parameter, Receiver, ReceiverRole, Ruling, Sender, SenderRole, Session, Setup, Source, TlsVersion};
use secmx_guest::{debug, dns, info, settings, store, warning};

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    act: String,
}

struct Conformance;

secmx_guest::export!(Conformance: setup, receiver, content, sender);

impl Setup for Conformance {
    fn check() -> Result<(), String> {
        match act().as_str() {
            "refuse" => Err("refused as told".into()),
            _ => Ok(()),
        }
    }
}

impl Receiver for Conformance {
    fn greet(session: &Session) -> Ruling {
        session.set_role(ReceiverRole::SecureOnly);
        session.set_client_certificate(ClientCertificate::Request);
        let [id, listener, client] = [session.id(), session.listener(), session.client_address()];
        let optional = [session.client_name(), session.hello(), session.authenticated_as()].map(or_dash).join(" ");
        let results = ["spf", "dkim"].map(|method| or_dash(session.authentication_result(method))).join(" ");
        session.set_tag("facts", &format!("{id} {listener} {client} {optional} {results} {}", or_dash(session.tag("before"))));
        session.set_tag("channel", &or_dash(session.channel().map(channel)));
        session.set_tag("peer", &or_dash(session.peer_certificate().map(certificate)));
        session.set_tag("again", &or_dash(session.tag("channel")));
        Ruling::Pass
    }

    fn mail(_: &Session, reverse_path: Option<Address>, parameters: &[Parameter]) -> Ruling {
        Ruling::reject(550, (5, 1, 8), &format!("{} {}", path(reverse_path), list(parameters)), "told.mail")
    }

    fn recipient(_: &Session, reverse_path: Option<Address>, forward_path: Address, parameters: &[Parameter]) -> Ruling {
        let text = format!("{} {} {}", path(reverse_path), path(Some(forward_path)), list(parameters));
        Ruling::defer(451, (4, 7, 1), &text, "told.recipient")
    }
}

impl Content for Conformance {
    fn inspect(_: &Session, message: &Message) -> Ruling {
        match act().as_str() {
            "facts" => facts(message),
            "parts" => parts(message),
            "changes" => changes(message),
            "host" => host(),
            "store" => stored(),
            "dns" => looked_up(),
            "discard" => Ruling::discard("told.discard", "dropped as told"),
            "raise" => panic!("the author's own words"),
            "loop" => loop {
                std::hint::spin_loop();
            },
            "memory" => Ruling::accept("told.memory", &format!("{}", vec![1_u8; 1 << 30].len())),
            "bad-field" => {
                message.add_field("X-Told", "one\r\nX-Smuggled: two");
                Ruling::Pass
            }
            "bad-reply" => Ruling::reject(250, (2, 0, 0), "no refusal", "told.bad-reply"),
            _ => Ruling::Pass,
        }
    }
}

impl Sender for Conformance {
    fn route(to: &Destination) -> Ruling {
        to.set_role(SenderRole::SecureOnly);
        to.attempt(1, Level::Host);
        to.attempt(0, Level::Domain);
        to.when_proved(&Exhausted::bounce("told.proved", "nothing better"));
        to.when_unknown(&Exhausted::Defer);
        let recipients: Vec<String> = to.recipients().into_iter().map(|to| path(Some(to))).collect();
        let tags = format!("{} {}", or_dash(to.tag("class")), or_dash(to.tag("none")));
        let answers = bits(&[to.secmx() == Answer::Found, to.mx() == Answer::Unknown, to.best_level() == Some(Level::Host)]);
        let hosts: Vec<String> = to.exchangers().iter().map(exchanger).collect();
        let text = [to.domain(), recipients.join(","), path(to.reverse_path()), to.message_id(), tags, to.waited().to_string()];
        let rest = [to.attempts().to_string(), answers, to.sts_mode(), hosts.join(","), bits(&[to.channel().is_none()])];
        Ruling::accept("told.route", &text.into_iter().chain(rest).collect::<Vec<_>>().join("|"))
    }

    fn admit(destination: &Destination, to: &Exchanger) -> Ruling {
        let channel = or_dash(destination.channel().map(channel));
        let peer = or_dash(destination.peer_certificate().map(certificate));
        Ruling::quarantine("told.admit", &[channel, peer, exchanger(to)].join("|"))
    }
}

fn facts(message: &Message) -> Ruling {
    let recipients = message.recipients().into_iter().map(|to| format!("{} {}", path(Some(to.address)), list(&to.parameters)));
    let fields = message.fields().into_iter().map(|field| format!("{}={}", field.name, String::from_utf8_lossy(&field.value).trim()));
    let text = [
        message.id(),
        path(message.reverse_path()),
        list(&message.parameters()),
        recipients.collect::<Vec<_>>().join(","),
        message.octets().to_string(),
        fields.collect::<Vec<_>>().join(","),
        message.text("subject").join(","),
        String::from_utf8_lossy(&message.read(3, 4)).into_owned(),
        or_dash(message.tag("before")),
    ];
    Ruling::quarantine("told.facts", &text.join("|"))
}

fn parts(message: &Message) -> Ruling {
    let part = |part: secmx_guest::Part| {
        let parent = or_dash(part.parent.map(|parent| parent.to_string()));
        let marks = bits(&[part.attachment, part.opacity == Opacity::Clear]);
        let [charset, name] = [or_dash(part.charset), or_dash(part.file_name)];
        format!("{} {parent} {} {charset} {name} {} {marks}", part.index, part.content_type, part.decoded_octets)
    };
    let parts: Vec<String> = message.parts().into_iter().map(part).collect();
    let digest = message.digest(1);
    let text = [
        parts.join(","),
        or_dash(message.part_text(1, 6)),
        String::from_utf8_lossy(&message.read_part(1, 1, 3)).into_owned(),
        format!("{} {}", digest.len(), digest[0]),
        message.find(&["nothing".into(), "GRUSS".into(), "Gruss".into()], true).iter().map(u32::to_string).collect::<Vec<_>>().join(","),
    ];
    Ruling::quarantine("told.parts", &text.join("|"))
}

fn changes(message: &Message) -> Ruling {
    let address = |local: &str| Address { local_part: local.into(), domain: "health.test".into() };
    message.add_field("X-Told", "grün");
    message.replace_field("Subject", "told");
    let removed = message.remove_field("X-Old");
    message.add_recipient(&address("di"));
    let gone = [message.remove_recipient(&address("cy")), message.remove_recipient(&address("nobody"))];
    message.set_tag("class", "secret");
    message.demand(SenderRole::SecureOnly, Level::Host);
    message.add_evidence(0, 7, "seen");
    let failed = [message.journal("kept").is_ok(), message.journal("none").is_ok(), message.remove_part(9).is_ok()];
    let replaced = message.replace_part(9, "text/plain", b"x").is_ok();
    Ruling::accept("told.changes", &format!("{removed} {} {} {}", bits(&gone), bits(&failed), bits(&[replaced])))
}

fn host() -> Ruling {
    debug!("one {}", 1);
    info!("two {}", 2);
    warning!("three {}", 3);
    count("told", 2);
    let listed = [in_list("blocked", "192.0.2.7"), in_list("blocked", "192.0.2.8")];
    Ruling::accept("told.host", &format!("{} {}", bits(&listed), bits(&[now() > 1_700_000_000])))
}

fn stored() -> Ruling {
    let before = store::get("word").map(|octets| String::from_utf8_lossy(&octets).into_owned());
    store::set("word", b"kept", Some(3600)).expect("room");
    let (first, second) = (store::increment("sum", 2, None), store::increment("sum", -5, None));
    let end = store::set("much", &vec![0; 1 << 21], None).map_or("refused", |()| "taken");
    let after = String::from_utf8(store::get("word").unwrap_or_default()).expect("as it was");
    let text = format!("{} {after} {} {} {end}", or_dash(before), first.expect("a number"), second.expect("a number"));
    Ruling::accept("told.store", &text)
}

fn looked_up() -> Ruling {
    let why = |name| match dns::query(name, "TXT") {
        Ok(answer) => answer.values.join(","),
        Err(dns::Failure::None) => "none".into(),
        Err(dns::Failure::Unavailable) => "unavailable".into(),
        Err(dns::Failure::Bogus) => "bogus".into(),
    };
    let found = dns::query("known.test", "TXT").expect("an answer");
    let rest = ["none.test", "down.test", "forged.test"].map(why).join(" ");
    Ruling::accept("told.dns", &format!("{} {} {rest}", found.values.join(","), bits(&[found.secure])))
}

fn act() -> String {
    settings::<Settings>().map(|settings| settings.act).unwrap_or_default()
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

fn bits(bits: &[bool]) -> String {
    bits.iter().map(|bit| if *bit { '1' } else { '0' }).collect()
}

fn path(address: Option<Address>) -> String {
    or_dash(address.map(|address| format!("{}@{}", address.local_part, address.domain)))
}

fn list(parameters: &[Parameter]) -> String {
    let word = |given: &Parameter| given.value.as_ref().map_or(given.keyword.clone(), |value| format!("{}={value}", given.keyword));
    parameters.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn channel(channel: Channel) -> String {
    let marks = bits(&[channel.level == Level::Domain, channel.version == TlsVersion::Tls13]);
    format!("{marks} {} {} {}", channel.cipher, channel.group, or_dash(channel.server_name))
}

fn certificate(peer: Certificate) -> String {
    let names = peer.dns_names.join(",");
    format!("{} {} {names} {} {} {}", peer.subject, peer.issuer, peer.sha256.len(), peer.sha256[31], peer.not_after)
}

fn exchanger(host: &Exchanger) -> String {
    let marks = bits(&[host.source == Source::SecmxSrv, host.dnssec_secure, host.expected == Level::Domain]);
    format!("{} {} {} {} {marks}", host.index, host.name, host.port, host.preference)
}

#[cfg(test)]
mod alone;
