//! `destination`: one destination domain of one message, and the plan for it.

use super::State;
use crate::bindings::mark::Destination;
use crate::bindings::secmx::policy::destination::{Answer, Exchanger, Exhausted, Host, HostDestination};
use crate::bindings::secmx::policy::session::{Certificate, Channel};
use crate::bindings::secmx::policy::types::{Address, Level, SenderRole};
use crate::{convert, effects};
use secmx_core::ruling::Step;
use wasmtime::Result;
use wasmtime::component::Resource;

impl Host for State {}

impl HostDestination for State {
    fn domain(&mut self, _: Resource<Destination>) -> Result<String> {
        Ok(self.destination()?.domain.clone())
    }

    fn recipients(&mut self, _: Resource<Destination>) -> Result<Vec<Address>> {
        Ok(self.destination()?.recipients.iter().map(convert::address).collect())
    }

    fn reverse_path(&mut self, _: Resource<Destination>) -> Result<Option<Address>> {
        Ok(self.destination()?.reverse_path.as_ref().map(convert::address))
    }

    fn message_id(&mut self, _: Resource<Destination>) -> Result<String> {
        Ok(self.destination()?.message_id.clone())
    }

    fn tag(&mut self, _: Resource<Destination>, key: String) -> Result<Option<String>> {
        Ok(self.destination()?.tags.get(&key).cloned())
    }

    fn waited(&mut self, _: Resource<Destination>) -> Result<u32> {
        Ok(u32::try_from(self.destination()?.waited.as_secs()).unwrap_or(u32::MAX))
    }

    fn attempts(&mut self, _: Resource<Destination>) -> Result<u32> {
        Ok(self.destination()?.attempts)
    }

    fn secmx(&mut self, _: Resource<Destination>) -> Result<Answer> {
        Ok(convert::answer(self.destination()?.secmx))
    }

    fn mx(&mut self, _: Resource<Destination>) -> Result<Answer> {
        Ok(convert::answer(self.destination()?.mx))
    }

    fn sts_mode(&mut self, _: Resource<Destination>) -> Result<String> {
        Ok(self.destination()?.sts_mode.clone())
    }

    fn exchangers(&mut self, _: Resource<Destination>) -> Result<Vec<Exchanger>> {
        let exchangers = &self.destination()?.exchangers;
        Ok((0..).zip(exchangers).map(|(index, facts)| convert::exchanger(index, facts)).collect())
    }

    fn best_level(&mut self, _: Resource<Destination>) -> Result<Option<Level>> {
        Ok(self.destination()?.best_level.map(convert::level_out))
    }

    fn set_role(&mut self, _: Resource<Destination>, role: SenderRole) -> Result<()> {
        self.effects.sender_role = self.effects.sender_role.max(Some(convert::sender_role(role)));
        Ok(())
    }

    fn attempt(&mut self, _: Resource<Destination>, exchanger: u32, at_least: Level) -> Result<()> {
        self.exchanger(exchanger)?;
        effects::push(&mut self.effects.steps, Step { exchanger, at_least: convert::level(at_least) }, self.effects_max)
    }

    fn when_proved(&mut self, _: Resource<Destination>, then: Exhausted) -> Result<()> {
        self.effects.when_proved = Some(convert::exhausted(then)?);
        Ok(())
    }

    fn when_unknown(&mut self, _: Resource<Destination>, then: Exhausted) -> Result<()> {
        self.effects.when_unknown = Some(convert::exhausted(then)?);
        Ok(())
    }

    fn channel(&mut self, _: Resource<Destination>) -> Result<Option<Channel>> {
        Ok(self.facts.channel.as_ref().and_then(convert::channel))
    }

    fn peer_certificate(&mut self, _: Resource<Destination>) -> Result<Option<Certificate>> {
        Ok(self.facts.channel.as_ref().and_then(convert::peer_certificate))
    }

    fn drop(&mut self, _: Resource<Destination>) -> Result<()> {
        Ok(())
    }
}
