//! On which occasions a policy is asked. What an occasion does not tell yet holds nobody back.

use secmx_core::mail::{Mailbox, ReversePath};
use secmx_core::role::SenderRole;
use std::fmt;

/// What is known when a question comes up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Occasion<'a> {
    /// Name of the listener; unknown when a message leaves.
    pub listener: Option<&'a str>,
    /// Who sends; unknown before MAIL. The inner `None` is `<>`.
    pub reverse_path: Option<&'a ReversePath>,
    /// Who receives; empty as long as that is unknown.
    pub recipients: &'a [Mailbox],
    /// The least role of a delivery; unknown before there is one.
    pub role: Option<SenderRole>,
}

/// A condition of the configuration.
pub trait Condition: Send + Sync + fmt::Debug {
    /// Whether the policy is asked.
    fn holds(&self, occasion: &Occasion<'_>) -> bool;
}
