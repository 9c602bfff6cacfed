//! The one thread that writes: whatever waits becomes one batch and one sync, and all who waited hear of it (group commit).
//!
//! Changes are worked out here, one after the other, from what is stored, so nobody overwrites what another just wrote. After a commit
//! that failed nothing is committed again: the disk may hold all of it, some or nothing (durability rule 3).

use super::index::Entry;
use super::tables::{Survives, Write};
use super::{NewMessage, SpoolError};
use secmx_core::queue::{DeliveryKey, QueueId};
use std::collections::HashSet;
use std::io;
use std::sync::mpsc::Receiver;
use tokio::sync::oneshot;

/// Octets of bodies after which a batch takes no more requests, so that no one waits long for others' octets.
const BATCH_OCTETS_MAX: u64 = 16 * 1024 * 1024;

/// A change to the index, made once its batch is committed.
#[derive(Debug)]
pub(super) enum Change {
    /// Was accepted. Comes before its deliveries are put.
    Keep(Box<NewMessage>),
    Put(Entry),
    /// The attempt ended.
    Free(DeliveryKey),
    Remove(DeliveryKey),
}

/// What a request comes to.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) writes: Vec<Write>,
    pub(super) changes: Vec<Change>,
    pub(super) survives: Survives,
}

/// Works out a transaction from what is stored. Told the octets that this batch accepts before it.
pub(super) type Plan = Box<dyn FnOnce(u64) -> Result<Transaction, SpoolError> + Send>;

/// One caller's wish.
pub(super) struct Request {
    /// The message it is about. Two of one message are never in one batch: the second must see what the first did.
    pub(super) id: QueueId,
    /// Octets of the body it accepts.
    pub(super) octets: u64,
    pub(super) plan: Plan,
    pub(super) answer: oneshot::Sender<Result<(), SpoolError>>,
}

/// Where batches go.
pub(super) trait Sink {
    /// Makes a batch durable. An error is final.
    fn commit(&mut self, writes: Vec<Write>, survives: Survives) -> io::Result<()>;
    /// Takes note of a batch that is durable.
    fn apply(&mut self, changes: Vec<Change>);
    /// A commit failed.
    fn fail(&mut self, error: &io::Error);
    /// Why nothing may be committed any more.
    fn failed(&self) -> Option<SpoolError>;
}

/// Serves requests until every sender is gone.
pub(super) fn run(requests: &Receiver<Request>, mut sink: impl Sink) {
    let mut left = None;
    while let Some(batch) = gather(requests, &mut left) {
        write(batch, &mut sink);
    }
}

/// Waits for a request and takes along all that wait with it. `left` keeps one that must not be in the same batch.
fn gather(requests: &Receiver<Request>, left: &mut Option<Request>) -> Option<Vec<Request>> {
    let first = left.take().or_else(|| requests.recv().ok())?;
    let mut octets = first.octets;
    let mut messages = HashSet::from([first.id]);
    let mut batch = vec![first];
    while octets < BATCH_OCTETS_MAX {
        let Ok(next) = requests.try_recv() else { break };
        if !messages.insert(next.id) {
            *left = Some(next);
            break;
        }
        octets += next.octets;
        batch.push(next);
    }
    Some(batch)
}

