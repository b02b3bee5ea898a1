//! The threads of the model and their queue.

use super::{
    LocalConfig,
    answer::{AnswerContext, EventSender},
    halt::{Cancel, Halt, internal},
    loader::Loader,
    sessions::Sessions,
};
use crate::provider::{ChatRequest, ProviderEvent};
use headwater_protocol::{Error, ErrorCode, Stage};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use tokio::sync::mpsc::{self, Receiver};

/// The capacity of an answer's channel, in events. When it is full, the model thread waits.
const EVENTS: usize = 64;

/// The most requests in the queue. Each holds a whole conversation. At one minute per answer, the
/// last one waits two hours on two processors.
pub(super) const MAX_WAITING: usize = 256;

/// One request that waits or is being answered.
struct Job {
    number: u64,
    request: ChatRequest,
    out: EventSender,
    /// The last reported place in the queue.
    told: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    running: usize,
    closed: bool,
    numbers: u64,
}

/// Threads, queue, model and sessions.
pub(super) struct Pool {
    config: LocalConfig,
    pub(super) loader: Arc<Loader>,
    pub(super) sessions: Sessions,
    state: Mutex<State>,
    wake: Condvar,
    busy: AtomicUsize,
}

impl Pool {
    /// Starts the threads. They sleep until there is work.
    pub(super) fn start(config: LocalConfig, loader: Loader) -> Arc<Self> {
        let pool = Arc::new(Self {
            loader: Arc::new(loader),
            sessions: Sessions::new(config.session_cache_bytes),
            state: Mutex::default(),
            wake: Condvar::new(),
            busy: AtomicUsize::new(0),
            config,
        });
        for i in 0..pool.config.parallel {
            let pool = pool.clone();
            let thread = thread::Builder::new().name(format!("model-{i}"));
            if let Err(error) = thread.spawn(move || pool.serve()) {
                tracing::error!(%error, "a model thread cannot be started");
            }
        }
        pool
    }

    /// The number of threads that are computing.
    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Acquire)
    }

    /// The number of requests in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Puts a request at the end of the queue.
    ///
    /// # Errors
    /// [`ErrorCode::ShuttingDown`] once the provider is gone, [`ErrorCode::Overloaded`] while
    /// [`MAX_WAITING`] others wait.
    pub(super) fn submit(self: &Arc<Self>, request: ChatRequest) -> Result<Ticket, Error> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let cancel = Cancel::default();
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::new(
                ErrorCode::ShuttingDown,
                "The server is ending and takes nothing new.",
            ));
        }
        if state.queue.len() >= MAX_WAITING {
            return Err(Error::new(
                ErrorCode::Overloaded,
                format!(
                    "{MAX_WAITING} answers of the built-in model are waited for already. Try again \
                     later, or choose another model."
                ),
            ));
        }
        state.numbers += 1;
        let number = state.numbers;
        let out = EventSender {
            events,
            cancel: cancel.clone(),
        };
        state.queue.push_back(Job {
            number,
            request,
            out,
            told: 0,
        });
        // Nobody else's place has changed.
        let last = state.queue.len() - 1;
        self.tell_places(&mut state, last);
        drop(state);
        self.wake.notify_one();
        Ok(Ticket {
            pool: self.clone(),
            number,
            cancel,
            events: receiver,
        })
    }

    /// Ends the threads as soon as the queue is empty.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_all();
    }

    /// Reports to all requests from the place `first` on how many answers must end before theirs
    /// starts, if that number has changed.
    fn tell_places(&self, state: &mut State, first: usize) {
        let free = self.config.parallel.saturating_sub(state.running);
        for (i, job) in state.queue.iter_mut().enumerate().skip(first) {
            let ahead = (i + 1).saturating_sub(free);
            if ahead != job.told {
                job.told = ahead;
                // If the channel is full, the number is dropped, because it is soon out of date
                // anyway.
                let stage = Stage::Queued {
                    ahead: u32::try_from(ahead).unwrap_or(u32::MAX),
                };
                let _ = job.out.events.try_send(Ok(ProviderEvent::Stage(stage)));
            }
        }
    }

    fn leave_queue(&self, number: u64) {
        let mut state = self.state.lock();
        let place = state.queue.iter().position(|job| job.number == number);
        if let Some(place) = place {
            state.queue.remove(place);
            self.tell_places(&mut state, place);
        }
    }

    /// The main loop of a thread.
    fn serve(&self) {
        while let Some(job) = self.next() {
            // A panic in candle must end one answer and not the thread.
            let result = catch_unwind(AssertUnwindSafe(|| self.work(&job)))
                .unwrap_or_else(|_| Err(internal("a panic while answering").into()));
            self.state.lock().running -= 1;
            if let Err(Halt::Failed(error)) = result {
                let _ = job.out.events.blocking_send(Err(error));
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                state.running += 1;
                self.tell_places(&mut state, 0);
                return Some(job);
            }
            if state.closed {
                return None;
            }
            self.wake.wait(&mut state);
        }
    }

    fn work(&self, job: &Job) -> Result<(), Halt> {
        job.out.cancel.check()?;
        if self.loader.ready().is_none() {
            job.out.send(ProviderEvent::Stage(Stage::Connecting))?;
        }
        let model = self.loader.wait(&job.out.cancel)?;
        let _busy = Busy::new(&self.busy);
        job.out.send(ProviderEvent::Connected)?;
        #[cfg(test)]
        assert_ne!(job.request.conversation, super::tests::PANIC);
        let context = AnswerContext {
            model: &model,
            sessions: &self.sessions,
            sampling: self.config.sampling,
            seed: self.config.seed,
            max_new_tokens: self.config.max_new_tokens,
        };
        context.answer(&job.request, &job.out)
    }
}

/// Counts a thread as computing until it is dropped.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A reader's handle to its request. Dropping it cancels the request, queued or running.
pub(super) struct Ticket {
    pool: Arc<Pool>,
    number: u64,
    cancel: Cancel,
    /// The events of the answer.
    pub(super) events: Receiver<Result<ProviderEvent, Error>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cancel.set();
        self.pool.leave_queue(self.number);
    }
}
