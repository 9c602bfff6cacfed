//! Whole configurations: what the defaults are, what the file changes, and what every mistake is answered with, place included.

use super::*;
use secmx_core::channel::{Level, Requirement};
use secmx_core::role::{ReceiverRole, SenderRole};
use std::path::PathBuf;
use std::time::Duration;

/// Six lines, complete.
const SIX_LINES: &str = r#"hostname       = "secmail.agency.example"
domains        = ["agency.example"]
deliver_to     = "smtp://exchange.internal:25"
tls.acme.email = "postmaster@agency.example"
receive.public = { listen = "203.0.113.5:25", role = "BER" }   # the MX host
receive.secure = { listen = "203.0.113.6:25", role = "SOR" }   # the SRV target
"#;

const BER: ListenerRole = ListenerRole::Receiver(ReceiverRole::BestEffort);
const SOR: ListenerRole = ListenerRole::Receiver(ReceiverRole::SecureOnly);

fn day(text: &str) -> Date {
    text.parse().expect("a date")
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text.as_bytes(), true).expect("an address")
}

/// Reads a text on a fixed day.
fn read(text: &str) -> Outcome {
    let mut sources = Sources::default();
    let entries = sources.parse("secmx.toml", Path::new(""), text.to_owned())?;
    Config::read(sources, &entries, Path::new(""), day("2026-11-23"))
}

fn good(text: &str) -> Config {
    read(text).unwrap_or_else(|findings| panic!("{}", lines(&findings).join("\n"))).0
}

fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// What a text is answered with, errors and warnings.
fn said(text: &str) -> Vec<String> {
    lines(&read(text).map_or_else(|findings| findings, |(_, warnings)| warnings))
}

#[test]
fn six_lines_are_a_complete_configuration() {
    let (config, warnings) = read(SIX_LINES).expect("valid");
    assert_eq!(lines(&warnings), [""; 0]);
    let acme = config.tls.acme.as_ref().expect("asked for");
    assert_eq!((acme.challenge, config.acme_names(acme)), (Challenge::TlsAlpn01, vec!["secmail.agency.example".to_owned()]));
    let https: Vec<String> = config.web.https.iter().map(ToString::to_string).collect();
    assert_eq!((https, config.web.http.len()), (vec!["0.0.0.0:443".to_owned(), "[::]:443".to_owned()], 0));
    assert_eq!(config.hostname.as_str(), "secmail.agency.example");
    assert_eq!(config.postmaster.to_string(), "postmaster@agency.example");
    assert_eq!(config.send.hello, config.hostname);
    let listeners: Vec<_> = config.receive.iter().map(|(name, door)| (name.as_str(), door.listen.clone(), door.role)).collect();
    let at = |text: &str| vec![text.parse().expect("an address")];
    assert_eq!(listeners, [("public", at("203.0.113.5:25"), BER), ("secure", at("203.0.113.6:25"), SOR)]);
    assert!(config.receive.values().all(|door| door.allow.is_empty()), "a public listener relays for nobody");
    assert_eq!(config.inside_of(&mailbox("bo@AGENCY.example")).as_deref(), Some("exchange.internal:25"));
    assert_eq!(config.inside_of(&mailbox("bo@sub.agency.example")), None);
}

/// L1-7: the default configuration is BES + BER.
#[test]
fn l1_7_without_a_file_it_is_bes_and_ber_for_this_machine_only() {
    let (config, warnings) = Config::load_with(None, std::iter::empty(), day("2026-11-23")).expect("valid");
    assert!(warnings.is_empty());
    assert_eq!(config.send.role, SenderRole::BestEffort);
    let Some(door) = config.receive.get("local").filter(|_| config.receive.len() == 1) else { panic!("{:?}", config.receive) };
    assert_eq!((door.listen.clone(), door.role), (vec!["127.0.0.1:2525".parse().expect("valid")], BER));
    assert!(door.allows([127, 0, 0, 1].into()) && !door.allows([192, 0, 2, 1].into()));
    assert!(config.domains.is_empty() && config.deliver_to.is_none());
    assert_eq!(config.paths.state, PathBuf::from("secmx-state"));
    assert_eq!((config.send.plaintext, config.send.secure_wait), (true, Duration::from_secs(600)));
    assert_eq!((config.send.sos.floor, config.send.sos.max_wait), (Level::Host, Duration::from_secs(86_400)));
    assert_eq!(config.tls.trust, [Trust::System]);
}

