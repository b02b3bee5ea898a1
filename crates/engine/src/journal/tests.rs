use super::{
    faulty::{Fault, Faulty},
    *,
};
use crate::packed::{Chunk, Packed, State};
use headwater_protocol::{Entry, Event};
use std::collections::BTreeMap;

/// The entries of one append: a run, and a log whose end they are.
struct Step {
    run: i64,
    first: Seq,
    chunk: Chunk,
}

/// Appends to three runs in turn.
fn steps(count: usize) -> Vec<Step> {
    let mut ends: BTreeMap<i64, (Seq, State)> = BTreeMap::new();
    (0..count)
        .map(|step| {
            let run = [7, 8, 300][step % 3];
            let (len, state) = ends.entry(run).or_default();
            let entries: Vec<Entry> = (1..=(step as u64 % 4 + 1))
                .map(|number| Entry {
                    seq: *len + number,
                    at: step as u64 * 20,
                    event: Event::Delta {
                        span: 1,
                        block: 1,
                        text: format!("{run}.{step} "),
                        from: None,
                    },
                })
                .collect();
            let (first, chunk) = (*len + 1, Chunk::new(*state, &entries));
            (*len, *state) = (*len + entries.len() as u64, chunk.state());
            Step { run, first, chunk }
        })
        .collect()
}

/// The logs that appends come to.
fn logs(steps: &[Step]) -> BTreeMap<i64, Vec<u8>> {
    let mut logs: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    for step in steps {
        let log = logs.entry(step.run).or_default();
        log.extend_from_slice(step.chunk.as_bytes());
    }
    logs
}

/// The logs that a journal has.
fn found(files: &dyn Files) -> BTreeMap<i64, Vec<u8>> {
    let left = read(files, 0, |_| true).unwrap();
    let whole = |journaled: &Journaled| {
        let mut log = Packed::default();
        assert_eq!(journaled.extend(&mut log), None);
        log.as_bytes().to_vec()
    };
    left.runs
        .iter()
        .map(|(run, log)| (*run, whole(log)))
        .collect()
}

fn append(journal: &mut Journal, step: &Step) -> io::Result<()> {
    journal.append(step.run, step.first, step.chunk.as_bytes())
}

#[test]
fn what_was_appended_is_read_and_a_cut_file_ends_with_its_last_whole_record() {
    let steps = steps(40);
    let disk = Faulty::default();
    let mut journal = Journal::create(Arc::new(disk.clone()), 1).unwrap();
    assert!(journal.is_empty());
    // How long the file is behind each append.
    let mut lengths = vec![journal.len()];
    for step in &steps {
        append(&mut journal, step).unwrap();
        lengths.push(journal.len());
    }
    assert_eq!(found(&disk), logs(&steps));
    disk.sync().unwrap();
    for cut in 0..disk.len(1) {
        let whole = lengths.partition_point(|length| *length <= cut as u64);
        let whole = whole.saturating_sub(1);
        for zeros in [false, true] {
            let left = disk.after_power_cut(cut, zeros);
            assert_eq!(
                found(&left),
                logs(&steps[..whole]),
                "{cut} bytes, zeros: {zeros}"
            );
        }
    }
}

#[test]
fn damage_ends_a_file_before_the_damaged_record() {
    let steps = steps(12);
    let disk = Faulty::default();
    let mut journal = Journal::create(Arc::new(disk.clone()), 1).unwrap();
    let mut lengths = vec![journal.len()];
    for step in &steps {
        append(&mut journal, step).unwrap();
        lengths.push(journal.len());
    }
    for place in MAGIC.len()..disk.len(1) {
        let damaged = disk.after_death();
        damaged.damage(1, place);
        let whole = lengths.partition_point(|length| *length <= place as u64) - 1;
        assert_eq!(found(&damaged), logs(&steps[..whole]), "byte {place}");
    }
    let strange = disk.after_death();
    strange.damage(1, 7);
    let why = read(&strange, 0, |_| true).unwrap_err();
    assert!(why.to_string().contains("another version"), "{why}");
}

