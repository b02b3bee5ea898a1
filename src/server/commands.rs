//! What a person can ask for: start, stop, continue, retry, and the care of conversations.

use super::{
    App,
    engine::{self, Control, Job},
    images,
    log::{live::Live, packed::Packed},
    prompt,
    provider::ChatRequest,
    settings,
    store::{self, Begun, Listing, NewRun, NewTurn, Window},
};
use crate::{
    api::Catalog,
    chat::{Conversation, Summary},
    protocol::{
        ConversationId, Error, ErrorCode, Event, ImageId, MAX_TEXT_BYTES, MessageId,
        PROTOCOL_VERSION, RunId, Seq, Started, Stopped, UnixMs,
    },
};
use std::{
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long a stop waits for the log's last entry before it says that the disk is the trouble.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// The arguments of [`crate::api::start_run`].
#[derive(Clone, Debug, Default)]
pub struct StartRun {
    /// The message.
    pub text: String,
    /// The pictures with it; a message of pictures alone needs no text.
    pub images: Vec<ImageId>,
    /// `None` begins a new conversation.
    pub conversation: Option<ConversationId>,
    /// The message answered.
    pub parent: Option<MessageId>,
    /// `provider/model`.
    pub model: Option<String>,
    /// Idempotency key.
    pub client_id: Option<String>,
    /// Whether this becomes another branch below `parent`.
    pub branch: bool,
    /// How a new conversation is set, as JSON; see [`settings::check`].
    pub settings: Option<String>,
}

impl App {
    /// Stores a message and starts the run that answers it.
    ///
    /// # Errors
    /// `invalid_request` (empty text, unknown words), `too_large`, `not_found`, `conflict`,
    /// `shutting_down`, `storage`. Nothing is stored then.
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
        let chosen = settings::check(command.settings.as_deref().unwrap_or_default())?;
        if command.conversation.is_some() && !chosen.is_empty() {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                "The field “settings” is for a new conversation. Those of another one are changed \
                 by /api/conversations/settings.",
            ));
        }
        let model = self.model(command.model).await?;
        self.refuse_when_draining()?;
        // One at a time, so that "is the head free?" and "take it" are one step.
        let _turn = self.starts.lock().await;
        let busy = command.conversation.map(|id| self.refuse_when_running(id));
        let turn = NewTurn {
            conversation: command.conversation,
            parent: command.parent,
            branch: command.branch,
            text: command.text,
            images: command.images,
            model: model.clone(),
            client_id: command.client_id,
            settings: chosen,
            at: now(),
        };
        let at = turn.at;
        let begun = self
            .log
            .writer
            .write(move |db| {
                let begun = store::begin_turn(db, &turn)?;
                match (&begun, busy) {
                    // The same command again is answered even while its run is at work.
                    (Begun::New(_), Some(Err(busy))) => Err(busy),
                    (Begun::New(run), _) => {
                        write_first_entry(db, run, &model, at).map(|()| (begun, model))
                    }
                    (Begun::Known(_), _) => Ok((begun, model)),
                }
            })
            .await?;
        match begun {
            (Begun::Known(started), _) => Ok(started),
            (Begun::New(run), model) => self.launch(run, model, at).await,
        }
    }

    /// Answers the same message anew, as another branch.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn retry(
        self: &Arc<Self>,
        run: RunId,
        model: Option<String>,
    ) -> Result<Started, Error> {
        self.again(run, model, store::begin_retry).await
    }

    /// Goes on with a message in the same message.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn continue_run(
        self: &Arc<Self>,
        run: RunId,
        model: Option<String>,
    ) -> Result<Started, Error> {
        self.again(run, model, store::begin_continue).await
    }

    async fn again(
        self: &Arc<Self>,
        run: RunId,
        model: Option<String>,
        begin: fn(&rusqlite::Connection, RunId, &str, UnixMs) -> Result<NewRun, Error>,
    ) -> Result<Started, Error> {
        self.refuse_when_draining()?;
        let place = self.log.db.read(move |db| store::place(db, run)).await?;
        let model = match model.filter(|name| !name.is_empty()) {
            Some(model) => self.model(Some(model)).await?,
            None => place.model,
        };
        self.registry.find(&model)?;
        let _turn = self.starts.lock().await;
        self.refuse_when_running(place.conversation)?;
        let at = now();
        let name = model.clone();
        let new = self
            .log
            .writer
            .write(move |db| {
                let new = begin(db, run, &name, at)?;
                write_first_entry(db, &new, &name, at)?;
                Ok(new)
            })
            .await?;
        self.launch(new, model, at).await
    }

    /// Stops a run and returns when its provider is closed and its last entry is in the log.
    ///
    /// # Errors
    /// `not_found`; `storage` if the disk does not take the last entry.
    pub async fn stop(&self, run: RunId, seen: Option<Seq>) -> Result<Stopped, Error> {
        let control = self
            .controls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&run)
            .cloned();
        let source = self.log.source(run).await?;
        let already_finished = source.head().finished;
        if let Some(control) = &control {
            control.stop(seen);
        }
        if let super::log::Source::Live(live) = &source {
            tokio::time::timeout(STOP_DEADLINE, live.finished()).await.map_err(|_| {
                Error::new(
                    ErrorCode::Storage,
                    "The provider is closed, but the answer's end cannot be saved yet. It is saved \
                     as soon as the disk takes it.",
                )
            })?;
        }
        let closed = control.and_then(|control| control.closed_after());
        Ok(Stopped {
            length: source.answer().visible_length(),
            provider_closed_ms: closed.map_or(0, |after| after.as_millis() as u64),
            already_finished,
        })
    }

    /// A page of the list of conversations.
    ///
    /// # Errors
    /// `storage`.
    pub async fn list(&self, listing: Listing) -> Result<Vec<Summary>, Error> {
        let log = self.log.clone();
        self.log
            .db
            .read(move |db| store::list(db, &log, &listing))
            .await
    }

    /// A conversation with a part of its current branch.
    ///
    /// # Errors
    /// `not_found`, `storage`.
    pub async fn load(&self, id: ConversationId, part: Window) -> Result<Conversation, Error> {
        let log = self.log.clone();
        self.log
            .db
            .read(move |db| store::load(db, &log, id, part))
            .await
    }

    /// Makes another branch the current one, and returns the conversation, back to `message`.
    ///
    /// # Errors
    /// `conflict` while an answer is being written, `not_found`, `storage`.
    pub async fn select(
        &self,
        id: ConversationId,
        message: MessageId,
    ) -> Result<Conversation, Error> {
        self.refuse_when_running(id)?;
        self.log
            .writer
            .write(move |db| store::select(db, id, message))
            .await?;
        let part = Window {
            back_to: Some(message),
            ..Window::default()
        };
        self.load(id, part).await
    }

    /// Renames a conversation.
    ///
    /// # Errors
    /// `invalid_request` for an empty or overlong title, `not_found`, `storage`.
    pub async fn rename(&self, id: ConversationId, title: String) -> Result<(), Error> {
        let title = title.trim().to_owned();
        if title.is_empty() || title.chars().count() > store::MAX_TITLE {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!("A name has 1 to {} characters.", store::MAX_TITLE),
            ));
        }
        self.log
            .writer
            .write(move |db| store::rename(db, id, &title))
            .await
    }

    /// Pins or unpins a conversation.
    ///
    /// # Errors
    /// `not_found`, `storage`.
    pub async fn pin(&self, id: ConversationId, pinned: bool) -> Result<(), Error> {
        self.log
            .writer
            .write(move |db| store::pin(db, id, pinned))
            .await
    }

    /// Deletes a conversation; a running answer is stopped first.
    ///
    /// # Errors
    /// `not_found`, `storage`.
    pub async fn delete(&self, id: ConversationId) -> Result<(), Error> {
        let _turn = self.starts.lock().await;
        for live in self.log.running() {
            if live.conversation == id {
                self.stop(live.run, None).await?;
            }
        }
        self.log.writer.write(move |db| store::delete(db, id)).await
    }

    /// What can be chosen.
    pub async fn catalog(&self) -> Catalog {
        self.registry.catalog().await
    }

    /// Starts the task of a run that is stored.
    async fn launch(
        self: &Arc<Self>,
        new: NewRun,
        model: String,
        at: UnixMs,
    ) -> Result<Started, Error> {
        let NewRun { started, no, .. } = new.clone();
        let mut first = Packed::default();
        first.push(0, &first_event(&new, &model, at));
        let live = Arc::new(Live::new(started.run, started.conversation, no, at, first));
        self.log.begin(live.clone());
        let control = Arc::new(Control::default());
        self.controls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(started.run, control.clone());
        let app = self.clone();
        let answered = started.clone();
        self.shutdown.runs.spawn(async move {
            let job = app.job(&new, &model, live.clone(), control).await;
            match job {
                Ok(job) => engine::run(job, app.log.clone()).await,
                Err(why) => engine::fail(live, app.log.clone(), why).await,
            }
            app.controls
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&answered.run);
        });
        Ok(started)
    }

    /// Reads what the model needs to know.
    async fn job(
        &self,
        new: &NewRun,
        model: &str,
        live: Arc<Live>,
        control: Arc<Control>,
    ) -> Result<Job, Error> {
        let candidates = self.registry.candidates(model)?;
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
                let branch = store::branch_to(db, &log, message)?;
                let images = images::of_branch(db, &branch)?;
                Ok((branch, images, settings::read(db, conversation)?))
            })
            .await?;
        let (last, before) = branch.split_last().ok_or_else(|| {
            Error::new(ErrorCode::Internal, "The message to answer is not there.")
        })?;
        let earlier = last.answers.iter().filter(|answer| answer.run != Some(run));
        Ok(Job {
            live,
            control,
            model: model.to_owned(),
            candidates,
            request: ChatRequest {
                conversation: conversation.to_string(),
                sampling: settings::sampling(&settings),
                system: settings.system.or_else(|| self.system.clone()),
                messages: prompt::turns(before, &images, model),
                ..ChatRequest::default()
            },
            earlier: earlier.cloned().collect(),
            tools: self.tools.clone(),
            recovery: self.recovery,
            health: self.registry.health.clone(),
            cut: self.shutdown.cut.clone(),
        })
    }

    /// The model asked for, or the default, checked against the providers there are.
    async fn model(&self, asked: Option<String>) -> Result<String, Error> {
        let model = match asked.filter(|name| !name.is_empty()) {
            Some(model) => model,
            None => self.registry.default_model().await?,
        };
        self.registry.find(&model)?;
        Ok(model)
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

    fn refuse_when_running(&self, id: ConversationId) -> Result<(), Error> {
        if self.log.running_conversations().contains(&id) {
            return Err(Error::new(
                ErrorCode::Conflict,
                "An answer is still being written in this conversation. Stop it, or wait for its end.",
            ));
        }
        Ok(())
    }
}

/// `pictures`: whether there are any, so that no word is needed.
fn check_text(text: &str, pictures: bool) -> Result<(), Error> {
    if text.trim().is_empty() && !pictures {
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

fn first_event(run: &NewRun, model: &str, at: UnixMs) -> Event {
    Event::RunStarted {
        protocol: PROTOCOL_VERSION,
        run: run.started.run,
        conversation: run.started.conversation,
        message: run.started.message,
        parent: run.parent,
        model: model.to_owned(),
        at,
        continues: run.continues,
    }
}

fn write_first_entry(
    db: &rusqlite::Connection,
    run: &NewRun,
    model: &str,
    at: UnixMs,
) -> Result<(), Error> {
    let mut packed = Packed::default();
    packed.push(0, &first_event(run, model, at));
    super::log::write_first(db, run.no, &packed).map_err(super::log::db::storage)
}

/// Now, in milliseconds since 1970.
pub fn now() -> UnixMs {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
