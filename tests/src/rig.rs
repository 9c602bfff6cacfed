//! A gateway of `agency.test` in this process, with DNS, an authority and its own mail server inside, all played.

use crate::process::binary;
use anyhow::{Context, Result, anyhow};
use secmx::clock::Clock;
use secmx::config::Config;
use secmx::gateway::Gateway;
use secmx::log::{Log, Recorder};
use secmx_lab::ca::{Authority, Flaw, Identity};
use secmx_lab::client::Client;
use secmx_lab::dns::Dns;
use secmx_lab::peer::{Behaviour, Peer};
use serde_json::Value;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The world and the gateway in it.
pub struct Rig {
    /// What DNS says.
    pub dns: Dns,
    /// Whom the gateway trusts.
    pub authority: Authority,
    /// The agency's own mail server.
    pub inside: Peer,
    /// The time of the gateway.
    pub clock: Clock,
    /// What the gateway logs.
    pub log: Recorder,
    gateway: Option<Gateway>,
    state: TempDir,
    port: u16,
    web_port: u16,
}

impl Rig {
    /// A world without a gateway. MX hosts get one port, chosen here.
    pub async fn world() -> Result<Self> {
        let (dns, authority) = (Dns::start().await?, Authority::new("lab")?);
        let inside = Peer::start(Behaviour::default(), &authority.issue(&["exchange.agency.test"])?).await?;
        let state = tempfile::tempdir()?;
        fs::write(state.path().join("root.pem"), authority.root_pem())?;
        fs::write(state.path().join("root.key"), dns.anchor())?;
        let port = std::net::TcpListener::bind((Ipv4Addr::new(127, 0, 0, 250), 0))?.local_addr()?.port();
        let web_port = std::net::TcpListener::bind((Ipv4Addr::new(127, 0, 0, 250), 0))?.local_addr()?.port();
        Ok(Self { dns, authority, inside, clock: Clock::system(), log: Log::recording().1, gateway: None, state, port, web_port })
    }

    /// The world with a gateway; `send` is put below `[send]`, and `more` at the end of its configuration.
    pub async fn with(send: &str, more: &str) -> Result<Self> {
        let mut rig = Self::world().await?;
        rig.start(send, more).await?;
        Ok(rig)
    }

    /// Starts a gateway over the state of the last one.
    pub async fn start(&mut self, send: &str, more: &str) -> Result<()> {
        let text = self.configuration(send, more);
        self.start_with(&text).await
    }

    /// Starts a gateway with this configuration, which it finds again in [`Rig::file`].
    pub async fn start_with(&mut self, text: &str) -> Result<()> {
        fs::write(self.file(), text)?;
        let (config, _) = Config::load(Some(&self.file())).map_err(|findings| anyhow!("{findings:?}"))?;
        let (log, recorder) = Log::recording();
        self.log = recorder;
        self.gateway = Some(Gateway::start_from(Some(self.file()), config, self.clock.clone(), log).await?);
        Ok(())
    }

    /// The configuration file of the gateway.
    pub fn file(&self) -> PathBuf {
        self.state.path().join("secmx.toml")
    }