#[test]
fn an_append_is_in_the_journal_if_and_only_if_it_succeeded_whichever_call_fails() {
    let steps = steps(6);
    for fault in [Fault::Io, Fault::Full, Fault::Short, Fault::Torn] {
        for call in 2.. {
            let disk = Faulty::default();
            disk.fail(call, fault);
            let Ok(mut journal) = Journal::create(Arc::new(disk.clone()), 1) else {
                assert_eq!(disk.list().unwrap(), [0_u64; 0], "nothing is left");
                continue;
            };
            for (done, step) in steps.iter().enumerate() {
                while append(&mut journal, step).is_err() {
                    assert_eq!(found(&disk), logs(&steps[..done]), "{fault:?} at {call}");
                }
                assert_eq!(found(&disk), logs(&steps[..=done]), "{fault:?} at {call}");
            }
            if call > disk.calls() {
                break;
            }
        }
    }
}

#[test]
fn what_cannot_be_cut_off_is_cut_off_before_the_next_append() {
    let steps = steps(3);
    let disk = Faulty::default();
    let mut journal = Journal::create(Arc::new(disk.clone()), 1).unwrap();
    append(&mut journal, &steps[0]).unwrap();
    disk.fail(disk.calls() + 1, Fault::Torn);
    append(&mut journal, &steps[1]).unwrap_err();
    assert!(disk.len(1) as u64 > journal.len());
    // The next cut fails as well.
    disk.fail(disk.calls() + 1, Fault::Io);
    append(&mut journal, &steps[1]).unwrap_err();
    append(&mut journal, &steps[1]).unwrap();
    append(&mut journal, &steps[2]).unwrap();
    assert_eq!(found(&disk), logs(&steps));
}

#[test]
fn a_whole_log_takes_the_place_of_its_pieces_and_a_gap_is_damage() {
    let steps = steps(30);
    let disk = Faulty::default();
    let mut journal = Journal::create(Arc::new(disk.clone()), 1).unwrap();
    let (before, after) = steps.split_at(14);
    for step in before {
        append(&mut journal, step).unwrap();
    }
    journal
        .roll(|next| {
            logs(before)
                .iter()
                .try_for_each(|(run, log)| next.append(*run, 1, log))
        })
        .unwrap();
    assert_eq!(journal.number(), 2);
    for step in after {
        append(&mut journal, step).unwrap();
    }
    assert_eq!(found(&disk), logs(&steps), "with the old file");
    disk.remove(1, false).unwrap();
    assert_eq!(found(&disk), logs(&steps), "and without it");
    journal.append(7, 1_000, b"\0").unwrap();
    let left = read(&disk, 0, |run| run == 7).unwrap();
    assert_eq!(left.others, [8, 300].into());
    let mut log = Packed::default();
    assert!(left.runs[&7].extend(&mut log).is_some());
    assert_eq!(
        log.as_bytes(),
        logs(&steps)[&7],
        "the entries before it are there"
    );
    // A roll that fails leaves all as it was.
    let file = journal.number();
    let failed = journal.roll(|_| Err(ErrorKind::StorageFull.into()));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!((journal.number(), disk.list().unwrap()), (file, vec![2]));
}

#[test]
fn files_of_a_folder_are_private_numbered_and_overwritten_if_need_be() {
    let folder = tempfile::tempdir().unwrap();
    let files = Folder::new(folder.path().join("journal")).unwrap();
    std::fs::write(folder.path().join("journal/notes.txt"), "not ours").unwrap();
    let path = folder.path().join("journal/0000000009.journal");
    let mut journal = Journal::create(Arc::new(files), 9).unwrap();
    journal.append(1, 1, b"secret").unwrap();
    journal.file().sync().unwrap();
    let files = Folder::to_read(folder.path().join("journal"));
    assert_eq!(files.list().unwrap(), [9]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Another name for the file shows what becomes of its bytes.
        let other = folder.path().join("other");
        std::fs::hard_link(&path, &other).unwrap();
        files.remove(9, true).unwrap();
        let bytes = std::fs::read(other).unwrap();
        assert_eq!(bytes.len() as u64, journal.len());
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
    files.remove(9, true).unwrap();
    assert_eq!(files.list().unwrap(), [0_u64; 0]);
    let nowhere = Folder::to_read(folder.path().join("nowhere"));
    assert_eq!(nowhere.list().unwrap(), [0_u64; 0]);
}
