//! What a search reads: a case-folded copy of each title, question and answer.
//!
//! SQLite folds the case of ASCII only, and the text of an answer is packed in its log. So each text
//! has a row of `passage`, in a form that is compared byte by byte. The row is written in the
//! transaction that changes the text, and is deleted with its conversation.
//!
//! A search reads these rows from the newest conversation on and stops when it has a page. An index of
//! trigrams was measured with 50 MB of text in 3,000 conversations: it takes twice the space and
//! twenty-five times as long to write, and it cannot find one or two letters, which are a whole word in
//! Chinese or Japanese.

use crate::db::DbError;
use headwater_protocol::ConversationId;
use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizer, DecomposingNormalizer};
use rusqlite::{Connection, functions::FunctionFlags, params};
use uuid::Uuid;

/// The table, and the texts that an older version stored. Needs [`upgrade_functions`].
pub(super) const PASSAGES: &str = "
    CREATE TABLE passage (
        conversation BLOB NOT NULL, source BLOB NOT NULL, text TEXT NOT NULL,
        UNIQUE (conversation, source)
    );
    INSERT OR IGNORE INTO passage SELECT id, id, folded(title) FROM conversation;
    INSERT OR IGNORE INTO passage SELECT conversation, id, folded(text) FROM message WHERE role = 'user';
    INSERT OR IGNORE INTO passage SELECT run.conversation, run.id, folded_answer(log.bytes)
        FROM run JOIN log ON log.run = run.no;
    CREATE INDEX conversation_in_order ON conversation (pinned, updated, id);
";

/// Lets SQL fold the texts of an older version: `folded(text)`, `folded_answer(log)`.
pub(super) fn upgrade_functions(db: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    db.create_scalar_function("folded", 1, flags, |context| {
        Ok(folded(context.get_raw(0).as_str().unwrap_or_default()))
    })?;
    db.create_scalar_function("folded_answer", 1, flags, |context| {
        let bytes = context.get_raw(0).as_blob().unwrap_or_default();
        // A log that cannot be read has nothing to be found.
        let log = crate::packed::Packed::from_bytes(bytes).unwrap_or_default();
        Ok(folded(&crate::packed::fold(&log).visible_text()))
    })
}

/// The form of a text in which it is searched. Texts that a reader takes for the same have the same form.
///
/// The text is normalised to [NFKC](https://unicode.org/reports/tr15/) and case-folded, so that `ß`
/// becomes `ss` and all forms of sigma are one. In addition, `İ`, `I`, `ı` and `i` are one letter, because a
/// search has no language; invisible characters, and the vowel points of Hebrew and Arabic, which few
/// people type, are left out; white space of any length is one space.
pub fn folded(text: &str) -> String {
    if text.is_ascii() {
        return spaced(text.chars().map(|letter| letter.to_ascii_lowercase()));
    }
    let seen: String = text.chars().filter(|letter| !is_unseen(*letter)).collect();
    let apart = DecomposingNormalizer::new_nfkd().normalize(&seen);
    let lower = CaseMapper::new().fold_string(&apart);
    let mut letters = String::with_capacity(lower.len());
    for letter in lower.chars() {
        match letter {
            'ı' => letters.push('i'),
            '\u{307}' if letters.ends_with('i') => {}
            letter if is_point(letter) => {}
            letter => letters.push(letter),
        }
    }
    spaced(ComposingNormalizer::new_nfkc().normalize_iter(letters.chars()))
}

