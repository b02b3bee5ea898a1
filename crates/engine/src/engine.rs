//! The entry point: an open data folder, and all commands on it.

mod builder;
mod conversation_locks;
mod start;

use crate::{
    Config, Listing, Window,
    clock::now,
    config::Delivery,
    db::{conversations, images, settings},
    lock::Lock,
    log::{Log, Source, live::Live},
    provider::Image,
    registry::Registry,
    runs::recovery::Recovery,
    shutdown::Shutdown,
    tool::Tools,
};
pub use builder::Builder;
use bytes::Bytes;
use conversation_locks::ConversationLocks;
use headwater_protocol::{
    Catalog, ConversationId, Error, ErrorCode, ImageId, MAX_IMAGE_BYTES, MessageId, RunId, Seq,
    Stopped,
    chat::{Conversation, Summary},
};
pub use start::StartRun;
use std::{sync::Arc, time::Duration};
use tokio::sync::{RwLock, Semaphore};

/// How many uploads may wait for the writer's thread at once, so that they do not hold up tokens.
static UPLOADS: Semaphore = Semaphore::const_new(2);

/// An open data folder, the providers and tools of a [`Config`], and the runs that are being worked on.
///
/// Share it in an [`Arc`]. It needs a tokio runtime.
pub struct Engine {
    /// The logs of all runs, and the database.
    pub log: Arc<Log>,
    /// The providers.
    pub registry: Registry,
    /// Pings and the lifetime of event streams.
    pub delivery: Delivery,
    /// What to do about failures of providers.
    pub recovery: Recovery,
    /// The system prompt of conversations without their own.
    pub system: Option<String>,
    /// The tools that models may call.
    pub tools: Tools,
    /// Ends the engine.
    pub shutdown: Shutdown,
    /// Held by commands that need a conversation to stay free, or to keep its runs.
    conversations: ConversationLocks,
    /// Shared by all starts while their runs are in the database and not in the log's memory yet;
    /// held alone by [`Engine::close_lost`], which would take such a run for a lost one.
    starting: RwLock<()>,
    /// Held for as long as the folder is in use.
    lock: Option<Lock>,
}

impl Engine {
    /// Opens a data folder, closes answers that a dead process left open, and makes the providers and
    /// tools of `config`. From then on the engine closes answers that nobody writes.
    ///
    /// # Errors
    /// `storage` (also where another process has the folder) or `invalid_request`, with a sentence
    /// for whoever starts the program.
    pub fn open(config: &Config) -> Result<Arc<Self>, Error> {
        Self::builder(config.clone()).open()
    }

    /// Builds an engine with providers or tools that are not in a [`Config`].
    pub fn builder(config: Config) -> Builder {
        Builder::new(config)
    }

    /// An engine of parts that were made before. Without a lock on the folder.
    fn of(log: Log, registry: Registry, tools: Tools, config: &Config) -> Self {
        Self {
            log: Arc::new(log),
            registry,
            delivery: config.delivery,
            recovery: config.recovery,
            system: config.system.clone(),
            tools,
            shutdown: Shutdown::default(),
            conversations: ConversationLocks::default(),
            starting: RwLock::default(),
            lock: None,
        }
    }

    /// Notes the address of the server in the folder, for other processes that want to open it.
    pub fn publish(&self, address: &str) {
        if let Some(lock) = &self.lock {
            lock.publish(address);
        }
    }

    /// Whether new runs are accepted: the engine is not ending, and its log can be written.
    ///
    /// # Errors
    /// `shutting_down` or `storage`, with a sentence that says why not.
    pub fn ready(&self) -> Result<(), Error> {
        if self.shutdown.draining.is_cancelled() {
            return Err(Error::new(ErrorCode::ShuttingDown, "The server is ending."));
        }
        if !self.log.writer.is_alive() {
            return Err(Error::new(
                ErrorCode::Storage,
                "Nothing can be stored any more.",
            ));
        }
        match self.log.writer.trouble().borrow().as_ref() {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }
}

/// How long a stop waits for the last entry of the log before it reports that the disk does not take
/// it.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

impl Engine {
    /// Stops a run. Returns when its provider is closed and its last entry is in the log. `seen` is the
    /// last entry that the person has seen: the answer keeps the text up to there.
    ///
    /// # Errors
    /// `not_found`; `storage` if the disk does not take the last entry.
    pub async fn stop(&self, run: RunId, seen: Option<Seq>) -> Result<Stopped, Error> {
        let source = self.log.source(run).await?;
        let already_finished = source.head().finished;
        let mut closed = None;
        let conversation = match &source {
            Source::Live(live) => {
                stop_and_wait(live, seen).await?;
                closed = live.control.closed_after();
                live.conversation
            }
            Source::Stored(_) => {
                let place = self.log.db.read(move |db| conversations::place(db, run));
                place.await?.conversation
            }
        };
        Ok(Stopped {
            conversation,
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
        let searches = listing.is_search();
        let list = move |db: &rusqlite::Connection| conversations::list(db, &*log, &listing);
        match searches {
            true => self.log.db.search(list).await,
            false => self.log.db.read(list).await,
        }
    }

    /// A conversation with a part of its current branch.
    ///
    /// # Errors
    /// `not_found`, `storage`.
    pub async fn load(&self, id: ConversationId, part: Window) -> Result<Conversation, Error> {
        let log = self.log.clone();
        self.log
            .db
            .read(move |db| conversations::load(db, &*log, id, part))
            .await
    }

    /// Makes another branch the current one, and returns the conversation from `message` on.
    ///
    /// # Errors
    /// `conflict` while an answer is being written, `not_found`, `storage`.
    pub async fn select(
        &self,
        id: ConversationId,
        message: MessageId,
    ) -> Result<Conversation, Error> {
        {
            // No answer begins in it between the look and the change.
            let _locked = self.conversations.lock(id).await;
            self.refuse_when_running(id)?;
            self.log
                .writer
                .write(move |db| Ok(conversations::select(db, id, message)?))
                .await?;
        }
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
        if title.is_empty() || title.chars().count() > conversations::MAX_TITLE {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!("A name has 1 to {} characters.", conversations::MAX_TITLE),
            ));
        }
        self.log
            .writer
            .write(move |db| Ok(conversations::rename(db, id, &title)?))
            .await
    }

