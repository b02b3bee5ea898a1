//! Years of chats: long lists, long conversations, and finding things in them.

use crate::{
    harness::{InProcess, answer, provider},
    upstream::{Reply, Upstream},
    vendors::ALL,
};
use headwater_engine::{
    StartRun,
    config::Kind,
    db::{
        conversations::{self, Begun},
        logs, search,
    },
    packed::{self, Packed},
};
use headwater_protocol::{
    BlockKind, ConversationId, Event, MessageId, SpanKind, Started, Status, Timing, Usage,
    chat::{Conversation, Message, Summary},
};
use rusqlite::Connection;
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// What a page may weigh, in bytes of HTML.
const PAGE_BYTES: usize = 300_000;

/// A question and its whole answer, stored as if they had been said at `at`.
fn tell(
    db: &Connection,
    conversation: Option<ConversationId>,
    question: &str,
    text: &str,
    at: u64,
) -> Started {
    let command = StartRun {
        conversation,
        text: question.to_owned(),
        ..StartRun::default()
    };
    let begun = conversations::begin_turn(db, &command, "scripted/hello", at);
    let Begun::New(run) = begun.expect("begun") else {
        panic!("it is new");
    };
    let mut packed = Packed::default();
    let events = [
        run.first_event(),
        Event::SpanStarted {
            span: 1,
            parent: None,
            kind: SpanKind::ChatModel,
            name: run.model,
            tags: Vec::new(),
            metadata: serde_json::Value::Null,
            input: serde_json::Value::Null,
            replaces: None,
        },
        Event::BlockStarted {
            span: 1,
            block: 1,
            kind: BlockKind::Text,
            tool: None,
        },
        Event::Delta {
            span: 1,
            block: 1,
            text: text.to_owned(),
            from: None,
        },
        Event::SpanFinished {
            span: 1,
            status: Status::Ok,
            output: serde_json::Value::Null,
            finish: None,
            usage: None,
            timing: None,
            error: None,
        },
        Event::RunFinished {
            status: Status::Ok,
            usage: Usage::default(),
            timing: Timing::default(),
            error: None,
            length: text.len() as u64,
            hash: packed::hash(text),
        },
    ];
    for event in events {
        packed.push(0, &event);
    }
    logs::finish(db, run.no, &packed, Status::Ok, &search::folded(text)).expect("stored");
    run.started
}

async fn write<T: Send + 'static>(
    server: &InProcess,
    work: impl FnOnce(&Connection) -> T + Send + 'static,
) -> T {
    let written = server.engine.log.writer.write(|db| Ok(work(db))).await;
    written.expect("written")
}

async fn listed(server: &InProcess, query: &[(&str, &str)]) -> Vec<Summary> {
    let url = format!("{}/api/conversations/list", server.api.base);
    let request = server.api.http.get(url).query(query);
    answer(request.send().await.expect("answer"))
        .await
        .expect("a list")
}

async fn loaded(server: &InProcess, id: ConversationId, more: &str) -> Conversation {
    let path = format!("/api/conversations/load?id={id}{more}");
    answer(server.api.get(&path).await).await.expect("loaded")
}

/// A page, and how long it took until its first byte and its last.
async fn page(server: &InProcess, path: &str) -> (String, Duration, Duration) {
    let start = Instant::now();
    let response = server.api.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    let first = start.elapsed();
    let html = response.text().await.expect("text");
    (html, first, start.elapsed())
}