fn write(batch: Vec<Request>, sink: &mut impl Sink) {
    let (mut writes, mut changes, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    let (mut survives, mut octets) = (Survives::Process, 0);
    for request in batch {
        let planned = sink.failed().map_or_else(|| (request.plan)(octets), Err);
        match planned {
            Ok(transaction) => {
                octets += request.octets;
                survives = survives.max(transaction.survives);
                writes.extend(transaction.writes);
                changes.extend(transaction.changes);
                waiting.push(request.answer);
            }
            Err(error) => answer(request.answer, Err(error)),
        }
    }
    if waiting.is_empty() {
        return;
    }
    let outcome = if writes.is_empty() { Ok(()) } else { sink.commit(writes, survives) };
    let outcome = match outcome {
        Ok(()) => {
            sink.apply(changes);
            Ok(())
        }
        Err(error) => {
            sink.fail(&error);
            Err(refusal(&error))
        }
    };
    waiting.into_iter().for_each(|waiter| answer(waiter, outcome.clone()));
}

/// Whoever asked may have gone; what was written stays written.
fn answer(waiter: oneshot::Sender<Result<(), SpoolError>>, outcome: Result<(), SpoolError>) {
    let _ = waiter.send(outcome);
}

fn refusal(error: &io::Error) -> SpoolError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SpoolError::Full,
        _ => SpoolError::Fault(format!("a write failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::Table;
    use super::*;
    use std::sync::mpsc;

    /// Counts commits; fails from the one that is told on.
    #[derive(Default)]
    struct Tape {
        batches: Vec<(usize, Survives)>,
        attempts: usize,
        fail_at: Option<usize>,
        failed: bool,
    }

    impl Sink for &mut Tape {
        fn commit(&mut self, writes: Vec<Write>, survives: Survives) -> io::Result<()> {
            self.attempts += 1;
            if self.fail_at.is_some_and(|at| self.attempts >= at) {
                return Err(io::Error::other("EIO"));
            }
            self.batches.push((writes.len(), survives));
            Ok(())
        }
        fn apply(&mut self, _changes: Vec<Change>) {}
        fn fail(&mut self, _error: &io::Error) {
            self.failed = true;
        }
        fn failed(&self) -> Option<SpoolError> {
            self.failed.then(|| SpoolError::Fault("failed before".into()))
        }
    }

    fn request(message: u64, octets: u64, survives: Survives) -> (Request, oneshot::Receiver<Result<(), SpoolError>>) {
        let (answer, outcome) = oneshot::channel();
        let writes = vec![Write { table: Table::Messages, key: vec![1], value: None }];
        let plan: Plan = Box::new(move |_| Ok(Transaction { writes, changes: Vec::new(), survives }));
        (Request { id: QueueId::new(message, 0), octets, plan, answer }, outcome)
    }

    fn play(tape: &mut Tape, wanted: &[(u64, u64, Survives)]) -> Vec<Result<(), SpoolError>> {
        let (sender, receiver) = mpsc::channel();
        let outcomes: Vec<_> = wanted
            .iter()
            .map(|(message, octets, survives)| {
                let (request, outcome) = request(*message, *octets, *survives);
                sender.send(request).expect("open");
                outcome
            })
            .collect();
        drop(sender);
        run(&receiver, tape);
        outcomes.into_iter().map(|outcome| outcome.blocking_recv().expect("an answer")).collect()
    }

    #[test]
    fn one_sync_serves_all_who_wait() {
        let mut tape = Tape::default();
        let outcomes = play(&mut tape, &[(1, 9, Survives::Process), (2, 9, Survives::Machine), (3, 9, Survives::Process)]);
        assert_eq!(tape.batches, [(3, Survives::Machine)], "one batch, as durable as its most demanding request");
        assert!(outcomes.iter().all(Result::is_ok));
    }

    #[test]
    fn two_requests_of_one_message_see_each_other() {
        let mut tape = Tape::default();
        play(&mut tape, &[(1, 0, Survives::Machine), (2, 0, Survives::Machine), (1, 0, Survives::Machine), (3, 0, Survives::Process)]);
        assert_eq!(tape.batches, [(2, Survives::Machine), (2, Survives::Machine)]);
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut tape = Tape::default();
        play(&mut tape, &[(1, BATCH_OCTETS_MAX, Survives::Machine), (2, 1, Survives::Machine)]);
        assert_eq!(tape.batches.len(), 2);
    }

    /// Durability rule 3: "A failed fsync is never retried on the same descriptor and believed".
    #[test]
    fn after_a_failed_commit_nothing_is_committed() {
        let mut tape = Tape { fail_at: Some(2), ..Tape::default() };
        let two = (1, 0, Survives::Machine);
        let outcomes = play(&mut tape, &[two, two, two, two]);
        assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, false]);
        assert_eq!(tape.attempts, 2, "the third and fourth never reach the disk");
    }
}
