//! `secmx-lab` plays the world, with its faults: a certificate authority, DNS, and SMTP peers, all on loopback.
//!
//! The SecMX draft found it missing: "No certificate authorities offered a service to generate broken, corrupt or expired certificates to
//! test the behaviour of vendor products" (section 2). It knows nothing of the gateway it plays against.

pub mod ca;
pub mod cases;
pub mod client;
pub mod dns;
pub mod ground;
pub mod knock;
pub mod peer;
pub mod web;
pub mod world;
