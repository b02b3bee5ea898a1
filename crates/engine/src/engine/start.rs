//! The commands that begin a run: start, retry and continue.

use super::failed;
use crate::{
    Engine, StartRun,
    clock::now,
    db::{
        DbError,
        conversations::{self, Begun, NewRun},
        images, logs, settings,
    },
    log::live::Live,
    packed::Packed,
    provider::ChatRequest,
    runs::{self, Job},
};
use futures::FutureExt;
use headwater_protocol::{
    ConversationId, Error, ErrorCode, MAX_TEXT_BYTES, RunId, Started, UnixMs,
};
use rusqlite::Connection;
use serde_json::Value;
use std::{panic::AssertUnwindSafe, sync::Arc};
use tokio::sync::oneshot;

impl Engine {
    /// Stores a message and starts the run that answers it. A `client_id` that came before returns the
    /// run that it started, in whatever state the server and its providers are.
    ///
    /// # Errors
    /// `invalid_request` (empty text, settings out of range or for a conversation that exists), `too_large`,
    /// `not_found`, `conflict` (an answer is being written, or the `client_id` came with another
    /// message), `shutting_down`, `storage`. Nothing is stored then.
    pub async fn start(self: &Arc<Self>, command: StartRun) -> Result<Started, Error> {
        check_text(&command.text, !command.images.is_empty())?;
        if command
            .client_id
            .as_ref()
            .is_some_and(|id| id.is_empty() || id.len() > 100)
        {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                "The field “client_id” must have 1 to 100 characters.",
            ));
        }
        if command.conversation.is_some() && !command.settings.is_empty() {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                "The field “settings” is for a new conversation. Those of another one are changed \
                 by /api/conversations/settings.",
            ));
        }
        settings::check_values(&command.settings)?;
        if command.client_id.is_some() {
            let asked = command.clone();
            let known = self
                .log
                .db
                .read(move |db| conversations::known(db, &asked))
                .await?;
            if let Some(started) = known {
                return Ok(started);
            }
        }
        let model = self.model(command.model.clone()).await?;
        let conversation = command.conversation;
        let write = move |db: &Connection, model: &str, at| {
            conversations::begin_turn(db, &command, model, at)
        };
        self.begin(conversation, model, write).await
    }

    /// Answers the same message again, as another branch.
    ///
    /// # Errors
    /// See [`Engine::start`].
    pub async fn retry(
        self: &Arc<Self>,
        run: RunId,
        model: Option<String>,
    ) -> Result<Started, Error> {
        self.again(run, model, conversations::begin_retry).await
    }

    /// Continues an answer in the same message.
    ///
    /// # Errors
    /// See [`Engine::start`]; `conflict` also for an answer that is complete, that messages follow, or that a chain
    /// would have to continue.
    pub async fn continue_run(
        self: &Arc<Self>,
        run: RunId,
        model: Option<String>,
    ) -> Result<Started, Error> {
        let log = self.log.clone();
        let begin = move |db: &Connection, run, model: &str, at| {
            conversations::begin_continue(db, &*log, run, model, at)
        };
        self.again(run, model, begin).await
    }

    async fn again(
        self: &Arc<Self>,
        run: RunId,
        model: Option<String>,
        begin: impl FnOnce(&Connection, RunId, &str, UnixMs) -> Result<NewRun, DbError> + Send + 'static,
    ) -> Result<Started, Error> {
        self.refuse_when_draining()?;
        let place = self
            .log
            .db
            .read(move |db| conversations::place(db, run))
            .await?;
        let model = match model.filter(|name| !name.is_empty()) {
            Some(model) => self.model(Some(model)).await?,
            None => place.model,
        };
        self.registry.find(&model)?;
        let write =
            move |db: &Connection, model: &str, at| begin(db, run, model, at).map(Begun::New);
        self.begin(Some(place.conversation), model, write).await
    }

    /// Stores a run with `write` and works on it, in a task of its own. The caller may go away at any
    /// moment, and every stored run still has a task.
    async fn begin(
        self: &Arc<Self>,
        conversation: Option<ConversationId>,
        model: String,
        write: impl FnOnce(&Connection, &str, UnixMs) -> Result<Begun, DbError> + Send + 'static,
    ) -> Result<Started, Error> {
        let at = now();
        let write = move |db: &Connection| write(db, &model, at);
        let engine = self.clone();
        let (answer, answered) = oneshot::channel();
        self.shutdown.runs.spawn(async move {
            match engine.store(conversation, write).await {
                Ok((started, begun)) => {
                    let _ = answer.send(Ok(started));
                    if let Some((new, live)) = begun {
                        engine.work(&new, live).await;
                    }
                }
                Err(why) => {
                    let _ = answer.send(Err(why));
                }
            }
        });
        answered.await.unwrap_or_else(|_| Err(failed()))
    }

    /// Stores a run and makes it visible, unless the same command came before.
    async fn store(
        &self,
        conversation: Option<ConversationId>,
        write: impl FnOnce(&Connection) -> Result<Begun, DbError> + Send + 'static,
    ) -> Result<(Started, Option<(NewRun, Arc<Live>)>), Error> {
        // Checking that the conversation is free and taking it are one step. Nobody else knows a new one.
        let _locked = match conversation {
            Some(id) => Some(self.conversations.lock(id).await),
            None => None,
        };
        let _starting = self.starting.read().await;
        self.refuse_when_draining()?;
        let free = conversation.map_or(Ok(()), |id| self.refuse_when_running(id));
        let possible = free.and_then(|()| self.refuse_when_blocked());
        let write = move |db: &Connection| {
            let new = match write(db)? {
                // A repeated command is answered even while its run is at work.
                Begun::Known(started) => return Ok((started, None)),
                Begun::New(new) => new,
            };
            possible?;
            let mut first = Packed::default();
            first.push(0, &new.first_event());
            logs::write_first(db, new.no, &first).map_err(DbError::from)?;
            Ok((new.started.clone(), Some((new, first))))
        };
        let (started, begun) = self.log.writer.write(write).await?;
        let begun = begun.map(|(new, first)| {
            let live = Live::new(started.run, started.conversation, new.no, new.at, first);
            let live = Arc::new(live);
            self.log.begin(live.clone());
            self.observers.begin(&live);
            (new, live)
        });
        Ok((started, begun))
    }

    /// Works on a run until it has its end, whatever happens.
    async fn work(&self, new: &NewRun, live: Arc<Live>) {
        let work = async {
            match self.job(new, live.clone()).await {
                Ok(job) => runs::run(job, self.log.clone()).await,
                Err(why) => runs::fail(live.clone(), self.log.clone(), why).await,
            }
        };
        // A panic ends this run and nothing else.
        if AssertUnwindSafe(work).catch_unwind().await.is_err() && !live.head().finished {
            runs::fail(live, self.log.clone(), failed()).await;
        }
    }

    /// Reads from the database what the run needs.
    async fn job(&self, new: &NewRun, live: Arc<Live>) -> Result<Job, Error> {
        let candidates = self.registry.candidates(&new.model)?;
        let log = self.log.clone();
        let Started {
            run,
            conversation,
            message,
        } = new.started;
        let (branch, images, settings) = self
            .log
            .db
            .read(move |db| {
                let branch = conversations::branch_to(db, &*log, message)?;
                let images = images::of_branch(db, &branch)?;
                Ok((branch, images, settings::read(db, conversation)?))
            })
            .await?;
        let (last, before) = branch.split_last().ok_or_else(|| {
            Error::new(ErrorCode::Internal, "The message to answer is not there.")
        })?;
        let registry = self.registry.clone();
        let earlier = last.answers.iter().filter(|answer| answer.run != Some(run));
        Ok(Job {
            live,
            candidates,
            request: ChatRequest {
                conversation: conversation.to_string(),
                sampling: settings::sampling(&settings),
                system: settings.system.or_else(|| self.system.clone()),
                ..ChatRequest::default()
            },
            before: before.to_vec(),
            images,
            input: Value::Null,
            earlier: earlier.cloned().collect(),
            tools: self.tools.clone(),
            recovery: self.recovery,
            rewrite: self.rewrite.clone(),
            health: self.registry.health.clone(),
            cut: self.shutdown.cut.clone(),
            models: Arc::new(move |model| registry.candidates(model)),
        })
    }

    /// The requested model or the default one. Fails if its provider does not exist.
    async fn model(&self, asked: Option<String>) -> Result<String, Error> {
        let model = match asked.filter(|name| !name.is_empty()) {
            Some(model) => model,
            None => self.registry.default_model().await?,
        };
        self.registry.find(&model)?;
        Ok(model)
    }

    /// A run whose entries cannot be written would only wait.
    fn refuse_when_blocked(&self) -> Result<(), Error> {
        let trouble = self.log.appender.trouble();
        let trouble = trouble.borrow().clone();
        trouble.map_or(Ok(()), Err)
    }

    fn refuse_when_draining(&self) -> Result<(), Error> {
        if self.shutdown.draining.is_cancelled() {
            return Err(Error::new(
                ErrorCode::ShuttingDown,
                "The server is restarting. Send the message again in a moment.",
            ));
        }
        Ok(())
    }

    pub(super) fn refuse_when_running(&self, id: ConversationId) -> Result<(), Error> {
        if self.log.running_conversations().contains(&id) {
            return Err(Error::new(
                ErrorCode::Conflict,
                "An answer is still being written in this conversation. Stop it, or wait for its end.",
            ));
        }
        Ok(())
    }
}

/// Checks the length of a message. A message with images needs no text.
fn check_text(text: &str, has_images: bool) -> Result<(), Error> {
    if text.trim().is_empty() && !has_images {
        return Err(Error::new(
            ErrorCode::InvalidRequest,
            "The message is empty.",
        ));
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!(
                "The message has {} kB; at most {} kB can be sent at once.",
                text.len() / 1024,
                MAX_TEXT_BYTES / 1024
            ),
        ));
    }
    Ok(())
}