#[tokio::test]
async fn what_is_said_in_any_alphabet_is_found_in_titles_questions_and_answers() {
    /// What was said, and what is searched for.
    const SAID: [(&str, &[&str]); 7] = [
        ("Привіт, світе", &["привіт", "ПРИВІТ", "вітЕ"]),
        (
            "Ärger im Büro",
            &["ärger", "ÄRGER IM BÜRO", "bu\u{308}ro", "a\u{308}rger"],
        ),
        ("Die Straße", &["STRASSE", "straße", "strasse"]),
        ("Οδυσσεύς", &["ΟΔΥΣΣΕΎΣ", "σσεύσ"]),
        ("İstanbul ve ISPARTA", &["istanbul", "ısparta", "İSTANBUL"]),
        ("東京で会う", &["東", "京で", "会う"]),
        (
            "a deci\u{ad}sion\nof two lines",
            &["DECISION", "decision of"],
        ),
    ];
    let server = InProcess::start().await;
    let chats = write(&server, |db| {
        let mut at = 1_000_000;
        let mut chats = Vec::new();
        for (said, _) in SAID {
            at += 10;
            let titled = tell(db, None, "first", "nothing", at);
            conversations::rename(db, titled.conversation, &said.replace('\n', " "))
                .expect("renamed");
            let asked = tell(db, None, "first", "nothing", at + 1).conversation;
            tell(db, Some(asked), &format!("«{said}»"), "nothing", at + 2);
            let answered = tell(db, None, "first", &format!("**{said}**"), at + 3);
            chats.push([answered.conversation, asked, titled.conversation]);
        }
        chats
    })
    .await;
    for ((said, queries), chats) in SAID.iter().zip(&chats) {
        for query in *queries {
            let found = listed(&server, &[("query", query)]).await;
            let found: Vec<_> = found.iter().map(|chat| chat.id).collect();
            assert_eq!(found, chats, "{query:?} in {said:?}, the newest first");
        }
    }
    assert!(listed(&server, &[("query", "arger")]).await.is_empty());
    assert_eq!(
        listed(&server, &[("query", "  ")]).await.len(),
        3 * SAID.len()
    );

    // What is renamed, deleted or stopped before it was said is not found any more.
    let [answered, asked, titled] = chats[0];
    write(&server, move |db| {
        conversations::rename(db, titled, "Другий")
    })
    .await
    .expect("renamed");
    for gone in [answered, asked] {
        let form = [("id", &*gone.to_string())];
        let response = server.api.post("/api/conversations/delete", &form).await;
        assert!(response.status().is_success());
    }
    assert!(listed(&server, &[("query", "привіт")]).await.is_empty());
    assert_eq!(listed(&server, &[("query", "ДРУГИЙ")]).await[0].id, titled);
    let rows = write(&server, move |db| {
        db.query_row(
            "SELECT count(*) FROM passage WHERE instr(text, 'привіт') OR conversation IN (?1, ?2)",
            [answered.0.as_bytes(), asked.0.as_bytes()],
            |row| row.get::<_, i64>(0),
        )
    });
    assert_eq!(rows.await.expect("counted"), 0, "nothing of it is kept");
}

#[tokio::test]
async fn an_answer_that_was_streamed_is_found_when_it_has_ended() {
    let server = InProcess::start().await;
    let started = server.api.start("markdown", "Show me").await;
    let text = server.api.fold(started.run).await.visible_text();
    let words: Vec<&str> = text.split_whitespace().rev().take(3).collect();
    let words = words
        .into_iter()
        .rev()
        .collect::<Vec<_>>()
        .join(" ")
        .to_uppercase();
    let found = async {
        loop {
            // The last entry is seen an instant before the log is put in one piece.
            let found = listed(&server, &[("query", &words)]).await;
            if let [one] = &*found {
                return one.id;
            }
        }
    };
    let found = tokio::time::timeout(crate::harness::PATIENCE, found).await;
    assert_eq!(found.expect("found"), started.conversation, "{words:?}");
}

