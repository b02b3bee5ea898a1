//! [`Server-Timing`](https://www.w3.org/TR/server-timing/): where the time of an answer went, for the
//! network panel of a browser and for whoever measures with `curl -i`.
//!
//! | metric | milliseconds |
//! |---|---|
//! | `request` | until the head of this response was ready; on every response |
//! | `headwater` | from the command to the first request to a provider |
//! | `queue` | from there until the run had left the queue and the provider had accepted it |
//! | `provider` | from there to the first token |
//!
//! The last three are of a run, and are on the event streams that are opened after its end: the head of a stream
//! is sent before anything is known of a run that begins. Together they are the time to the first token.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use headwater_protocol::Timing;
use std::time::Duration;

/// The header.
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The metrics of a run, as far as they are known. Empty if none is.
pub fn of_run(timing: &Timing) -> String {
    let between = |from: Option<u64>, to: Option<u64>| to?.checked_sub(from?);
    let parts = [
        ("headwater", timing.asked),
        ("queue", between(timing.asked, timing.queued)),
        ("provider", between(timing.queued, timing.first_token)),
    ];
    let known = parts
        .iter()
        .filter_map(|(name, ms)| Some(format!("{name};dur={}", (*ms)?)));
    known.collect::<Vec<_>>().join(", ")
}

/// Adds the metric of the response itself to whatever is there.
pub fn add_request(headers: &mut HeaderMap, latency: Duration) {
    let request = format!("request;dur={:.1}", latency.as_secs_f64() * 1000.0);
    let value = match headers.get(SERVER_TIMING).map(HeaderValue::to_str) {
        Some(Ok(before)) if !before.is_empty() => format!("{before}, {request}"),
        _ => request,
    };
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(SERVER_TIMING, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_run_add_up_to_its_first_token() {
        let mut timing = Timing {
            asked: Some(3),
            ..Timing::default()
        };
        assert_eq!(of_run(&Timing::default()), "");
        assert_eq!(of_run(&timing), "headwater;dur=3");
        timing.queued = Some(10);
        timing.first_token = Some(250);
        let all = "headwater;dur=3, queue;dur=7, provider;dur=240";
        assert_eq!(of_run(&timing), all);
    }

    #[test]
    fn a_clock_that_went_back_leaves_its_part_out() {
        let timing = Timing {
            asked: Some(9),
            queued: Some(4),
            first_token: Some(5),
            ..Timing::default()
        };
        assert_eq!(of_run(&timing), "headwater;dur=9, provider;dur=1");
    }

    #[test]
    fn what_is_there_stays() {
        let mut headers = HeaderMap::new();
        add_request(&mut headers, Duration::from_micros(1234));
        assert_eq!(headers[SERVER_TIMING], "request;dur=1.2");
        headers.insert(SERVER_TIMING, HeaderValue::from_static("queue;dur=1"));
        add_request(&mut headers, Duration::from_millis(2));
        assert_eq!(headers[SERVER_TIMING], "queue;dur=1, request;dur=2.0");
    }
}
