//! A client of the WebSocket, by a library that none of us wrote.

use crate::harness::{Api, PATIENCE};
use futures::{SinkExt, StreamExt};
use headwater_engine::log::frame;
use headwater_protocol::{
    Event,
    chat::{Answer, Applied},
    socket::Message as Said,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::VecDeque;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::CloseFrame},
};

/// A frame: its number, and the bytes of its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub id: Option<u64>,
    pub data: String,
}

impl Part {
    /// What a poll says of a frame.
    pub fn of(frame: &Value) -> Self {
        Self {
            id: frame["id"].as_u64(),
            data: frame["data"].to_string(),
        }
    }

    pub fn apply(&self, answer: &mut Answer) -> Applied {
        let event: Event = serde_json::from_str(&self.data).expect("an event");
        answer.apply(self.id.unwrap_or(0), &event)
    }
}

/// The frames of an event stream's body.
pub fn parts_of_stream(body: &str) -> Vec<Part> {
    let part = |part: frame::Part<'_>| Part {
        id: part.id,
        data: part.data.to_owned(),
    };
    frame::parts(body.as_bytes()).map(part).collect()
}

/// The result of a command.
pub fn ok<T: DeserializeOwned>(reply: &Value) -> T {
    serde_json::from_value(reply["ok"].clone()).unwrap_or_else(|_| panic!("{reply}"))
}

pub struct Client {
    socket: WebSocketStream<TcpStream>,
    last_id: u64,
    /// Messages that came while another one was waited for.
    aside: VecDeque<String>,
    /// How the server closed the connection.
    pub closed: Option<CloseFrame>,
}

impl Client {
    pub async fn connect(api: &Api) -> Self {
        Self::try_connect(api).await.expect("a WebSocket")
    }

    async fn try_connect(api: &Api) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let address = api.base.trim_start_matches("http://");
        let host = address.split('/').next().unwrap_or(address);
        let socket = TcpStream::connect(host).await?;
        let (socket, _) = client_async(format!("ws://{address}/api/ws"), socket).await?;
        Ok(Self {
            socket,
            last_id: 0,
            aside: VecDeque::new(),
            closed: None,
        })
    }

    /// Sends a command, and returns its identifier.
    pub async fn send(&mut self, mut command: Value) -> u64 {
        self.last_id += 1;
        command["id"] = self.last_id.into();
        self.send_text(command.to_string()).await;
        self.last_id
    }

    pub async fn send_text(&mut self, text: String) {
        self.send_message(Message::Text(text.into())).await;
    }

    pub async fn send_message(&mut self, message: Message) {
        // The server may have closed already.
        let _ = self.socket.send(message).await;
    }

    /// The next message, or `None` once the server has closed.
    async fn next(&mut self) -> Option<String> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("no hang")? {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(frame)) => self.closed = frame,
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Takes the first message that is `wanted`. Others stay for later.
    async fn find(&mut self, wanted: impl Fn(&Said<'_>) -> bool) -> Option<String> {
        let wanted = |text: &String| wanted(&serde_json::from_str(text).expect("a message"));
        if let Some(at) = self.aside.iter().position(&wanted) {
            return self.aside.remove(at);
        }
        loop {
            let text = self.next().await?;
            if wanted(&text) {
                return Some(text);
            }
            self.aside.push_back(text);
        }
    }

    /// The reply to a command.
    pub async fn reply(&mut self, id: u64) -> Value {
        let text = self.find(|said| said.reply == Some(id)).await;
        serde_json::from_str(&text.expect("a reply")).expect("JSON")
    }

    pub async fn ask(&mut self, command: Value) -> Value {
        let id = self.send(command).await;
        self.reply(id).await
    }

    /// The next frame of a subscription; `None` at its end.
    pub async fn part(&mut self, name: u64) -> Option<Part> {
        let text = self.find(|said| said.subscription == Some(name)).await;
        let text = text.expect("the connection goes on");
        let said: Said<'_> = serde_json::from_str(&text).expect("a message");
        Some(Part {
            id: said.id,
            data: said.data?.get().to_owned(),
        })
    }

    pub async fn rest_of(&mut self, name: u64) -> Vec<Part> {
        let mut all = Vec::new();
        while let Some(part) = self.part(name).await {
            all.push(part);
        }
        all
    }

    /// Drops what nobody has looked at.
    pub fn forget(&mut self) {
        self.aside.clear();
    }

    /// What nobody has looked at, but for ends of subscriptions.
    pub fn left(&self) -> Vec<Value> {
        let all = self.aside.iter();
        let all = all.map(|text| serde_json::from_str(text).expect("JSON"));
        all.filter(|value: &Value| value["ended"].is_null())
            .collect()
    }

    /// Waits until the server closes, and returns the close code.
    pub async fn close_code(&mut self) -> Option<u16> {
        while self.next().await.is_some() {}
        self.closed.as_ref().map(|frame| frame.code.into())
    }
}
