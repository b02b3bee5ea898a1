//! The way in: an open data folder, and what can be asked of it.

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
    Catalog, ConversationId, Error, ErrorCode, Event, ImageId, MAX_IMAGE_BYTES, MessageId, RunId,
    Seq, Stopped,
    chat::{Conversation, Summary},
};
pub use start::StartRun;
use std::{sync::Arc, time::Duration};
use tokio::sync::{RwLock, Semaphore};

/// How many uploads may wait for the log's thread at once: they are not to hold up the tokens that
/// go the same way.
static UPLOADS: Semaphore = Semaphore::const_new(2);

/// An open data folder, the providers and tools of a [`Config`], and the runs that are being worked on.
///
/// Share it in an [`Arc`]. It needs a tokio runtime.
pub struct Engine {
    /// All runs.
    pub log: Arc<Log>,
    /// All providers.
    pub registry: Registry,
    /// How event streams behave.
    pub delivery: Delivery,
    /// What to do about failures of providers.
    pub recovery: Recovery,
    /// System prompt of every conversation.
    pub system: Option<String>,
    /// What models may call.
    pub tools: Tools,
    /// The way out.
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
    /// Opens a data folder, closing what a dead process left open, and makes the providers and tools
    /// of `config`. From then on the engine looks from time to time for answers that nobody writes,
    /// and closes them.
    ///
    /// # Errors
    /// `storage` (also where another process has the folder) or `invalid_request`, with a sentence
    /// for whoever starts the program.
    pub fn open(config: &Config) -> Result<Arc<Self>, Error> {
        Self::builder(config.clone()).open()
    }

    /// Begins an engine with providers or tools that are not in a [`Config`].
    pub fn builder(config: Config) -> Builder {
        Builder::new(config)
    }

    /// Puts parts together that were made one by one.
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

    /// Tells other processes that want the folder where this one serves.
    pub fn publish(&self, address: &str) {
        if let Some(lock) = &self.lock {
            lock.publish(address);
        }
    }

    /// Whether new runs are taken: the engine is not ending, and its log can be written.
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

    /// A ping, with the trouble of the log if there is any.
    pub fn ping(&self) -> Event {
        let trouble = self.log.writer.trouble();
        let notice = trouble.borrow().as_ref().map(|why| why.message.clone());
        Event::Ping { notice }
    }
}

/// How long a stop waits for the log's last entry before it says that the disk is the trouble.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

impl Engine {
    /// Stops a run and returns when its provider is closed and its last entry is in the log.
    ///
    /// # Errors
    /// `not_found`; `storage` if the disk does not take the last entry.
    pub async fn stop(&self, run: RunId, seen: Option<Seq>) -> Result<Stopped, Error> {
        let source = self.log.source(run).await?;
        let place = self.log.db.read(move |db| conversations::place(db, run));
        let conversation = place.await?.conversation;
        let already_finished = source.head().finished;
        let mut closed = None;
        if let Source::Live(live) = &source {
            stop_and_wait(live, seen).await?;
            closed = live.control.closed_after();
        }
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

    /// Makes another branch the current one, and returns the conversation, back to `message`.
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

    /// Deletes a conversation; a running answer is stopped first. Where the disk does not take the
    /// answer's end, it is not waited for: deleting may be what makes room. Once it is begun, it is
    /// done even if whoever asked for it goes away.
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
                    // Whatever of it is written from here on is written only where there still is a
                    // run.
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

    /// Closes answers that are stored as running and that no task is writing: whatever went wrong
    /// with them, they get their last entry. Returns how many there were.
    ///
    /// # Errors
    /// `storage`.
    pub async fn close_lost(&self) -> Result<usize, Error> {
        let _alone = self.starting.write().await;
        self.log.close_lost().await
    }

    /// Keeps a picture for a message to come, for a day if none comes.
    ///
    /// # Errors
    /// `too_large` beyond [`MAX_IMAGE_BYTES`], `invalid_request` for what is no picture, `storage`.
    pub async fn keep_image(&self, data: Bytes) -> Result<ImageId, Error> {
        if data.len() > MAX_IMAGE_BYTES {
            return Err(images::too_large());
        }
        let media_type = Image::media_type_of(&data).ok_or_else(|| {
            Error::new(
                ErrorCode::InvalidRequest,
                "This is no PNG, JPEG, WebP or GIF picture.",
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

    /// A picture, or `None` if it is not there any more.
    ///
    /// # Errors
    /// `storage`.
    pub async fn image(&self, id: ImageId) -> Result<Option<Image>, Error> {
        self.log.db.read(move |db| images::read(db, &id)).await
    }

    /// Sets how the answers of a conversation are asked for, from the next one on.
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

    /// What can be chosen.
    pub async fn catalog(&self) -> Catalog {
        self.registry.catalog().await
    }
}

/// Asks a run to stop, and waits for its last entry.
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

/// What is said where a task of ours panicked.
fn failed() -> Error {
    Error::new(
        ErrorCode::Internal,
        "This failed unexpectedly. It is a fault of the server.",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
