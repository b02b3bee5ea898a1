//! Whatever is asked, stopped, deleted, killed and restarted in whatever order: a conversation
//! holds its own entries and only those, and what is deleted is nowhere.

use super::*;
use crate::{db::conversations, log::JOURNAL};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use std::{collections::BTreeMap, path::PathBuf};

/// What happens. Conversations are counted in the order in which they begin.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Begin,
    Ask(usize),
    Say(usize),
    End(usize),
    Stop(usize),
    Continue(usize),
    Delete(usize),
    /// `kill -9`, and a start.
    Kill,
    /// The end in order, and a start.
    Restart,
}

/// The plain model: conversations, or `None` for a deleted one.
#[derive(Clone, Debug, Default)]
struct Model(Vec<Option<Vec<Turn>>>);

#[derive(Clone, Debug, Default)]
struct Turn {
    text: String,
    /// Pieces of the run that is being written or was last.
    pieces: usize,
    /// `None` while it is being written.
    status: Option<Status>,
}

/// A word that stands in everything of a conversation, and nowhere else.
fn tag(chat: usize) -> String {
    format!("conversation{chat:04}tag")
}

fn question(chat: usize, turn: usize) -> String {
    format!("{} {turn}?", tag(chat))
}

impl Model {
    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Begin, Step::Kill, Step::Restart];
        for (chat, turns) in self.0.iter().enumerate() {
            let Some(last) = turns.as_ref().and_then(|turns| turns.last()) else {
                continue;
            };
            steps.extend([Step::Delete(chat), Step::Delete(chat)]);
            match last.status {
                None => {
                    steps.extend([Step::Say(chat), Step::Say(chat), Step::Stop(chat)]);
                    if last.pieces > 0 {
                        steps.push(Step::End(chat));
                    }
                }
                Some(_) => steps.extend([Step::Ask(chat), Step::Continue(chat)]),
            }
        }
        steps
    }

    fn last(&mut self, chat: usize) -> &mut Turn {
        self.0[chat].as_mut().unwrap().last_mut().unwrap()
    }

    fn said(&self, chat: usize) -> &str {
        &self.0[chat].as_ref().unwrap().last().unwrap().text
    }

    fn cut(&mut self) {
        for turn in self.0.iter_mut().flatten().flatten() {
            turn.status.get_or_insert(Status::Interrupted);
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        proptest::sample::select(state.steps()).boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        state.steps().contains(step)
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        match *step {
            Step::Begin => state.0.push(Some(vec![Turn::default()])),
            Step::Ask(chat) => state.0[chat].as_mut().unwrap().push(Turn::default()),
            Step::Say(chat) => {
                let turn = state.last(chat);
                turn.pieces += 1;
                let place = turn.text.len();
                turn.text.push_str(&format!("{} {place}. ", tag(chat)));
            }
            Step::End(chat) => state.last(chat).status = Some(Status::Ok),
            Step::Stop(chat) => state.last(chat).status = Some(Status::Cancelled),
            Step::Continue(chat) => {
                let turn = state.last(chat);
                // A whole answer is not continued.
                if turn.status != Some(Status::Ok) {
                    (turn.status, turn.pieces) = (None, 0);
                }
            }
            Step::Delete(chat) => state.0[chat] = None,
            Step::Kill | Step::Restart => state.cut(),
        }
        state
    }
}

/// The server, in a folder and a runtime of its own.
struct Server {
    runtime: tokio::runtime::Runtime,
    engine: Arc<Engine>,
    provider: Dictated,
    folder: tempfile::TempDir,
}

