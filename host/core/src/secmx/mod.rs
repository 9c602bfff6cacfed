//! The SecMX decision: DNS answers and a policy's plan become connections to try, and connections become a verdict (draft, section 5).
//!
//! Pure values. Nothing here resolves, dials or waits; nothing here knows SMTP verbs: it reasons about channels.

pub mod dane;
pub mod delivery;
pub mod discovery;
pub mod exchanger;
pub mod route;
pub mod sts;
pub mod tls_rpt;

#[cfg(test)]
mod tests;
