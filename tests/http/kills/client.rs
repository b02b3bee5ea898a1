//! A client of a server that may die at any moment.

use super::{Chat, going_on, tag};
use crate::harness::{Api, answer, frames, parse};
use futures::StreamExt;
use headwater_protocol::{
    Error, RunId,
    chat::{Answer, Applied, Conversation},
};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use std::ops::ControlFlow;
use tokio::task::JoinHandle;

/// The answer to a command: `None` if the server died before it answered.
pub(super) type Told<T> = Option<Result<T, (StatusCode, Error)>>;

/// A reader, and what it saw in the end.
pub(super) type Reader = JoinHandle<(RunId, Answer)>;

/// Talks to one server.
#[derive(Clone)]
pub(super) struct Client(pub(super) Api);

impl Client {
    /// Sends a command.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, &str)],
    ) -> Told<T> {
        let url = format!("{}{path}", self.0.base);
        let response = self.0.http.post(url).form(form).send().await.ok()?;
        let status = response.status();
        Some(parse(status, &response.bytes().await.ok()?))
    }

    /// Sends a command that cannot be refused.
    pub(super) async fn done<T: DeserializeOwned>(
        &self,
        path: &str,
        of: (&str, &str),
    ) -> Option<T> {
        let told = self.post(path, &[of]).await;
        told.map(|done| done.unwrap_or_else(|why| panic!("{path}: {why:?}")))
    }

    /// Sends a question. The same question is stored once, however often it is sent.
    pub(super) async fn start(&self, chat: &mut Chat) -> ControlFlow<()> {
        let form = [
            ("text", chat.question.as_str()),
            ("model", "scripted/again"),
            ("client_id", &tag(chat.number)),
        ];
        let told = self.post("/api/runs/start", &form).await;
        chat.started = told.map(|started| started.expect("started"));
        going_on(chat.started.as_ref())
    }

    /// Loads a conversation, while nobody kills the server.
    pub(super) async fn load(&self, chat: &Chat) -> Result<Conversation, (StatusCode, Error)> {
        let id = chat.started.as_ref().expect("acknowledged").conversation;
        let path = format!("/api/conversations/load?id={id}");
        answer(self.0.get(&path).await).await
    }

    /// Reads on from what was seen, until the end or the server's death.
    pub(super) fn read(&self, run: RunId, mut seen: Answer) -> Reader {
        let client = self.0.clone();
        tokio::spawn(async move {
            let url = format!(
                "{}/api/runs/events?run={run}&after={}",
                client.base, seen.seq
            );
            if let Ok(response) = client.http.get(url).send().await {
                let mut frames = frames(response);
                while let Some((seq, event)) = frames.next().await {
                    let applied = seen.apply(seq.unwrap_or(0), &event);
                    assert_ne!(applied, Applied::Gap, "{run} after {}", seen.seq);
                }
            }
            (run, seen)
        })
    }

    /// Reads a log from its beginning. It must have one end, which is its last entry.
    pub(super) async fn whole_log(&self, run: RunId) -> Answer {
        let mut answer = Answer::default();
        let mut ends = Vec::new();
        let mut frames = self.0.follow(run, 0).await;
        while let Some((seq, event)) = frames.next().await {
            let Some(seq) = seq else { continue };
            assert_eq!(answer.apply(seq, &event), Applied::New);
            ends.extend(event.is_terminal().then_some(seq));
        }
        assert_eq!(
            ends,
            [answer.seq],
            "one end of {run}, and it is the last entry"
        );
        answer
    }
}