#[tokio::test]
async fn a_list_of_years_comes_in_pages_that_reach_everything_once() {
    const CHATS: usize = 3_000;
    let server = InProcess::start().await;
    let start = Instant::now();
    let mut expected: HashSet<ConversationId> = write(&server, |db| {
        let chats = (0..CHATS).map(|at| {
            let question = format!("Chat {at}: where does the river number {at} begin?");
            let text = format!("In the mountains, {at} m above the sea. ").repeat(20);
            // Several at the same moment.
            let started = tell(db, None, &question, &text, 1_000_000 + at as u64 / 3);
            if at % 500 == 0 {
                conversations::pin(db, started.conversation, true).expect("pinned");
            }
            started.conversation
        });
        chats.collect()
    })
    .await;
    println!("{CHATS} conversations stored in {:?}", start.elapsed());

    let (html, first, whole) = page(&server, "/").await;
    println!(
        "/: {} kB, first byte {first:?}, whole {whole:?}",
        html.len() / 1000
    );
    assert!(html.len() < PAGE_BYTES, "{} bytes", html.len());
    assert!(html.contains("Chat 2999:") && !html.contains("Chat 1:"));
    assert!(
        html.contains("/plain/conversations?after="),
        "a way on without script"
    );

    // Nobody says how many, too many, and in pages, while others come and go at the top.
    assert_eq!(
        listed(&server, &[]).await.len(),
        conversations::DEFAULT_PAGE
    );
    assert_eq!(
        listed(&server, &[("limit", "9999")]).await.len(),
        conversations::MAX_PAGE
    );
    let (mut got, mut after) = (Vec::new(), String::new());
    let start = Instant::now();
    let mut pages = 0;
    loop {
        let page = listed(&server, &[("limit", "150"), ("after", &after)]).await;
        let Some(last) = page.last() else { break };
        after = last.place().to_string();
        let seen = page[0].id;
        got.extend(page);
        pages += 1;
        write(&server, move |db| {
            tell(db, None, "new", "new", 2_000_000 + pages);
            tell(db, Some(seen), "again", "new", 2_000_000 + pages);
        })
        .await;
    }
    println!("{pages} pages of 150 in {:?}", start.elapsed());
    let places: Vec<_> = got.iter().map(Summary::place).collect();
    assert!(places.is_sorted_by(|one, next| one > next), "in one order");
    for chat in got {
        assert!(expected.remove(&chat.id), "once: {}", chat.title);
    }
    assert!(expected.is_empty(), "{} were not reached", expected.len());

    // A search is paged in the same way, and the rarest word costs the most.
    for query in ["river", "r", "number 17 begin", "nowhere to be found"] {
        let start = Instant::now();
        let found = listed(&server, &[("query", query)]).await.len();
        println!("{query:?}: {found} found in {:?}", start.elapsed());
    }
    let mut found = listed(&server, &[("query", "RIVER"), ("limit", "200")]).await;
    let after = found.last().expect("found").place().to_string();
    let rest = [("query", "RIVER"), ("limit", "200"), ("after", &after)];
    found.extend(listed(&server, &rest).await);
    let once: HashSet<_> = found.iter().map(|chat| chat.id).collect();
    assert_eq!((found.len(), once.len()), (400, 400));

    // Without script, link by link.
    let mut next = Some("/plain/conversations".to_owned());
    let mut links = HashSet::new();
    while let Some(path) = next {
        let (html, ..) = page(&server, &path).await;
        assert!(html.len() < PAGE_BYTES);
        for link in hrefs(&html).filter(|link| link.starts_with("/c/")) {
            assert!(links.insert(link.to_owned()), "{link} twice");
        }
        next = hrefs(&html)
            .find(|link| link.starts_with("/plain/conversations?"))
            .map(str::to_owned);
    }
    assert_eq!(links.len(), CHATS + pages as usize);

    let unreadable = server.api.get("/api/conversations/list?after=x").await;
    assert_eq!(unreadable.status(), 400);
}

/// The addresses that a page leads to.
fn hrefs(html: &str) -> impl Iterator<Item = &str> {
    html.split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
}

fn question(turn: usize) -> String {
    format!("Question {turn} of many")
}

/// A conversation of 300 turns, its answers of 3 kB.
async fn long_conversation(server: &InProcess) -> ConversationId {
    write(server, |db| {
        let mut id = None;
        for turn in 0..300 {
            let text = format!("Answer {turn}. ")
                + &"Some **words** of an answer, with `code` in it.\n\n".repeat(60);
            let started = tell(db, id, &question(turn), &text, 1_000_000 + turn as u64);
            id = Some(started.conversation);
        }
        id.expect("a conversation")
    })
    .await
}

