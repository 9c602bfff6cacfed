//! `secmx drain`: the gateway ends when its open sessions have.

use super::remote::Asking;
use super::{Exit, words};
use crate::control::drain::Answer;
use anyhow::Result;
use hyper::Method;

/// Below the help.
pub(super) const HELP: &str = "\
What SIGTERM does: no new sessions, open ones and attempts under way end, within 30 seconds. What is in the queue stays there for the
next start.

Example: secmx drain";

/// Asks for it.
pub(super) fn run(asking: &Asking) -> Result<Exit> {
    asking.tell(Method::POST, "/drain", |answer: Answer| {
        let left = words::counted(answer.messages, "message");
        format!("process {} takes no new sessions and ends within 30 s; {left} in the queue\n", answer.pid)
    })
}
