//! Zones signed by BIND's own tools and served by its `named`, on loopback: a root, `test`, and domains below it.
//!
//! Needs Debian's `bind9` and `bind9-utils`; says so when they are missing.

use crate::network::Network;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const NAMED: &str = "/usr/sbin/named";

/// How one domain below `test` is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signing {
    /// As it should be, with NSEC.
    Nsec,
    /// As it should be, with NSEC3.
    Nsec3,
    /// Its signatures ended ten days ago.
    Expired,
    /// A record was changed after the signing.
    Changed,
    /// Not at all, and its parent says so.
    Unsigned,
}

/// A running `named`. It is stopped when this value goes.
pub(crate) struct Named {
    directory: TempDir,
    address: SocketAddr,
    running: Vec<Child>,
}

/// Why it cannot be run here; `None` when it can.
pub(crate) fn missing() -> Option<String> {
    let tools = [NAMED, "/usr/bin/dnssec-signzone", "/usr/bin/dnssec-keygen"];
    let absent = tools.into_iter().find(|tool| !Path::new(tool).exists())?;
    Some(format!("{absent} is not installed (apt-get install bind9 bind9-utils)"))
}

impl Named {
    /// Signs and serves these domains, each with these lines in its zone besides SOA and NS.
    pub(crate) fn start(domains: &[(&str, Signing, &str)]) -> Result<Self> {
        let (mut named, zones) = Self::signed(domains)?;
        named.serve(&zones, Command::new(NAMED))?;
        Ok(named)
    }

    /// The same in a network, where a second one at 127.0.0.1:53 validates for others.
    pub(crate) fn start_within(network: &Network, domains: &[(&str, Signing, &str)]) -> Result<Self> {
        let (mut named, zones) = Self::signed(domains)?;
        named.serve(&zones, network.command(NAMED))?;
        named.validate(network.command(NAMED))?;
        Ok(named)
    }

    fn signed(domains: &[(&str, Signing, &str)]) -> Result<(Self, Vec<String>)> {
        let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let directory = tempfile::Builder::new().prefix("secmx-named").tempdir()?;
        let named = Self { directory, address, running: Vec::new() };
        let mut delegations = String::new();
        let mut zones = vec![".".to_owned(), "test.".to_owned()];
        for (domain, signing, lines) in domains {
            let zone = format!("{domain}.");
            delegations += &format!("{zone} NS ns.test.\n");
            delegations += &named.zone(&zone, lines, *signing)?;
            zones.push(zone);
        }
        let top = named.zone("test.", &format!("ns.test. A 127.0.0.1\n{delegations}"), Signing::Nsec)?;
        named.zone(".", &format!("test. NS ns.test.\nns.test. A 127.0.0.1\n{top}"), Signing::Nsec)?;
        Ok((named, zones))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// File with the key of the root.
    pub(crate) fn anchor(&self) -> PathBuf {
        self.path("anchor")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file_of(zone: &str) -> String {
        if zone == "." { "root.zone".to_owned() } else { format!("{zone}zone") }
    }

    /// Writes and signs one zone. Gives the DS records for its parent.
    fn zone(&self, zone: &str, lines: &str, signing: Signing) -> Result<String> {
        let file = Self::file_of(zone);
        let text = format!("$TTL 60\n{zone} SOA ns.test. hostmaster.test. 1 60 60 60 60\n{zone} NS ns.test.\n{lines}");
        fs::write(self.path(&file), &text)?;
        if signing == Signing::Unsigned {
            fs::rename(self.path(&file), self.path(&format!("{file}.signed")))?;
            return Ok(String::new());
        }
        let key = self.run("dnssec-keygen", &["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", zone])?;
        if zone == "." {
            fs::copy(self.path(&format!("{}.key", key.trim())), self.path("anchor.key"))?;
            let key = fs::read_to_string(self.path("anchor.key"))?;
            fs::write(
                self.anchor(),
                key.lines().filter(|line| !line.starts_with(';')).map(|line| format!("{line}\n")).collect::<String>(),
            )?;
        }
        let mut arguments = vec!["-S", "-z", "-x", "-o", zone];
        match signing {
            Signing::Nsec3 => arguments.extend(["-3", "-", "-H", "0"]),
            Signing::Expired => arguments.extend(["-P", "-s", "now-1728000", "-e", "now-864000"]),
            _ => {}
        }
        arguments.push(&file);
        self.run("dnssec-signzone", &arguments)?;
        if signing == Signing::Changed {
            let signed = self.path(&format!("{file}.signed"));
            fs::write(&signed, fs::read_to_string(&signed)?.replace("127.0.0.70", "127.0.0.71"))?;
        }
        Ok(fs::read_to_string(self.path(&format!("dsset-{zone}"))).unwrap_or_default())
    }

    fn run(&self, tool: &str, arguments: &[&str]) -> Result<String> {
        let output = Command::new(tool).args(arguments).current_dir(self.directory.path()).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot run {tool}"))?;
        ensure!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn serve(&mut self, zones: &[String], program: Command) -> Result<()> {
        let mut text = format!(
            "listen-on port {} {{ 127.0.0.1; }}; recursion no; dnssec-validation no; minimal-responses yes; }};\n",
            self.address.port()
        );
        for zone in zones {
            text += &format!("zone \"{zone}\" {{ type primary; file \"{}.signed\"; }};\n", Self::file_of(zone));
        }
        self.run_named("authority", &text, program)
    }

    /// Asks the first one, and says what it believes.
    fn validate(&mut self, program: Command) -> Result<()> {
        let anchor = fs::read_to_string(self.anchor())?;
        let key: Vec<&str> = anchor.split_whitespace().skip_while(|word| *word != "DNSKEY").skip(1).collect();
        let [flags, protocol, algorithm, octets @ ..] = key.as_slice() else { bail!("odd anchor {anchor}") };
        let port = self.address.port();
        let text = format!(
            "listen-on port 53 {{ 127.0.0.1; }}; recursion yes; dnssec-validation yes; empty-zones-enable no; forward only;\n\
             forwarders {{ 127.0.0.1 port {port}; }}; }};\n\
             trust-anchors {{ . static-key {flags} {protocol} {algorithm} \"{}\"; }};\n",
            octets.concat()
        );
        self.run_named("resolver", &text, program)
    }

    /// Runs `named` with these lines, which begin among its options, and waits until it answers.
    fn run_named(&mut self, name: &str, lines: &str, mut program: Command) -> Result<()> {
        let directory = self.directory.path().display();
        let text = format!(
            "controls {{ }};\noptions {{ directory \"{directory}\"; listen-on-v6 {{ none; }}; pid-file \"{directory}/{name}.pid\";\n\
             session-keyfile \"{directory}/{name}.session\"; {lines}"
        );
        let (configuration, log) = (self.path(&format!("{name}.conf")), self.path(&format!("{name}.log")));
        fs::write(&configuration, text)?;
        program.arg("-g").arg("-c").arg(&configuration).stdin(Stdio::null()).stderr(fs::File::create(&log)?);
        self.running.push(program.spawn().context("cannot run named")?);
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let log = fs::read_to_string(&log).unwrap_or_default();
            if log.contains("running\n") {
                return Ok(());
            }
            ensure!(Instant::now() < end && !log.contains("exiting"), "named does not run:\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        for process in &mut self.running {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