impl Server {
    fn open(folder: tempfile::TempDir) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (engine, provider) = runtime.block_on(async { super::engine(folder.path()) });
        Self {
            runtime,
            engine,
            provider,
            folder,
        }
    }

    /// The files as the death of the process would leave them now, in a folder of their own.
    fn left_behind(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        let (from, to) = (self.folder.path().to_owned(), copy.path().to_owned());
        // On the thread that writes, so that nothing is written meanwhile.
        let work = self.engine.log.writer.write(move |_| {
            for name in files(&from) {
                let copy = to.join(&name);
                std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
                std::fs::copy(from.join(name), copy).unwrap();
            }
            Ok(())
        });
        self.runtime.block_on(work).unwrap();
        copy
    }

    /// Whether any of the files has the words.
    fn files_have(&self, words: &str) -> bool {
        files(self.folder.path()).iter().any(|name| {
            let bytes = std::fs::read(self.folder.path().join(name)).unwrap();
            String::from_utf8_lossy(&bytes).contains(words)
        })
    }
}

/// The files that data is in.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut names = vec!["headwater.db".into(), "headwater.db-wal".into()];
    for entry in std::fs::read_dir(dir.join(JOURNAL)).unwrap() {
        names.push(Path::new(JOURNAL).join(entry.unwrap().file_name()));
    }
    names
}

struct Tested {
    server: Server,
    chats: Vec<Started>,
    /// Every number that a run ever had.
    numbers: std::cell::RefCell<BTreeMap<i64, RunId>>,
}

impl Tested {
    async fn say(&self, chat: usize, event: ProviderEvent) {
        let pen = self.server.provider.pen(self.chats[chat].conversation);
        pen.await.send(event).unwrap();
    }
}

impl StateMachineTest for Tested {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        Self {
            server: Server::open(tempfile::tempdir().unwrap()),
            chats: Vec::new(),
            numbers: Default::default(),
        }
    }

    fn apply(mut tested: Self, model: &Model, step: Step) -> Self {
        let engine = tested.server.engine.clone();
        match step {
            Step::Begin | Step::Ask(_) => {
                let chat = match step {
                    Step::Ask(chat) => chat,
                    _ => model.0.len() - 1,
                };
                let turn = model.0[chat].as_ref().unwrap().len() - 1;
                let started = tested.server.runtime.block_on(engine.start(StartRun {
                    conversation: tested.chats.get(chat).map(|chat| chat.conversation),
                    ..message(question(chat, turn))
                }));
                let started = started.unwrap();
                match tested.chats.get_mut(chat) {
                    Some(known) => *known = started,
                    None => tested.chats.push(started),
                }
            }
            Step::Say(chat) => {
                let whole = model.said(chat).to_owned();
                let live = engine.log.live(tested.chats[chat].run).unwrap();
                let shown = |live: &Live| live.with_answer(|answer| answer.visible_length());
                tested.server.runtime.block_on(async {
                    let piece = whole.rfind(&tag(chat)).unwrap();
                    let before = shown(&live);
                    tested.say(chat, says(&whole[piece..])).await;
                    let new = (whole.len() - piece) as u64;
                    let mut head = live.watch();
                    let said = head.wait_for(|_| shown(&live) == before + new).await;
                    drop(said);
                });
            }
            Step::End(chat) => {
                let live = engine.log.live(tested.chats[chat].run).unwrap();
                tested.server.runtime.block_on(async {
                    tested.say(chat, ends()).await;
                    live.finished().await;
                });
            }
            Step::Stop(chat) => {
                let stop = engine.stop(tested.chats[chat].run, None);
                tested.server.runtime.block_on(stop).unwrap();
            }
            Step::Continue(chat) => {
                let more = engine.continue_run(tested.chats[chat].run, None);
                let more = tested.server.runtime.block_on(more);
                if model.0[chat]
                    .as_ref()
                    .unwrap()
                    .last()
                    .unwrap()
                    .status
                    .is_none()
                {
                    tested.chats[chat] = more.unwrap();
                } else {
                    assert_eq!(more.unwrap_err().code, ErrorCode::Conflict);
                }
            }
            Step::Delete(chat) => {
                let delete = engine.delete(tested.chats[chat].conversation);
                tested.server.runtime.block_on(delete).unwrap();
            }
            Step::Kill => tested.server = Server::open(tested.server.left_behind()),
            Step::Restart => {
                let end = engine.shutdown.run(Duration::ZERO);
                tested.server.runtime.block_on(end);
                tested.server = Server::open(tested.server.left_behind());
            }
        }
        tested
    }

    fn check_invariants(tested: &Self, model: &Model) {
        let Server {
            engine, runtime, ..
        } = &tested.server;
        let mut known: Vec<ConversationId> = Vec::new();
        for (chat, turns) in model.0.iter().enumerate() {
            let id = tested.chats[chat].conversation;
            let loaded = runtime.block_on(engine.load(id, all()));
            let Some(turns) = turns else {
                assert_eq!(loaded.unwrap_err().code, ErrorCode::NotFound);
                let found = runtime
                    .block_on(engine.list(Listing {
                        query: Some(tag(chat)),
                        ..Listing::default()
                    }))
                    .unwrap();
                assert!(found.is_empty(), "found after its deletion: {found:?}");
                assert!(!tested.server.files_have(&tag(chat)), "still in the files");
                continue;
            };
            known.push(id);
            let messages = loaded.unwrap().messages;
            assert_eq!(messages.len(), turns.len() * 2);
            for (place, (turn, pair)) in turns.iter().zip(messages.chunks(2)).enumerate() {
                assert_eq!(pair[0].text, question(chat, place));
                assert_eq!(pair[1].visible_text(), turn.text);
                let status = pair[1].answers.last().and_then(|answer| answer.status);
                assert_eq!(status, turn.status);
            }
        }
        let listed = runtime
            .block_on(engine.list(Listing {
                limit: Some(200),
                ..Listing::default()
            }))
            .unwrap();
        let mut listed: Vec<_> = listed.into_iter().map(|chat| chat.id).collect();
        listed.sort();
        known.sort();
        assert_eq!(listed, known);
        engine
            .log
            .db
            .read_now(|db| {
                tested.check_tables(db);
                Ok(())
            })
            .unwrap();
    }
}

