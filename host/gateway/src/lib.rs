//! `secmx`, the gateway: everything that touches the world.
//!
//! It drives the decisions of `secmx-core` and the policies of `secmx-policy` with real sockets, TLS, DNS, clocks and disks. The
//! rooms `inbound` and `outbound` share nothing but the spool (invariant 8).

mod authentication;
pub mod certs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod decisions;
pub mod dev;
pub mod diagnosis;
mod dkim;
pub mod dns;
mod edit;
mod fetch;
pub mod gateway;
mod gathered;
pub mod generation;
pub mod history;
pub mod inbound;
mod journal;
mod kept;
pub mod lab;
pub mod lens;
pub mod levels;
pub mod log;
mod logins;
pub mod mta_sts;
pub mod orders;
pub mod outbound;
pub mod powers;
pub mod published;
mod recipients;
pub mod reload;
pub mod replay;
mod revocation;
mod sending;
pub mod serve;
pub mod signing;
pub mod spool;
mod stream;
pub mod tls;
pub mod tls_rpt;
mod upkeep;
pub mod users;
mod watch;
pub mod web;
pub mod workshop;
