//! The tables, step by step. A step is never changed once it was released: see [`SCHEMA`].

use super::search;

/// The version of the schema, which is the number of its steps. A database has its version in
/// [`PRAGMA user_version`](https://sqlite.org/pragma.html#pragma_user_version).
pub(super) const SCHEMA_VERSION: i64 = SCHEMA.len() as i64;

/// The steps of the schema. A database of version n is upgraded by all steps from the n-th on.
pub(super) const SCHEMA: [&str; 7] = [
    TABLES,
    SEGMENTS_IN_ORDER,
    SETTINGS,
    IMAGES,
    NUMBERS_ONCE,
    search::PASSAGES,
    JOURNAL,
];

/// The tables of the first version. Later steps change them.
///
/// Identifiers are UUIDv7 in 16-byte blobs, which sort by the time when they were made. The log of a
/// run is in `segment` while the run is written, one row for each commit, and in one row of `log` from
/// its end on.
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

/// The segments of all runs in the order in which they are written. A commit then fills the end of one
/// page, and does not touch a page for each run, which with 200 runs wrote 70 MB a second for 50 kB of
/// text. `run.segment` is the first segment of a run. Segments before the first one of the oldest open
/// run are not needed any more and are deleted.
const SEGMENTS_IN_ORDER: &str = "
    ALTER TABLE segment RENAME TO old_segment;
    CREATE TABLE segment (no INTEGER PRIMARY KEY, run INTEGER NOT NULL, bytes BLOB NOT NULL);
    INSERT INTO segment (run, bytes) SELECT run, bytes FROM old_segment ORDER BY run, first;
    DROP TABLE old_segment;
    ALTER TABLE run ADD COLUMN segment INTEGER NOT NULL DEFAULT 0;
    UPDATE run SET segment = (SELECT min(segment.no) FROM segment WHERE segment.run = run.no)
    WHERE status IS NULL AND EXISTS (SELECT 1 FROM segment WHERE segment.run = run.no);
";

/// The settings of conversations, as JSON.
const SETTINGS: &str = "ALTER TABLE conversation ADD COLUMN settings TEXT;";

/// Images by the hash of their bytes, and the messages that show them.
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

/// Numbers of runs are never used again
/// ([`AUTOINCREMENT`](https://sqlite.org/autoinc.html)), so that what a deleted run left behind is never
/// taken for a part of another run. What deleted runs have left behind is deleted. Images that a
/// message shows get the time 0, because they do not wait for a message.
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

/// The first file of the journal that may be needed. From this version on, only the first entry of a
/// run is a segment.
const JOURNAL: &str = "
    CREATE TABLE journal (oldest INTEGER NOT NULL);
    INSERT INTO journal (oldest) VALUES (1);
";

/// From this version on, deleted data is overwritten. A file of an older version is rewritten once,
/// without the unused pages in which deleted texts may be.
pub(super) const ERASING: i64 = 5;
