//! Real peers: Debian's Postfix on either side, swaks as a client, and kill -9.
//!
//! `cargo test -p secmx-tests --test peers -- --nocapture --test-threads=1`. Needs root and the packages `postfix` and `swaks`; where
//! something is missing a test says `skipped: why`.

mod authentication;
mod clients;
mod crash;
mod dane;
mod dovecot;
mod exim;
mod inject;
mod lab;
mod load;
mod mail;
mod matrix;
mod network;
mod pebble;
mod power;
mod signer;
mod tools;

use anyhow::{Context, Result, ensure};
use secmx_lab::ca::Authority;
use secmx_lab::client::Client;
use secmx_lab::dns::Dns;
use secmx_lab::peer::{Behaviour, Peer};
use secmx_tests::Process;
use secmx_tests::postfix::{self, Postfix, Setup, free_port};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const PATIENCE: Duration = Duration::from_secs(40);

/// A gateway of `agency.test` in a world with one partner, `partner.test`.
struct World {
    directory: TempDir,
    authority: Authority,
    dns: Dns,
    runtime: Runtime,
}

impl World {
    fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let dns = runtime.block_on(Dns::start())?;
        let directory = tempfile::tempdir()?;
        let authority = Authority::new("lab")?;
        fs::write(directory.path().join("root.pem"), authority.root_pem())?;
        fs::write(directory.path().join("root.key"), dns.anchor())?;
        Ok(Self { directory, authority, dns, runtime })
    }

    fn identity(&self, name: &str) -> Result<(String, String)> {
        let identity = self.authority.issue(&[name])?;
        Ok((identity.chain_pem().to_owned(), identity.key_pem()))
    }

    /// A configuration with these lines at its top and at its end; listeners `inside` and `secure` are always there.
    fn config(&self, top: &str, end: &str) -> Result<PathBuf> {
        let path = self.directory.path().join("secmx.toml");
        let text = format!(
            "hostname = \"gw.agency.test\"\ndomains = [\"agency.test\"]\n{top}\n\
             [paths]\nstate = \"state\"\n[log]\nformat = \"json\"\n[tls]\ntrust = [\"root.pem\"]\n\
             [dns]\nresolvers = [\"{}\"]\nanchors = \"root.key\"\n\
             [receive.inside]\nlisten = \"127.0.0.1:0\"\nrole = \"submit\"\nallow = [\"127.0.0.0/8\"]\n\
             [receive.secure]\nlisten = \"127.0.0.1:0\"\nrole = \"SOR\"\n{end}",
            self.dns.addr(),
        );
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// Sends one message with swaks. Its transcript is in the output; it exits 0 only when the message was taken.
fn swaks(server: SocketAddr, from: &str, to: &str, subject: &str, more: &[&str]) -> Result<Output> {
    Command::new("swaks")
        .args(["--server", &server.ip().to_string(), "--port", &server.port().to_string()])
        .args(["--from", from, "--to", to, "--helo", "client.test", "--header", &format!("Subject: {subject}"), "--timeout", "20"])
        .args(more)
        .output()
        .context("cannot run swaks")
}

/// Sends a file with swaks, as it is.
fn swaks_file(server: SocketAddr, file: &Path, options: &clients::Options) -> Result<()> {
    let mut command = Command::new("swaks");
    command.args(["--server", &server.ip().to_string(), "--port", &server.port().to_string(), "--timeout", "60"]);
    command.args(["--from", "ana@agency.test", "--to", options.recipient(), "--helo", "client.test", "--suppress-data"]);
    command.args(if options.secure { &["--tls"][..] } else { &[] }).arg("--data").arg(format!("@{}", file.display()));
    let output = command.output().context("cannot run swaks")?;
    ensure!(output.status.success(), "{}", text(&output));
    Ok(())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Says why and returns true when a test cannot be run here.
fn skipped(needs_postfix: bool) -> bool {
    let why = if !Path::new("/usr/bin/swaks").exists() {
        Some("Debian's swaks is not installed (apt-get install swaks)".into())
    } else if needs_postfix {
        postfix::missing()
    } else {
        None
    };
    if let Some(why) = &why {
        println!("skipped: {why}");
    }
    why.is_some()
}

/// Debian's Postfix sends to the gateway over STARTTLS; the gateway finds another Postfix by SRV in the lab's DNS and delivers over TLS,
/// secure only.
#[test]
fn postfix_to_gateway_to_postfix_by_srv() -> Result<()> {
    if skipped(true) {
        return Ok(());
    }
    let world = World::new()?;
    let address = free_port(Ipv4Addr::new(127, 0, 0, 60))?;
    let partner = Postfix::start(&Setup {
        address: Some(address),
        domains: &["partner.test"],
        identity: Some(world.identity("secmail.partner.test")?),
        ..Setup::default()
    })?;
    world.dns.secmx("partner.test", &[(10, 10, address.port(), "secmail.partner.test")]);
    world.dns.host("secmail.partner.test", address.ip());
    let send = format!("[send]\nrole = \"SOS\"\nports = [{}]\nallow_private = true\n", address.port());
    let config = world.config("deliver_to = \"smtp://127.0.0.1:9\"", &send)?;
    let mut gateway = Process::serve(&config)?;
    let inside = gateway.listener("inside")?;
    let sender = Postfix::start(&Setup {
        relayhost: Some(format!("[{}]:{}", inside.ip(), inside.port())),
        more: "smtp_tls_security_level = encrypt\n",
        ..Setup::default()
    })?;
    let sent = swaks(sender.address(), "ana@agency.test", "bo@partner.test", "by way of Postfix", &[])?;
    ensure!(sent.status.success(), "{}", text(&sent));
    let mailbox = partner.mailbox_when(PATIENCE, |mailbox| mailbox.contains("by way of Postfix"))?;
    ensure!(mailbox.contains("using TLS1.3 with cipher"), "the gateway's Received field tells of TLS: {mailbox}");
    ensure!(mailbox.contains("Received: from gw.agency.test"), "{mailbox}");
    let delivered = gateway.wait_for("message.delivered", |_| true)?;
    ensure!(delivered["role"] == "SOS" && delivered["channel"]["level"] == "host", "{delivered}");
    ensure!(delivered["exchanger"] == "secmail.partner.test", "{delivered}");
    Ok(())
}

/// swaks in plaintext to a SOR gets exactly what RFC 3207 says (L2-6), and over TLS it is welcome (L2-7).
#[test]
fn swaks_in_plaintext_to_a_sor_is_refused() -> Result<()> {
    if skipped(false) {
        return Ok(());
    }
    let world = World::new()?;
    let config = world.config("deliver_to = \"smtp://127.0.0.1:9\"", "")?;
    let mut gateway = Process::serve(&config)?;
    let secure = gateway.listener("secure")?;
    let plain = swaks(secure, "a@probe.test", "ana@agency.test", "plain", &[])?;
    ensure!(!plain.status.success() && text(&plain).contains("530 5.7.0 Must issue a STARTTLS command first"), "{}", text(&plain));
    let over_tls = swaks(secure, "a@probe.test", "ana@agency.test", "secure", &["--tls"])?;
    ensure!(over_tls.status.success(), "{}", text(&over_tls));
    Ok(())
}

/// SOS to a Postfix without TLS: nothing is sent, and a DSN with 5.7.10 comes back to the sender's own server (L2-5).
#[test]
fn secure_only_to_a_plain_postfix_comes_back() -> Result<()> {
    if skipped(true) {
        return Ok(());
    }
    let world = World::new()?;
    let partner_address = free_port(Ipv4Addr::new(127, 0, 0, 61))?;
    let partner = Postfix::start(&Setup { address: Some(partner_address), domains: &["partner.test"], ..Setup::default() })?;
    let home = Postfix::start(&Setup { domains: &["agency.test"], ..Setup::default() })?;
    world.dns.mx("partner.test", &[(10, "mx.partner.test")]);
    world.dns.host("mx.partner.test", partner_address.ip());
    let send = format!("[send]\nrole = \"SOS\"\nport = {}\nallow_private = true\n", partner_address.port());
    let config = world.config(&format!("deliver_to = \"smtp://{}\"", home.address()), &send)?;
    let mut gateway = Process::serve(&config)?;
    let sent = swaks(gateway.listener("inside")?, "ana@agency.test", "bo@partner.test", "secret", &[])?;
    ensure!(sent.status.success(), "{}", text(&sent));
    let mailbox = home.mailbox_when(PATIENCE, |mailbox| mailbox.contains("Status: 5.7.10"))?;
    for part in ["Final-Recipient: rfc822; bo@partner.test", "does not offer STARTTLS", "Subject: secret", "Return-Path: <>"] {
        ensure!(mailbox.contains(part), "{part} is not in {mailbox}");
    }
    ensure!(!mailbox.contains("This is a test mailing"), "the body does not come back: {mailbox}");
    ensure!(partner.mailbox().is_empty());
    Ok(())
}

/// Invariant 4: kill -9 right after the 250, and the next process delivers.
#[test]
fn kill_9_after_250_loses_nothing() -> Result<()> {
    let world = World::new()?;
    let host = Ipv4Addr::new(127, 0, 0, 62);
    let port = free_port(host)?.port();
    world.dns.mx("partner.test", &[(10, "mx.partner.test")]);
    world.dns.host("mx.partner.test", host.into());
    let send = format!("[send]\nport = {port}\nallow_private = true\nretry = [\"1s\"]\n");
    let config = world.config("deliver_to = \"smtp://127.0.0.1:9\"", &send)?;
    let mut sent = Vec::new();
    for round in 0..10 {
        let mut gateway = Process::serve(&config)?;
        let inside = gateway.listener("inside")?;
        let subject = format!("round {round}");
        let reply = world.runtime.block_on(async {
            let mut client = Client::connect(inside).await?;
            client.command("EHLO client.test").await?;
            client.transact("ana@agency.test", &["bo@partner.test"], &format!("Subject: {subject}\r\n\r\nx")).await
        })?;
        gateway.kill()?;
        ensure!(reply.starts_with("250 2.0.0 queued as"), "{reply}");
        sent.push(subject);
    }
    let identity = world.authority.issue(&["mx.partner.test"])?;
    let peer = world.runtime.block_on(Peer::start_at((host, port).into(), Behaviour::default(), &identity))?;
    let _gateway = Process::serve(&config)?;
    let taken = world.runtime.block_on(peer.wait_for_messages(sent.len(), PATIENCE));
    for subject in &sent {
        let copies =
            taken.iter().filter(|message| String::from_utf8_lossy(&message.content).contains(&format!("Subject: {subject}\r\n"))).count();
        ensure!(copies == 1, "{subject} arrived {copies} times");
    }
    Ok(())
}

/// SIGTERM drains and ends with 0; SIGHUP with a broken file keeps the old configuration and says why; a broken file at the start is 7.
#[test]
fn signals_do_what_operators_expect() -> Result<()> {
    let world = World::new()?;
    let config = world.config("deliver_to = \"smtp://127.0.0.1:9\"", "")?;
    let mut gateway = Process::serve(&config)?;
    let good = fs::read_to_string(&config)?;
    fs::write(&config, good.replace("domains", "domain"))?;
    gateway.signal("HUP")?;
    let reload = gateway.wait_for("config.reload", |_| true)?;
    let detail = reload["detail"].as_str().unwrap_or_default();
    ensure!(reload["ok"] == false && detail.contains("did you mean `domains`?"), "{reload}");
    ensure!(Process::serve(&config).is_err(), "a broken file does not start");
    fs::write(&config, good)?;
    gateway.signal("HUP")?;
    gateway.wait_for("config.reload", |event| event["ok"] == true)?;
    gateway.signal("TERM")?;
    ensure!(gateway.exit_code()? == Some(0), "{}", gateway.log());
    Ok(())
}

/// R7: when the disk is nearly full the client hears 452 4.3.1, and when there is room again, 250.
#[test]
fn r7_a_full_disk_is_said_and_heals() -> Result<()> {
    let world = World::new()?;
    let state = world.directory.path().join("state");
    fs::create_dir(&state)?;
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1g", "tmpfs"]).arg(&state).status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: a file system of its own needs root");
        return Ok(());
    }
    let result = fill_and_heal(&world, &state);
    Command::new("umount").arg("-l").arg(&state).status()?;
    result
}

fn fill_and_heal(world: &World, state: &Path) -> Result<()> {
    let config = world.config("deliver_to = \"smtp://127.0.0.1:9\"", "")?;
    let mut gateway = Process::serve(&config)?;
    let inside = gateway.listener("inside")?;
    let send = || {
        world.runtime.block_on(async {
            let mut client = Client::connect(inside).await?;
            client.command("EHLO client.test").await?;
            let reply = client.command("MAIL FROM:<ana@agency.test>").await?;
            if !reply.starts_with("250") {
                return Ok(reply);
            }
            client.command("RSET").await?;
            client.transact("ana@agency.test", &["ana@agency.test"], "Subject: s\r\n\r\nx").await
        })
    };
    ensure!(send()?.starts_with("250"), "there is room");
    let ballast = state.join("ballast");
    fs::write(&ballast, vec![0; 800 << 20])?;
    let reply = send()?;
    ensure!(reply.starts_with("452 4.3.1"), "the disk is nearly full, and the answer is {reply}");
    fs::remove_file(&ballast)?;
    let reply = send()?;
    ensure!(reply.starts_with("250"), "there is room again, and the answer is {reply}");
    Ok(())
}
