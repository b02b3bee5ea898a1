//! What is in the files of a data folder.

use std::{
    collections::HashMap,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Bytes of a page of the database.
const PAGE: usize = 4096;

/// The words of all conversations that the files below a folder have, each with one of the files.
pub(super) fn tags(folder: &Path) -> HashMap<String, PathBuf> {
    let mut found = HashMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(tags(&path));
        } else if let Ok(mut bytes) = std::fs::read(&path) {
            // SQLite and the journal remove files meanwhile.
            match path.extension().and_then(OsStr::to_str) {
                Some("db") => bytes.chunks_exact_mut(PAGE).for_each(blank_unallocated),
                Some("db-wal") => {
                    // Behind a header of the file, each page has a header of its own.
                    let frames = bytes.get_mut(32..).unwrap_or_default();
                    let frames = frames.chunks_exact_mut(24 + PAGE);
                    frames.for_each(|frame| blank_unallocated(&mut frame[24..]));
                }
                _ => {}
            }
            let words = bytes.windows(5).filter(|word| {
                let number = &word[1..4];
                word[0] == b'z' && word[4] == b'z' && number.iter().all(u8::is_ascii_hexdigit)
            });
            let words = words.map(|word| String::from_utf8_lossy(word).into_owned());
            found.extend(words.map(|word| (word, path.clone())));
        }
    }
    found
}

/// Blanks what a [page of a B-tree](https://sqlite.org/fileformat.html#b_tree_pages) has between its
/// list of cells and the cells. SQLite does not overwrite there what it moved to another page, as
/// ARCHITECTURE.md says under “Deleted is overwritten”.
fn blank_unallocated(page: &mut [u8]) {
    let header = match page[0] {
        2 | 5 => 12,
        10 | 13 => 8,
        _ => return,
    };
    let number = |at| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    let unallocated = header + 2 * number(3)..number(5);
    if let Some(bytes) = page.get_mut(unallocated) {
        bytes.fill(0);
    }
}