/// A setting of every kind.
const WHOLE: &str = r#"
hostname = "mx.x.test"
postmaster = "pm@x.test"
paths.state = "/var/lib/secmx"
[dns]
resolvers = ["127.0.0.1", "[::1]", "127.0.0.1:5353"]
timeout = "2s"
cache = { max_entries = 7, ttl = "1h", negative_ttl = "30s" }
[receive.inside]
listen = ["10.0.0.5:2525", "[fd00::5]:2525"]
role = "submit"
allow = "10.0.0.0/24"
trusted = true
limits = { message = "1MiB", recipients = 100, connections = 3, per_ip = 2, idle = "6m", pace = 0 }
[send]
role = "SOS"
hello = "out.x.test"
plaintext = "deny"
secure_wait = 0
retry = ["1s", "2s"]
expire = "2d"
warn_after = "1h"
attempts_min = 2
port = 2525
ports = [10025]
allow_private = true
connect_timeout = "3s"
timeouts = { greeting = "4s", quit = "1s" }
sos = { accept = "srv-only", floor = "domain", max_wait = "1h" }
[queue]
workers = 3
per_destination = { connections = 2, messages_per_connection = 7, idle = "2s", rate = "90/1m" }
[policies]
limits = { time = "50ms", memory = "8MiB" }
[log]
format = "text"
level = "debug"
"#;

#[test]
fn every_setting_arrives() {
    let config = good(WHOLE);
    assert_eq!(config.postmaster, mailbox("pm@x.test"));
    let servers: Vec<String> = config.dns.resolvers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["127.0.0.1:53", "[::1]:53", "127.0.0.1:5353"]);
    let seconds = Duration::from_secs;
    assert_eq!((config.dns.timeout, config.dns.ttl_max, config.dns.negative_ttl_max), (seconds(2), seconds(3600), seconds(30)));
    let door = &config.receive["inside"];
    assert_eq!((door.listen.len(), door.role, door.trusted), (2, ListenerRole::Submit, true));
    assert!(door.allows([10, 0, 0, 9].into()) && !door.allows([127, 0, 0, 1].into()));
    let limits = Limits {
        message_octets: 1 << 20,
        recipients: 100,
        connections: 3,
        per_ip: 2,
        idle: seconds(360),
        pace_octets: 0,
        ..Limits::default()
    };
    assert_eq!(door.limits, limits);
    let send = &config.send;
    assert_eq!((send.role, send.plaintext, send.secure_wait), (SenderRole::SecureOnly, false, Duration::ZERO));
    assert_eq!(
        (send.schedule.retry.clone(), send.schedule.expire, send.schedule.attempts_min),
        (vec![seconds(1), seconds(2)], seconds(172_800), 2)
    );
    assert!([2525, 10_025, 465].iter().all(|port| send.srv_ports().contains(port)) && !send.srv_ports().contains(&22));
    assert_eq!((send.connect_timeout, send.timeouts.greeting, send.timeouts.quit), (seconds(3), seconds(4), seconds(1)));
    assert_eq!(send.timeouts.end_of_data, seconds(600), "what is not set keeps its default");
    let session = config.smtp(door, &["PLAIN".into()]);
    assert_eq!(session.mechanisms, ["PLAIN"], "users send from `submit` listeners");
    assert_eq!((session.limits.message_octets_max, session.limits.recipients_max, session.limits.command), (1 << 20, 100, seconds(360)));
    assert_eq!(send.sos, SecureOnly { accept: Accept::SrvOnly, floor: Level::Domain, max_wait: seconds(3600) });
    assert_eq!((config.queue.workers, config.policies.memory_octets), (3, 8 << 20));
    let rate = Rate { count: 90, time: seconds(60) };
    let per_destination = PerDestination { connections: 2, messages: 7, idle: seconds(2), rate: Some(rate) };
    assert_eq!(config.queue.per_destination, per_destination);
    assert_eq!((config.log.format, config.log.level), (crate::log::Format::Text, crate::log::Severity::Debug));
}

