//! Settings of a conversation: stored, checked, and put into what the model is asked.

use crate::harness::{InProcess, answer};
use headwater_protocol::{
    ConversationId, ErrorCode, Started,
    chat::{Effort, Settings},
};
use reqwest::StatusCode;

async fn set(server: &InProcess, started: &Started, settings: &str) -> (StatusCode, String) {
    let id = started.conversation.to_string();
    let form = [("id", id.as_str()), ("settings", settings)];
    let response = server.api.post("/api/conversations/settings", &form).await;
    match answer::<()>(response).await {
        Ok(()) => (StatusCode::OK, String::new()),
        Err((status, error)) => (status, error.message),
    }
}

#[tokio::test]
async fn settings_are_kept_and_reach_the_model() {
    let server = InProcess::with(|config| config.system = Some("Be kind.".into())).await;
    let started = server.api.start("settings", "How are you set?").await;
    let text = server.api.fold(started.run).await.visible_text();
    assert!(text.contains("system: Be kind."), "{text}");
    assert!(text.contains("temperature: default"), "{text}");
    assert!(server.api.load(&started).await.settings.is_empty());

    let chosen = r#"{"system":"Be brief.","temperature":0.2,"top_p":0.9,"max_tokens":300,
                     "effort":"low","later":true}"#;
    assert_eq!(set(&server, &started, chosen).await.0, StatusCode::OK);
    let loaded = server.api.load(&started).await.settings;
    let expected = Settings {
        system: Some("Be brief.".into()),
        temperature: Some(0.2),
        top_p: Some(0.9),
        max_tokens: Some(300),
        effort: Some(Effort::Low),
    };
    assert_eq!(loaded, expected);

    let again = server.api.again("retry", started.run).await.expect("again");
    let text = server.api.fold(again.run).await.visible_text();
    for line in [
        "system: Be brief.",
        "temperature: 0.2",
        "top-p: 0.9",
        "most tokens: 300",
        "effort: low",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }

    assert_eq!(set(&server, &started, "{}").await.0, StatusCode::OK);
    assert!(server.api.load(&started).await.settings.is_empty());
}

#[tokio::test]
async fn a_new_conversation_begins_with_its_settings() {
    let server = InProcess::start().await;
    let settings = r#"{"system":"Speak like a river."}"#;
    let form = [
        ("text", "Hello"),
        ("model", "scripted/settings"),
        ("settings", settings),
    ];
    let started = server.api.try_start(&form).await.expect("started");
    let text = server.api.fold(started.run).await.visible_text();
    assert!(text.contains("system: Speak like a river."), "{text}");
    let loaded = server.api.load(&started).await.settings;
    assert_eq!(loaded.system.as_deref(), Some("Speak like a river."));

    // Another message must not change them in passing.
    let id = started.conversation.to_string();
    let form = [
        ("text", "Go on"),
        ("conversation", id.as_str()),
        ("settings", r#"{"top_p":1}"#),
    ];
    let (status, error) = server.api.try_start(&form).await.expect_err("refused");
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error.message.contains("“settings”"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_is_named_and_changes_nothing() {
    let server = InProcess::start().await;
    let started = server.api.start("hello", "Hello").await;
    let kept = r#"{"max_tokens":5}"#;
    assert_eq!(set(&server, &started, kept).await.0, StatusCode::OK);
    for (settings, field) in [
        (r#"{"temperature":3}"#, "temperature"),
        (r#"{"top_p":"much"}"#, "top_p"),
        (r#"{"max_tokens":0}"#, "max_tokens"),
        (r#"{"effort":"extreme"}"#, "effort"),
        ("temperature=1", "settings"),
    ] {
        let (status, sentence) = set(&server, &started, settings).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{settings}");
        assert!(sentence.contains(&format!("“{field}”")), "{sentence}");
    }
    let form = [("text", "Hello"), ("settings", r#"{"top_p":2}"#)];
    let (status, error) = server.api.try_start(&form).await.expect_err("refused");
    assert_eq!(
        (status, error.code),
        (StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest)
    );
    let most = server.api.load(&started).await.settings.max_tokens;
    assert_eq!(most, Some(5));

    let nobody = Started {
        conversation: ConversationId::new(),
        ..started
    };
    assert_eq!(set(&server, &nobody, "{}").await.0, StatusCode::NOT_FOUND);
}
