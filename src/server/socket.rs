//! The WebSocket: many runs and all commands on one connection ([`headwater_protocol::socket`]).
//!
//! One task owns a connection. A subscription is a cursor in a log and no queue: when the socket has room, the
//! task takes what is ready of each in turn, so a client that reads slowly gets merged deltas, a subscription
//! with much to say delays no other by more than one part of its log, and nothing is kept for a client that
//! does not read at all. Commands are carried out beside each other and beside the frames.

mod commands;
mod rate;
mod subscriptions;

use super::{connections::Place, status};
use axum::{
    Extension,
    extract::{
        State,
        ws::{
            CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade,
            rejection::WebSocketUpgradeRejection,
        },
    },
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use commands::{Commands, Done};
use futures::{FutureExt, SinkExt, StreamExt, stream::SplitSink};
use headwater_engine::Engine;
use headwater_protocol::{Error, ErrorCode, MAX_TEXT_BYTES, socket::close};
use rate::Rate;
use std::{sync::Arc, time::Duration};
use subscriptions::Subscriptions;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// The longest message of a client, in bytes: the longest text with each byte escaped, and 16 kB for the rest.
const MAX_MESSAGE: usize = 6 * MAX_TEXT_BYTES + 16 * 1024;

/// What the socket reads of one message, in bytes. A longer message than [`MAX_MESSAGE`] is read to its end all the
/// same, because a client that is cut while it sends does not see why.
const READ: usize = 2 * MAX_MESSAGE;

/// How much is written before the socket has to take it, in bytes. It is the memory of a connection whose client
/// does not read.
const BUDGET: usize = 64 * 1024;

/// How many pings a client may leave without any sign of life. Pongs count, and browsers send those by
/// themselves.
const MISSED_PINGS: u32 = 6;

/// The longest time in which the socket takes one part of what there is, [`BUDGET`] at most. A slower client is
/// cut, and can resume with what it has.
const SEND: Duration = Duration::from_secs(20);

/// How long a close waits for the socket.
const CLOSE: Duration = Duration::from_secs(2);

/// `GET /api/ws`: opens the WebSocket. The guard has checked where the request comes from.
pub async fn connect(
    State(engine): State<Arc<Engine>>,
    place: Option<Extension<Place>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return no_upgrade();
    };
    upgrade
        .max_message_size(READ)
        .max_frame_size(READ)
        .write_buffer_size(BUDGET)
        .on_upgrade(async move |socket| {
            let ended = serve(engine, socket).await;
            tracing::debug!(?ended, "a WebSocket ended");
            // The connection counts until here.
            drop(place);
        })
}

/// The answer to a request that is none of a WebSocket, or that lost its `Upgrade` at a proxy.
fn no_upgrade() -> Response {
    let sentence = "This is the address of a WebSocket, and the request does not ask for one. A proxy has to \
                    pass on the headers Upgrade and Connection.";
    let mut response = status::answer(&Error::new(ErrorCode::InvalidRequest, sentence), false);
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let websocket = HeaderValue::from_static("websocket");
    response.headers_mut().insert(header::UPGRADE, websocket);
    response
}

/// Why a connection ends.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The client closed it, or it broke.
    Gone,
    /// We close it, with a close code.
    Close(u16, &'static str),
}

const SLOW: Ended = Ended::Close(close::TOO_SLOW, "This client does not read.");

async fn serve(engine: Arc<Engine>, socket: WebSocket) -> Ended {
    let (sink, mut messages) = socket.split();
    let mut writer = Writer { sink, written: 0 };
    let mut commands = Commands::new(engine.clone());
    let mut subscriptions = Subscriptions::default();
    let mut rate = Rate::new(Instant::now());
    let mut ping = interval(engine.delivery.ping);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missed = 0;
    let cut = engine.shutdown.cut.clone();
    let ended = loop {
        // Streams say farewell before they end.
        let alone = subscriptions.is_empty();
        let step = tokio::select! {
            message = messages.next(), if commands.has_room() => match message {
                Some(Ok(Message::Text(text))) if text.len() > MAX_MESSAGE => Err(commands::TOO_LONG),
                Some(Ok(Message::Text(text))) => {
                    missed = 0;
                    commands.read(&text, &mut rate, &mut subscriptions)
                }
                Some(Ok(Message::Binary(_))) => Err(commands::UNREADABLE),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                    missed = 0;
                    Ok(())
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Ended::Gone),
            },
            done = commands.next() => writer.reply(done, &mut subscriptions).await,
            Some(event) = subscriptions.next() => writer.event(&event).await,
            _ = ping.tick() => {
                missed += 1;
                match missed > MISSED_PINGS {
                    true => Err(SLOW),
                    false => writer.send(Message::Ping(Default::default())).await,
                }
            }
            () = cut.cancelled(), if alone => {
                Err(Ended::Close(close::GOING_AWAY, "The server ends."))
            }
        };
        let step = match step {
            Ok(()) => writer.rest(&mut commands, &mut subscriptions).await,
            Err(ended) => Err(ended),
        };
        if let Err(ended) = step {
            break ended;
        }
    };
    if let Ended::Close(code, reason) = ended {
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        };
        let _ = timeout(CLOSE, writer.sink.send(Message::Close(Some(frame)))).await;
        // A client that still sends would see a reset in place of the reason.
        let heard_out = async { while let Some(Ok(_)) = messages.next().await {} };
        let _ = timeout(CLOSE, heard_out).await;
    }
    ended
}

/// The sending half of a connection.
struct Writer {
    sink: SplitSink<WebSocket, Message>,
    /// Bytes that were handed over since the socket had taken everything.
    written: usize,
}

impl Writer {
    async fn send(&mut self, message: Message) -> Result<(), Ended> {
        self.written += match &message {
            Message::Text(text) => text.len(),
            _ => 0,
        };
        match timeout(SEND, self.sink.feed(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Gone),
            Err(_) => Err(SLOW),
        }
    }

    async fn reply(&mut self, done: Done, subscriptions: &mut Subscriptions) -> Result<(), Ended> {
        self.send(Message::Text(done.reply.into())).await?;
        // The frames of a subscription come behind the reply that promises them.
        done.opened
            .into_iter()
            .for_each(|opened| subscriptions.add(opened));
        Ok(())
    }

    async fn event(&mut self, event: &subscriptions::Event) -> Result<(), Ended> {
        for text in event.messages() {
            self.send(Message::Text(text.into())).await?;
        }
        Ok(())
    }

    /// Sends what is ready beside what was sent already, and lets the socket take it all.
    async fn rest(
        &mut self,
        commands: &mut Commands,
        subscriptions: &mut Subscriptions,
    ) -> Result<(), Ended> {
        while self.written < BUDGET {
            if let Some(done) = commands.next().now_or_never() {
                self.reply(done, subscriptions).await?;
            } else if let Some(Some(event)) = subscriptions.next().now_or_never() {
                self.event(&event).await?;
            } else {
                break;
            }
        }
        self.written = 0;
        match timeout(SEND, self.sink.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Gone),
            Err(_) => Err(SLOW),
        }
    }
}
