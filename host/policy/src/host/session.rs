//! `session`: one connection to a listener (RFC 5321, 3.1).

use super::State;
use crate::bindings::mark::Session;
use crate::bindings::secmx::policy::session::{Certificate, Channel, ClientCertificate, Host, HostSession};
use crate::bindings::secmx::policy::types::ReceiverRole;
use crate::{convert, effects};
use wasmtime::Result;
use wasmtime::component::Resource;

impl Host for State {}

impl HostSession for State {
    fn id(&mut self, _: Resource<Session>) -> Result<String> {
        Ok(self.session()?.id.clone())
    }

    fn listener(&mut self, _: Resource<Session>) -> Result<String> {
        Ok(self.session()?.listener.clone())
    }

    fn client_address(&mut self, _: Resource<Session>) -> Result<String> {
        Ok(self.session()?.client_address.to_string())
    }

    fn client_name(&mut self, _: Resource<Session>) -> Result<Option<String>> {
        Ok(self.session()?.client_name.clone())
    }

    fn hello(&mut self, _: Resource<Session>) -> Result<Option<String>> {
        Ok(self.session()?.hello.clone())
    }

    fn channel(&mut self, _: Resource<Session>) -> Result<Option<Channel>> {
        Ok(convert::channel(&self.session()?.channel))
    }

    fn peer_certificate(&mut self, _: Resource<Session>) -> Result<Option<Certificate>> {
        Ok(convert::peer_certificate(&self.session()?.channel))
    }

    fn authenticated_as(&mut self, _: Resource<Session>) -> Result<Option<String>> {
        Ok(self.session()?.authenticated_as.clone())
    }

    async fn authentication_result(&mut self, _: Resource<Session>, method: String) -> Result<Option<String>> {
        self.note("session.authentication-result", || method.clone());
        let known = self.session()?.authentication_results.get(&method).cloned();
        match self.facts.message.as_ref().and_then(|message| message.facts.authenticity.clone()).filter(|_| known.is_none()) {
            Some(authenticity) => Ok(authenticity.result(&method).await),
            None => Ok(known),
        }
    }

    fn tag(&mut self, _: Resource<Session>, key: String) -> Result<Option<String>> {
        Ok(self.effects.tags.get(&key).or(self.session()?.tags.get(&key)).cloned())
    }

    fn set_tag(&mut self, _: Resource<Session>, key: String, value: String) -> Result<()> {
        effects::set_tag(&mut self.effects.tags, key, value, self.effects_max)
    }

    fn set_role(&mut self, _: Resource<Session>, role: ReceiverRole) -> Result<()> {
        self.effects.receiver_role = Some(convert::receiver_role(role));
        Ok(())
    }

    fn set_client_certificate(&mut self, _: Resource<Session>, want: ClientCertificate) -> Result<()> {
        self.effects.client_certificate = convert::client_certificate(want);
        Ok(())
    }

    fn drop(&mut self, _: Resource<Session>) -> Result<()> {
        Ok(())
    }
}
