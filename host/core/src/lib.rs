//! `secmx-core` decides: facts in, decisions out.
//!
//! Nothing in this crate opens a socket or a file, reads a clock, draws a random number, speaks TLS or DNS, or runs a policy.
//! The time and random draws are arguments; everything else arrives as values and leaves as values, so the same code runs under
//! the gateway, under a fuzzer and against its own twin.

pub mod channel;
pub mod mail;
pub mod queue;
pub mod report;
pub mod role;
pub mod ruling;
pub mod secmx;
pub mod smtp;