#[test]
fn the_profile_is_the_letter_of_the_draft_and_single_settings_win_over_it() {
    let send = good("[send]\nprofile = \"secmx-2005\"\n").send;
    assert_eq!((send.sos.floor, send.secure_wait), (Level::Encrypted, Duration::ZERO));
    let send = good("[send]\nprofile = \"secmx-2005\"\nsecure_wait = \"5m\"\nsos.floor = \"domain\"\n").send;
    assert_eq!((send.sos.floor, send.secure_wait), (Level::Domain, Duration::from_secs(300)));
}

/// Every kind of error, with its place and its exact words.
const MISTAKES: &[(&str, &str)] = &[
    ("\n\nrecieve.public = {}\n", "secmx.toml:3:1  error C012  unknown key `recieve`; did you mean `receive`?"),
    ("frobnicate = 1\n", "secmx.toml:1:1  error C012  unknown key `frobnicate`"),
    ("[log]\nformt = \"json\"\n", "secmx.toml:2:1  error C012  unknown key `formt`; did you mean `format`?"),
    ("[log]\ncolour = 1\n", "secmx.toml:2:1  error C012  unknown key `colour` in `log`, which has format, level"),
    ("hostname = \"a.test\n", "secmx.toml:1:19  error C010  invalid basic string, expected `\"`"),
    (
        "domains = [\"a.test\"]\n",
        "secmx.toml:1:11  error C013  `deliver_to` is missing: mail for `domains` must go somewhere, such as \"smtp://exchange.internal:25\"",
    ),
    ("[receive.x]\nrole = \"BER\"\n", "secmx.toml:1:10  error C013  `receive.x.listen` is missing"),
    ("[receive.x]\nlisten = \"1.2.3.4:25\"\n", "secmx.toml:1:10  error C013  `receive.x.role` is missing"),
    (
        "[receive.x]\nlisten = \"1.2.3.4:25\"\nrole = \"SOS\"\n",
        "secmx.toml:3:8  error C011  `receive.x.role`: expected \"BER\", \"SOR\" or \"submit\", found the string \"SOS\"; did you mean \"SOR\"?",
    ),
    (
        "[receive.x]\nlisten = \"25\"\nrole = \"BER\"\n",
        "secmx.toml:2:10  error C011  `receive.x.listen`: expected an IP address with a port such as \"203.0.113.5:25\" or \"[2001:db8::5]:25\", found the string \"25\"",
    ),
    ("[receive.x]\nlisten = []\nrole = \"BER\"\n", "secmx.toml:2:10  error C011  `receive.x.listen` names no address"),
    (
        "receive = \"0.0.0.0:25\"\n",
        "secmx.toml:1:11  error C011  `receive`: expected tables that begin with `[receive.NAME]`, found the string \"0.0.0.0:25\"",
    ),
    (
        "receive.listen = \"0.0.0.0:25\"\n",
        "secmx.toml:1:18  error C011  `receive.listen`: expected a table `[receive.listen]`, found the string \"0.0.0.0:25\"",
    ),
    (
        "hostname = \"not a host\"\n",
        "secmx.toml:1:12  error C011  `hostname`: expected a domain name such as \"agency.example\", found the string \"not a host\"",
    ),
    (
        "hostname = \"192.0.2.1\"\n",
        "secmx.toml:1:12  error C011  `hostname`: expected a domain name such as \"agency.example\", found the string \"192.0.2.1\"",
    ),
    (
        "deliver_to = \"exchange:25\"\n",
        "secmx.toml:1:14  error C011  `deliver_to`: expected a host such as \"smtp://exchange.internal:25\", \"smtps://…\" or \"lmtp://…\", found the string \"exchange:25\"",
    ),
    (
        "send.expire = 5\n",
        "secmx.toml:1:15  error C011  `send.expire`: expected a duration such as \"90s\", \"5m\", \"2h\" or \"2d\", found the integer 5",
    ),
    (
        "send.retry = [\"1m\", \"x\"]\n",
        "secmx.toml:1:21  error C011  `send.retry`: expected a duration such as \"90s\", \"5m\", \"2h\" or \"2d\", found the string \"x\"",
    ),
    ("send.retry = []\n", "secmx.toml:1:14  error C011  `send.retry`: expected waits such as [\"1m\", \"5m\", \"1h\"], none of them 0"),
    ("send.port = 70000\n", "secmx.toml:1:13  error C011  `send.port`: expected a smaller number, found the integer 70000"),
    (
        "send.sos.floor = \"plain\"\n",
        "secmx.toml:1:18  error C011  `send.sos.floor`: expected \"encrypted\", \"host\" or \"domain\", found the string \"plain\"",
    ),
    ("log = true\n", "secmx.toml:1:7  error C011  `log`: expected a table, found true"),
    (
        "[receive.x]\nlisten = \"1.2.3.4:25\"\nrole = \"submit\"\nallow = \"0.0.0.0/0\"\n",
        "secmx.toml:4:9  error C022  `receive.x.allow`: 0.0.0.0/0 is not one's own network; anyone there could send mail through this gateway",
    ),
    (
        "[receive.x]\nlisten = \"1.2.3.4:25\"\nrole = \"submit\"\nallow = [\"10.0.0.5/24\"]\n",
        "secmx.toml:4:10  error C011  `receive.x.allow`: expected the network \"10.0.0.0/24\", or the address alone, found the string \"10.0.0.5/24\"",
    ),
    (
        "[receive.x]\nlisten = \"1.2.3.4:25\"\nrole = \"BER\"\nlimits.recipients = 5\n",
        "secmx.toml:4:21  error C011  `receive.x.limits.recipients`: every client may count on 100 recipients (RFC 5321, 4.5.3.1.8)",
    ),
    (
        "tls.acme.trust = \"/nowhere/c.pem\"\n",
        "secmx.toml:1:18  error C023  cannot read /nowhere/c.pem: No such file or directory (os error 2)",
    ),
    ("tls.certs = [{ cert = \"/dev/null\" }]\n", "secmx.toml:1:14  error C013  `tls.certs.key` is missing"),
    ("tls.trust = [\"/\"]\n", "secmx.toml:1:13  error C023  cannot read /: it is a directory"),
    (
        "[[policy]]\nname = \"x\"\nuse = \"/nowhere.wasm\"\n",
        "secmx.toml:3:7  error C023  cannot read /nowhere.wasm: No such file or directory (os error 2)",
    ),
    (
        "[[policy]]\nname = \"x\"\nuse = \"oci://r.test/x:1\"\n",
        "secmx.toml:3:7  error C050  `policy.use`: policies are loaded from files so far; expected the path of a .wasm file or builtin:NAME, found \"oci://r.test/x:1\"",
    ),
    (
        "[[policy]]\nname = \"x\"\nuse = \"builtin:opaque\"\n",
        "secmx.toml:3:7  error C011  `policy.use`: no policy \"opaque\" is shipped; there are attachments, classification, disclaimer, dmarc, journal, no-secrets, opaque-content",
    ),
    (
        "[[policy]]\nname = \"sos\"\nuse = \"/dev/null\"\n",
        "secmx.toml:2:8  error C011  `policy.name`: \"sos\" is the name of a role policy; choose another",
    ),
    (
        "[[policy]]\nname = \"x\"\nuse = \"/dev/null\"\non_error = \"acept\"\n",
        "secmx.toml:4:12  error C011  `policy.on_error`: expected \"defer\", \"quarantine\", \"reject\" or \"accept\", found the string \"acept\"; did you mean \"accept\"?",
    ),
    (
        "[receive.x]\nlisten = \"1.2.3.4:25\"\nrole = \"BER\"\n[[policy]]\nname = \"x\"\nuse = \"/dev/null\"\nwhen = { listener = [\"x\", \"y\"] }\n",
        "secmx.toml:7:21  error C024  `policy.when.listener`: there is no [receive.y]; there is x",
    ),
    ("policies.limits.memory = \"1GiB\"\n", "secmx.toml:1:26  error C011  `policies.limits.memory`: expected 64KiB to 256MiB"),
    (
        "domains = [\"a.test\"]\ndeliver_to = { \"b.test\" = \"lmtp://127.0.0.1\", \"*\" = \"smtp://10.0.0.7\" }\n",
        "secmx.toml:2:14  error C024  `deliver_to` names b.test, which is not in `domains`",
    ),
    (
        "domains = [\"a.test\", \"b.test\"]\ndeliver_to = { \"b.test\" = \"lmtp://127.0.0.1\" }\n",
        "secmx.toml:2:14  error C013  `deliver_to` names no host for a.test, nor for \"*\"",
    ),
    ("[[send.rule]]\nname = \"r\"\n", "secmx.toml:1:1  error C013  `send.rule.to` is missing"),
    (
        "[[send.rule]]\nname = \"r\"\nto = \"*govt.nz\"\n",
        "secmx.toml:3:6  error C011  `send.rule.to`: expected recipients such as \"*.govt.nz\", \"health.example\" or \"bo@health.example\", found the string \"*govt.nz\"",
    ),
    (
        "[[send.rule]]\nname = \"r\"\nto = \"a.test\"\nrole = \"SOS\"\nnext_hop = \"smtp://hub.test\"\n",
        "secmx.toml:5:12  error C024  rule \"r\" hands secure only mail to a host that may send it on in clear; if it does not, say `trust_onward = true`",
    ),
    ("include = \"x.toml\"\n", "secmx.toml:1:1  error C012  unknown key `include`"),
];