    /// Asks the running gateway with the real program: `secmx ARGUMENTS`, the socket named by the environment, `input` typed in.
    pub async fn secmx(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut child = tokio::process::Command::new(binary()?)
            .args(arguments)
            .env("SECMX_SERVER", format!("unix:{}", self.state.path().join("state/control.sock").display()))
            .env_remove("SECMX_CONFIG")
            .current_dir(self.state.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that asks nothing does not read.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        Ok(tokio::time::timeout(PATIENCE, child.wait_with_output()).await.context("secmx does not end")??)
    }

    /// Ends the gateway as SIGTERM does.
    pub async fn stop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.drain("the test", Duration::from_secs(10)).await;
        }
    }

    /// The gateway.
    pub fn gateway(&self) -> Result<&Gateway> {
        self.gateway.as_ref().context("no gateway runs")
    }

    /// Where the gateway keeps its state.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The port of MX hosts in this world.
    pub fn mx_port(&self) -> u16 {
        self.port
    }

    /// The port of hosts that serve MTA-STS policies in this world.
    pub fn web_port(&self) -> u16 {
        self.web_port
    }

    /// A configuration of this world.
    pub fn configuration(&self, send: &str, more: &str) -> String {
        let at = |name: &str| self.state.path().join(name).display().to_string();
        format!(
            "hostname = \"gw.agency.test\"\ndomains = [\"agency.test\"]\ndeliver_to = \"smtp://{}\"\n\
             [paths]\nstate = \"{}\"\ncache = \"{}\"\n[tls]\ntrust = [\"{}\"]\n[dns]\nresolvers = [\"{}\"]\nanchors = \"{}\"\ntimeout = \"300ms\"\n\
             [receive.public]\nlisten = \"127.0.0.1:0\"\nrole = \"BER\"\n[receive.secure]\nlisten = \"127.0.0.1:0\"\nrole = \"SOR\"\n\
             [receive.inside]\nlisten = \"127.0.0.1:0\"\nrole = \"submit\"\n\
             [send]\nport = {}\nports = [{}]\nallow_private = true\n{send}\n{more}",
            self.inside.address(),
            at("state"),
            cache(),
            at("root.pem"),
            self.dns.addr(),
            at("root.key"),
            self.port,
            self.port,
        )
    }

    /// A certificate of this world's authority.
    pub fn identity(&self, name: &str, flaw: Flaw) -> Result<Identity> {
        self.authority.issue_with(&[name], flaw)
    }

    /// A host of a partner at 127.0.0.`at`, on the MX port, known to DNS, with a certificate that has this flaw.
    pub async fn host(&self, name: &str, at: u8, behaviour: Behaviour, flaw: Flaw) -> Result<Peer> {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, at));
        self.dns.host(name, address);
        Peer::start_at(SocketAddr::new(address, self.port), behaviour, &self.identity(name, flaw)?).await
    }

    /// Address of a listener.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.gateway()?.listener(name).with_context(|| format!("no listener {name}"))
    }

    /// Sends one message from the inside. Gives its queue id.
    pub async fn submit(&self, from: &str, to: &[&str]) -> Result<String> {
        let mut client = Client::connect(self.listener("inside")?).await?;
        client.command("EHLO exchange.agency.test").await?;
        let reply = client.transact(from, to, &format!("From: {from}\r\nSubject: test\r\n\r\nThe body.")).await?;
        let id = reply.trim().strip_prefix("250 2.0.0 queued as ").with_context(|| format!("end of data was answered {reply}"))?.to_owned();
        client.command("QUIT").await?;
        Ok(id)
    }

    /// The next logged event of that name for which `wanted` holds.
    pub async fn event(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let wait = async {
            loop {
                if let Some(event) = self.log.named(name).into_iter().find(|event| wanted(event)) {
                    return event;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(event) => Ok(event),
            Err(_) => Err(anyhow!("no {name}; the log: {:#?}", self.log.events())),
        }
    }

    /// The first event that settles a message for now: delivered, deferred or returned.
    pub async fn outcome(&self, queue: &str) -> Result<Value> {
        let wait = async {
            loop {
                let settled = |event: &Value| {
                    event["queue"] == queue
                        && matches!(event["event"].as_str(), Some("message.delivered" | "message.deferred" | "message.returned"))
                };
                if let Some(event) = self.log.events().into_iter().find(settled) {
                    return event;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(event) => Ok(event),
            Err(_) => Err(anyhow!("nothing became of {queue}; the log: {:#?}", self.log.events())),
        }
    }
}

/// Where all tests keep compiled policies: beside what this build made, so that each is compiled once.
pub fn cache() -> String {
    let test = std::env::current_exe().unwrap_or_default();
    test.ancestors().nth(2).unwrap_or(Path::new("")).join("compiled-policies").display().to_string()
}
