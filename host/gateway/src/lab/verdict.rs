//! Whether what came of a message is what had to come of it.

use super::Sent;
use secmx_lab::cases::Fate;
use secmx_lab::ground::Scene;
use serde::Serialize;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As the table has it.
    Passed,
    /// Kept back as the table has it, in another way: it waits and should be returned, or the other way round.
    Near,
    /// Not as the table has it.
    Failed,
    /// Not played.
    Skipped,
}

fn is_kept(fate: &Fate) -> bool {
    matches!(fate, Fate::Waits(_) | Fate::Returned(_))
}

/// Whether a sender of whom only the hosts' side is seen did what it had to.
fn seen_from_outside(expected: &Fate, got: &Fate) -> Verdict {
    match (expected, got) {
        (Fate::Plain, Fate::Plain | Fate::Tls) => Verdict::Passed,
        (Fate::Encrypted | Fate::Host | Fate::Domain, Fate::Tls) => Verdict::Passed,
        (Fate::Waits(_), Fate::Waits(_)) | (Fate::Returned(_), Fate::Returned(_)) => Verdict::Passed,
        (expected, got) if is_kept(expected) && is_kept(got) => Verdict::Near,
        _ => Verdict::Failed,
    }
}

/// The verdict, and why where that is not to be seen from the outcome alone. `exact`: levels and codes are known and count.
pub(super) fn of(scene: &Scene, user: &str, expected: &Fate, sent: &Sent, exact: bool) -> (Verdict, String) {
    let leaks = scene.leaks(user);
    // S5, whatever the outcome says.
    if user == "sos" && !leaks.is_empty() {
        return (Verdict::Failed, format!("{} heard of secure only mail in the clear", leaks.join(", ")));
    }
    if scene.was_believed() {
        return (Verdict::Failed, "it took what stood in the clear behind 220 for an answer over TLS".to_owned());
    }
    if let Some(never) = scene.case.never.as_ref().filter(|never| scene.was_called(never)) {
        return (Verdict::Failed, format!("{never} was connected to"));
    }
    let outcome = match exact {
        true if *expected == sent.fate => Verdict::Passed,
        true => Verdict::Failed,
        false => {
            let also = scene.case.also.as_ref().filter(|_| user == "sos").map(|also| seen_from_outside(also, &sent.fate));
            also.into_iter().fold(seen_from_outside(expected, &sent.fate), Verdict::min)
        }
    };
    let wrong_host = scene.case.by.as_ref().filter(|by| !is_kept(&sent.fate) && sent.by.as_ref() != Some(by));
    match wrong_host {
        Some(by) if outcome == Verdict::Passed => {
            (Verdict::Failed, format!("{} took it, and it was {by}'s", sent.by.as_deref().unwrap_or("another host")))
        }
        _ => (outcome, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_from_outside_can_be_wrong() {
        let (waits, returned) = (Fate::Waits("4.7.5".into()), Fate::Returned("5.7.5".into()));
        assert_eq!(seen_from_outside(&Fate::Host, &Fate::Tls), Verdict::Passed);
        assert_eq!(seen_from_outside(&Fate::Host, &Fate::Plain), Verdict::Failed);
        assert_eq!(seen_from_outside(&Fate::Host, &waits), Verdict::Failed);
        assert_eq!(seen_from_outside(&returned, &Fate::Tls), Verdict::Failed);
        assert_eq!(seen_from_outside(&returned, &waits), Verdict::Near);
        assert_eq!(seen_from_outside(&waits, &Fate::Waits(String::new())), Verdict::Passed);
    }
}
