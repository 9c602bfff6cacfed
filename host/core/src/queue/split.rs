//! One message becomes deliveries: "split the delivery by (domain, role, floor)" (profile, decision 9).

use super::entry::{Delivery, DeliveryKey, Standing, Via};
use super::id::QueueId;
use crate::mail::Mailbox;
use crate::ruling::Demand;
use jiff::Timestamp;

/// Recipients that one transaction carries at most. RFC 5321, 4.5.3.1.8: "The minimum total number of recipients that MUST be buffered
/// is 100 recipients", so every peer takes these.
const RECIPIENTS_MAX: usize = 100;

/// How one recipient is to be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// Least role and level.
    pub demand: Demand,
    /// How its host is found.
    pub via: Via,
}

/// The deliveries of message `id`, due `now`. Recipients keep their order; each is in exactly one delivery.
pub fn split(id: QueueId, now: Timestamp, recipients: Vec<(Mailbox, Sending)>, standing: &Standing) -> Vec<Delivery> {
    let mut deliveries: Vec<Delivery> = Vec::new();
    for (mailbox, sending) in recipients {
        let fits = |delivery: &Delivery| {
            delivery.domain == *mailbox.domain()
                && delivery.via == sending.via
                && delivery.role == sending.demand.role
                && delivery.floor == sending.demand.floor
                && delivery.recipients.len() < RECIPIENTS_MAX
        };
        match deliveries.iter_mut().find(|delivery| fits(delivery)) {
            Some(delivery) => delivery.recipients.push(mailbox),
            None => {
                let number = u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
                deliveries.push(first_of(DeliveryKey { id, number }, now, mailbox, sending, standing.clone()));
            }
        }
    }
    deliveries
}

fn first_of(key: DeliveryKey, now: Timestamp, mailbox: Mailbox, sending: Sending, standing: Standing) -> Delivery {
    Delivery {
        key,
        domain: mailbox.domain().clone(),
        via: sending.via,
        role: sending.demand.role,
        floor: sending.demand.floor,
        recipients: vec![mailbox],
        attempts: 0,
        next: now,
        standing,
        last: Vec::new(),
        warned: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Level, Requirement};
    use crate::role::SenderRole;

    fn to(address: &str, role: SenderRole, floor: Level) -> (Mailbox, Sending) {
        let mailbox = Mailbox::parse(address.as_bytes(), false).expect("valid");
        (mailbox, Sending { demand: Demand { role, floor: Requirement::at_least(floor) }, via: Via::Discovery })
    }

    fn run(recipients: Vec<(Mailbox, Sending)>) -> Vec<Vec<String>> {
        let deliveries = split(QueueId::new(1, 1), Timestamp::UNIX_EPOCH, recipients, &Standing::Due);
        deliveries.iter().map(|d| d.recipients.iter().map(ToString::to_string).collect()).collect()
    }

    /// Decision 9: one SOS recipient neither drags the others nor is dragged by them.
    #[test]
    fn recipients_part_by_domain_role_and_floor() {
        let (best, only) = (SenderRole::BestEffort, SenderRole::SecureOnly);
        let split = run(vec![
            to("a@x.test", best, Level::Plain),
            to("b@y.test", best, Level::Plain),
            to("c@x.test", only, Level::Host),
            to("d@x.test", best, Level::Plain),
            to("e@x.test", only, Level::Domain),
        ]);
        assert_eq!(split, [vec!["a@x.test", "d@x.test"], vec!["b@y.test"], vec!["c@x.test"], vec!["e@x.test"]]);
    }

    #[test]
    fn no_transaction_carries_more_than_every_peer_takes() {
        let many = (0..250).map(|n| to(&format!("u{n}@x.test"), SenderRole::BestEffort, Level::Plain)).collect();
        assert_eq!(run(many).iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    }
}
