//! Pages are whole: whoever asks, however many ask at once, and whoever leaves in between.

use crate::harness::{Api, InProcess, Process};
use futures::{StreamExt, stream};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What each page must have from its first line to its last.
fn is_whole(page: &str, title: &str) -> Result<(), String> {
    let title = format!("<title>{title}</title>");
    for part in ["<!DOCTYPE html>", &title, "id=\"scroller\"", "</html>"] {
        if !page.contains(part) {
            return Err(format!("no {part} in {} bytes: {page}", page.len()));
        }
    }
    Ok(())
}

async fn page(api: &Api, path: &str) -> Result<String, String> {
    let url = format!("{}{path}", api.base);
    let response = api.http.get(url).send().await;
    let response = response.map_err(|why| format!("no answer: {why:?}"))?;
    if response.status() != 200 {
        return Err(format!("{}", response.status()));
    }
    response
        .text()
        .await
        .map_err(|why| format!("cut off: {why:?}"))
}

/// Conversations with titles of their own, and the address and title of each.
async fn conversations(api: &Api) -> Vec<(String, String)> {
    let mut pages = vec![("/".to_owned(), "Headwater".to_owned())];
    for name in ["Alder", "Birch", "Cedar"] {
        let started = api.start("hello", name).await;
        api.fold(started.run).await;
        let path = format!("/c/{}", started.conversation);
        pages.push((path, format!("{name} · Headwater")));
    }
    pages
}

/// Asks for pages one after the other, then many at once, while data is asked for too: all of that
/// is made by the same threads. Returns what was wrong.
async fn ask_for_pages(api: &Api) -> Vec<String> {
    let pages = conversations(api).await;
    let mut faults = Vec::new();
    for (at_once, rounds) in [(1, 50), (32, 100)] {
        let asked = (0..rounds).flat_map(|_| pages.iter());
        let answers = stream::iter(asked).map(|(path, title)| async {
            let (page, _) = tokio::join!(page(api, path), api.get("/api/conversations/list"));
            page.and_then(|page| is_whole(&page, title))
        });
        let answers: Vec<_> = answers.buffer_unordered(at_once).collect().await;
        faults.extend(answers.into_iter().filter_map(Result::err));
    }
    faults
}

#[tokio::test]
async fn every_page_is_whole_and_has_its_own_title() {
    // One thread goes from request to request at every pause.
    let server = InProcess::start().await;
    let faults = ask_for_pages(&server.api).await;
    assert!(faults.is_empty(), "{}, {:?}", faults.len(), faults.first());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_of_the_program_is_whole_and_has_its_own_title() {
    // Many threads pass requests on to each other.
    let data = tempfile::tempdir().expect("folder");
    let server = Process::start(data.path(), &[]);
    let faults = ask_for_pages(&server.api).await;
    let said = server.said();
    assert!(faults.is_empty(), "{}, {:?}", faults.len(), faults.first());
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_panics_for_a_client_that_has_left() {
    let data = tempfile::tempdir().expect("folder");
    let server = Process::start(data.path(), &[]);
    let pages = conversations(&server.api).await;
    let address = server.api.base.trim_start_matches("http://");
    let leave = |number: usize| {
        let path = &pages[number % pages.len()].0;
        async move {
            let mut socket = TcpStream::connect(address).await.expect("connected");
            let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            socket.write_all(request.as_bytes()).await.expect("sent");
            // Five milliseconds, in steps that do not fall together with anything.
            let stay = Duration::from_micros((number as u64 * 97) % 5000);
            let mut heard = [0; 64];
            let _ = tokio::time::timeout(stay, socket.read(&mut heard)).await;
            // Half of them close, half of them reset.
            if number.is_multiple_of(2) {
                let _ = socket.set_zero_linger();
            }
        }
    };
    stream::iter(0..2000).for_each_concurrent(16, leave).await;
    // Whoever stays is served, and comes after all of them.
    for (path, title) in &pages {
        let page = page(&server.api, path).await.expect("answered");
        is_whole(&page, title).expect("whole");
    }
    let said = server.said();
    assert!(!said.contains("panicked"), "{said}");
}
