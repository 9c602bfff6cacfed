//! Load on a host, from one end to the other.

use super::host::Host;
use super::sink::Sink;
use super::source;
use super::{Case, Figures};
use anyhow::{Context, Result, ensure};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, ServerConfig};
use secmx_lab::ca::Identity;
use secmx_lab::client::Believer;
use secmx_tests::postfix;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How long a load may take in all.
const PATIENCE: Duration = Duration::from_secs(120);

/// A message of so many octets as text comes: lines of 76, a header before them, the end of data behind.
fn message(octets: usize) -> Arc<[u8]> {
    let header = "From: ana@source.test\r\nTo: bo@bench.test\r\nSubject: load\r\nMessage-ID: <1@source.test>\r\n\r\n";
    let mut content = header.as_bytes().to_vec();
    let line = |number: usize| (0..76).map(move |at| b'a' + ((number * 31 + at * 7) % 26) as u8).chain(*b"\r\n");
    content.extend((0..).flat_map(line).take(octets.saturating_sub(content.len() + 2)));
    content.extend_from_slice(b"\r\n.\r\n");
    content.into()
}

pub(crate) fn with_our_tools(host: &mut Host, case: Case, messages: usize, identity: &Identity) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (connector, acceptor) = if case.tls { (Some(connector()?), Some(acceptor(identity)?)) } else { (None, None) };
    let before = host.usage()?;
    let (accepting, through, mut waits) = runtime.block_on(async {
        let sink = Sink::start(host.sink, acceptor).await?;
        let began = Instant::now();
        let sending = source::send(host.address, connector, case.sessions, messages, message(case.octets));
        let waits = tokio::time::timeout(PATIENCE, sending).await.context("the source is not done in time")??;
        let accepting = began.elapsed();
        tokio::time::timeout(PATIENCE, sink.wait_for(messages)).await.context("the sink has not got all in time")?;
        anyhow::Ok((accepting, began.elapsed(), waits))
    })?;
    // What a server still does of its own accord once the last message has left belongs to the message too.
    std::thread::sleep(Duration::from_millis(500));
    let after = host.usage()?;
    waits.sort();
    let at = |share: usize| waits.get(waits.len() * share / 100).copied().unwrap_or_default();
    let usage = super::Usage { processor: after.processor - before.processor, ..after };
    Ok(Figures { messages, accepting, through, waits: Some((at(50), at(99))), usage })
}

pub(crate) fn with_postfix_tools(host: &mut Host, case: Case, messages: usize) -> Result<Figures> {
    let before = host.usage()?;
    let mut sink = Tool(
        Command::new("/usr/sbin/smtp-sink")
            // It gives up root, and asks to whom.
            .args(if postfix::missing().is_none() { &["-u", "postfix"][..] } else { &[] })
            .args(["-M", &messages.to_string(), &host.sink.to_string(), "1000"])
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start smtp-sink")?,
    );
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    let mut source = Tool(
        Command::new("/usr/sbin/smtp-source")
            .args(["-d", "-N", "-s", &case.sessions.to_string(), "-m", &messages.to_string(), "-l", &case.octets.to_string()])
            .args(["-f", "ana@source.test", "-t", "bo@bench.test", &host.address.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start smtp-source")?,
    );
    let accepting = source.wait(began)?;
    let through = sink.wait(began)?;
    std::thread::sleep(Duration::from_millis(500));
    let after = host.usage()?;
    let usage = super::Usage { processor: after.processor - before.processor, ..after };
    Ok(Figures { messages, accepting, through, waits: None, usage })
}

/// A child that is killed when it is not waited for.
struct Tool(Child);

impl Tool {
    /// When it ended, counted from `began`.
    fn wait(&mut self, began: Instant) -> Result<Duration> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.success(), "{status}");
                return Ok(began.elapsed());
            }
            ensure!(began.elapsed() < PATIENCE, "not done in time");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn acceptor(identity: &Identity) -> Result<TlsAcceptor> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(identity.chain(), identity.key())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn connector() -> Result<TlsConnector> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believer))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
