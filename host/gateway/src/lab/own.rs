//! This gateway's own delivery as the sender, in this process: every step from submission to the end is the real one.

use super::Sent;
use crate::clock::Clock;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::log::{Log, Recorder};
use anyhow::{Context, Result, anyhow, ensure};
use secmx_core::report::Failure;
use secmx_lab::cases::{Case, Fate, Message, table};
use secmx_lab::client::Client;
use secmx_lab::ground::{Ground, Scene};
use secmx_lab::peer::{Behaviour, Peer};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// How long a message may take to come to something.
const PATIENCE: Duration = Duration::from_secs(40);

/// A gateway of `home.lab.test` and the server behind it.
pub struct Own {
    pub(super) name: String,
    gateway: Gateway,
    recorder: Recorder,
    _inside: Peer,
    /// Goes last, with the spool in it.
    _state: TempDir,
}

/// The name of the sender when no configuration says another one.
pub const NAME: &str = "gw.home.lab.test";

impl Own {
    /// Starts a gateway in the lab: one of its own, or `theirs` with everything that leads out of this machine turned to the lab. `cache` is
    /// where compiled policies are kept.
    pub async fn start(ground: &Ground, theirs: Option<Config>, cache: Option<&Path>) -> Result<Self> {
        let inside = Peer::start(Behaviour::default(), &ground.authority.issue(&["exchange.home.lab.test"])?).await?;
        let state = tempfile::tempdir().context("no directory for the spool")?;
        let identity = ground.authority.issue(&[NAME])?;
        let files: [(&str, Vec<u8>); 5] = [
            ("root.pem", ground.authority.root_pem().into()),
            ("chain.pem", identity.chain_pem().into()),
            ("key.pem", identity.key_pem().into()),
            ("root.key", ground.dns.anchor().into()),
            ("revoked.crl", ground.revocation_list()?),
        ];
        for (name, content) in files {
            fs::write(state.path().join(name), content)?;
        }
        let text = configuration(ground, inside.address(), state.path(), cache)?;
        let (lab, _) = Config::parse("lab.toml", &text).map_err(|findings| anyhow!("the configuration of the lab: {findings:?}"))?;
        let (name, config) = match theirs {
            None => ("this gateway's own delivery".to_owned(), lab),
            Some(theirs) => (format!("the configuration of {}", theirs.hostname), in_the_lab(theirs, lab)),
        };
        let (log, recorder) = Log::recording();
        let gateway = Gateway::start(config, Clock::system(), log).await?;
        Ok(Self { name, gateway, recorder, _inside: inside, _state: state })
    }

