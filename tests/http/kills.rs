//! The real program is killed at random moments, again and again over the same folder, while answers
//! are written, read, stopped, continued and deleted.

mod client;
mod files;

use crate::harness::{Process, Random, program};
use client::{Client, Reader};
use files::tags;
use futures::future::join_all;
use headwater_protocol::{
    ErrorCode, RunId, Started, Status, Stopped,
    chat::{Answer, Conversation},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::ControlFlow,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

/// How often the program is killed. `make bench` does it 1,000 times.
const KILLS: usize = 30;

/// How many conversations there are at once.
const CHATS: usize = 8;

/// Says the question again, token by token, so that every answer is known in advance.
const SCRIPT: &str = r#"
    [[scenario]]
    name = "again"
    pace = 1000
    steps = [{ echo = true }, { end = "stop" }]
"#;

/// A conversation with one question.
struct Chat {
    number: usize,
    question: String,
    /// `None` until a server acknowledges it.
    started: Option<Started>,
    /// Whether an answer was begun by the server that runs now.
    fresh: bool,
    /// Whether a server was asked to delete it.
    deleting: bool,
    /// What was seen of each run, by readers or in a log that has its end.
    seen: HashMap<RunId, Answer>,
}

impl Chat {
    fn new(number: usize, random: &mut Random) -> Self {
        let words = 20 + random.below(400);
        let word = |at| format!("{} {at} ", tag(number));
        Self {
            number,
            question: (0..words).map(word).collect::<String>().trim().to_owned(),
            started: None,
            fresh: true,
            deleting: false,
            seen: HashMap::new(),
        }
    }

    /// The run that was started last.
    fn run(&self, conversation: &Conversation) -> RunId {
        let last = conversation.messages[1].answers.last();
        last.and_then(|answer| answer.run).expect("a run")
    }
}

/// A word that stands in everything of a conversation, and nowhere else. It is short enough for a
/// token, so the files have it in one piece.
fn tag(chat: usize) -> String {
    format!("z{chat:03x}z")
}

/// Breaks off after a command that was not answered.
fn going_on<T>(answered: Option<&T>) -> ControlFlow<()> {
    answered.map_or(ControlFlow::Break(()), |_| ControlFlow::Continue(()))
}

struct World {
    random: Random,
    folder: tempfile::TempDir,
    chats: Vec<Chat>,
    /// How many conversations there ever were.
    number: usize,
    /// Conversations that are gone.
    deleted: Vec<usize>,
    /// The answers that were found with each status.
    ends: BTreeMap<String, HashSet<RunId>>,
}

impl World {
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn script(&self) -> PathBuf {
        self.folder.path().join("script.toml")
    }

    fn program(&self) -> std::process::Command {
        let mut program = program(&self.data());
        program.env("HEADWATER_SCRIPT", self.script());
        program
    }

    /// Kills a server before it is ready.
    async fn kill_at_start(&mut self) {
        let mut child = self
            .program()
            .env("HEADWATER_ADDR", "127.0.0.1:0")
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        self.pause(100).await;
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    /// Looks at all there is, and does this and that until the server is killed.
    async fn serve_and_kill(&mut self) {
        let mut process = Process::serve(self.program(), &[]).expect("starts");
        let client = Client(process.api.clone());
        self.check(&client).await;
        let until = Duration::from_millis(self.random.below(450) as u64);
        let kill = async {
            tokio::time::sleep(until).await;
            process.child.kill().expect("killed");
        };
        let mut readers = Vec::new();
        let act = async {
            while self.act(&client, &mut readers).await.is_continue() {
                self.pause(10).await;
            }
        };
        futures::join!(kill, act);
        process.child.wait().expect("ended");
        for reader in join_all(readers).await {
            let (run, seen) = reader.expect("no gap");
            let chat = self
                .chats
                .iter_mut()
                .find(|chat| chat.seen.contains_key(&run));
            if let Some(known) = chat.and_then(|chat| chat.seen.get_mut(&run))
                && known.seq < seen.seq
            {
                *known = seen;
            }
        }
    }

    async fn pause(&mut self, most: usize) {
        let pause = self.random.below(most) as u64;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    /// One command. Breaks off if the server does not answer it.
    async fn act(&mut self, client: &Client, readers: &mut Vec<Reader>) -> ControlFlow<()> {
        let count = self.chats.len();
        if count < 2 || (count < CHATS && self.random.below(3) == 0) {
            self.number += 1;
            self.chats.push(Chat::new(self.number, &mut self.random));
            let chat = self.chats.last_mut().expect("pushed");
            client.start(chat).await?;
            let run = chat.started.as_ref().expect("acknowledged").run;
            chat.seen.entry(run).or_default();
            readers.push(client.read(run, Answer::default()));
            return ControlFlow::Continue(());
        }
        // Half of the time one whose answer may still be written.
        let fresh: Vec<usize> = (0..count).filter(|at| self.chats[*at].fresh).collect();
        let at = match fresh.len() {
            0 => self.random.below(count),
            _ if self.random.below(2) == 0 => self.random.below(count),
            some => fresh[self.random.below(some)],
        };
        let chat = &mut self.chats[at];
        let started = chat.started.as_ref().expect("acknowledged");
        let (id, run) = (started.conversation.to_string(), started.run.to_string());
        match self.random.below(if count == CHATS { 5 } else { 4 }) {
            0 => {
                let stopped: Option<Stopped> = client.done("/api/runs/stop", ("run", &run)).await;
                going_on(stopped.as_ref())
            }
            1 | 2 => {
                let more = client.post("/api/runs/continue", &[("run", &run)]).await;
                match more {
                    None => return ControlFlow::Break(()),
                    Some(Ok(more)) => {
                        let more: Started = more;
                        chat.seen.entry(more.run).or_default();
                        readers.push(client.read(more.run, Answer::default()));
                        (chat.started, chat.fresh) = (Some(more), true);
                    }
                    // It is still being written, or is whole.
                    Some(Err((_, error))) => assert_eq!(error.code, ErrorCode::Conflict),
                }
                ControlFlow::Continue(())
            }
            3 => {
                // A second reader.
                readers.push(client.read(started.run, Answer::default()));
                ControlFlow::Continue(())
            }
            _ => {
                chat.deleting = true;
                let deleted = client.done("/api/conversations/delete", ("id", &id)).await;
                if let Some(()) = deleted {
                    self.deleted.push(self.chats.swap_remove(at).number);
                }
                going_on(deleted.as_ref())
            }
        }
    }

    /// Holds what is there against what was asked, acknowledged and seen.
    async fn check(&mut self, client: &Client) {
        for mut chat in std::mem::take(&mut self.chats) {
            if chat.started.is_none() {
                let told = client.start(&mut chat).await;
                assert!(told.is_continue(), "nobody kills the server now");
                // An answer that begins only now has to end before it can be looked at.
                let run = chat.started.as_ref().expect("acknowledged").run;
                client.read(run, Answer::default()).await.expect("no gap");
            }
            match client.load(&chat).await {
                Ok(conversation) => {
                    self.check_chat(client, &mut chat, &conversation).await;
                    self.chats.push(chat);
                }
                Err((_, error)) => {
                    assert_eq!(error.code, ErrorCode::NotFound);
                    assert!(chat.deleting, "{} is lost", tag(chat.number));
                    self.deleted.push(chat.number);
                }
            }
        }
        let found = tags(&self.data());
        for chat in &self.deleted {
            assert_eq!(found.get(&tag(*chat)), None, "{} is left", tag(*chat));
        }
        for chat in &self.chats {
            let tag = tag(chat.number);
            assert!(found.contains_key(&tag), "{tag} is not in any file");
        }
    }

    async fn check_chat(&mut self, client: &Client, chat: &mut Chat, loaded: &Conversation) {
        let [question, answer] = &loaded.messages[..] else {
            panic!("{} messages", loaded.messages.len());
        };
        assert_eq!(question.text, chat.question);
        let text = answer.visible_text();
        assert!(chat.question.starts_with(&text), "foreign text: {text}");
        for stored in &answer.answers {
            let run = stored.run.expect("a run");
            let status = stored.status.expect("every run has an end");
            let seen = chat.seen.remove(&run).unwrap_or_default();
            let log = client.whole_log(run).await;
            assert_eq!(log.status, Some(status));
            assert_eq!(log.visible_text(), stored.visible_text());
            let before = seen.visible_text();
            assert!(
                log.visible_text().starts_with(&before),
                "seen and lost of {run}: {before}"
            );
            let status = format!("{status:?}");
            self.ends.entry(status).or_default().insert(run);
            let (_, resumed) = client.read(run, seen).await.expect("no gap");
            assert_eq!(resumed, log, "read on and read from the beginning");
            chat.seen.insert(run, log);
        }
        let lost = chat.seen.len() - answer.answers.len();
        assert_eq!(lost, 0, "acknowledged and lost");
        let run = chat.run(loaded);
        if chat.seen[&run].status == Some(Status::Ok) {
            assert_eq!(text, chat.question);
        }
        chat.started.as_mut().expect("acknowledged").run = run;
        chat.fresh = false;
    }
}

#[tokio::test]
async fn killed_at_any_moment_nothing_that_was_seen_is_lost_and_nothing_deleted_is_left() {
    let kills = std::env::var("HEADWATER_KILLS").map_or(KILLS, |kills| {
        kills.parse().expect("HEADWATER_KILLS is a number")
    });
    let mut world = World {
        random: Random(std::process::id().into()),
        folder: tempfile::tempdir().expect("a folder"),
        chats: Vec::new(),
        number: 0,
        deleted: Vec::new(),
        ends: BTreeMap::new(),
    };
    std::fs::write(world.script(), SCRIPT).expect("written");
    for _ in 0..kills {
        match world.random.below(5) {
            0 => world.kill_at_start().await,
            _ => world.serve_and_kill().await,
        }
    }
    let last = Process::serve(world.program(), &[]).expect("starts");
    world.check(&Client(last.api.clone())).await;
    println!(
        "{kills} kills; conversations: {} begun, {} deleted",
        world.number,
        world.deleted.len()
    );
    for (status, answers) in &world.ends {
        println!("{} answers {status}", answers.len());
    }
    assert!(
        world.ends.contains_key("Interrupted"),
        "the kills hit answers"
    );
    assert!(!world.deleted.is_empty(), "something was deleted");
}
