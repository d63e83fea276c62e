//! Ctrl-C, after which a command finishes its request and says what it has done.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use tokio::time::sleep;

use crate::progress::Progress;

/// The status of a command that was interrupted, as shells have it.
pub(crate) const STATUS: u8 = 130;

/// How soon a wait notices the signal.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Whether the command was interrupted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Notes an interruption instead of ending the process at once, which a second one does.
    pub(crate) fn watch() -> io::Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal sets the flag after it was looked at.
            flag::register_conditional_shutdown(signal, STATUS.into(), Arc::clone(&interrupt.0))?;
            flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    pub(crate) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for that long, or until it happens; whether it happened.
    pub(crate) async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            () = sleep(time) => {}
            () = self.wait() => {}
        }
        self.happened()
    }

    /// Notes on the progress that it happened while a response is awaited. It does not end.
    pub(crate) async fn note<N>(&self, progress: &Progress) -> N {
        self.wait().await;
        progress.note("interrupted; waiting for the response to the last request, Ctrl-C again ends at once");
        std::future::pending().await
    }

    async fn wait(&self) {
        while !self.happened() {
            sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Interrupts, as a signal does.
    #[cfg(test)]
    pub(crate) fn happen(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
