//! Servers with the tests' own providers, and questions to them.

use crate::{
    harness::{InProcess, ends_once},
    vendors::Vendor,
};
use headwater_engine::{
    config::ProviderConfig,
    runs::recovery::{OnBreak, Recovery},
};
use headwater_protocol::{Status, chat::Answer};
use std::time::Duration;

/// What is done about failures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// Nothing.
    Alone,
    /// The broken answer is begun anew.
    Anew,
    /// The broken answer is continued; the model repeats all that it said.
    Continued,
    /// It is tried again, and all the other connections fail as well.
    InVain,
}

impl Way {
    /// The same as the engine's setting.
    pub fn recovery(self) -> Recovery {
        let tries = u32::from(self != Self::Alone);
        Recovery {
            attempts: 1 + tries,
            max_recoveries: tries,
            pause: Duration::from_millis(20),
            on_break: match self {
                Self::Continued => OnBreak::Continue,
                _ => OnBreak::Restart,
            },
            ..Recovery::default()
        }
    }
}

/// A server with providers of one vendor by their names and addresses, and little patience. Each has
/// one model, of its own name.
pub async fn server(
    vendor: Vendor,
    recovery: Recovery,
    providers: &[(String, String)],
) -> InProcess {
    InProcess::with(|config| {
        config.recovery = recovery;
        config.deadlines.first_token = Duration::from_millis(1500);
        config.deadlines.between_tokens = Duration::from_millis(1000);
        config.providers = providers
            .iter()
            .map(|(name, url)| ProviderConfig {
                name: name.clone(),
                kind: vendor.kind,
                url: Some(url.clone()),
                models: Some(vec![name.clone()]),
                ..ProviderConfig::default()
            })
            .collect();
    })
    .await
}

/// Asks a provider's model, and checks what must hold whatever happens: one end, the last entry, and
/// the same text for whoever loads the page later.
pub async fn ask(server: &InProcess, provider: &str) -> Answer {
    let model = format!("{provider}/{provider}");
    let started = server
        .api
        .try_start(&[("text", "Go"), ("model", &model)])
        .await
        .expect("started");
    let answer = server.api.fold(started.run).await;
    ends_once(&server.engine, started.run).await;
    let loaded = server.api.load(&started).await;
    assert_eq!(
        loaded.messages[1].visible_text(),
        answer.visible_text(),
        "{model}"
    );
    assert_eq!(
        answer.error.is_some(),
        answer.status == Some(Status::Error),
        "{model}"
    );
    answer
}
