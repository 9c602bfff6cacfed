//! How one recipient is reached, by the operator's rules and what policies demand.

use crate::generation::Generation;
use jiff::Timestamp;
use secmx_core::channel::{Level, Requirement};
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::queue::{Sending, Via};
use secmx_core::role::SenderRole;
use secmx_core::ruling::Demand;

/// How one recipient is reached. Mail for our own domains goes to the inside, over a hop the operator declared trusted by naming it (S-2);
/// for all other mail the operator's rule holds, raised by what the policies demand (invariant 2).
pub(crate) fn sending(generation: &Generation, to: &Mailbox, demand: Demand, now: Timestamp) -> Sending {
    let config = &generation.config;
    if let Some(inside) = config.inside_of(to) {
        return Sending { demand: Demand { floor: Requirement::NONE, ..Demand::default() }, via: Via::Configured(inside) };
    }
    let rule = config.send.rule_for(to, now);
    let via = rule.next_hop.map_or(Via::Discovery, Via::Configured);
    Sending { demand: rule.demand.join(demand), via }
}

/// What the envelope itself demands, and `demand`. RFC 8689, 4.2.1: a message with REQUIRETLS goes only over TLS to a server whose
/// certificate was verified, so it travels as secure only sending does.
pub(crate) fn demand_of(envelope: &Envelope, demand: Demand) -> Demand {
    if !envelope.require_tls {
        return demand;
    }
    Demand { role: SenderRole::SecureOnly, floor: Requirement::at_least(Level::Host) }.join(demand)
}
