//! A connection that a test makes up.

use super::Calls;
use crate::{Certificate, Channel, ClientCertificate, ReceiverRole};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use core::cell::RefCell;

/// One connection to a listener (RFC 5321, 3.1): `Session { hello: Some("relay.test".into()), ..Session::default() }`.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// The name of the listener.
    pub listener: String,
    /// The client's address.
    pub client_address: String,
    /// The client's name in forward-confirmed reverse DNS.
    pub client_name: Option<String>,
    /// What the client said in EHLO or HELO.
    pub hello: Option<String>,
    /// What TLS gave.
    pub channel: Option<Channel>,
    /// The client's certificate.
    pub peer_certificate: Option<Certificate>,
    /// Who logged in.
    pub authenticated_as: Option<String>,
    /// What `authentication_result` answers, by method.
    pub authentication_results: BTreeMap<String, String>,
    /// Tags that are set, before and behind the question.
    pub tags: RefCell<BTreeMap<String, String>>,
    /// What the policy did.
    pub calls: Calls,
}

impl Session {
    /// The id of the session.
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// The name of the listener.
    pub fn listener(&self) -> String {
        self.listener.clone()
    }

    /// The client's address.
    pub fn client_address(&self) -> String {
        self.client_address.clone()
    }

    /// Forward-confirmed reverse DNS name.
    pub fn client_name(&self) -> Option<String> {
        self.client_name.clone()
    }

    /// What the client said in EHLO or HELO.
    pub fn hello(&self) -> Option<String> {
        self.hello.clone()
    }

    /// What TLS gave; none is no TLS.
    pub fn channel(&self) -> Option<Channel> {
        self.channel.clone()
    }

    /// The client's certificate.
    pub fn peer_certificate(&self) -> Option<Certificate> {
        self.peer_certificate.clone()
    }

    /// Who logged in.
    pub fn authenticated_as(&self) -> Option<String> {
        self.authenticated_as.clone()
    }

    /// What the gateway found out about who wrote the message, by method: `spf`, `dkim`, `dmarc`, `arc`.
    pub fn authentication_result(&self, method: &str) -> Option<String> {
        self.authentication_results.get(method).cloned()
    }

    /// A tag that this or an earlier policy set.
    pub fn tag(&self, key: &str) -> Option<String> {
        self.tags.borrow().get(key).cloned()
    }

    /// Sets a tag.
    pub fn set_tag(&self, key: &str, value: &str) {
        self.tags.borrow_mut().insert(key.to_string(), value.to_string());
        self.calls.add(format_args!("set_tag({key:?}, {value:?})"));
    }

    /// The terms on which this connection may talk.
    pub fn set_role(&self, role: ReceiverRole) {
        self.calls.add(format_args!("set_role({role:?})"));
    }

    /// Whether the client is asked for a certificate.
    pub fn set_client_certificate(&self, want: ClientCertificate) {
        self.calls.add(format_args!("set_client_certificate({want:?})"));
    }
}