/// With one space for all white space in a row, and none at the start.
fn spaced(letters: impl Iterator<Item = char>) -> String {
    let mut out = String::new();
    for letter in letters {
        if !letter.is_whitespace() {
            out.push(letter);
        } else if !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

/// Soft hyphens, joiners, directional marks and variation selectors.
fn is_unseen(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

/// Vowel points, cantillation marks and the tatweel of Hebrew and Arabic.
fn is_point(letter: char) -> bool {
    matches!(
        letter,
        '\u{591}'..='\u{5bd}'
            | '\u{5bf}'
            | '\u{5c1}'..='\u{5c2}'
            | '\u{5c4}'..='\u{5c5}'
            | '\u{5c7}'
            | '\u{640}'
            | '\u{64b}'..='\u{652}'
            | '\u{670}'
    )
}

/// Makes a text findable, in place of an older text of the same `source`: the identifier of a message or
/// a run, or, for a title, that of the conversation.
///
/// # Errors
/// `storage`.
pub fn put(
    db: &Connection,
    conversation: ConversationId,
    source: Uuid,
    text: &str,
) -> Result<(), DbError> {
    db.prepare_cached("INSERT OR REPLACE INTO passage VALUES (?1, ?2, ?3)")?
        .execute(params![
            conversation.0.as_bytes(),
            source.as_bytes(),
            folded(text)
        ])?;
    Ok(())
}

/// Makes the answer of the run with this number findable. `folded` is its text in the form of
/// [`folded`]. If the run was deleted meanwhile, nothing is stored.
pub(super) fn put_answer(db: &Connection, no: i64, folded: &str) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO passage SELECT conversation, id, ?2 FROM run WHERE no = ?1",
    )?
    .execute(params![no, folded])?;
    Ok(())
}

/// Whether the title, a question or an answer of a conversation contains the folded `words`.
pub(super) fn has(
    db: &Connection,
    conversation: ConversationId,
    words: &str,
) -> rusqlite::Result<bool> {
    let mut query = db.prepare_cached("SELECT text FROM passage WHERE conversation = ?1")?;
    let mut rows = query.query([conversation.0.as_bytes()])?;
    while let Some(row) = rows.next()? {
        if row.get_ref(0)?.as_str()?.contains(words) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::folded;

    /// Each line: forms that a reader takes for the same.
    const SAME: &[&[&str]] = &[
        &["Hello", "HELLO", "hello"],
        &["Привіт", "ПРИВІТ", "привіт"],
        &[
            "Ärger im Büro",
            "ärger im büro",
            "A\u{308}RGER IM BU\u{308}RO",
        ],
        &["Straße", "STRASSE", "STRAẞE", "strasse"],
        &["ΟΔΥΣΣΕΎΣ", "Οδυσσεύς", "οδυσσεύσ"],
        &[
            "İstanbul",
            "ISTANBUL",
            "istanbul",
            "ıstanbul",
            "i\u{307}stanbul",
        ],
        &["Ｗｉｄｅ ｶﾞ", "wide ガ"],
        &["ﬁne", "FINE"],
        &["ქართული", "ᲥᲐᲠᲗᲣᲚᲘ"],
        &["한국", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"],
        &["ver\u{ad}sion", "version"],
        &["two  words\nand\u{a0}more", "Two words and more"],
        &["Å", "\u{212b}", "a\u{30a}"],
        &["ẛ\u{323}", "ṩ", "s\u{307}\u{323}"],
        &["עִבְרִית", "עברית"],
        &["العَرَبِيَّة", "العربية", "العـــربية"],
    ];

    #[test]
    fn what_a_reader_takes_for_the_same_is_the_same() {
        for line in SAME {
            for form in *line {
                assert_eq!(folded(form), folded(line[0]), "{form:?} and {:?}", line[0]);
            }
        }
    }

    #[test]
    fn what_a_reader_tells_apart_stays_apart() {
        let apart = [
            "arger", "ärger", "й", "и", "ー", "は", "ば", "中", "国", "é", "e", "آ", "ا", "א", "ע",
        ];
        for (at, one) in apart.iter().enumerate() {
            for other in &apart[..at] {
                assert_ne!(folded(one), folded(other));
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = folded(&text);
            proptest::prop_assert_eq!(folded(&once), once.clone());
        }
    }
}
