//! Silence and loss at places all over the recorded answers, through the whole server. Every single
//! byte has its turn where no server is in between: in the tests of the providers.

use crate::{
    asking::{Way, ask, server},
    proxy::{End, Faults, Proxy},
    upstream::{Reply, Upstream},
    vendors::{ALL, TEXT},
};
use futures::future::join_all;
use headwater_protocol::{ErrorCode, Status};

/// How many places of each answer.
const PLACES: usize = 25;

async fn at_places(end: fn(usize) -> End, codes: &[ErrorCode]) {
    for vendor in ALL {
        let upstream = Upstream::start(vec![Reply::stream(vendor.text)]).await;
        let length = vendor.text.len();
        let places: Vec<usize> = (0..PLACES).map(|place| place * length / PLACES).collect();
        let proxies = join_all(places.iter().map(|at| {
            let faults = Faults {
                end: end(*at),
                ..Faults::default()
            };
            Proxy::start(upstream.address, vec![faults])
        }))
        .await;
        let providers: Vec<_> = places
            .iter()
            .zip(&proxies)
            .map(|(at, proxy)| (format!("at-{at}"), proxy.url("")))
            .collect();
        let server = server(vendor, Way::Alone.recovery(), &providers).await;
        join_all(providers.iter().map(async |(provider, _)| {
            let answer = ask(&server, provider).await;
            let (name, text) = (vendor.name, answer.visible_text());
            match answer.error {
                // What is missing behind the end of the text harms nobody.
                None => assert_eq!(text, TEXT, "{name} {provider}"),
                Some(error) => {
                    assert!(codes.contains(&error.code), "{name} {provider}: {error}");
                    assert!(TEXT.starts_with(&text), "{name} {provider}: {text}");
                    assert_eq!(answer.status, Some(Status::Error));
                }
            }
        }))
        .await;
    }
}

#[tokio::test]
async fn silence_anywhere_is_ended_by_a_deadline() {
    at_places(
        End::Silent,
        &[ErrorCode::FirstTokenTimeout, ErrorCode::Stall],
    )
    .await;
}

#[tokio::test]
async fn a_reset_anywhere_is_a_broken_connection() {
    at_places(End::Reset, &[ErrorCode::Connection]).await;
}

#[tokio::test]
async fn an_end_anywhere_is_no_whole_answer() {
    at_places(End::Closed, &[ErrorCode::Truncated]).await;
}