#[test]
fn every_mistake_has_a_place_and_a_remedy() {
    for (text, expected) in MISTAKES {
        assert!(read(text).is_err(), "{text}");
        assert_eq!(said(text), [*expected], "{text}");
    }
}

/// A private key that was pasted where its path belongs stays out of terminals and tickets.
#[test]
fn a_pasted_key_is_not_shown() {
    let pasted = "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIN\\n-----END PRIVATE KEY-----\\n";
    let said = said(&format!(
        "tls.certs = [{{ cert = \"/dev/null\", key = \"{pasted}\" }}]\ntls.trust = \"{pasted}\"\nlog.level = \"{}\"\n",
        "x".repeat(200)
    ));
    let expected = [
        "secmx.toml:1:42  error C011  `tls.certs.key`: expected a path, found a text of several lines",
        "secmx.toml:2:13  error C011  `tls.trust`: expected \"system\" or the path of a PEM file, found a text of several lines",
        "secmx.toml:3:13  error C011  `log.level`: expected \"error\", \"warning\", \"info\" or \"debug\", found a string of 200 characters",
    ];
    assert_eq!(said, expected);
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "hostnme = \"a.test\"\n[send]\nrole = \"BSE\"\nretry = 5\n[log]\nx = 1\n";
    let codes: Vec<_> =
        read(text).expect_err("wrong").iter().map(|finding| (finding.place.position.map(|at| at.line), finding.code)).collect();
    assert_eq!(codes, [(Some(1), Code::UnknownKey), (Some(3), Code::Value), (Some(4), Code::Value), (Some(6), Code::UnknownKey)]);
}

