//! A listener: takes connections, up to its limits, and gives each to a session.

use super::session::Session;
use super::{Desk, proxy};
use crate::config::{Config, Listener};
use crate::generation::Generation;
use anyhow::{Context, Result};
use secmx_core::report::Event;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long to wait after the system refused a connection for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);

/// A bound listener.
pub struct Door {
    /// Its name in the configuration.
    pub name: String,
    /// Where it listens; the port is the real one.
    pub address: SocketAddr,
    socket: TcpListener,
}

impl Door {
    /// Binds every address of every listener, or none. Errors name the listener and the address.
    pub async fn bind_all(config: &Config) -> Result<Vec<Self>> {
        let mut doors = Vec::new();
        for (name, receive) in &config.receive {
            for address in &receive.listen {
                let socket = TcpListener::bind(address).await.with_context(|| format!("receive.{name}: cannot listen on {address}"))?;
                doors.push(Self { name: name.clone(), address: socket.local_addr()?, socket });
            }
        }
        Ok(doors)
    }

    /// Takes connections until `stop`.
    pub async fn serve(self, desk: Arc<Desk>, sessions: TaskTracker, stop: CancellationToken) {
        let guests = Guests::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, client)) => self.welcome(stream, client, &desk, &guests, &sessions, &stop),
                // EMFILE and the like: open sessions go on, and places come free.
                Err(_) => tokio::time::sleep(BREATH).await,
            }
        }
    }

    fn welcome(
        &self,
        stream: TcpStream,
        client: SocketAddr,
        desk: &Arc<Desk>,
        guests: &Guests,
        sessions: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let generation = desk.current.load_full();
        let Some(listener) = generation.config.receive.get(&self.name).cloned() else { return };
        let is_proxy = listener.proxy_from.iter().any(|network| network.contains(client.ip()));
        let per_address = if is_proxy { usize::MAX } else { listener.limits.per_ip };
        let Some(place) = guests.admit(client.ip(), listener.limits.connections, per_address) else {
            sessions.spawn(turn_away(stream));
            return;
        };
        let _ = stream.set_nodelay(true);
        let visit = Visit { desk: Arc::clone(desk), generation, name: self.name.clone(), listener, client, place, stop: stop.clone() };
        sessions.spawn(async move { if is_proxy { visit.behind_proxy(stream).await } else { visit.begin(stream).await } });
    }
}

/// A connection that has its place, on the way to a session.
struct Visit {
    desk: Arc<Desk>,
    generation: Arc<Generation>,
    name: String,
    listener: Listener,
    client: SocketAddr,
    place: Place,
    stop: CancellationToken,
}

impl Visit {
    async fn begin(self, stream: TcpStream) {
        Session::new(self.desk, self.generation, &self.name, self.listener, self.client, self.place).run(stream, self.stop).await;
    }

    /// The client's own address takes the place of the proxy's, with the client's own limit.
    async fn behind_proxy(mut self, mut stream: TcpStream) {
        match proxy::client(&mut stream).await {
            Ok(None) => {}
            Ok(Some(client)) => {
                let Some(place) = self.place.guests.admit(client.ip(), self.listener.limits.connections, self.listener.limits.per_ip)
                else {
                    return turn_away(stream).await;
                };
                (self.client, self.place) = (client, place);
            }
            Err(error) => {
                let text = format!("receive.{}: {} is in `proxy_from`, but {error}", self.name, self.client.ip());
                return self.desk.log.write(&Event::Warning { text });
            }
        }
        self.begin(stream).await;
    }
}

/// RFC 5321, 3.8: 421 when the service is not available; the client tries again later.
async fn turn_away(mut stream: TcpStream) {
    let reply = stream.write_all(b"421 4.7.0 Too many connections, try again later\r\n");
    let _ = tokio::time::timeout(Duration::from_secs(1), reply).await;
}

/// Who is connected, by address.
#[derive(Clone, Default)]
struct Guests {
    present: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Guests {
    /// A place, unless there are `most` in all or `most_per_address` from this address.
    fn admit(&self, address: IpAddr, most: usize, most_per_address: usize) -> Option<Place> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.values().sum::<usize>() >= most || present.get(&address).is_some_and(|count| *count >= most_per_address) {
            return None;
        }
        *present.entry(address).or_default() += 1;
        Some(Place { guests: self.clone(), address })
    }
}

/// One connection's place, until it is dropped.
pub(super) struct Place {
    guests: Guests,
    address: IpAddr,
}

impl Place {
    /// Whether three quarters of `most` places are taken.
    pub(super) fn is_scarce(&self, most: usize) -> bool {
        let present = self.guests.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.values().sum::<usize>() >= most.saturating_sub(most / 4)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.guests.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = present.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                present.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_per_address() {
        let guests = Guests::default();
        let (one, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let first = guests.admit(one, 3, 2).expect("free");
        let _second = guests.admit(one, 3, 2).expect("free");
        assert!(guests.admit(one, 3, 2).is_none(), "two from one address");
        let _third = guests.admit(other, 3, 2).expect("free");
        assert!(guests.admit(other, 3, 2).is_none(), "three in all");
        assert!(first.is_scarce(4) && !first.is_scarce(5));
        drop(first);
        assert!(guests.admit(other, 3, 2).is_some());
    }
}
