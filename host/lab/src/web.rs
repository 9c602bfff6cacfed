//! A web server that answers every request with the octets it was given, over TLS or in the clear.

use crate::ca::Identity;
use crate::peer::{Manner, acceptor};
use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running server. It ends when this value goes.
pub struct Web {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    answer: Vec<u8>,
    requests: Vec<String>,
    bodies: Vec<Vec<u8>>,
}

impl Web {
    /// A server at this address; over TLS when there is an identity to show.
    pub async fn start_at(address: SocketAddr, identity: Option<&Identity>) -> Result<Self> {
        let acceptor = identity.map(|identity| acceptor(identity, Manner::Usual)).transpose()?;
        let listener = TcpListener::bind(address).await?;
        let (address, state) = (listener.local_addr()?, Arc::new(Mutex::new(State::default())));
        let kept = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&kept));
                tokio::spawn(async move {
                    match acceptor {
                        None => answer(stream, state).await,
                        Some(acceptor) => answer(acceptor.accept(stream).await.ok()?, state).await,
                    }
                });
            }
        });
        Ok(Self { address, state, task })
    }

    /// A server on 127.0.0.1 at a port of the system's choice.
    pub async fn start(identity: Option<&Identity>) -> Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), identity).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with these octets, status line and all, from now on.
    pub fn answer(&self, octets: impl Into<Vec<u8>>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).answer = octets.into();
    }

    /// Answers 200 with this body from now on.
    pub fn serve(&self, kind: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        self.answer([head.as_bytes(), body].concat());
    }

    /// The first line of each request so far.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }
}

impl Web {
    /// The body of each request so far; empty where there was none.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).bodies.clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, state: Arc<Mutex<State>>) -> Option<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 2048]);
    let head = loop {
        if let Some(end) = request.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
        let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        request.extend_from_slice(buffer.get(..length)?);
    };
    let mut body = request.split_off(head);
    let lines = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = lines.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    while body.len() < length {
        let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        body.extend_from_slice(buffer.get(..length)?);
    }
    let octets = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requests.push(String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned());
        state.bodies.push(body);
        state.answer.clone()
    };
    stream.write_all(&octets).await.ok()?;
    stream.shutdown().await.ok()
}
