//! `secmx reload`: the configuration is read again, or stays in force and says why.

use super::Exit;
use super::remote::Asking;
use crate::control::reload::Answer;
use anyhow::Result;
use hyper::Method;

/// Below the help.
pub(super) const HELP: &str = "\
What SIGHUP does, with an answer: what is different now, or, with code 7, why nothing is. Open sessions and deliveries finish with the
configuration and the policies that they began with. The state directory, listeners' addresses, [control], [queue] and [log] need a restart.

Example: secmx reload && secmx status";

/// Below the help of `policy reload`.
pub(super) const POLICY_HELP: &str = "\
Components, certificates and lists that the configuration in force names are read again; the configuration itself is not. A policy that
does not load, or fails on the message that every new policy is shown, changes nothing: code 7, and the reason.

Example: secmx policy reload && secmx policy list";

/// Asks for it and tells what came of it. `path` is the endpoint.
pub(super) fn run(asking: &Asking, path: &str) -> Result<Exit> {
    asking.tell(Method::POST, path, |answer: Answer| {
        let changes = answer.reloaded.changes.iter().map(|change| format!("  {change}\n")).collect::<String>();
        let changes = if changes.is_empty() { "  nothing is different\n".to_owned() } else { changes };
        format!("generation {} is in force\n{changes}", answer.reloaded.generation)
    })
}
