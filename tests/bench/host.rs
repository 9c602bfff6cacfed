//! The servers under load, each as its operator would run it, and what they take of the machine.

use anyhow::{Context, Result, ensure};
use secmx_lab::ca::Identity;
use secmx_tests::postfix::{Postfix, Setup, free_port};
use secmx_tests::process::binary;
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A tick of `/proc/PID/stat` on Linux.
const TICK: Duration = Duration::from_millis(10);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Secmx,
    Postfix,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secmx => "secmx",
            Self::Postfix => "Postfix",
        })
    }
}

/// A server that hands everything to the sink. It ends when this value goes.
pub(crate) struct Host {
    /// Where it takes mail.
    pub(crate) address: SocketAddr,
    /// Where it must find a sink.
    pub(crate) sink: SocketAddr,
    /// The process of which all others of the server are children.
    process: u32,
    _server: Server,
}

/// The server goes when this value does.
enum Server {
    Secmx { child: Child, _directory: TempDir },
    Postfix { _server: Postfix },
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Secmx { child, .. } = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Host {
    /// Starts one with its state on disk. With TLS it offers STARTTLS, and uses it towards the sink.
    pub(crate) fn start(kind: Kind, tls: Option<&Identity>, identity: &Identity) -> Result<Self> {
        let sink = free_port(Ipv4Addr::LOCALHOST)?;
        match kind {
            Kind::Secmx => Self::secmx(sink, tls.unwrap_or(identity)),
            Kind::Postfix => Self::postfix(sink, tls),
        }
    }

    /// Role policies and one content policy are asked about every message; everything else is as shipped, but for the limit of sessions
    /// from one address.
    fn secmx(sink: SocketAddr, identity: &Identity) -> Result<Self> {
        let (directory, address) = (tempfile::tempdir()?, free_port(Ipv4Addr::LOCALHOST)?);
        let at = |name: &str| directory.path().join(name);
        fs::write(at("cert.pem"), identity.chain_pem())?;
        fs::write(at("key.pem"), identity.key_pem())?;
        let config = format!(
            "hostname = \"gw.bench.test\"\ndomains = [\"bench.test\"]\ndeliver_to = \"smtp://{sink}\"\n[paths]\nstate = \"state\"\n\
             [tls]\ntrust = [\"cert.pem\"]\ncerts = [{{ cert = \"cert.pem\", key = \"key.pem\" }}]\n\
             [receive.public]\nlisten = \"{address}\"\nrole = \"BER\"\n[receive.public.limits]\nper_ip = 1000\n\
             [[policy]]\nname = \"content\"\nuse = \"builtin:{}\"\n{}",
            std::env::var("SECMX_BENCH_POLICY").unwrap_or("attachments".into()),
            std::env::var("SECMX_BENCH_CONFIG").unwrap_or_default(),
        );
        fs::write(at("secmx.toml"), config)?;
        // Not beside the configuration: that directory is watched.
        fs::create_dir(at("logs"))?;
        let log = File::create(at("logs/log"))?;
        let child = Command::new(binary()?)
            .args(["serve", "-c", "secmx.toml"])
            .current_dir(directory.path())
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start secmx")?;
        let process = child.id();
        let host = Self { address, sink, process, _server: Server::Secmx { child, _directory: directory } };
        host.wait_until_it_answers()?;
        Ok(host)
    }

    /// As Debian ships it, without what slows mail down on purpose.
    fn postfix(sink: SocketAddr, tls: Option<&Identity>) -> Result<Self> {
        let more = if tls.is_some() {
            "smtp_tls_security_level = encrypt\nsmtp_tls_session_cache_database = btree:$data_directory/smtp\n"
        } else {
            ""
        };
        let postfix = Postfix::start(&Setup {
            relayhost: Some(format!("[{}]:{}", sink.ip(), sink.port())),
            identity: tls.map(|identity| (identity.chain_pem().to_owned(), identity.key_pem())),
            more: &format!("in_flow_delay = 0\n{more}"),
            ..Setup::default()
        })?;
        let process = postfix.master()?;
        Ok(Self { address: postfix.address(), sink, process, _server: Server::Postfix { _server: postfix } })
    }

    /// What the server and all its children took since it was started.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let all = processes()?;
        let mut usage = Usage::default();
        for (id, process) in &all {
            let is_ours = std::iter::successors(Some(*id), |id| all.get(id).map(|process| process.parent)).any(|id| id == self.process);
            if is_ours {
                usage.processor += process.processor;
                usage.octets += proportional_octets(*id);
            }
        }
        Ok(usage)
    }

    fn wait_until_it_answers(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_err() {
            ensure!(Instant::now() < end, "it does not answer on {}", self.address);
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// What a server took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time, of processes that ended too.
    pub(crate) processor: Duration,
    /// Memory, pages that several share divided among them.
    pub(crate) octets: u64,
}

struct Process {
    parent: u32,
    processor: Duration,
}

fn processes() -> Result<HashMap<u32, Process>> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name stands in parentheses and may hold anything.
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = fields.split(' ').collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
        // User and system time of its own, and of children that ended.
        let ticks = (11..15).map(number).sum();
        all.insert(id, Process { parent: number(1), processor: TICK * ticks });
    }
    Ok(all)
}

fn proportional_octets(process: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Whether a directory lies in a file system without a disk.
pub(crate) fn lies_in_memory(place: &Path) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let place = place.canonicalize()?;
    let holder = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        place.starts_with(point).then_some((point.len(), kind))
    });
    Ok(holder.max_by_key(|(length, _)| *length).is_some_and(|(_, kind)| matches!(kind, "tmpfs" | "ramfs")))
}
