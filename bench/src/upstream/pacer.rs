//! One thread that writes the tokens of all answers, each at its time: the schedule of an answer is
//! fixed when it begins, so a token that is late makes none after it late.

use crate::{clock::now, prompt::Prompt, stamp};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{self, ErrorKind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, sync::oneshot};

/// Nanoseconds until a full socket is tried again.
const RETRY: u64 = 1_000_000;

/// Nanoseconds after which an answer that waits is looked at again, so that the socket of a reader that
/// has left is not kept.
const LOOK: u64 = 1_000_000_000;

/// Tokens that an answer without a rate writes before it is the turn of the next.
const BURST: u32 = 16;

/// The thread's queue.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    queue: Mutex<BinaryHeap<Reverse<Answer>>>,
    changed: Condvar,
    lateness: Mutex<Vec<u64>>,
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answer {
    /// Set when the reader has left.
    pub(super) closed: Arc<AtomicBool>,
    /// When it is its turn.
    wake: u64,
    /// When the next token is due.
    due: u64,
    /// Until when tokens are late through the fault of the reader.
    excused: u64,
    socket: Arc<TcpStream>,
    form: Form,
    prompt: Prompt,
    /// The number of the next token.
    next: u32,
    /// What the socket had no room for.
    pending: Vec<u8>,
    /// Dropped at the end.
    _ended: oneshot::Sender<()>,
}

/// What a token is written as.
#[derive(Debug)]
enum Form {
    /// A chunk of a streamed completion.
    Chunk,
    /// A request that appends to a stream; its head up to the length.
    Append(String),
}

impl Answer {
    /// The body of a streamed completion.
    pub(super) fn chunks(socket: Arc<TcpStream>, prompt: Prompt) -> (Self, oneshot::Receiver<()>) {
        Self::new(socket, Form::Chunk, prompt)
    }

    /// Appends to the stream at `path`.
    pub(super) fn appends(
        socket: Arc<TcpStream>,
        path: &str,
        prompt: Prompt,
    ) -> (Self, oneshot::Receiver<()>) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length:"
        );
        Self::new(socket, Form::Append(head), prompt)
    }

    fn new(socket: Arc<TcpStream>, form: Form, prompt: Prompt) -> (Self, oneshot::Receiver<()>) {
        let (sender, ended) = oneshot::channel();
        let due = now() + u64::from(prompt.wait) * 1_000_000;
        let answer = Self {
            closed: Arc::default(),
            wake: due.min(now() + LOOK),
            due,
            excused: 0,
            socket,
            form,
            prompt,
            next: 0,
            pending: Vec::new(),
            _ended: sender,
        };
        (answer, ended)
    }

    /// Writes what is due. Returns whether more follows, at the new `wake`.
    fn step(&mut self, lateness: &Mutex<Vec<u64>>) -> bool {
        if self.closed.load(Ordering::Relaxed) {
            return false;
        }
        if self.pending.is_empty() && self.due > now() {
            self.wake = self.due.min(now() + LOOK);
            return true;
        }
        let Prompt { tokens, rate, .. } = self.prompt;
        if self.pending.is_empty() {
            if self.next > tokens {
                return false;
            }
            let burst = if rate == 0 { BURST } else { 1 };
            let until = (self.next + burst).min(tokens);
            if self.next == tokens {
                self.end();
                self.next += 1;
            }
            while self.next < until {
                let at = now();
                if rate > 0 && self.due > self.excused {
                    locked(lateness).push(at.saturating_sub(self.due));
                }
                self.token(at);
                self.next += 1;
                self.due += self.prompt.interval();
            }
            if self.next == tokens {
                self.due += u64::from(self.prompt.hold) * 1_000_000;
            }
        }
        match self.write() {
            // A slow reader: the schedule stays, only the next try is put off.
            Ok(()) if !self.pending.is_empty() => {
                self.wake = now() + RETRY;
                self.excused = self.wake;
            }
            Ok(()) if self.next > tokens => return false,
            Ok(()) if rate == 0 && self.next < tokens => self.wake = now(),
            Ok(()) => self.wake = self.due.min(now() + LOOK),
            Err(_) => return false,
        }
        true
    }

    fn token(&mut self, at: u64) {
        let mut text = stamp::text(self.next, at);
        text.extend((0..self.prompt.filler).map(|byte| if byte % 8 == 7 { ' ' } else { 'x' }));
        match &self.form {
            Form::Chunk => {
                let line = format!(
                    "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\
                     \"created\":1700000000,\"model\":\"bench\",\"choices\":[{{\"index\":0,\
                     \"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
                );
                self.chunk(&line);
            }
            Form::Append(head) => {
                let request = format!("{head} {}\r\n\r\n{text}", text.len());
                self.pending.extend_from_slice(request.as_bytes());
            }
        }
    }

    fn end(&mut self) {
        if matches!(self.form, Form::Chunk) {
            self.chunk(
                "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\
                 \"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{},\
                 \"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
            );
            self.pending.extend_from_slice(b"0\r\n\r\n");
        }
    }

    fn chunk(&mut self, line: &str) {
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        self.pending.extend_from_slice(chunk.as_bytes());
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.socket.try_write(&self.pending) {
                Ok(written) if written == self.pending.len() => self.pending.clear(),
                Ok(written) => drop(self.pending.drain(..written)),
                Err(full) if full.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Pacer {
    /// Starts the thread. It lives as long as the process.
    pub(super) fn start() -> io::Result<Arc<Self>> {
        let pacer = Arc::new(Self::default());
        let thread = pacer.clone();
        std::thread::Builder::new()
            .name("pacer".into())
            .spawn(move || thread.run())?;
        Ok(pacer)
    }

    /// Begins an answer.
    pub(super) fn submit(&self, answer: Answer) {
        locked(&self.queue).push(Reverse(answer));
        self.changed.notify_one();
    }

    /// How late each token was since the last call, in nanoseconds.
    pub(super) fn take_lateness(&self) -> Vec<u64> {
        std::mem::take(&mut locked(&self.lateness))
    }

    fn run(&self) {
        let mut queue = locked(&self.queue);
        loop {
            let wait = match queue.peek() {
                None => Duration::from_secs(3600),
                Some(Reverse(answer)) => Duration::from_nanos(answer.wake.saturating_sub(now())),
            };
            if !wait.is_zero() {
                let waited = self.changed.wait_timeout(queue, wait);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let Some(Reverse(mut answer)) = queue.pop() else {
                continue;
            };
            drop(queue);
            let more = answer.step(&self.lateness);
            queue = locked(&self.queue);
            if more {
                queue.push(Reverse(answer));
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        self.wake == other.wake
    }
}

impl Eq for Answer {}

impl PartialOrd for Answer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Answer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.wake.cmp(&other.wake)
    }
}
