//! The tables, step by step. The schema only grows: see [`SCHEMA`].

use super::search;

/// Version of the schema below, kept in `PRAGMA user_version`: how many steps it has.
pub(super) const SCHEMA_VERSION: i64 = SCHEMA.len() as i64;

/// The schema, step by step; a database of an older version is brought up by the later ones.
pub(super) const SCHEMA: [&str; 6] = [
    TABLES,
    SEGMENTS_IN_ORDER,
    SETTINGS,
    IMAGES,
    NUMBERS_ONCE,
    search::PASSAGES,
];

/// The tables as the first version made them; later steps change them.
///
/// Identifiers are 16-byte blobs; UUIDv7 sorts by time, so "in the order they were made" is
/// "order by id". A run's log lies in `segment` while it runs, one row for each commit, and in
/// `log`, one row, from its end on.
pub(crate) const TABLES: &str = "
    CREATE TABLE conversation (
        id BLOB PRIMARY KEY, title TEXT NOT NULL, pinned INTEGER NOT NULL DEFAULT 0,
        created INTEGER NOT NULL, updated INTEGER NOT NULL, head BLOB, model TEXT
    ) WITHOUT ROWID;
    CREATE TABLE message (
        id BLOB PRIMARY KEY, conversation BLOB NOT NULL, parent BLOB, role TEXT NOT NULL,
        text TEXT NOT NULL, created INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX message_by_conversation ON message (conversation, parent);
    CREATE TABLE run (
        no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, conversation BLOB NOT NULL,
        message BLOB NOT NULL, continues BLOB, model TEXT NOT NULL, accepted INTEGER NOT NULL,
        status TEXT, client_id TEXT UNIQUE
    );
    CREATE INDEX run_by_message ON run (message);
    CREATE INDEX run_by_conversation ON run (conversation);
    CREATE INDEX run_open ON run (no) WHERE status IS NULL;
    CREATE TABLE segment (
        run INTEGER NOT NULL, first INTEGER NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (run, first)
    ) WITHOUT ROWID;
    CREATE TABLE log (run INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
";

/// Segments of all runs in the order they are written, so that a commit fills the end of one page
/// instead of touching a page for each run: with 200 runs that was 70 MB a second to the disk, for
/// 50 kB of text. `run.segment` is the first one of a run. Whatever is older than the first segment
/// of the oldest open run is waste, and is removed from the front.
const SEGMENTS_IN_ORDER: &str = "
    ALTER TABLE segment RENAME TO old_segment;
    CREATE TABLE segment (no INTEGER PRIMARY KEY, run INTEGER NOT NULL, bytes BLOB NOT NULL);
    INSERT INTO segment (run, bytes) SELECT run, bytes FROM old_segment ORDER BY run, first;
    DROP TABLE old_segment;
    ALTER TABLE run ADD COLUMN segment INTEGER NOT NULL DEFAULT 0;
    UPDATE run SET segment = (SELECT min(segment.no) FROM segment WHERE segment.run = run.no)
    WHERE status IS NULL AND EXISTS (SELECT 1 FROM segment WHERE segment.run = run.no);
";

/// Settings of each conversation, as JSON.
const SETTINGS: &str = "ALTER TABLE conversation ADD COLUMN settings TEXT;";

/// Pictures by the hash of their bytes, and the messages that show them.
const IMAGES: &str = "
    CREATE TABLE image (
        id TEXT PRIMARY KEY, media_type TEXT NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL
    );
    CREATE INDEX image_by_at ON image (at);
    CREATE TABLE message_image (
        message BLOB NOT NULL, place INTEGER NOT NULL, image TEXT NOT NULL,
        PRIMARY KEY (message, place)
    ) WITHOUT ROWID;
    CREATE INDEX message_image_by_image ON message_image (image);
";

/// Numbers of runs are never given again, so that what a deleted run may have left behind can never
/// be taken for a part of another one; and what deleted runs did leave behind goes. A picture that a
/// message shows waits for none any more, which its time says.
const NUMBERS_ONCE: &str = "
    CREATE TABLE numbered_run (
        no INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, conversation BLOB NOT NULL,
        message BLOB NOT NULL, continues BLOB, model TEXT NOT NULL, accepted INTEGER NOT NULL,
        status TEXT, client_id TEXT UNIQUE, segment INTEGER NOT NULL DEFAULT 0
    );
    INSERT INTO numbered_run
        (no, id, conversation, message, continues, model, accepted, status, client_id, segment)
        SELECT no, id, conversation, message, continues, model, accepted, status, client_id, segment
        FROM run ORDER BY no;
    DROP TABLE run;
    ALTER TABLE numbered_run RENAME TO run;
    CREATE INDEX run_by_message ON run (message);
    CREATE INDEX run_by_conversation ON run (conversation);
    CREATE INDEX run_open ON run (no) WHERE status IS NULL;
    DELETE FROM log WHERE run NOT IN (SELECT no FROM run);
    DELETE FROM segment WHERE NOT EXISTS
        (SELECT 1 FROM run WHERE run.no = segment.run AND run.status IS NULL
         AND run.segment <= segment.no);
    UPDATE image SET at = 0
        WHERE EXISTS (SELECT 1 FROM message_image AS m WHERE m.image = image.id);
";

/// From this version on, what is deleted is overwritten. A file of an older one is written anew once,
/// without the room where deleted texts still lie.
pub(super) const ERASING: i64 = 5;
