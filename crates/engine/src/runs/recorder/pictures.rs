//! Pictures that a model made. They are stored before the log tells of them.

use super::Recorder;
use crate::{db::images, provider::Image};
use headwater_protocol::{BlockKind, Error, ErrorCode, Event, ImageId, SpanNo};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::time::Duration;

/// The pause before a picture that the disk did not take is tried again.
const PAUSE: Duration = Duration::from_millis(250);

impl Recorder {
    /// Notes a picture as a block of its own. The next flush stores it.
    pub fn picture(&mut self, span: SpanNo, image: Image) {
        self.block_count += 1;
        let block = self.block_count;
        let id = images::id_of(&image.data);
        self.held.count_picture(image.data.len());
        self.note(Event::BlockStarted {
            span,
            block,
            kind: BlockKind::Data,
            tool: None,
        });
        self.note(Event::BlockFinished {
            span,
            block,
            length: 0,
            value: json!({ "image": id, "media_type": image.media_type }),
        });
        self.pictures.push_back((id, image));
    }

    /// Stores the noted pictures. One that the disk does not take is tried again until it does, as
    /// the log itself is.
    pub(super) async fn keep_pictures(&mut self) {
        let mut waits = false;
        while let Some((id, image)) = self.pictures.front().cloned() {
            match self.keep_picture(id, image).await {
                Err(why) if why.code == ErrorCode::Storage => {
                    if !waits {
                        tracing::warn!(%why, "a picture waits for the disk");
                        waits = true;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                _ => drop(self.pictures.pop_front()),
            }
        }
    }

    /// Stores the noted pictures as far as the disk takes them. The end of a run is small and does
    /// not wait for room for a picture that nobody has seen: the block of such a picture is empty.
    pub(super) async fn keep_last_pictures(&mut self) {
        while let Some((id, image)) = self.pictures.pop_front() {
            let Err(why) = self.keep_picture(id.clone(), image).await else {
                continue;
            };
            tracing::warn!(%why, "a picture is given up, because its answer has ended");
            let shown = json!(id);
            for entry in &mut self.batch {
                if let Event::BlockFinished { value, .. } = &mut entry.event
                    && value.get("image") == Some(&shown)
                {
                    *value = Value::Null;
                }
            }
        }
    }

    async fn keep_picture(&self, id: ImageId, image: Image) -> Result<(), Error> {
        let run = self.live.no;
        let keep = move |db: &Connection| Ok(images::keep_of_run(db, run, &id, &image)?);
        self.writer.write(keep).await
    }
}
