//! The commands on an open folder, except those that begin a run (see `start`).

use super::failed;
use crate::{
    Engine, Listing, Window,
    clock::now,
    db::{conversations, images, settings},
    log::{Source, live::Live},
    provider::Image,
};
use bytes::Bytes;
use headwater_protocol::{
    Catalog, ConversationId, Error, ErrorCode, ImageId, MAX_IMAGE_BYTES, MessageId, RunId, Seq,
    Stopped,
    chat::{Conversation, Settings, Summary},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// How many uploads may wait for the writer's thread at once, so that they do not hold up tokens.
static UPLOADS: Semaphore = Semaphore::const_new(2);

/// How long a stop waits for the last entry of the log before it reports that the disk does not take
/// it.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

impl Engine {
    /// Stops a run. Returns once the provider is closed and the last entry is in the log. `seen` is the
    /// last entry that the person has seen: the answer keeps the text up to that entry.
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
            // No answer may begin between the check and the change.
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
    /// that answer, the deletion does not wait for it, because the deletion may be what makes room. A
    /// deletion that has begun is finished even if the caller goes away.
    ///
    /// # Errors
    /// `not_found`, `storage`.
    pub async fn delete(self: &Arc<Self>, id: ConversationId) -> Result<(), Error> {
        let engine = self.clone();
        let work = self.shutdown.runs.spawn(async move {
            // From here on, no answer begins in this conversation.
            let _locked = engine.conversations.lock(id).await;
            for live in engine.log.running() {
                if live.conversation == id {
                    // Later entries are stored only while the run exists.
                    let mut trouble = engine.log.appender.trouble();
                    tokio::select! {
                        biased;
                        _ = stop_and_wait(&live, None) => {}
                        _ = trouble.wait_for(Option::is_some) => {}
                    }
                }
            }
            let at = now();
            let deleted = engine
                .log
                .writer
                .erase(move |db| Ok(conversations::delete(db, id, at)?));
            engine.log.forget(id, deleted.await?).await;
            Ok(())
        });
        work.await.unwrap_or_else(|_| Err(failed()))
    }

    /// Closes answers that are stored as running although no task writes them. Each gets its last
    /// entry. Returns their number.
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
        // The semaphore is never closed, so this only waits.
        let _turn = UPLOADS.acquire().await;
        self.log
            .writer
            .write(move |db| Ok(images::insert(db, &stored, media_type, &data, at)?))
            .await?;
        Ok(id)
    }

    /// Reads an image. `None` if it does not exist any more.
    ///
    /// # Errors
    /// `storage`.
    pub async fn image(&self, id: ImageId) -> Result<Option<Image>, Error> {
        self.log.db.read(move |db| images::read(db, &id)).await
    }

    /// Changes the settings of a conversation, from the next answer on.
    /// [`settings::check`] reads them from a client's JSON.
    ///
    /// # Errors
    /// `invalid_request` with a sentence that names the field, `not_found`, `storage`.
    pub async fn set(&self, id: ConversationId, settings: Settings) -> Result<(), Error> {
        settings::check_values(&settings)?;
        self.log
            .writer
            .write(move |db| Ok(settings::write(db, id, &settings)?))
            .await
    }

    /// The models that can be chosen, and the state of their providers.
    pub async fn catalog(&self) -> Catalog {
        self.registry.catalog().await
    }
}

/// Stops a run and waits for its last entry.
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
