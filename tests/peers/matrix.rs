//! Which real client and server can do what with us: a printed table in which no cell is empty; what a program cannot do is said.

use crate::clients::{Options, curl, large, message, msmtp, smtplib};
use crate::dovecot::{self, Dovecot};
use crate::exim::{self, Exim};
use crate::{PATIENCE, World, clients, swaks_file};
use anyhow::{Context, Result, ensure};
use secmx_lab::peer::{Behaviour, Peer, Taken};
use secmx_tests::Process;
use secmx_tests::postfix::{self, Postfix, free_port};
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

const EIGHT_BIT: &str = "Grüße aus Zürich\r\n.a line with a dot\r\n";

/// What is tried with every program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    Plain,
    StartTls,
    Utf8Address,
    EightBit,
    Dsn,
    Large,
}

impl Feature {
    const ALL: [Self; 6] = [Self::Plain, Self::StartTls, Self::Utf8Address, Self::EightBit, Self::Dsn, Self::Large];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::StartTls => "STARTTLS",
            Self::Utf8Address => "UTF-8 address",
            Self::EightBit => "8-bit body",
            Self::Dsn => "DSN",
            Self::Large => "30 MiB",
        }
    }

    fn body(self) -> Vec<u8> {
        match self {
            Self::EightBit | Self::Utf8Address => EIGHT_BIT.as_bytes().to_vec(),
            Self::Large => large(),
            _ => b"Hello.\r\n..two dots\r\n".to_vec(),
        }
    }

    fn options(self) -> Options {
        Options { secure: self != Self::Plain, utf8: self == Self::Utf8Address, eight_bit: self == Self::EightBit, dsn: self == Self::Dsn }
    }
}

