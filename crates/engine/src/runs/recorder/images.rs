//! Images that a model made. They are stored before the log tells of them.

use super::Recorder;
use crate::{db::images, provider::Image};
use headwater_protocol::{BlockKind, Error, ErrorCode, Event, ImageId, SpanNo};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::time::Duration;

/// The pause before an image that the disk did not take is tried again.
const PAUSE: Duration = Duration::from_millis(250);

impl Recorder {
    /// Notes an image as a block of its own. The next flush stores it.
    pub fn image(&self, span: SpanNo, image: Image) {
        let mut noted = self.run.noted.lock();
        if noted.closed {
            return;
        }
        noted.block_count += 1;
        let block = noted.block_count;
        let id = images::id_of(&image.data);
        noted.held.count_image(image.data.len());
        noted.note(Event::BlockStarted {
            span,
            block,
            kind: BlockKind::Data,
            tool: None,
        });
        noted.note(Event::BlockFinished {
            span,
            block,
            length: 0,
            value: json!({ "image": id, "media_type": image.media_type }),
        });
        noted.images.push_back((id, image));
    }

    fn next_image(&self) -> Option<(ImageId, Image)> {
        self.run.noted.lock().images.front().cloned()
    }

    /// Stores the noted images. One that the disk does not take is tried again until it does, as
    /// the log itself is.
    pub(super) async fn keep_images(&self) {
        let mut waits = false;
        while let Some((id, image)) = self.next_image() {
            match self.keep_image(id, image).await {
                Err(why) if why.code == ErrorCode::Storage => {
                    if !waits {
                        tracing::warn!(%why, "an image waits for the disk");
                        waits = true;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                _ => drop(self.run.noted.lock().images.pop_front()),
            }
        }
    }

    /// Stores the noted images as far as the disk takes them. The end of a run is small and does
    /// not wait for room for an image that nobody has seen: the block of such an image is empty.
    pub(super) async fn keep_last_images(&self) {
        let mut writing = self.run.writing.lock().await;
        while let Some((id, image)) = self.next_image() {
            let kept = self.keep_image(id.clone(), image).await;
            let mut noted = self.run.noted.lock();
            noted.images.pop_front();
            let Err(why) = kept else { continue };
            tracing::warn!(%why, "an image is given up, because its answer has ended");
            let shown = json!(id);
            for entry in noted.batch.iter_mut().chain(&mut writing.batch) {
                if let Event::BlockFinished { value, .. } = &mut entry.event
                    && value.get("image") == Some(&shown)
                {
                    *value = Value::Null;
                }
            }
        }
    }

    async fn keep_image(&self, id: ImageId, image: Image) -> Result<(), Error> {
        let run = self.run.live.no;
        let keep = move |db: &Connection| Ok(images::keep_of_run(db, run, &id, &image)?);
        self.run.writer.write(keep).await
    }
}
