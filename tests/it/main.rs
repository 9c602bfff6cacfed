//! Tests of the whole: hermetic, on loopback, with ports from the system.

mod authors;
mod bad_inputs;
mod certificates;
mod content;
mod bad_peers;
mod bad_tls;
mod decisions;
mod elsewhere;
mod handshakes;
mod hostile;
mod limbo;
mod login;
mod manual;
mod notices;
mod people;
mod policies;
mod queue;
mod receiving;
mod relaying;
mod roles;
mod sending;
mod tidy;
mod transport;
mod trust;
