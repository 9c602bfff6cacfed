//! What goes into the report to a domain about TLS with its hosts (RFC 8460).

use super::worker::{Attempt, Job};
use crate::tls_rpt::{LISTENER, day_of};
use secmx_core::channel::Channel;
use secmx_core::mail::Domain;
use secmx_core::queue::Via;
use secmx_core::report::Cause;
use secmx_core::secmx::exchanger::ExchangerName;
use secmx_core::secmx::sts::Mode;
use secmx_core::secmx::tls_rpt::{Detail, Policy, ResultType, counted};
use std::net::IpAddr;

impl Job<'_> {
    /// Whether the message is itself a report. It must get there when TLS fails, and nobody is told how it went.
    pub(super) fn is_report(&self) -> bool {
        self.message.origin.client.is_none() && self.message.origin.listener == LISTENER
    }

    /// The domain that is told of its hosts, if one is.
    fn told(&self) -> Option<&Domain> {
        let counts = self.generation.config.report.tlsrpt.send && !self.is_report() && self.notes.is_none();
        self.delivery.domain.name().filter(|_| counts && self.delivery.via == Via::Discovery)
    }

    /// Counts something that went wrong before a host was called.
    pub(super) fn count(&self, policy: Policy, result: Result<(), Detail>) {
        if self.told().is_some() {
            let most = self.generation.config.report.tlsrpt.domains_max;
            self.courier.reports.count(day_of(self.courier.clock.now()), policy, result, most);
        }
    }
}

impl Attempt<'_> {
    /// Counts an attempt at TLS: the channel that stood, or why none did.
    pub(super) fn count(&self, channel: Option<&Channel>, cause: Option<&Cause>, local: Option<IpAddr>, peer: Option<IpAddr>) {
        let Some(domain) = self.job.told() else { return };
        let policy = Policy::of(domain, self.exchanger, self.target.sts.as_ref());
        let Some(mut result) = counted(&policy, channel, cause) else { return };
        if result.is_ok() && self.is_outside() {
            result = Err(Detail::new(ResultType::ValidationFailure, "the host is not among those of the MTA-STS policy"));
        }
        let result = result.map_err(|detail| Detail {
            sending_mta_ip: local,
            receiving_mx_hostname: Some(self.exchanger.name.to_string()),
            receiving_ip: peer,
            ..detail
        });
        self.job.count(policy, result);
    }

    /// Whether an MTA-STS policy in mode `testing` does not name this host: it gets mail, and the domain hears of it (RFC 8461, 5).
    fn is_outside(&self) -> bool {
        match (&self.target.sts, &self.exchanger.name) {
            (Some(policy), ExchangerName::Domain(name)) => policy.mode == Mode::Testing && !self.exchanger.is_srv() && !policy.names(name),
            _ => false,
        }
    }
}
