//! What a person can ask for: start, stop, continue, retry, and the care of conversations.

mod runs;

use super::{
    App,
    log::{Source, live::Live},
    store::{self, Listing, Window},
};
use crate::{
    api::Catalog,
    chat::{Conversation, Summary},
    protocol::{ConversationId, Error, ErrorCode, MessageId, RunId, Seq, Stopped, UnixMs},
};
pub use runs::StartRun;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long a stop waits for the log's last entry before it says that the disk is the trouble.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

impl App {
    /// Stops a run and returns when its provider is closed and its last entry is in the log.
    ///
    /// # Errors
    /// `not_found`; `storage` if the disk does not take the last entry.
    pub async fn stop(&self, run: RunId, seen: Option<Seq>) -> Result<Stopped, Error> {
        let source = self.log.source(run).await?;
        let already_finished = source.head().finished;
        let mut closed = None;
        if let Source::Live(live) = &source {
            stop_and_wait(live, seen).await?;
            closed = live.control.closed_after();
        }
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
        let searches = listing.is_search();
        let list = move |db: &rusqlite::Connection| store::list(db, &log, &listing);
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
        {
            // No answer begins between the look and the change.
            let _turn = self.starts.lock().await;
            self.refuse_when_running(id)?;
            self.log
                .writer
                .write(move |db| store::select(db, id, message))
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

    /// Deletes a conversation; a running answer is stopped first. Where the disk does not take the
    /// answer's end, it is not waited for: deleting may be what makes room. Once it is begun, it is
    /// done even if whoever asked for it goes away.
    ///
    /// # Errors
    /// `not_found`, `storage`.
    pub async fn delete(self: &Arc<Self>, id: ConversationId) -> Result<(), Error> {
        let app = self.clone();
        let work = self.shutdown.runs.spawn(async move {
            let _turn = app.starts.lock().await;
            for live in app.log.running() {
                if live.conversation == id {
                    // Whatever of it is written from here on is written only where there still is a
                    // run.
                    let mut trouble = app.log.writer.trouble();
                    tokio::select! {
                        biased;
                        _ = stop_and_wait(&live, None) => {}
                        _ = trouble.wait_for(Option::is_some) => {}
                    }
                }
            }
            let at = now();
            app.log
                .writer
                .erase(move |db| store::delete(db, id, at))
                .await?;
            app.log.forget(id);
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
        let _turn = self.starts.lock().await;
        self.log.close_lost().await
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

/// Now, in milliseconds since 1970.
pub fn now() -> UnixMs {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