#[test]
fn a_column_counts_characters() {
    assert_eq!(
        said("send = { \"ü\" = 1, role = 1 }\n")[1],
        "secmx.toml:1:26  error C011  `send.role`: expected \"BES\" or \"SOS\", found the integer 1"
    );
}

#[test]
fn two_listeners_never_share_an_address() {
    let both = |one: &str, other: &str| {
        said(&format!("[receive.a]\nlisten = {one:?}\nrole = \"BER\"\n[receive.b]\nlisten = {other:?}\nrole = \"SOR\"\n"))
    };
    let expected = "secmx.toml:5:10  error C020  `receive.b` and `receive.a` both listen on 192.0.2.1:25";
    assert_eq!(both("192.0.2.1:25", "192.0.2.1:25"), [expected]);
    assert_eq!(both("0.0.0.0:25", "192.0.2.1:25"), [expected]);
    for (one, other) in [("192.0.2.1:25", "192.0.2.1:26"), ("127.0.0.1:0", "127.0.0.1:0"), ("[::]:25", "192.0.2.1:25")] {
        assert!(both(one, other).is_empty(), "{one} {other}");
    }
}

#[test]
fn warnings_do_not_stop_it() {
    let rule = |expires: &str| format!("[[send.rule]]\nname = \"partner\"\nto = \"a.test\"\nexpires = {expires}\n");
    let cases = [
        (rule("2026-11-22"), vec!["secmx.toml:4:11  warning C030  the exception \"partner\" ended 2026-11-22 and is ignored"]),
        (rule("2026-11-23"), vec!["secmx.toml:4:11  warning C031  the exception \"partner\" ends 2026-11-23"]),
        (rule("2026-12-23"), vec!["secmx.toml:4:11  warning C031  the exception \"partner\" ends 2026-12-23"]),
        (rule("2026-12-24"), vec![]),
        (rule("\"2026-12-24\""), vec![]),
        (
            "deliver_to = \"smtp://a.test\"\n".into(),
            vec!["secmx.toml:1:14  warning C032  `deliver_to` has no effect without `domains`: no mail is ours"],
        ),
        (
            "send.warn_after = \"6d\"\n".into(),
            vec![
                "secmx.toml:1:19  warning C032  `send.warn_after` is not before `send.expire`: the message is returned first, and nobody is told that it waits",
            ],
        ),
    ];
    for (text, expected) in cases {
        let (_, warnings) = read(&text).unwrap_or_else(|findings| panic!("{}", lines(&findings).join("\n")));
        assert_eq!(lines(&warnings), expected, "{text}");
    }
}

