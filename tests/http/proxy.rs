//! A proxy in front of a provider that does to its answers what networks do to them.

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// What happens to the answer on one connection. Positions count the bytes behind the head of the
/// first answer, as the provider sent them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// How long the answer is held back.
    pub delay: Duration,
    /// Bytes a second.
    pub rate: Option<u32>,
    /// The most bytes in one write.
    pub slice: Option<usize>,
    /// The byte that arrives as another one.
    pub garble: Option<usize>,
    /// The bytes that arrive twice.
    pub repeat: Option<Range<usize>>,
    /// How it ends.
    pub end: End,
}

/// How the answer on one connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// As the provider ends it.
    #[default]
    Untouched,
    /// FIN after so many bytes.
    Closed(usize),
    /// RST after so many bytes.
    Reset(usize),
    /// Nothing more after so many bytes, on a connection that stays open until the client closes.
    Silent(usize),
}

impl End {
    fn limit(self) -> Option<usize> {
        match self {
            Self::Untouched => None,
            Self::Closed(limit) | Self::Reset(limit) | Self::Silent(limit) => Some(limit),
        }
    }
}

/// How many sockets there are.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    downstream: AtomicUsize,
    upstream: AtomicUsize,
}

/// Counts one open socket as long as it lives.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A proxy on a free port of the loopback.
pub struct Proxy {
    address: SocketAddr,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Stands before `upstream`. Each connection gets the next faults of the script, and those
    /// after its end get none.
    pub async fn start(upstream: SocketAddr, script: Vec<Faults>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let counts = Arc::<Counts>::default();
        let shared = counts.clone();
        let accepting = tokio::spawn(async move {
            let mut script = script.into_iter();
            while let Ok((client, _)) = listener.accept().await {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let (counts, faults) = (shared.clone(), script.next().unwrap_or_default());
                tokio::spawn(async move {
                    let open = Open::new(&counts.downstream);
                    // What breaks here is what was asked for.
                    let _ = connection(client, upstream, faults, &counts.upstream).await;
                    drop(open);
                });
            }
        });
        Self {
            address,
            counts,
            accepting,
        }
    }

    /// Its address with this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections came.
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open now: to the client, and to the provider.
    pub fn open(&self) -> (usize, usize) {
        let now = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (now(&self.counts.downstream), now(&self.counts.upstream))
    }

    /// Waits until nothing is open, and says how long that took; `None` if it takes too long.
    pub async fn closed_within(&self, patience: Duration) -> Option<Duration> {
        let since = Instant::now();
        let closed = async {
            while self.open() != (0, 0) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(patience, closed).await.ok()?;
        Some(since.elapsed())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connection(
    mut client: TcpStream,
    upstream: SocketAddr,
    faults: Faults,
    count: &AtomicUsize,
) -> io::Result<()> {
    let open = Open::new(count);
    let mut provider = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_provider, mut to_provider) = provider.split();
    let ended = tokio::select! {
        // The client closes: nobody is left to answer.
        ended = tokio::io::copy(&mut from_client, &mut to_provider) => ended.map(|_| ()),
        ended = answer(&mut from_provider, &mut to_client, &faults) => ended,
    };
    drop(provider);
    drop(open);
    match faults.end {
        End::Reset(_) => client.set_zero_linger()?,
        _ => client.shutdown().await?,
    }
    ended
}

async fn answer(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    faults: &Faults,
) -> io::Result<()> {
    let mut passage = Passage::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut delay = Some(faults.delay);
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        sleep(delay.take().unwrap_or_default()).await;
        let over = passage.take(&buffer[..read], faults);
        let slice = faults.slice.unwrap_or(usize::MAX).max(1);
        for part in passage.out.chunks(slice) {
            to.write_all(part).await?;
            to.flush().await?;
            match faults.rate {
                Some(rate) => sleep(Duration::from_secs(1) * part.len() as u32 / rate).await,
                None => tokio::task::yield_now().await,
            }
        }
        match (over, faults.end) {
            (false, _) => {}
            (true, End::Silent(_)) => std::future::pending().await,
            (true, _) => return Ok(()),
        }
    }
}

/// What has passed of an answer.
#[derive(Default)]
struct Passage {
    /// The end of the head as far as it came: all of it is a blank line.
    head: Vec<u8>,
    /// What came behind the head, as far as it may be repeated.
    body: Vec<u8>,
    at: usize,
    /// What is to be sent now.
    out: Vec<u8>,
}

impl Passage {
    /// Takes bytes of the provider, and says whether the answer ends here.
    fn take(&mut self, bytes: &[u8], faults: &Faults) -> bool {
        const BLANK: &[u8] = b"\r\n\r\n";
        self.out.clear();
        let mut bytes = bytes.iter();
        while self.head != BLANK {
            let Some(&byte) = bytes.next() else {
                return false;
            };
            self.head.push(byte);
            if !BLANK.starts_with(&self.head) {
                self.head = if byte == BLANK[0] { vec![byte] } else { vec![] };
            }
            self.out.push(byte);
        }
        for &byte in bytes {
            if faults.end.limit() == Some(self.at) {
                break;
            }
            // Another bit makes it another character, and never one that JSON or lines need here.
            let byte = match faults.garble == Some(self.at) {
                true => byte ^ 0x08,
                false => byte,
            };
            self.out.push(byte);
            self.at += 1;
            if let Some(range) = &faults.repeat {
                self.body.push(byte);
                if range.end == self.at {
                    self.out.extend_from_slice(&self.body[range.clone()]);
                }
            }
        }
        faults.end.limit() == Some(self.at)
    }
}

#[test]
fn positions_count_from_the_end_of_the_head_wherever_it_is_cut() {
    let answer = b"HTTP/1.1 200 OK\r\na: b\r\n\r\n0123456789";
    let faults = Faults {
        garble: Some(1),
        repeat: Some(2..4),
        end: End::Closed(6),
        ..Faults::default()
    };
    for size in 1..=answer.len() {
        let (mut passage, mut out) = (Passage::default(), Vec::new());
        let over = answer.chunks(size).any(|part| {
            let over = passage.take(part, &faults);
            out.extend_from_slice(&passage.out);
            over
        });
        assert!(over);
        assert!(out.ends_with(b"\r\n\r\n09232345"), "by {size}");
    }
}
