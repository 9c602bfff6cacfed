//! Standard output and standard error of a language runtime: a bounded buffer, taken out after each call. What goes beyond it is lost, and
//! the runtime is not told: printing too much is no fault.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Octets that a runtime may hand over in one write.
const WRITE_MAX: usize = 64 << 10;

/// What was printed. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Output {
    capacity: usize,
    printed: Arc<Mutex<Vec<u8>>>,
}

impl Output {
    /// Keeps the first `capacity` octets.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, printed: Arc::default() }
    }

    /// What was printed since it was last taken.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.printed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl OutputStream for Output {
    fn write(&mut self, octets: Bytes) -> StreamResult<()> {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.capacity.saturating_sub(printed.len());
        printed.extend(octets.iter().take(room));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_MAX)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// For interfaces of WASI that are not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beyond_is_lost_and_what_was_taken_makes_room() {
        let (output, mut stream) = (Output::new(5), Output::new(0));
        stream.clone_from(&output);
        for _ in 0..3 {
            assert!(stream.write(Bytes::from_static(b"abc")).is_ok());
        }
        assert_eq!(output.take(), b"abcab");
        assert!(stream.write(Bytes::from_static(b"xyz")).is_ok());
        assert_eq!((output.take(), output.take()), (b"xyz".to_vec(), Vec::new()));
    }
}
