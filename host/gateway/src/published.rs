//! What DNS publishes about us, held against what we are: "A SOR cannot … be listed in the MX records for a domain" (draft, section 5.1).

use crate::config::{Config, ListenerRole};
use crate::dns::Dns;
use secmx_core::role::ReceiverRole;
use secmx_core::secmx::discovery::Answer;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a look at our own records may take; what is not known by then is not held against us (invariant 5).
const PATIENCE: Duration = Duration::from_secs(5);

/// Every secure-only listener that an MX record of one of our domains leads to, in words (L2-9). Empty when there is none, or when DNS
/// could not tell.
pub async fn secure_only_as_mx(config: &Config, dns: &Dns, listeners: &[(String, SocketAddr)]) -> Vec<String> {
    let is_sor =
        |name: &str| config.receive.get(name).is_some_and(|listener| listener.role == ListenerRole::Receiver(ReceiverRole::SecureOnly));
    let doors: Vec<_> = listeners.iter().filter(|(name, _)| is_sor(name)).collect();
    if doors.is_empty() {
        return Vec::new();
    }
    tokio::time::timeout(PATIENCE, look(config, dns, &doors)).await.unwrap_or_default()
}

async fn look(config: &Config, dns: &Dns, doors: &[&(String, SocketAddr)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for domain in &config.domains {
        let Answer::Found(records) = dns.mx(domain).await.answer else { continue };
        for host in records.into_iter().filter_map(|record| record.exchange) {
            let Answer::Found(addresses) = dns.addresses(&host).await.answer else { continue };
            let reached = |door: &SocketAddr| addresses.iter().any(|address| SocketAddr::new(*address, config.send.port) == *door);
            for (name, _) in doors.iter().filter(|(_, door)| reached(door)) {
                wrong
                    .push(format!("receive.{name} is secure only, and {host}, an MX of {domain}, leads to it: name it by SRV only (L2-9)"));
            }
        }
    }
    wrong
}