    /// Address of the listener `public` (BER) or `secure` (SOR).
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.gateway.listener(name).with_context(|| format!("no listener {name}"))
    }

    /// Waits until the list of revoked certificates was read, or a moment is over: nothing of it is logged.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    /// Ends it.
    pub async fn stop(self) {
        self.gateway.drain("the end of the lab", Duration::from_secs(5)).await;
    }

    pub(super) async fn send(&self, scene: &Scene, user: &str) -> Result<Sent> {
        let before = self.recorder.count();
        let queue = self.submit(&scene.case, &format!("{user}@{}", scene.domain)).await?;
        let event = self.outcome(&queue, before).await?;
        Ok(sent(&event, &scene.domain))
    }

    async fn submit(&self, case: &Case, to: &str) -> Result<String> {
        let mut client = Client::connect(self.listener("inside")?).await?;
        client.command("EHLO exchange.home.lab.test").await?;
        let (from, parameter, body) = match case.message {
            Message::Usual => ("ana@home.lab.test", "", "Hello from the lab."),
            Message::EightBit => ("ana@home.lab.test", " BODY=8BITMIME", "Gr\u{fc}\u{df}e aus dem Labor."),
            Message::Utf8 => ("an\u{e4}@home.lab.test", " SMTPUTF8", "Hello from the lab."),
            Message::RequireTls => ("ana@home.lab.test", " REQUIRETLS", "Hello from the lab."),
        };
        if case.message == Message::RequireTls {
            client = client.start_tls().await?.0;
            client.command("EHLO exchange.home.lab.test").await?;
        }
        for command in [format!("MAIL FROM:<{from}>{parameter}"), format!("RCPT TO:<{to}>"), "DATA".to_owned()] {
            let reply = client.command(&command).await?;
            ensure!(reply.starts_with(['2', '3']), "{command} was answered {reply}");
        }
        let content = format!(
            "From: <{from}>\r\nTo: {to}\r\nSubject: {}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 8bit\r\n\r\n{body}\r\n.",
            case.id
        );
        let reply = client.command(&content).await?;
        let id = reply.trim().strip_prefix("250 2.0.0 queued as ").with_context(|| format!("end of data was answered {reply}"))?;
        Ok(id.to_owned())
    }

    /// The first event after the first `seen` ones that settles the message for now.
    async fn outcome(&self, queue: &str, seen: usize) -> Result<Value> {
        let settles = |event: &Value| {
            let name = event["event"].as_str().unwrap_or_default();
            event["queue"] == queue && matches!(name, "message.delivered" | "message.deferred" | "message.returned")
        };
        let wait = async {
            let mut seen = seen;
            loop {
                let new = self.recorder.since(seen);
                seen += new.len();
                if let Some(event) = new.into_iter().find(settles) {
                    return event;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("nothing became of {queue} in {PATIENCE:?}"))
    }
}

fn sent(event: &Value, domain: &str) -> Sent {
    let failure = || serde_json::from_value::<Failure>(event["failure"].clone());
    let kept = |returned: bool, fate: fn(String) -> Fate| match failure() {
        Ok(failure) => (fate(failure.cause.status(returned).to_string()), failure.to_string()),
        Err(_) => (fate(String::new()), event["failure"].to_string()),
    };
    let level = event["channel"]["level"].as_str().unwrap_or_default();
    let (fate, detail) = match event["event"].as_str() {
        Some("message.delivered") => (level.parse().unwrap_or(Fate::Tls), doubt(event)),
        Some("message.returned") => kept(true, Fate::Returned),
        _ => kept(false, Fate::Waits),
    };
    let by = event["exchanger"].as_str().map(|name| {
        let own = name.strip_suffix(domain).map(|labels| labels.trim_end_matches('.'));
        own.unwrap_or(name).to_owned()
    });
    Sent { fate, by, detail }
}

/// Why a host proved no more.
fn doubt(event: &Value) -> String {
    let doubt = event["channel"]["tls"]["doubt"]["text"].as_str();
    let exchanger = event["exchanger"].as_str().unwrap_or_default();
    doubt.map_or_else(|| exchanger.to_owned(), |doubt| format!("{exchanger}: {doubt}"))
}

/// Their configuration in the lab: roles, floors, policies and waits are theirs; where it listens, whom it asks and where it keeps things is the lab's.
fn in_the_lab(mut theirs: Config, lab: Config) -> Config {
    theirs.paths = lab.paths;
    theirs.control = lab.control;
    theirs.web = lab.web;
    theirs.dns = lab.dns;
    theirs.receive = lab.receive;
    theirs.auth = lab.auth;
    theirs.recipients = lab.recipients;
    theirs.domains.extend(lab.domains);
    theirs.deliver_to = lab.deliver_to;
    theirs.tls.certs = lab.tls.certs;
    theirs.tls.trust = lab.tls.trust;
    theirs.tls.crls = lab.tls.crls;
    theirs.tls.acme = None;
    theirs.send.port = lab.send.port;
    theirs.send.ports = lab.send.ports;
    theirs.send.allow_private = true;
    theirs.send.mta_sts = lab.send.mta_sts;
    theirs.send.schedule = lab.send.schedule;
    theirs.send.timeouts = lab.send.timeouts;
    theirs.send.rules = lab.send.rules.into_iter().chain(theirs.send.rules).collect();
    theirs
}

fn configuration(ground: &Ground, inside: SocketAddr, state: &Path, cache: Option<&Path>) -> Result<String> {
    let at = |name: &str| format!("{:?}", state.join(name).display().to_string());
    let to = |user: &str| -> Result<String> {
        let cases = table()?;
        Ok(cases.iter().map(|case| format!("\"{user}@{}\"", case.domain())).collect::<Vec<_>>().join(", "))
    };
    let cache = cache.map(|path| format!("cache = {:?}\n", path.display().to_string())).unwrap_or_default();
    let (roots, srv, web) = (at("root.pem"), ground.ports.srv, ground.ports.web);
    Ok(format!(
        "hostname = \"{NAME}\"\ndomains = [\"home.lab.test\"]\ndeliver_to = \"smtp://{inside}\"\n\
         [paths]\nstate = {state}\n{cache}\
         [tls]\ncerts = [{{ cert = {chain}, key = {key} }}]\ntrust = [{roots}]\ncrls = [{crl}]\n\
         [dns]\nresolvers = [\"{dns}\"]\nanchors = {anchor}\ntimeout = \"3s\"\n\
         [receive.public]\nlisten = \"127.0.0.1:0\"\nrole = \"BER\"\n\
         [receive.secure]\nlisten = \"127.0.0.1:0\"\nrole = \"SOR\"\n\
         [receive.inside]\nlisten = \"127.0.0.1:0\"\nrole = \"submit\"\nlimits = {{ per_ip = 100 }}\n\
         [send]\nport = {mx}\nports = [{srv}]\nallow_private = true\nretry = [\"1h\"]\nmta_sts = {{ port = {web}, timeout = \"5s\" }}\n\
         timeouts = {{ handshake = \"3s\" }}\n\
         [[send.rule]]\nname = \"the lab, secure only\"\nto = [{sos}]\nrole = \"SOS\"\n\
         [[send.rule]]\nname = \"the lab, best effort\"\nto = [{bes}]\nrole = \"BES\"\n",
        state = at("state"),
        chain = at("chain.pem"),
        key = at("key.pem"),
        crl = at("revoked.crl"),
        dns = ground.dns.addr(),
        anchor = at("root.key"),
        mx = ground.ports.mx,
        sos = to("sos")?,
        bes = to("bes")?,
    ))
}
