//! What callbacks of the browser leave for the one task that reads it.
//!
//! Callbacks come at any time, also from within each other. They only put things here; a single
//! loop owns all state and takes them out one by one.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// A queue with one reader. Clones are the same queue.
pub(super) struct Inbox<T>(Rc<RefCell<State<T>>>);

struct State<T> {
    items: VecDeque<T>,
    waker: Option<Waker>,
    closed: bool,
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Inbox<T> {
    pub(super) fn new() -> Self {
        let state = State {
            items: VecDeque::new(),
            waker: None,
            closed: false,
        };
        Self(Rc::new(RefCell::new(state)))
    }

    pub(super) fn put(&self, item: T) {
        let mut state = self.0.borrow_mut();
        if state.closed {
            return;
        }
        state.items.push_back(item);
        let waker = state.waker.take();
        // Waking may run the reader at once.
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the reader's loop; what is left is not read.
    pub(super) fn close(&self) {
        let mut state = self.0.borrow_mut();
        state.closed = true;
        state.items.clear();
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    /// The next item; `None` once closed.
    pub(super) async fn take(&self) -> Option<T> {
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if state.closed {
                Poll::Ready(None)
            } else if let Some(item) = state.items.pop_front() {
                Poll::Ready(Some(item))
            } else {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}
