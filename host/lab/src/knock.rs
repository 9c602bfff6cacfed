//! Cases in which the lab is the client: what a receiver answers.

use crate::ca::{Authority, Flaw, Identity};
use crate::client::Client;
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a receiver that refuses a handshake may take to end the connection.
const PATIENCE: Duration = Duration::from_secs(10);

const MAIL: &str = "MAIL FROM:<knock@home.lab.test>";

/// Plays the case against a receiver: the reply that matters, as its code and enhanced code, or `refused`.
pub async fn knock(id: &str, receiver: SocketAddr, authority: &Authority) -> Result<String> {
    let name = "client.home.lab.test";
    let reply = match id {
        "rx-plain" => hello(receiver, "EHLO").await?.command(MAIL).await?,
        "rx-helo" => Client::connect(receiver).await?.command("HELO client.test").await?,
        "rx-tls" => over_tls(receiver, None).await?.command(MAIL).await?,
        "rx-starttls-again" => over_tls(receiver, None).await?.command("STARTTLS").await?,
        "rx-injection" => injection(receiver).await?,
        "rx-client-certificate" => {
            over_tls(receiver, Some(&authority.issue_with(&[name], Flaw::NotForServers)?)).await?.command(MAIL).await?
        }
        "rx-client-certificate-expired" => {
            over_tls(receiver, Some(&authority.issue_with(&[name], Flaw::Expired)?)).await?.command(MAIL).await?
        }
        "rx-client-certificate-unknown" => {
            over_tls(receiver, Some(&authority.issue_with(&[name], Flaw::SelfSigned)?)).await?.command(MAIL).await?
        }
        "rx-tls-10" => return handshake(receiver, &client_hello([3, 1], &[0xc0, 0x14, 0, 0x2f])).await,
        "rx-cipher-none" => return handshake(receiver, &client_hello([3, 3], &[0, 1])).await,
        "rx-no-handshake" => return handshake(receiver, b"EHLO client.test\r\nMAIL FROM:<a@home.lab.test>\r\n").await,
        _ => bail!("nobody plays {id}"),
    };
    Ok(code(&reply))
}

/// `530 5.7.0` of `530 5.7.0 Must …`.
fn code(reply: &str) -> String {
    let last = reply.lines().last().unwrap_or_default();
    let number = last.get(..3).unwrap_or_default();
    let enhanced = last.get(4..).and_then(|rest| rest.split(' ').next()).filter(|word| word.splitn(3, '.').count() == 3);
    enhanced.map_or_else(|| number.to_owned(), |enhanced| format!("{number} {enhanced}"))
}

/// Whether what a receiver answered is what the table has: that may leave the enhanced code open.
pub fn fits(expected: &str, answered: &str) -> bool {
    answered == expected || answered.split(' ').next() == Some(expected)
}

async fn hello(receiver: SocketAddr, verb: &str) -> Result<Client> {
    let mut client = Client::connect(receiver).await?;
    client.command(&format!("{verb} client.test")).await?;
    Ok(client)
}

async fn over_tls(receiver: SocketAddr, identity: Option<&Identity>) -> Result<Client> {
    let (mut client, _) = hello(receiver, "EHLO").await?.start_tls_as("server.test", identity).await?;
    client.command("EHLO client.test").await?;
    Ok(client)
}

/// MAIL in the segment of STARTTLS, RCPT over TLS.
async fn injection(receiver: SocketAddr) -> Result<String> {
    let client = hello(receiver, "EHLO").await?;
    let (mut client, _) = client.start_tls_with(&format!("STARTTLS\r\n{MAIL}\r\n")).await?;
    client.command("EHLO client.test").await?;
    client.command("RCPT TO:<postmaster>").await
}

/// STARTTLS, and these octets for a handshake.
async fn handshake(receiver: SocketAddr, octets: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(receiver).await?;
    stream.write_all(b"EHLO client.test\r\n").await?;
    let mut heard = Vec::new();
    let starttls = async {
        while !heard.windows(4).any(|line: &[u8]| line == b"250 ") || !heard.ends_with(b"\n") {
            anyhow::ensure!(stream.read_buf(&mut heard).await? > 0, "closed");
        }
        stream.write_all(b"STARTTLS\r\n").await?;
        heard.clear();
        while !heard.ends_with(b"\n") {
            anyhow::ensure!(stream.read_buf(&mut heard).await? > 0, "closed");
        }
        anyhow::ensure!(heard.starts_with(b"220"), "STARTTLS was answered {:?}", String::from_utf8_lossy(&heard));
        Ok(())
    };
    tokio::time::timeout(PATIENCE, starttls).await.context("no answer")??;
    stream.write_all(octets).await?;
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, async { while stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {} }).await;
    // An alert, or nothing; a ServerHello is a handshake record.
    Ok(match answer.first() {
        Some(22) => "a handshake".into(),
        _ if closed.is_err() => "silence".into(),
        None | Some(21) => "refused".into(),
        Some(_) => String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned(),
    })
}

/// A ClientHello without extensions (RFC 5246, 7.4.1.2).
fn client_hello(version: [u8; 2], suites: &[u8]) -> Vec<u8> {
    let octet = |length: usize| u8::try_from(length).unwrap_or_default();
    let hello = [&version[..], &[7; 32], &[0, 0, octet(suites.len())], suites, &[1, 0]].concat();
    [&[22, 3, 1, 0, octet(hello.len() + 4), 1, 0, 0, octet(hello.len())], hello.as_slice()].concat()
}