#[test]
fn rules_by_recipient_the_first_that_fits() {
    let send = good(
        r#"
[[send.rule]]
name = "over"
to = ["*"]
role = "SOS"
expires = 2026-01-31
[[send.rule]]
name = "bo"
to = ["Bo@health.example"]
floor = "domain"
[[send.rule]]
name = "government"
to = ["*.govt.nz", "health.example"]
role = "SOS"
[[send.rule]]
name = "hub"
to = ["hub.example"]
next_hop = "smtp://10.0.0.7:2525"
[[send.rule]]
name = "later"
to = ["hub.example", "health.example"]
floor = "host"
"#,
    )
    .send;
    let now = "2026-11-23T12:00:00Z".parse().expect("a time");
    let cases = [
        ("a@tax.govt.nz", Some("government"), SenderRole::SecureOnly, Level::Host),
        ("a@x.tax.GOVT.nz", Some("government"), SenderRole::SecureOnly, Level::Host),
        ("a@govt.nz", None, SenderRole::BestEffort, Level::Plain),
        ("a@notgovt.nz", None, SenderRole::BestEffort, Level::Plain),
        ("ana@health.example", Some("government"), SenderRole::SecureOnly, Level::Host),
        ("bO@health.example", Some("bo"), SenderRole::BestEffort, Level::Domain),
        ("a@sub.health.example", None, SenderRole::BestEffort, Level::Plain),
        ("a@hub.example", Some("hub"), SenderRole::BestEffort, Level::Plain),
        ("a@[192.0.2.1]", None, SenderRole::BestEffort, Level::Plain),
    ];
    for (to, rule, role, floor) in cases {
        let chosen = send.rule_for(&mailbox(to), now);
        assert_eq!((chosen.rule.as_deref(), chosen.demand.role, chosen.demand.floor), (rule, role, Requirement::at_least(floor)), "{to}");
    }
    assert_eq!(send.rule_for(&mailbox("a@hub.example"), now).next_hop.as_deref(), Some("10.0.0.7:2525"));
}

