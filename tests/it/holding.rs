//! Clients that hold a place and do little with it: they lose it, so that others can have it.

use crate::bad_tls::talk;
use anyhow::{Context, Result, ensure};
use secmx_lab::client::Client;
use secmx_tests::Rig;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two octets of a client that trickles: a hundredth of the pace that is asked for below.
const TRICKLE: Duration = Duration::from_millis(10);

/// A gateway with a listener `held` that has these limits.
async fn rig(limits: &str) -> Result<(Rig, SocketAddr)> {
    let listener = format!("[receive.held]\nlisten = \"127.0.0.1:0\"\nrole = \"BER\"\nlimits = {{ {limits} }}\n");
    let rig = Rig::with("", &listener).await?;
    let server = rig.listener("held")?;
    Ok((rig, server))
}

/// Sends one octet after the other until the server says something. Gives what it says until it closes.
async fn trickle(client: &mut TcpStream) -> Result<String> {
    let mut heard = Vec::new();
    while heard.is_empty() {
        // Whether it can still be said is of no interest: what is heard counts.
        let _ = client.write_all(b"x").await;
        if let Ok(read) = timeout(TRICKLE, client.read_buf(&mut heard)).await {
            ensure!(read? > 0, "the server closed without a word");
        }
    }
    let _ = client.read_to_end(&mut heard).await;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

/// The minimum rate holds from where content is awaited: for what is kept, for what is flawed from its first octet, and for a chunk that was
/// refused. Each octet would else be worth another `pause`.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_trickles_in_is_not_waited_for() -> Result<()> {
    let (_rig, server) = rig("grace = \"100ms\", pace = \"10KiB\"").await?;
    let open = "MAIL FROM:<a@probe.test>\r\nRCPT TO:<ana@agency.test>\r\n";
    for (what, before, last, code) in [
        ("data", open, "DATA\r\n", "354"),
        ("data that is flawed", open, "DATA\r\n\n", "354"),
        ("a chunk", open, "BDAT 999999999999\r\n", ""),
        ("a refused chunk", "", "BDAT 999999999999\r\n", "503"),
        ("the next chunk", open, "BDAT 1\r\nxBDAT 999999999999\r\n", "250"),
    ] {
        let mut client = TcpStream::connect(server).await?;
        client.set_nodelay(true)?;
        talk(&mut client, "EHLO probe.test\r\n", 2).await?;
        talk(&mut client, before, before.lines().count()).await?;
        let reply = talk(&mut client, last, usize::from(!code.is_empty())).await?;
        ensure!(reply.starts_with(code), "{what}: {reply}");
        let said = timeout(PATIENCE, trickle(&mut client)).await.with_context(|| format!("{what} is waited for"))??;
        ensure!(said.starts_with("421 4.4.2"), "{what}: {said}");
    }
    Ok(())
}

/// Page 6: who comes when three quarters of the places are taken gets `stress_idle`; who was there goes on.
#[tokio::test(flavor = "multi_thread")]
async fn when_places_are_scarce_silence_is_short() -> Result<()> {
    let (_rig, server) = rig("connections = 4, stress_idle = \"200ms\"").await?;
    let (mut first, mut second) = (Client::connect(server).await?, Client::connect(server).await?);
    let mut scarce = [Client::connect(server).await?, Client::connect(server).await?];
    for client in &mut scarce {
        let said = client.reply().await?;
        ensure!(said.starts_with("421 4.4.2"), "{said}");
    }
    for client in [&mut first, &mut second] {
        ensure!(client.command("NOOP").await?.starts_with("250"), "who came before goes on");
    }
    Ok(())
}

/// A client that asks and never reads: what it is told waits for `unread`, and then its place is free.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_loses_its_place() -> Result<()> {
    let (_rig, server) = rig("connections = 1, unread = \"200ms\", idle_commands = 100000000").await?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let mut deaf = socket.connect(server).await?;
    let greeting = deaf.read_u8().await?;
    ensure!(greeting == b'2' && Client::connect(server).await.is_err(), "it has the only place");
    let flood = b"EHLO probe.test\r\n".repeat(1000);
    timeout(PATIENCE, async { while deaf.write_all(&flood).await.is_ok() {} }).await.context("it is waited for")?;
    let next = async {
        loop {
            if let Ok(client) = Client::connect(server).await {
                return client;
            }
            tokio::task::yield_now().await;
        }
    };
    let mut next = timeout(PATIENCE, next).await.context("its place does not come free")?;
    ensure!(next.command("NOOP").await?.starts_with("250"));
    Ok(())
}

/// Decision 1 of page 6: a bare LF is a reason to refuse a message, but for named clients; for nobody it ends one.
#[tokio::test(flavor = "multi_thread")]
async fn bare_line_ends_are_normalized_for_named_clients_only() -> Result<()> {
    let listener =
        |name: &str, from: &str| format!("[receive.{name}]\nlisten = \"127.0.0.1:0\"\nrole = \"BER\"\nnormalize_from = [\"{from}\"]\n");
    let rig = Rig::with("", &(listener("old", "127.0.0.1/32") + &listener("strict", "192.0.2.0/24"))).await?;
    let content = "Subject: s\n\na\n.\nMAIL FROM:<boss@probe.test>\n..b";
    for (name, code) in [("strict", "550 5.5.2"), ("old", "250 2.0.0")] {
        let mut client = Client::connect(rig.listener(name)?).await?;
        client.command("EHLO probe.test").await?;
        let reply = client.transact("a@probe.test", &["ana@agency.test"], content).await?;
        ensure!(reply.starts_with(code), "{name}: {reply}");
        ensure!(client.command("NOOP").await?.starts_with("250"), "{name}: nothing in the content was a command");
    }
    let taken = rig.inside.wait_for_messages(1, PATIENCE).await;
    let text = String::from_utf8_lossy(&taken[0].content).into_owned();
    ensure!(taken.len() == 1 && text.ends_with("\r\nSubject: s\r\n\r\na\r\n.\r\nMAIL FROM:<boss@probe.test>\r\n..b\r\n"), "{text}");
    Ok(())
}