impl Tested {
    /// No row belongs to what is not there, every log begins as its own run and ends once, and no
    /// number ever had two runs.
    fn check_tables(&self, db: &rusqlite::Connection) {
        for orphans in [
            "SELECT count(*) FROM log WHERE run NOT IN (SELECT no FROM run)",
            "SELECT count(*) FROM segment WHERE run NOT IN (SELECT no FROM run)",
            "SELECT count(*) FROM run WHERE conversation NOT IN (SELECT id FROM conversation)",
            "SELECT count(*) FROM message WHERE conversation NOT IN (SELECT id FROM conversation)",
        ] {
            let rows: i64 = db.query_row(orphans, [], |row| row.get(0)).unwrap();
            assert_eq!(rows, 0, "{orphans}");
        }
        let mut runs = db.prepare("SELECT no, id FROM run").unwrap();
        let runs = runs.query_map([], |row| {
            Ok((row.get(0)?, RunId(uuid::Uuid::from_bytes(row.get(1)?))))
        });
        for row in runs.unwrap() {
            let (no, run): (i64, RunId) = row.unwrap();
            let mut numbers = self.numbers.borrow_mut();
            assert_eq!(*numbers.entry(no).or_insert(run), run, "number {no} twice");
            let log = crate::log::read(self.server.folder.path(), run).unwrap();
            let events: Vec<Event> = log.after(0).map(|entry| entry.event).collect();
            assert!(matches!(&events[0], Event::RunStarted { run: own, .. } if *own == run));
            let ends = events.iter().position(Event::is_terminal);
            assert!(
                ends.is_none_or(|place| place + 1 == events.len()),
                "{events:?}"
            );
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_conversation_holds_its_own_entries_and_a_deleted_one_nothing(sequential 1..20 => Tested);
}

/// As many messages as are given at once.
fn all() -> Window {
    Window {
        limit: Some(conversations::MAX_MESSAGES),
        ..Window::default()
    }
}
