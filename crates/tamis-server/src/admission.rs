//! Admission of searches: a fixed number run, a few wait, the rest are told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::failure::{Code, Failure};

/// Seconds a refused client is asked to wait.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Bounds the searches that run and wait at the same time, so that a burst costs some clients a retry and nobody the service.
#[derive(Debug)]
pub struct Admission {
    permits: Arc<Semaphore>,
    max_running: usize,
    waiting: AtomicUsize,
    max_waiting: usize,
    patience: Duration,
}

/// The right to run one search; given back when dropped. Move it into the thread that does the work: a client that
/// hangs up ends the request, not the work, and only the permit keeps count of the latter.
#[derive(Debug)]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
    /// How long the search waited for its turn.
    pub queued: Duration,
}

/// Counts one waiting search down again, also when its client hangs up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Admission {
    /// Lets `max_running` searches run (at least one) and `max_waiting` wait, each no longer than `patience`.
    pub fn new(max_running: usize, max_waiting: usize, patience: Duration) -> Self {
        let max_running = max_running.max(1);
        Self {
            permits: Arc::new(Semaphore::new(max_running)),
            max_running,
            waiting: AtomicUsize::new(0),
            max_waiting,
            patience,
        }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// `too_many_searches` (429) at once when the queue is full, or after the longest wait.
    pub async fn enter(&self) -> Result<Permit, Failure> {
        let started = Instant::now();
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(Permit {
                _permit: permit,
                queued: started.elapsed(),
            });
        }
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.max_waiting {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(self.refusal());
        }
        let _waiting = Waiting(&self.waiting);
        match tokio::time::timeout(self.patience, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Permit {
                _permit: permit,
                queued: started.elapsed(),
            }),
            Ok(Err(_)) | Err(_) => Err(self.refusal()),
        }
    }

    /// Searches that run now.
    pub fn num_running(&self) -> usize {
        self.max_running.saturating_sub(self.permits.available_permits())
    }

    /// Searches that wait now.
    pub fn num_waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    fn refusal(&self) -> Failure {
        Failure::new(
            Code::TooManySearches,
            format!(
                "{} searches are running and {} waiting, which is all this server takes on; try again in {RETRY_AFTER_SECONDS} s.",
                self.num_running(),
                self.num_waiting()
            ),
        )
        .retry_after(RETRY_AFTER_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn runs_a_few_queues_a_few_and_refuses_the_rest() {
        let admission = Admission::new(1, 1, Duration::from_secs(60));
        let first = admission.enter().await.expect("the first runs");
        assert_eq!(admission.num_running(), 1);
        let second = admission.enter();
        tokio::pin!(second);
        // Polled once, the second search waits; dropping the first lets it in.
        assert!(
            futures_util::FutureExt::now_or_never(second.as_mut()).is_none(),
            "the second must wait"
        );
        assert_eq!(admission.num_waiting(), 1);
        let refused = admission.enter().await.expect_err("the queue is full");
        assert_eq!(refused.code(), Code::TooManySearches);
        assert_eq!(refused.retry_after_seconds(), Some(1));
        drop(first);
        let second = second.await.expect("its turn came");
        assert_eq!((admission.num_running(), admission.num_waiting()), (1, 0));
        drop(second);
        assert_eq!(admission.num_running(), 0);
    }

    #[actix_web::test]
    async fn a_client_that_hangs_up_leaves_the_queue() {
        let admission = Admission::new(1, 1, Duration::from_secs(60));
        let _first = admission.enter().await.expect("the first runs");
        {
            let second = admission.enter();
            tokio::pin!(second);
            assert!(futures_util::FutureExt::now_or_never(second.as_mut()).is_none());
            assert_eq!(admission.num_waiting(), 1);
        }
        assert_eq!(admission.num_waiting(), 0);
    }
}
