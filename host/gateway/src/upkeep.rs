//! What is done from time to time without anybody asking: orders that have ended are carried out, and what nobody took out of quarantine
//! is removed.

use crate::clock::Clock;
use crate::generation::Current;
use crate::log::Log;
use crate::spool::{Among, Spool, SpoolError};
use jiff::{SignedDuration, Timestamp};
use secmx_core::queue::{Delivery, Standing};
use secmx_core::report::Event;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Time between two rounds.
const EVERY: SignedDuration = SignedDuration::from_mins(1);

/// Deliveries that are looked at together.
const PAGE: usize = 500;

/// Looks after what is kept back.
pub(crate) struct Upkeep {
    pub(crate) current: Current,
    pub(crate) spool: Arc<dyn Spool>,
    pub(crate) log: Log,
    pub(crate) clock: Clock,
}

impl Upkeep {
    /// Goes round until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let now = self.clock.now();
            if let Err(error) = self.round(now).await {
                self.log.write(&Event::Warning { text: format!("mail that is kept back could not be looked at: {error}") });
            }
            tokio::select! {
                () = self.clock.sleep_until(now.checked_add(EVERY).unwrap_or(Timestamp::MAX)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn round(&self, now: Timestamp) -> Result<(), SpoolError> {
        let among = Among { kept: Some(true), ..Among::default() };
        let mut after = None;
        loop {
            let kept = self.spool.deliveries(&among, after, PAGE).await?;
            let Some(last) = kept.last() else { return Ok(()) };
            after = Some(last.key);
            for delivery in kept {
                match self.look_at(&delivery, now).await {
                    Ok(()) | Err(SpoolError::Gone | SpoolError::Busy) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    async fn look_at(&self, delivery: &Delivery, now: Timestamp) -> Result<(), SpoolError> {
        match &delivery.standing {
            Standing::Held { until: Some(until), .. } if *until <= now => {
                self.spool.stand(delivery.key, Standing::Due).await?;
                self.note(delivery, "release", "the order has ended");
            }
            Standing::Quarantined { .. } if self.is_past(delivery, now) => {
                self.spool.withdraw(delivery.key, Vec::new()).await?;
                self.note(delivery, "quarantine delete", "nobody released it within `quarantine.keep`");
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether it was kept as long as the configuration says.
    fn is_past(&self, delivery: &Delivery, now: Timestamp) -> bool {
        let keep = self.current.load().config.quarantine.keep.and_then(|keep| SignedDuration::try_from(keep).ok());
        keep.and_then(|keep| delivery.key.id.time().checked_add(keep).ok()).is_some_and(|end| end <= now)
    }

    fn note(&self, delivery: &Delivery, action: &str, reason: &str) {
        self.log.write(&Event::Handled {
            queue: delivery.key.id.to_string(),
            recipients: delivery.recipients.iter().map(ToString::to_string).collect(),
            action,
            user: "secmx",
            reason,
        });
    }
}
