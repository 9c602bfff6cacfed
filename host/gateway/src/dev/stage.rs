//! The gateway of `agency.test`, its own mail server inside, and the world around it.

use crate::clock::Clock;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::log::{Log, Recorder};
use anyhow::{Context, Result, anyhow};
use secmx_lab::client::Client;
use secmx_lab::peer::{Behaviour, Peer};
use secmx_lab::world::World;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;

/// How long a message may take to come to something.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything that `secmx dev` runs.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) inside: Peer,
    gateway: Gateway,
    recorder: Recorder,
    /// Goes last, with the spool in it.
    _state: TempDir,
}

impl Stage {
    /// Starts the world, then the gateway.
    pub(super) async fn set() -> Result<Self> {
        let world = World::start().await?;
        let inside = Peer::start(Behaviour::default(), &world.authority.issue(&["exchange.agency.test"])?).await?;
        let state = tempfile::tempdir().context("no directory for the spool")?;
        let identity = world.authority.issue(&["gw.agency.test", "mx.agency.test", "secmail.agency.test"])?;
        for (name, content) in [
            ("root.pem", world.authority.root_pem()),
            ("chain.pem", identity.chain_pem()),
            ("key.pem", &identity.key_pem()),
            ("root.key", &world.dns.anchor()),
        ] {
            fs::write(state.path().join(name), content)?;
        }
        let text = configuration(&world, &inside, &state);
        let (config, _) = Config::parse("dev.toml", &text).map_err(|findings| anyhow!("the configuration of dev: {findings:?}"))?;
        let (log, recorder) = Log::recording();
        let gateway = Gateway::start(config, Clock::system(), log).await?;
        Ok(Self { world, inside, gateway, recorder, _state: state })
    }

    /// Address of a listener.
    pub(super) fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.gateway.listener(name).with_context(|| format!("no listener {name}"))
    }

    /// Sends one message from the inside to `to`. Gives its queue id.
    pub(super) async fn submit(&self, to: &str) -> Result<String> {
        let mut client = Client::connect(self.listener("inside")?).await?;
        client.command("EHLO exchange.agency.test").await?;
        let content = format!("From: ana@agency.test\r\nTo: {to}\r\nSubject: hello\r\n\r\nHello from the agency.");
        let reply = client.transact("ana@agency.test", &[to], &content).await?;
        let id = reply.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        client.command("QUIT").await?;
        Ok(id)
    }

    /// What became of a message: the first event that settles it for now.
    pub(super) async fn outcome(&self, queue: &str) -> Result<Value> {
        let settled = |event: &Value| {
            let name = event["event"].as_str().unwrap_or_default();
            event["queue"] == queue && matches!(name, "message.delivered" | "message.deferred" | "message.returned")
        };
        let wait = async {
            loop {
                if let Some(event) = self.recorder.events().into_iter().find(settled) {
                    return event;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("nothing became of {queue} in {PATIENCE:?}"))
    }

    /// How to go on by hand.
    pub(super) fn directions(&self) -> String {
        let listeners = self.gateway.listeners().iter().map(|(name, address)| format!("  {name:<8} {address}\n")).collect::<String>();
        format!(
            "\nThe world is up until Ctrl-C. Listeners:\n{listeners}\nTry:\n  swaks --server {} --from you@agency.test --to sos@legacy.test\n",
            self.listener("inside").map(|address| address.to_string()).unwrap_or_default()
        )
    }

    /// Ends the gateway, then the world.
    pub(super) async fn strike(self) {
        self.gateway.drain("the end of dev", Duration::from_secs(5)).await;
    }
}

fn configuration(world: &World, inside: &Peer, state: &TempDir) -> String {
    let secure_only = world.partners.iter().map(|partner| format!("\"sos@{}\"", partner.domain)).collect::<Vec<_>>().join(", ");
    let at = |name: &str| format!("{:?}", state.path().join(name).display().to_string());
    format!(
        r#"hostname = "gw.agency.test"
domains = ["agency.test"]
deliver_to = "smtp://{inside}"

[paths]
state = {state}

[tls]
certs = [{{ cert = {chain}, key = {key} }}]
trust = [{root}]

[dns]
resolvers = ["{dns}"]
anchors = {anchor}

[receive.public]
listen = "127.0.0.1:0"
role = "BER"

[receive.secure]
listen = "127.0.0.1:0"
role = "SOR"

[receive.inside]
listen = "127.0.0.1:0"
role = "submit"

[send]
role = "BES"
port = {mx_port}
ports = [{srv_port}]
allow_private = true

[[send.rule]]
name = "these recipients are secure only"
to = [{secure_only}]
role = "SOS"
"#,
        inside = inside.address(),
        state = at("state"),
        chain = at("chain.pem"),
        key = at("key.pem"),
        root = at("root.pem"),
        dns = world.dns.addr(),
        anchor = at("root.key"),
        mx_port = world.mx_port(),
        srv_port = world.srv_port(),
    )
}