#[tokio::test]
async fn a_long_conversation_comes_in_parts_that_reach_the_first_message() {
    let server = InProcess::start().await;
    let id = long_conversation(&server).await;
    write(&server, |db| {
        for at in 0..60 {
            tell(
                db,
                None,
                &format!("One of the others, number {at}"),
                "Yes.",
                1_500_000 + at,
            );
        }
    })
    .await;
    let (html, first, whole) = page(&server, &format!("/c/{id}")).await;
    println!(
        "/c/…: {} kB, first byte {first:?}, whole {whole:?}",
        html.len() / 1000
    );
    assert!(html.len() < PAGE_BYTES, "{} bytes", html.len());
    assert!(html.contains(&question(299)) && !html.contains(&question(5)));
    assert!(html.contains("Show earlier messages"));

    let start = Instant::now();
    let mut messages: Vec<Message> = Vec::new();
    let mut more = String::new();
    let mut parts = 0;
    loop {
        let part = loaded(&server, id, &more).await;
        let earlier = part.earlier();
        let weight: usize = part.messages.iter().map(Message::weight).sum();
        assert!(weight < 64 * 1024, "{weight} bytes at once");
        messages.splice(..0, part.messages);
        parts += 1;
        // What comes at the end meanwhile moves nothing.
        write(&server, move |db| {
            tell(db, Some(id), "new", "new", 2_000_000)
        })
        .await;
        match earlier {
            Some(first) => more = format!("&before={first}"),
            None => break,
        }
    }
    println!(
        "{} messages in {parts} parts in {:?}",
        messages.len(),
        start.elapsed()
    );
    assert_eq!(messages.len(), 600);
    assert_eq!(messages[0].parent, None);
    for (turn, pair) in messages.chunks(2).enumerate() {
        assert_eq!(pair[0].text, question(turn));
        assert!(
            pair[1]
                .visible_text()
                .starts_with(&format!("Answer {turn}."))
        );
        assert_eq!(pair[1].parent, Some(pair[0].id));
    }
    let few = loaded(&server, id, "&limit=3").await;
    assert_eq!(few.messages.len(), 3);
    let many = loaded(&server, id, "&limit=9999").await;
    assert_eq!(many.messages.len(), conversations::MAX_MESSAGES);
    let path = format!(
        "/api/conversations/load?id={id}&before={}",
        MessageId::new()
    );
    assert_eq!(
        server.api.get(&path).await.status(),
        404,
        "a message of nowhere"
    );

    // Without script, link by link.
    let mut next = Some(format!("/plain/{id}"));
    let mut turns = Vec::new();
    while let Some(path) = next {
        let (html, ..) = page(&server, &path).await;
        assert!(html.len() < PAGE_BYTES, "{} bytes", html.len());
        let composer = html.contains("<textarea");
        assert_eq!(
            composer,
            !path.contains("before"),
            "what is sent follows the last message"
        );
        let here: Vec<String> = (0..300)
            .filter(|turn| {
                html.contains(&format!(
                    "<p class=\"question\" dir=\"auto\">{}<",
                    question(*turn)
                ))
            })
            .map(question)
            .collect();
        turns.splice(..0, here);
        next = hrefs(&html)
            .find(|link| link.contains("before="))
            .map(str::to_owned);
    }
    assert_eq!(turns, (0..300).map(question).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_version_of_an_early_message_is_shown_with_what_follows_it() {
    let server = InProcess::start().await;
    let id = long_conversation(&server).await;
    let all = loaded(&server, id, "&limit=200").await;
    let old = all
        .messages
        .iter()
        .find(|message| message.text == question(250));
    let old = old.expect("it is among the newest").clone();
    let form = [
        ("text", "Another wording"),
        ("conversation", &*id.to_string()),
        ("parent", &*old.parent.expect("a parent").to_string()),
        ("branch", "true"),
        ("model", "scripted/hello"),
    ];
    let started = server.api.try_start(&form).await.expect("started");
    server.api.fold(started.run).await;
    let edited = loaded(&server, id, "").await;
    let [.., new, last] = &*edited.messages else {
        panic!("two messages at least");
    };
    assert_eq!((last.id, &*new.text), (started.message, "Another wording"));
    assert_eq!(new.branches, [old.id, new.id]);

    // Back to the old version: its whole branch, back to the message that was chosen.
    let form = [("id", &*id.to_string()), ("message", &*old.id.to_string())];
    let selected: Conversation = answer(server.api.post("/api/conversations/select", &form).await)
        .await
        .expect("selected");
    assert_eq!(selected.messages.last().map(|last| last.id), all.head());
    assert!(selected.messages.iter().any(|message| message.id == old.id));
}

#[tokio::test]
async fn the_model_is_told_the_whole_branch() {
    let vendor = ALL
        .iter()
        .find(|vendor| vendor.kind == Kind::Openai)
        .expect("there");
    let upstream = Upstream::start(vec![Reply::chunked(vendor.text)]).await;
    let server = InProcess::with(|config| {
        config.providers = vec![provider(
            Kind::Openai,
            format!("http://{}", upstream.address),
        )];
    })
    .await;
    let id = long_conversation(&server).await;
    let form = [
        ("text", "And now?"),
        ("conversation", &*id.to_string()),
        ("model", "p/m"),
    ];
    let started = server.api.try_start(&form).await.expect("started");
    assert_eq!(server.api.fold(started.run).await.status, Some(Status::Ok));
    let requests = upstream.requests();
    let request = requests.iter().find(|body| body.contains("And now?"));
    let request = request.expect("it was asked");
    for turn in 0..300 {
        assert!(request.contains(&question(turn)), "{turn}");
        assert!(request.contains(&format!("Answer {turn}.")), "{turn}");
    }
}
