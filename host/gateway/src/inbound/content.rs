//! The octets of a message while they come in: a little of each message in memory, the rest in a file without a name.
//!
//! How much is in memory at a time depends on how many messages are being finished, never on how many clients send one slowly (S10).

use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Octets of one message that wait in memory while it comes in.
const HELD_OCTETS: usize = 256 * 1024;

/// Octets that one permit stands for.
const UNIT: u64 = 64 * 1024;

/// Where messages come in.
#[derive(Debug, Clone)]
pub struct Intake {
    directory: Arc<PathBuf>,
    room: Arc<Semaphore>,
    units: u32,
}

impl Intake {
    /// Messages that outgrow memory while they come in lie in `directory`; when they are whole, `octets` of them are in memory at a time.
    pub fn new(directory: &Path, octets: u64) -> Self {
        let units = u32::try_from(octets.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 4);
        Self { directory: Arc::new(directory.to_owned()), room: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// A place in memory for a message of that many octets. A message that is larger than all the room takes all of it.
    async fn place(&self, octets: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(octets.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units);
        Arc::clone(&self.room).acquire_many_owned(units).await.ok()
    }
}

/// One message.
#[derive(Debug)]
pub(super) struct Content {
    intake: Intake,
    held: Vec<u8>,
    file: Option<File>,
    octets: u64,
    /// What went wrong with the file: the message cannot be taken.
    failure: Option<io::Error>,
    /// Kept until the message is done with.
    place: Option<OwnedSemaphorePermit>,
}

impl Content {
    pub(super) fn new(intake: Intake) -> Self {
        Self { intake, held: Vec::new(), file: None, octets: 0, failure: None, place: None }
    }

    /// How many octets there are.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// What of it is in memory: all of it, once it was made whole and put back.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Takes more octets. What goes wrong is kept for [`Content::whole`].
    pub(super) async fn take(&mut self, octets: Vec<u8>) {
        self.octets += octets.len() as u64;
        if self.failure.is_some() {
            return;
        }
        if self.held.is_empty() {
            self.held = octets
        } else {
            self.held.extend_from_slice(&octets)
        }
        if self.held.len() >= HELD_OCTETS {
            self.put_down().await.unwrap_or_else(|error| self.fail(error));
        }
    }

    /// Moves what is in memory to the file.
    async fn put_down(&mut self) -> io::Result<()> {
        let (held, file, directory) = (std::mem::take(&mut self.held), self.file.take(), Arc::clone(&self.intake.directory));
        let write = tokio::task::spawn_blocking(move || {
            let mut file = file.map_or_else(|| tempfile::tempfile_in(&*directory), Ok)?;
            file.write_all(&held)?;
            Ok::<_, io::Error>(file)
        });
        self.file = Some(write.await.map_err(io::Error::other)??);
        Ok(())
    }

    /// The whole message, in memory from now on. Waits for a place if it is not there already.
    pub(super) async fn whole(&mut self) -> io::Result<Bytes> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.file.is_some() {
            self.place = self.intake.place(self.octets).await;
        }
        if let Some(mut file) = self.file.take() {
            let (held, octets) = (std::mem::take(&mut self.held), self.octets);
            let read = tokio::task::spawn_blocking(move || {
                let mut all = Vec::with_capacity(usize::try_from(octets).unwrap_or(0));
                file.rewind()?;
                file.read_to_end(&mut all)?;
                all.extend_from_slice(&held);
                Ok::<_, io::Error>(all)
            });
            self.held = read.await.map_err(io::Error::other)??;
        }
        if self.held.len() as u64 != self.octets {
            return Err(io::Error::other("the file of a message that came in was changed"));
        }
        Ok(Bytes::from(std::mem::take(&mut self.held)))
    }

    /// Puts back what [`Content::whole`] gave.
    pub(super) fn put_back(&mut self, whole: Bytes) {
        self.held = whole.into();
    }

    fn fail(&mut self, error: io::Error) {
        (self.held, self.file, self.failure) = (Vec::new(), None, Some(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn octets(number: usize) -> Vec<u8> {
        (0..number).map(|index| u8::try_from(index % 251).expect("small")).collect()
    }

    async fn taken(intake: &Intake, pieces: &[usize]) -> Content {
        let mut content = Content::new(intake.clone());
        for piece in pieces {
            content.take(octets(*piece)).await;
        }
        content
    }

    #[tokio::test]
    async fn what_was_taken_comes_back_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let intake = Intake::new(directory.path(), 1 << 20);
        for pieces in
            [vec![], vec![1], vec![HELD_OCTETS - 1], vec![HELD_OCTETS], vec![HELD_OCTETS - 1, 2, 7], vec![HELD_OCTETS * 3, 1, HELD_OCTETS]]
        {
            let mut content = taken(&intake, &pieces).await;
            let all: Vec<u8> = pieces.iter().flat_map(|piece| octets(*piece)).collect();
            assert!(content.held.len() < HELD_OCTETS && (content.octets() == 0) == all.is_empty());
            let whole = content.whole().await.expect("whole");
            assert!(whole == all, "{pieces:?}");
            content.put_back(whole);
            assert!(content.whole().await.expect("whole again") == all);
        }
        assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 0, "a file without a name leaves nothing behind");
    }

    /// S10: however many messages are finished at once, no more of them are in memory than there is room for.
    #[tokio::test]
    async fn s10_whole_messages_take_turns() {
        let directory = tempfile::tempdir().expect("a directory");
        let intake = Intake::new(directory.path(), 1 << 20);
        let (mut first, mut second) = (taken(&intake, &[700 << 10]).await, taken(&intake, &[700 << 10]).await);
        let whole = first.whole().await.expect("whole");
        assert!(tokio::time::timeout(Duration::from_millis(50), second.whole()).await.is_err(), "there is no room for both");
        drop((whole, first));
        let mut third = taken(&intake, &[3 << 20]).await;
        assert!(third.whole().await.is_ok(), "one that is larger than the room has all of it");
    }

    #[tokio::test]
    async fn a_disk_that_fails_is_said() {
        let mut content = taken(&Intake::new(Path::new("/nonexistent"), 1 << 20), &[HELD_OCTETS, 5]).await;
        assert!(content.whole().await.is_err());
    }
}
