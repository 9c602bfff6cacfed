//! Certificates from Debian's pebble, an ACME authority for tests (RFC 8555): the first one, and new keys under load.

use crate::World;
use anyhow::{Context, Result, ensure};
use secmx_lab::client::Client;
use secmx_tests::Process;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A running pebble. It is killed when this value goes.
struct Pebble {
    child: Child,
    directory: String,
}

impl Pebble {
    /// Looks at names through the world's DNS, and at these ports.
    fn start(world: &World, http: u16, tls: u16) -> Result<Self> {
        let at = |name: &str| world.directory.path().join(name);
        let (chain, key) = world.identity("localhost")?;
        fs::write(at("pebble.pem"), chain)?;
        fs::write(at("pebble.key"), key)?;
        let (port, management) = (free(Ipv4Addr::LOCALHOST)?, free(Ipv4Addr::LOCALHOST)?);
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": at("pebble.pem"), "privateKey": at("pebble.key"),
            "httpPort": http, "tlsPort": tls, "ocspResponderURL": "", "externalAccountBindingRequired": false,
        }});
        fs::write(at("pebble.json"), config.to_string())?;
        let child = Command::new("/usr/bin/pebble")
            .arg("-config")
            .arg(at("pebble.json"))
            .args(["-dnsserver", &world.dns.addr().to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start pebble")?;
        let pebble = Self { child, directory: format!("https://localhost:{port}/dir") };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < end, "pebble does not answer on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(pebble)
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free(address: Ipv4Addr) -> Result<u16> {
    Ok(TcpListener::bind((address, 0))?.local_addr()?.port())
}

fn skipped() -> bool {
    let missing = !Path::new("/usr/bin/pebble").exists();
    if missing {
        println!("skipped: Debian's pebble is not installed (apt-get install pebble)");
    }
    missing
}

/// The certificate shown on `address`.
async fn shown(address: SocketAddr) -> Result<Vec<u8>> {
    let mut client = Client::connect(address).await?;
    client.command("EHLO client.test").await?;
    Ok(client.start_tls_as("gw.agency.test", None).await?.1)
}

/// The gateway gets its certificate by this challenge, then changes its key three times while clients shake hands all the time.
fn issued_and_rotated(challenge: &str) -> Result<()> {
    let world = World::new()?;
    let ours = Ipv4Addr::new(127, 0, 0, 61);
    let (http, https) = (free(ours)?, free(ours)?);
    world.dns.host("gw.agency.test", ours.into());
    let pebble = Pebble::start(&world, http, https)?;
    let config = world.config("deliver_to = \"smtp://127.0.0.1:9\"", "")?;
    let acme = format!(
        "[web]\nhttp = \"{ours}:{http}\"\nhttps = \"{ours}:{https}\"\n\
         [tls.acme]\nemail = \"postmaster@agency.test\"\ndirectory = \"{}\"\ntrust = \"root.pem\"\nchallenge = \"{challenge}\"\n",
        pebble.directory
    );
    fs::write(&config, fs::read_to_string(&config)? + &acme)?;
    let mut gateway = Process::serve(&config)?;
    let address = gateway.listener("secure")?;
    gateway.wait_for("certificate.issued", |event| event["names"][0] == "gw.agency.test")?;
    gateway.wait_for("certificate.shown", |event| event["shown"].to_string().contains("Pebble"))?;

    let (stop, handshakes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = world.runtime.spawn({
        let (stop, handshakes) = (Arc::clone(&stop), Arc::clone(&handshakes));
        async move {
            while !stop.load(Ordering::Relaxed) {
                shown(address).await?;
                handshakes.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }
    });
    let folder = world.directory.path().join("state/tls");
    let mut last = world.runtime.block_on(shown(address))?;
    for round in 1..=3 {
        let next = fs::read_to_string(folder.join("next.key"))?;
        let rotated = Command::new(secmx_tests::process::binary()?).args(["certs", "rotate", "-c"]).arg(&config).output()?;
        ensure!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
        let end = Instant::now() + Duration::from_secs(30);
        let now = loop {
            let now = world.runtime.block_on(shown(address))?;
            if now != last {
                break now;
            }
            ensure!(Instant::now() < end, "round {round}: the old certificate is still shown:\n{}", gateway.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        let kept = fs::read_to_string(folder.join("acme.pem"))?;
        ensure!(kept.contains(next.trim()), "round {round}: the key that lay ready is the one in use");
        last = now;
    }
    stop.store(true, Ordering::Relaxed);
    world.runtime.block_on(load)?.context("a handshake failed")?;
    println!("{challenge}: 4 certificates, {} handshakes on the way, none failed", handshakes.load(Ordering::Relaxed));
    Ok(())
}

/// RFC 8737, and a renewal under load with no failed handshake.
#[test]
fn acme_by_tls_alpn_01() -> Result<()> {
    if skipped() { Ok(()) } else { issued_and_rotated("tls-alpn-01") }
}

/// RFC 8555, 8.3.
#[test]
fn acme_by_http_01() -> Result<()> {
    if skipped() { Ok(()) } else { issued_and_rotated("http-01") }
}
