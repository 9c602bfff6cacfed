//! SOR, secure only receiver: "will only ever receive mail securely" (draft, section 5).
//!
//! It sets the role of the session and leaves the rest to the policies behind it. No role demands a client certificate (L2-7).
#![cfg_attr(target_arch = "wasm32", no_std)]

use secmx_guest::{Receiver, ReceiverRole, Ruling, Session};

/// The policy.
pub struct SecureOnlyReceiver;

secmx_guest::export!(SecureOnlyReceiver: receiver);

impl Receiver for SecureOnlyReceiver {
    fn greet(session: &Session) -> Ruling {
        session.set_role(ReceiverRole::SecureOnly);
        Ruling::Pass
    }
}