/// An exception ends by itself, in a gateway that was started before its last day too.
#[test]
fn an_exception_holds_through_its_last_day() {
    let send = good("[[send.rule]]\nname = \"r\"\nto = \"a.test\"\nrole = \"SOS\"\nexpires = 2027-03-31\n").send;
    let at = |time: &str| send.rule_for(&mailbox("a@a.test"), time.parse().expect("a time")).demand.role;
    assert_eq!(at("2027-03-31T23:59:59Z"), SenderRole::SecureOnly);
    assert_eq!(at("2027-04-01T00:00:00Z"), SenderRole::BestEffort);
}

/// Invariant 2: a rule's floor adds to the floor of secure only sending, it never takes from it.
#[test]
fn a_rule_never_lowers_the_floor_of_secure_only() {
    let send = good("[[send.rule]]\nname = \"r\"\nto = \"a.test\"\nrole = \"SOS\"\nfloor = \"plain\"\n").send;
    let now = "2026-11-23T12:00:00Z".parse().expect("a time");
    assert_eq!(send.rule_for(&mailbox("a@a.test"), now).demand.floor, Requirement::at_least(Level::Host));
}

#[test]
fn the_environment_wins_over_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secmx.toml");
    fs::write(&path, "[send]\nrole = \"BES\"\nplaintext = \"deny\"\n").expect("written");
    let load =
        |name: &str, value: &str| Config::load_with(Some(&path), [(name.to_owned(), value.to_owned())].into_iter(), day("2026-11-23"));
    let (config, _) = load("SECMX__SEND__ROLE", "SOS").expect("valid");
    assert_eq!((config.send.role, config.send.plaintext), (SenderRole::SecureOnly, false));
    let (config, _) = load("SECMX__SEND__PORTS", "[1025, 1026]").expect("valid");
    assert_eq!(config.send.ports, [1025, 1026]);
    let (config, _) = load("SECMX__RECEIVE__EXTRA", "{ listen = \"127.0.0.1:2526\", role = \"BER\" }").expect("valid");
    assert!(config.receive.contains_key("extra"));
    let said = lines(&load("SECMX__SEND__ROEL", "SOS").expect_err("wrong"));
    assert_eq!(said, ["SECMX__SEND__ROEL  error C012  unknown key `roel`; did you mean `role`?"]);
    let said = lines(&load("SECMX__SEND__ROLE", "SOX").expect_err("wrong"));
    assert_eq!(
        said,
        ["SECMX__SEND__ROLE  error C011  `send.role`: expected \"BES\" or \"SOS\", found the string \"SOX\"; did you mean \"SOS\"?"]
    );
    assert!(load("SECMX_CONFIG", "x").is_ok() && load("PATH", "x").is_ok(), "other variables are not ours");
}

