//! Chooses the run to follow, and handles its end.

use super::driver::{Inbox, Item, drive};
use crate::{
    browser::{self, Channel, Listener},
    client::{
        follow::{Input, Link},
        store::{
            Chat, MessageView,
            news::{CHANNEL, News},
        },
        transport,
    },
};
use headwater_protocol::{ConversationId, RunId, Status, UnixMs, chat::Answer};
use leptos::prelude::*;

/// Milliseconds in the background after which a page may be out of date.
pub(super) const AWAY_MS: u64 = 5_000;

/// The listeners of a chat and the run that it follows.
#[derive(Default)]
pub(in crate::client::store) struct Live {
    listeners: Vec<Listener>,
    channel: Option<Channel>,
    follower: Option<Follower>,
    /// When the page went to the background.
    hidden_since: Option<UnixMs>,
}

/// A handle to the task that follows a run. Dropping it ends the task and closes the stream.
struct Follower {
    run: RunId,
    view: MessageView,
    inbox: Inbox,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl Live {
    /// Notifies the other tabs and the sidebar.
    pub(in crate::client::store) fn tell(&self, news: News, conversation: ConversationId) {
        if let Some(channel) = &self.channel {
            channel.post(&news.encode(conversation));
        }
    }

    fn put(&self, item: Item) {
        if let Some(follower) = &self.follower {
            follower.inbox.put(item);
        }
    }
}

/// Listens to the page and to the other tabs for as long as the chat lives.
pub(in crate::client::store) fn listen(chat: Chat) {
    transport::join();
    let on = move |kind: &'static str, input: Input| {
        Listener::new(&window(), kind, move |_| {
            let item = Item::Input(input.clone());
            chat.live.try_with_value(|live| live.put(item));
        })
    };
    let listeners = vec![
        Listener::new(&document(), "visibilitychange", move |_| {
            visibility_changed(chat);
        }),
        on("pageshow", Input::Woke),
        on("online", Input::Online),
        on("offline", Input::Offline),
    ];
    let channel = Channel::open(CHANNEL, move |message| {
        if let Some((news, id)) = News::decode(message) {
            heard(chat, news, id);
        }
    });
    chat.live.update_value(|live| {
        live.listeners = listeners;
        live.channel = channel;
    });
}

fn visibility_changed(chat: Chat) {
    let hidden = browser::is_hidden();
    let now = browser::now();
    let away = chat.live.try_update_value(|live| {
        live.put(Item::VisibilityChanged);
        if hidden {
            live.hidden_since = Some(now);
            return 0;
        }
        live.put(Item::Input(Input::Woke));
        live.hidden_since
            .take()
            .map_or(0, |since| now.saturating_sub(since))
    });
    // Another device may have changed the conversation meanwhile.
    if away.is_some_and(|away| away > AWAY_MS) && chat.running_view().is_none() {
        chat.reload();
    }
}

fn heard(chat: Chat, news: News, conversation: ConversationId) {
    if chat.id.try_get_untracked().flatten() != Some(conversation) {
        return;
    }
    match news {
        News::Deleted => chat.clear(),
        // This page follows the run and sees its end itself.
        News::Finished if chat.running_view().is_some() => {}
        News::Started | News::Changed | News::Finished => chat.reload(),
    }
}

/// Follows the running answer on the screen, and nothing else.
pub(in crate::client::store) fn follow(chat: Chat) {
    let running = chat
        .running_view()
        .filter(|_| !chat.covered.get_untracked())
        .and_then(|view| Some((view, view.running()?)));
    let followed = chat.live.try_with_value(|live| {
        live.follower
            .as_ref()
            .map(|follower| (follower.view, follower.run))
    });
    let Some(followed) = followed else {
        return;
    };
    if running.map(|(_, run)| run) == followed.map(|(_, run)| run) {
        return;
    }
    let begun = running.map(|(view, run)| {
        let (inbox, items) = Inbox::new();
        browser::spawn(drive(chat, view, run, inbox.clone(), items));
        Follower { run, view, inbox }
    });
    chat.link.set(if begun.is_some() {
        Link::Connecting
    } else {
        Link::Idle
    });
    chat.live.update_value(|live| live.follower = begun);
    // A loaded conversation may have brought the end before the stream did.
    if let Some((view, run)) = followed
        && chat.view(view.id).is_some()
        && view
            .state
            .with_untracked(|state| state.run == Some(run) && !state.is_running())
    {
        finished(chat, view);
        check(chat, view, run);
    }
}

/// Handles the end of the answer on the screen, which came from the stream or a loaded
/// conversation.
fn finished(chat: Chat, view: MessageView) {
    chat.notice.set(None);
    if let Some(id) = chat.id.get_untracked() {
        chat.tell(News::Finished, id);
    }
    if chat.inner.with_value(|inner| inner.unconfirmed) {
        chat.reload();
    }
    // After a stop or a failure, the person may want to write something else first.
    if view
        .state
        .with_untracked(|state| state.status == Some(Status::Ok))
    {
        chat.send_queued();
    }
}

/// Compares the hash of the text with that of the stored text, and reloads it if they differ.
fn check(chat: Chat, view: MessageView, run: RunId) {
    let folded = view.with_body(|body| {
        let of_run = |answer: &&Answer| answer.run == Some(run);
        let answer = body.answers.iter().find(of_run)?;
        Some((answer.visible_text(), answer.hash.clone()))
    });
    let Some((text, expected)) = folded.filter(|(_, hash)| !hash.is_empty()) else {
        return;
    };
    browser::spawn(async move {
        let differs = browser::sha256(text)
            .await
            .is_some_and(|hash| hash != expected);
        if differs && !view.state.is_disposed() {
            reload_after_mismatch(chat, view, run);
        }
    });
}

/// Reloads a text that differs from the stored one.
pub(super) fn reload_after_mismatch(chat: Chat, view: MessageView, run: RunId) {
    leptos::logging::warn!(
        "The text of an answer differs from the stored one; it is loaded again."
    );
    view.body.update_value(|body| body.invalidate(run));
    chat.reload();
}