/// A row: what was found for each feature, `ok` or why not.
struct Row(&'static str, Vec<String>);

fn print(title: &str, rows: &[Row]) {
    println!("\n{title}");
    println!("{:<10}{}", "", Feature::ALL.map(|feature| format!("{:<15}", feature.name())).concat());
    let mut notes: Vec<&str> = Vec::new();
    for Row(name, cells) in rows {
        let shown = cells.iter().map(|cell| {
            if cell == "ok" {
                return format!("{cell:<15}");
            }
            let number = notes.iter().position(|note| note == cell).unwrap_or_else(|| {
                notes.push(cell);
                notes.len() - 1
            });
            format!("{:<15}", format!("({})", number + 1))
        });
        println!("{name:<10}{}", shown.collect::<String>());
    }
    notes.iter().enumerate().for_each(|(number, note)| println!("  ({}) {note}", number + 1));
}

fn subject(program: &str, feature: Feature) -> String {
    format!("{program} {}", feature.name().replace(' ', "-"))
}

/// Why a program cannot send to an address beyond ASCII.
const NO_SMTPUTF8: &str = "has no SMTPUTF8: it sends the address all the same, and is refused";

/// `why` a program cannot do it, which our reply to what it did instead shows. Errors when it has learned it.
fn refused(sent: Result<()>, reply: &str, why: &'static str) -> Result<Option<&'static str>> {
    let said = format!("{:#}", sent.err().context("it can do it now")?);
    ensure!(said.contains(reply), "{said}");
    Ok(Some(why))
}

/// Has one program send one message. `None` when it did, else why it cannot.
fn send(program: &str, servers: &[SocketAddr; 2], feature: Feature, world: &World) -> Result<Option<&'static str>> {
    let octets = message(&subject(program, feature), &feature.body());
    let (options, server) = (feature.options(), servers[usize::from(feature != Feature::Plain)]);
    match (program, feature) {
        ("swaks", Feature::Dsn) => {
            ensure!(!fs::read_to_string("/usr/bin/swaks")?.contains("NOTIFY"), "swaks has learned DSN");
            return Ok(Some("has no option for DSN"));
        }
        ("curl", Feature::Dsn) => {
            return refused(
                curl(server, &options, &octets),
                "RCPT failed: 501",
                "has no option for DSN, and takes what is behind the address for a part of it",
            );
        }
        ("msmtp", Feature::Utf8Address) => return refused(msmtp(server, &options, &octets), "553 5.6.7", NO_SMTPUTF8),
        ("swaks", _) => {
            let file = world.directory.path().join("swaks.eml");
            fs::write(&file, &octets)?;
            let sent = swaks_file(server, &file, &options);
            return if options.utf8 { refused(sent, "553 5.6.7", NO_SMTPUTF8) } else { sent.map(|()| None) };
        }
        ("msmtp", _) => msmtp(server, &options, &octets)?,
        ("curl", _) => curl(server, &options, &octets)?,
        // Postfix and Exim get it from smtplib and hand it on as they do.
        ("postfix" | "exim", _) => smtplib(server, &Options { secure: false, ..options }, &octets)?,
        _ => smtplib(server, &options, &octets)?,
    }
    Ok(None)
}

/// Whether what came to the inside is what was sent.
fn arrived(taken: &[Taken], program: &str, feature: Feature) -> Result<()> {
    let mark = format!("Subject: {}\r\n", subject(program, feature));
    let split = |message: &Taken| {
        let at = message.content.windows(4).position(|four| four == b"\r\n\r\n").map_or(message.content.len(), |at| at + 4);
        let (header, body) = message.content.split_at(at);
        (String::from_utf8_lossy(header).into_owned(), body.to_vec())
    };
    let messages = || taken.iter().filter(|message| !message.reverse_path.is_empty());
    let (to, (header, body)) = messages()
        .map(|message| (message.forward_paths.clone(), split(message)))
        .find(|(_, (header, _))| header.contains(&mark))
        .with_context(|| format!("{mark} did not arrive"))?;
    // swaks puts an empty line behind a file.
    let body = if program == "swaks" { body.strip_suffix(b"\r\n").unwrap_or(&body).to_vec() } else { body };
    ensure!(body == feature.body(), "{mark} {} octets instead of {}", body.len(), feature.body().len());
    // Our own trace field is the first, and says before `by` how the message came.
    let (ours, _) = header.split_once("by gw.agency.test").context("no trace field of ours")?;
    let secure = ours.contains("TLS1.");
    ensure!(secure == (feature != Feature::Plain), "{mark} {header}");
    ensure!(feature != Feature::Utf8Address || to == ["bö@agency.test"], "{to:?}");
    let notice = |message: &Taken| {
        let text = String::from_utf8_lossy(&message.content).into_owned();
        let ours = ["Reporting-MTA: dns; gw.agency.test\r\n", "Action: relayed\r\n", mark.as_str()];
        message.reverse_path.is_empty() && ours.iter().all(|part| text.contains(part))
    };
    ensure!(feature != Feature::Dsn || taken.iter().any(notice), "no notice of ours about {mark}");
    Ok(())
}

#[test]
fn real_clients_are_taken_from() -> Result<()> {
    if clients::skipped(&["swaks", "msmtp", "curl", "python3"]) {
        return Ok(());
    }
    let world = World::new()?;
    let identity = world.authority.issue(&["inside.test"])?;
    let inside = world.runtime.block_on(Peer::start(Behaviour::default(), &identity))?;
    let config = world.config(&format!("deliver_to = \"smtp://{}\"", inside.address()), "")?;
    let mut gateway = Process::serve(&config)?;
    let server = gateway.listener("inside")?;
    let mut programs = vec![("swaks", [server; 2]), ("msmtp", [server; 2]), ("curl", [server; 2]), ("smtplib", [server; 2])];
    let relays = match postfix::missing() {
        Some(why) => Err(println!("skipped: {why}")),
        None => ["none", "encrypt"].map(|level| start_postfix_relay(server, level)).into_iter().collect::<Result<Vec<_>>>().map(Ok)?,
    };
    if let Ok(relays) = &relays {
        programs.push(("postfix", [relays[0].address(), relays[1].address()]));
    }
    let exims = match exim::missing() {
        Some(why) => Err(println!("skipped: {why}")),
        None => [false, true].map(|secure| start_exim_relay(server, secure)).into_iter().collect::<Result<Vec<_>>>().map(Ok)?,
    };
    if let Ok(exims) = &exims {
        programs.push(("exim", [exims[0].0, exims[1].0]));
    }
    let mut rows = Vec::new();
    for (program, servers) in &programs {
        let cells = Feature::ALL.map(|feature| send(program, servers, feature, &world).with_context(|| subject(program, feature)));
        rows.push((*program, cells.into_iter().collect::<Result<Vec<_>>>()?));
    }
    // Relays hand on in their own time, and how many notices there are is theirs to say: all is looked at until it is right.
    let end = Instant::now() + PATIENCE;
    let table = loop {
        let taken = world.runtime.block_on(inside.wait_for_messages(usize::MAX, Duration::from_millis(500)));
        match judge(&rows, &taken) {
            Ok(table) => break table,
            Err(error) if Instant::now() > end => return Err(error.context(gateway.log())),
            Err(_) => {}
        }
    };
    print("Clients that we take mail from", &table);
    Ok(())
}

/// A row for each program; errors with the first message that is not there as it was sent.
fn judge(rows: &[(&'static str, Vec<Option<&str>>)], taken: &[Taken]) -> Result<Vec<Row>> {
    let judged = |program: &str, feature, cell: &Option<&str>| match cell {
        Some(why) => Ok(format!("{program} {why}")),
        None => arrived(taken, program, feature).map(|()| "ok".to_owned()),
    };
    let row = |(program, cells): &(&'static str, Vec<Option<&str>>)| {
        let cells = Feature::ALL.into_iter().zip(cells).map(|(feature, cell)| judged(program, feature, cell));
        Ok(Row(program, cells.collect::<Result<_>>()?))
    };
    rows.iter().map(row).collect()
}

fn start_postfix_relay(gateway: SocketAddr, level: &str) -> Result<Postfix> {
    Postfix::start(&postfix::Setup {
        relayhost: Some(format!("[{}]:{}", gateway.ip(), gateway.port())),
        more: &format!("smtp_tls_security_level = {level}\nmessage_size_limit = 0\nmailbox_size_limit = 0\n"),
        ..postfix::Setup::default()
    })
}

fn start_exim_relay(gateway: SocketAddr, secure: bool) -> Result<(SocketAddr, Exim)> {
    let address = free_port(Ipv4Addr::LOCALHOST)?;
    Ok((address, Exim::start(&exim::Setup { address, domain: "nowhere.test", relay: Some((gateway, secure)), identity: None })?))
}

/// Servers behind the gateway: one that has no TLS, and one that has.
enum Receiver {
    Postfix([Postfix; 2]),
    Exim([Exim; 2]),
    Dovecot([Dovecot; 2]),
}

impl Receiver {
    fn name(&self) -> &'static str {
        match self {
            Self::Postfix(_) => "postfix",
            Self::Exim(_) => "exim",
            Self::Dovecot(_) => "dovecot",
        }
    }

    /// What it cannot do, and the status that comes back for it.
    fn cannot(&self, feature: Feature) -> Option<(&'static str, &'static str)> {
        match (self, feature) {
            (Self::Dovecot(_), Feature::Utf8Address) => Some(("dovecot has no SMTPUTF8: returned with 5.6.7", "Status: 5.6.7")),
            _ => None,
        }
    }

    /// Who says that a message was delivered: the last one that knows DSN. LMTP has none, so that is the gateway.
    fn reporter(&self) -> &'static str {
        match self {
            Self::Postfix(_) => "postfix.test",
            Self::Exim(_) => "exim.test",
            Self::Dovecot(_) => "gw.agency.test",
        }
    }

    /// Returns once a message is as wanted in the one with TLS, or in the one without.
    fn holds(&self, tls: bool, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
        let text = |octets: &[u8]| wanted(&String::from_utf8_lossy(octets));
        match self {
            Self::Postfix(hosts) => hosts[usize::from(tls)].mailbox_when(PATIENCE, wanted).map(drop),
            Self::Exim(hosts) => hosts[usize::from(tls)].message_when(PATIENCE, text).map(drop),
            Self::Dovecot(hosts) => hosts[usize::from(tls)].message_when(&format!("bo@{}", DOMAINS[4 + usize::from(tls)]), PATIENCE, text),
        }
    }
}

const DOMAINS: [&str; 6] =
    ["plain.postfix.test", "tls.postfix.test", "plain.exim.test", "tls.exim.test", "plain.dovecot.test", "tls.dovecot.test"];

/// Starts those that are here, each at its place in `ports`; what they send goes to `back`.
fn receivers(world: &World, ports: &[SocketAddr], back: SocketAddr) -> Result<Vec<Receiver>> {
    let postfix = |index: usize, tls: bool| -> Result<Postfix> {
        Postfix::start(&postfix::Setup {
            address: Some(ports[index]),
            domains: &[DOMAINS[index]],
            relayhost: Some(format!("[{}]:{}", back.ip(), back.port())),
            identity: tls.then(|| world.identity("postfix.test")).transpose()?,
            more: "message_size_limit = 0\nvirtual_mailbox_limit = 0\n",
            within: None,
        })
    };
    let exim = |index: usize, tls: bool| -> Result<Exim> {
        let identity = tls.then(|| world.identity("exim.test")).transpose()?;
        Exim::start(&exim::Setup { address: ports[index], domain: DOMAINS[index], relay: Some((back, false)), identity })
    };
    let dovecot = |index: usize, tls: bool| -> Result<Dovecot> {
        Dovecot::start(ports[index], tls.then(|| world.identity("dovecot.test")).transpose()?)
    };
    let mut receivers = Vec::new();
    match postfix::missing() {
        Some(why) => println!("skipped: {why}"),
        None => receivers.push(Receiver::Postfix([postfix(0, false)?, postfix(1, true)?])),
    }
    match exim::missing() {
        Some(why) => println!("skipped: {why}"),
        None => receivers.push(Receiver::Exim([exim(2, false)?, exim(3, true)?])),
    }
    match dovecot::missing() {
        Some(why) => println!("skipped: {why}"),
        None => receivers.push(Receiver::Dovecot([dovecot(4, false)?, dovecot(5, true)?])),
    }
    Ok(receivers)
}

#[test]
fn real_servers_take_from_us() -> Result<()> {
    if clients::skipped(&["python3"]) {
        return Ok(());
    }
    let world = World::new()?;
    let identity = world.authority.issue(&["inside.test"])?;
    let inside = world.runtime.block_on(Peer::start(Behaviour::default(), &identity))?;
    let ports = DOMAINS.iter().map(|_| free_port(Ipv4Addr::LOCALHOST)).collect::<Result<Vec<_>>>()?;
    let hosts = DOMAINS.iter().zip(&ports).map(|(domain, address)| {
        let scheme = if domain.contains("dovecot") { "lmtp" } else { "smtp" };
        format!("\"{domain}\" = \"{scheme}://{address}\", ")
    });
    let hosts = format!("{}\"agency.test\" = \"smtp://{}\"", hosts.collect::<String>(), inside.address());
    let config = world.config(&format!("deliver_to = {{ {hosts} }}"), "[receive.back]\nlisten = \"127.0.0.1:0\"\nrole = \"BER\"\n")?;
    let domains = DOMAINS.map(|name| format!("{name:?}, ")).concat();
    fs::write(&config, fs::read_to_string(&config)?.replace("[\"agency.test\"]", &format!("[{domains}\"agency.test\"]")))?;
    let mut gateway = Process::serve(&config)?;
    let receivers = receivers(&world, &ports, gateway.listener("back")?)?;
    let table = receivers.iter().map(|receiver| take_all(receiver, &mut gateway, &inside, &world)).collect::<Result<Vec<_>>>()?;
    print("Servers that take mail from us", &table);
    Ok(())
}

/// Sends everything to one server by way of the gateway, and looks for it there.
fn take_all(receiver: &Receiver, gateway: &mut Process, inside: &Peer, world: &World) -> Result<Row> {
    let server = gateway.listener("inside")?;
    let mut cells = Vec::new();
    for feature in Feature::ALL {
        let mark = subject(receiver.name(), feature);
        let zone = if feature == Feature::Plain { "plain" } else { "tls" };
        let to = format!("{}@{zone}.{}.test", if feature == Feature::Utf8Address { "bö" } else { "bo" }, receiver.name());
        let octets = message(&mark, &feature.body());
        clients::smtplib_to(server, &to, &feature.options(), &octets).with_context(|| mark.clone())?;
        let told = |wanted: &[&str]| {
            let has = |message: &Taken| {
                let text = String::from_utf8_lossy(&message.content).into_owned();
                text.contains(&format!("Subject: {mark}")) && wanted.iter().all(|part| text.contains(part))
            };
            let end = Instant::now() + PATIENCE;
            while Instant::now() < end {
                let seen = inside.messages().len();
                if inside.messages().iter().any(has) {
                    return true;
                }
                world.runtime.block_on(inside.wait_for_messages(seen + 1, Duration::from_millis(500)));
            }
            false
        };
        if let Some((why, status)) = receiver.cannot(feature) {
            ensure!(told(&[status]), "no notice with {status} about {mark}\n{}", gateway.log());
            cells.push(why.to_owned());
            continue;
        }
        let body = String::from_utf8_lossy(&feature.body()).replace("\r\n", "\n");
        let wanted = |text: &str| {
            let text = text.replace("\r\n", "\n");
            text.contains(&format!("Subject: {mark}\n")) && text.contains(&body)
        };
        receiver.holds(zone == "tls", &wanted).with_context(|| format!("{mark}\n{}", gateway.log()))?;
        if feature == Feature::Dsn {
            let reporter = format!("Reporting-MTA: dns; {}", receiver.reporter());
            ensure!(told(&[&reporter, "Action: delivered"]), "{reporter} did not tell the sender of {mark}\n{}", gateway.log());
        }
        let delivered =
            |event: &Value| event["recipients"][0] == to.as_str() && (event["channel"]["level"] == "plain") == (zone == "plain");
        gateway.wait_for("message.delivered", delivered)?;
        cells.push("ok".to_owned());
    }
    Ok(Row(receiver.name(), cells))
}