#[test]
fn included_files_add_and_never_replace() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("conf.d")).expect("made");
    fs::write(at("secmx.toml"), "include = [\"conf.d/*.toml\"]\n[send]\nrole = \"BES\"\n[[send.rule]]\nname = \"one\"\nto = \"a.test\"\n")
        .expect("written");
    fs::write(
        at("conf.d/10.toml"),
        "send.plaintext = \"deny\"\n[[send.rule]]\nname = \"two\"\nto = \"b.test\"\n[paths]\nstate = \"here\"\n",
    )
    .expect("written");
    fs::write(at("conf.d/20.toml"), "[log]\nlevel = \"debug\"\n").expect("written");
    fs::write(at("conf.d/readme.txt"), "not TOML at all").expect("written");
    let load = || Config::load_with(Some(&at("secmx.toml")), std::iter::empty(), day("2026-11-23"));
    let (config, _) = load().expect("valid");
    assert_eq!(config.send.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!((config.send.plaintext, config.log.level), (false, crate::log::Severity::Debug));
    assert_eq!(config.paths.state, at("conf.d/here"), "a path is relative to the file it stands in");

    fs::write(at("conf.d/30.toml"), "\n\nsend.role = \"SOS\"\n").expect("written");
    let said = lines(&load().expect_err("set twice"));
    let expected = format!(
        "{}:3:6  error C020  `send.role` is also set at {}:3:1; keep one",
        at("conf.d/30.toml").display(),
        at("secmx.toml").display()
    );
    assert_eq!(said, [expected]);

    fs::write(at("conf.d/30.toml"), "[send\n").expect("written");
    let said = lines(&load().expect_err("not TOML"));
    assert!(said[0].starts_with(&format!("{}:1:6  error C010  ", at("conf.d/30.toml").display())), "{said:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let said = lines(&Config::load(Some(Path::new("/nowhere/secmx.toml"))).expect_err("not there"));
    assert_eq!(said, ["/nowhere/secmx.toml  error C014  cannot be read: No such file or directory (os error 2)"]);
}

#[test]
fn a_relative_path_is_relative_to_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secmx.toml");
    fs::write(folder.path().join("p.wasm"), "").expect("written");
    fs::write(&path, "[[policy]]\nname = \"p\"\nuse = \"p.wasm\"\nsettings = { words = [\"a\"], until = 2027-01-01, n = 1.5 }\n")
        .expect("written");
    let (config, _) = Config::load_with(Some(&path), std::iter::empty(), day("2026-11-23")).expect("valid");
    assert_eq!(config.paths.state, folder.path().join("secmx-state"));
    assert_eq!(config.policy[0].component, Component::File(folder.path().join("p.wasm")));
    let settings = serde_json::Value::Object(config.policy[0].settings.clone());
    assert_eq!(settings, serde_json::json!({ "words": ["a"], "until": "2027-01-01", "n": 1.5 }));
}

#[test]
fn what_a_running_gateway_cannot_take_over() {
    let old = good(SIX_LINES);
    assert_eq!(old.needs_restart(&good(&SIX_LINES.replace("agency.example\"]", "other.example\"]"))), None);
    assert_eq!(old.needs_restart(&good(&SIX_LINES.replace("203.0.113.6:25", "203.0.113.7:25"))), Some("receive.NAME.listen"));
    assert_eq!(old.needs_restart(&good(&format!("paths.state = \"x\"\n{SIX_LINES}"))), Some("paths.state"));
}

#[test]
fn a_shipped_policy_is_used_by_its_name() {
    let config = good(&format!(
        "{SIX_LINES}[[policy]]\nname = \"opaque\"\nuse = \"builtin:opaque-content\"\nsettings = {{ action = \"reject\" }}\n"
    ));
    assert_eq!(config.policy[0].component, Component::Shipped("opaque-content"));
    let sources = config.policy_sources(None).expect("it is there");
    assert_eq!((sources[0].name.as_str(), sources[0].settings.as_str()), ("opaque", "{\"action\":\"reject\"}"));
    assert!(sources[0].component.starts_with(b"\0asm"));
}