    /// Pins or unpins a conversation.
    ///
    /// # Errors
    /// `not_found`, `storage`.
    pub async fn pin(&self, id: ConversationId, pinned: bool) -> Result<(), Error> {
        self.log
            .writer
            .write(move |db| Ok(conversations::pin(db, id, pinned)?))
            .await
    }

    /// Deletes a conversation. A running answer is stopped first. If the disk does not take the end of
    /// that answer, the deletion does not wait for it, because it may be what makes room. A deletion
    /// that has begun is done even if whoever asked for it goes away.
    ///
    /// # Errors
    /// `not_found`, `storage`.
    pub async fn delete(self: &Arc<Self>, id: ConversationId) -> Result<(), Error> {
        let engine = self.clone();
        let work = self.shutdown.runs.spawn(async move {
            // No answer begins in it any more.
            let _locked = engine.conversations.lock(id).await;
            for live in engine.log.running() {
                if live.conversation == id {
                    // Entries that come from here on are stored only while the run is there.
                    let mut trouble = engine.log.writer.trouble();
                    tokio::select! {
                        biased;
                        _ = stop_and_wait(&live, None) => {}
                        _ = trouble.wait_for(Option::is_some) => {}
                    }
                }
            }
            let at = now();
            engine
                .log
                .writer
                .erase(move |db| Ok(conversations::delete(db, id, at)?))
                .await?;
            engine.log.forget(id);
            Ok(())
        });
        work.await.unwrap_or_else(|_| Err(failed()))
    }

    /// Closes answers that are stored as running and that no task writes, whatever went wrong with
    /// them: each gets its last entry. Returns their number.
    ///
    /// # Errors
    /// `storage`.
    pub async fn close_lost(&self) -> Result<usize, Error> {
        let _alone = self.starting.write().await;
        self.log.close_lost().await
    }

    /// Stores an image for the next message. It is removed after a day if no message shows it.
    ///
    /// # Errors
    /// `too_large` beyond [`MAX_IMAGE_BYTES`], `invalid_request` for other data, `storage`.
    pub async fn keep_image(&self, data: Bytes) -> Result<ImageId, Error> {
        if data.len() > MAX_IMAGE_BYTES {
            return Err(images::too_large());
        }
        let media_type = Image::media_type_of(&data).ok_or_else(|| {
            Error::new(
                ErrorCode::InvalidRequest,
                "This is not a PNG, JPEG, WebP or GIF image.",
            )
        })?;
        let id = images::id_of(&data);
        let stored = id.clone();
        let at = now();
        // It is never closed, so this only waits.
        let _turn = UPLOADS.acquire().await;
        self.log
            .writer
            .write(move |db| Ok(images::insert(db, &stored, media_type, &data, at)?))
            .await?;
        Ok(id)
    }

    /// Reads an image. `None` if it is not there any more.
    ///
    /// # Errors
    /// `storage`.
    pub async fn image(&self, id: ImageId) -> Result<Option<Image>, Error> {
        self.log.db.read(move |db| images::read(db, &id)).await
    }

    /// Changes the settings of a conversation. They hold from the next answer on.
    ///
    /// # Errors
    /// `invalid_request` with a sentence that names the field, `not_found`, `storage`.
    pub async fn set(&self, id: ConversationId, settings: &str) -> Result<(), Error> {
        let settings = settings::check(settings)?;
        self.log
            .writer
            .write(move |db| Ok(settings::write(db, id, &settings)?))
            .await
    }

    /// The models and what is known of their providers.
    pub async fn catalog(&self) -> Catalog {
        self.registry.catalog().await
    }
}

/// Stops a run, and waits for its last entry.
async fn stop_and_wait(live: &Live, seen: Option<Seq>) -> Result<(), Error> {
    live.control.stop(seen);
    let finished = tokio::time::timeout(STOP_DEADLINE, live.finished()).await;
    finished.map_err(|_| {
        Error::new(
            ErrorCode::Storage,
            "The provider is closed, but the answer's end cannot be saved yet. It is saved as soon \
             as the disk takes it.",
        )
    })
}

/// The error for a task of ours that panicked.
fn failed() -> Error {
    Error::new(
        ErrorCode::Internal,
        "This failed unexpectedly. It is a fault of the server.",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
