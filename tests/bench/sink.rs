//! Takes mail and forgets it, with as little work as an SMTP server can have.

use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A running sink. It ends when this value goes.
pub(crate) struct Sink {
    taken: Arc<Taken>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Taken {
    messages: AtomicUsize,
    news: Notify,
}

impl Sink {
    pub(crate) async fn start(address: SocketAddr, tls: Option<TlsAcceptor>) -> Result<Self> {
        let (listener, taken) = (TcpListener::bind(address).await?, Arc::<Taken>::default());
        let counter = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tls.clone(), Arc::clone(&counter)));
            }
        });
        Ok(Self { taken, task })
    }

    /// Returns when so many messages have come.
    pub(crate) async fn wait_for(&self, messages: usize) {
        while self.taken.messages.load(Ordering::Acquire) < messages {
            self.taken.news.notified().await;
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, tls: Option<TlsAcceptor>, taken: Arc<Taken>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    stream.write_all(b"220 sink.test ESMTP\r\n").await.ok()?;
    let secure = converse(&mut stream, tls.is_some(), &taken).await?;
    if secure {
        let mut stream = tls?.accept(stream).await.ok()?;
        converse(&mut stream, false, &taken).await?;
    }
    Some(())
}

/// Answers until the client leaves. True when it wants TLS.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, offers_tls: bool, taken: &Taken) -> Option<bool> {
    let (mut input, mut output, mut content) = (Vec::with_capacity(1 << 17), Vec::new(), false);
    loop {
        if stream.read_buf(&mut input).await.ok()? == 0 {
            return None;
        }
        let mut at = 0;
        while let Some(rest) = input.get(at..) {
            if content {
                let Some(end) = memchr::memmem::find(rest, b"\r\n.\r\n") else {
                    // What may be the beginning of the end stays.
                    at += rest.len().saturating_sub(4);
                    break;
                };
                at += end + 5;
                content = false;
                output.extend_from_slice(b"250 2.0.0 taken\r\n");
                taken.messages.fetch_add(1, Ordering::Release);
                taken.news.notify_waiters();
                taken.news.notify_one();
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', rest) else { break };
            let verb = rest.get(..4).unwrap_or_default().to_ascii_uppercase();
            at += end + 1;
            match &verb[..] {
                b"EHLO" if offers_tls => output.extend_from_slice(b"250-sink.test\r\n250-STARTTLS\r\n250-PIPELINING\r\n250 8BITMIME\r\n"),
                b"EHLO" => output.extend_from_slice(b"250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"),
                b"DATA" => {
                    output.extend_from_slice(b"354 go\r\n");
                    content = true;
                }
                b"STAR" => {
                    stream.write_all(b"220 go\r\n").await.ok()?;
                    return Some(true);
                }
                b"QUIT" => {
                    output.extend_from_slice(b"221 bye\r\n");
                    stream.write_all(&output).await.ok()?;
                    return Some(false);
                }
                _ => output.extend_from_slice(b"250 2.0.0 ok\r\n"),
            }
        }
        input.drain(..at);
        stream.write_all(&output).await.ok()?;
        output.clear();
    }
}
