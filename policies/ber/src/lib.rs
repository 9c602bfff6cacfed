//! BER, best effort receiver: "will prefer to receive mail securely (SMTP over TLS), but will also receive insecure mail" (draft, section 5).
//!
//! It sets the role of the session and leaves the rest to the policies behind it. No role demands a client certificate (L2-7).
#![cfg_attr(target_arch = "wasm32", no_std)]

use secmx_guest::{Receiver, ReceiverRole, Ruling, Session};

/// The policy.
pub struct BestEffortReceiver;

secmx_guest::export!(BestEffortReceiver: receiver);

impl Receiver for BestEffortReceiver {
    fn greet(session: &Session) -> Ruling {
        session.set_role(ReceiverRole::BestEffort);
        Ruling::Pass
    }
}
