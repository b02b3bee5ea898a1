//! The commands of a conversation.
//!
//! Every command is one request. Its effect comes back as events and with the reloaded
//! conversation. Only the text that the person typed is shown before that.

use super::{Chat, MessageView, Problem, Queued, news::News, queue, retry::with_retries};
use crate::{
    api::{self, ApiError},
    browser,
};
use headwater_protocol::{
    ConversationId, Error, ErrorCode, ImageId, MessageId, RunId, Started,
    chat::{Message, Role, Settings},
};
use leptos::prelude::*;
use serde_json::Value;
use std::pin::Pin;

/// How often a message that did not reach the server is sent again, within about ten seconds. The
/// server recognizes a repeated message by its `client_id`.
const SEND_TRIES: u32 = 5;

/// The answer to a command that begins a run.
type Starting = Pin<Box<dyn Future<Output = Result<Started, ApiError>>>>;

/// Settings as JSON; an empty string if nothing is chosen.
pub(super) fn json(settings: Settings) -> String {
    match settings.is_empty() {
        true => String::new(),
        false => Value::from(settings).to_string(),
    }
}

impl Chat {
    /// Attaches the images of an unsent message to the next one.
    pub(super) fn take_back(self, images: Vec<ImageId>) {
        if !images.is_empty() {
            self.images.update(|here| here.extend(images));
        }
    }

    /// Uploads images for the next message.
    pub(crate) fn attach(self, files: Vec<browser::File>) {
        self.problem.set(None);
        self.uploading.update(|count| *count += files.len());
        let screen = self.screen();
        browser::spawn(async move {
            for file in files {
                let kept = browser::upload(file).await;
                if self.screen() != screen {
                    return;
                }
                self.uploading.update(|count| *count -= 1);
                match kept {
                    Ok(image) => self.images.update(|images| images.push(image)),
                    Err(error) => self.fail(error, None),
                }
            }
        });
    }

    /// Removes an image from the next message.
    pub fn detach(self, place: usize) {
        self.images.update(|images| {
            if place < images.len() {
                images.remove(place);
            }
        });
    }

    /// Stops the answer that is being written. The text on the screen is kept.
    pub fn stop(self) {
        let Some((view, run)) = self
            .running_view()
            .and_then(|view| Some((view, view.running()?)))
        else {
            return;
        };
        if view.state.with_untracked(|state| state.stopping) {
            return;
        }
        view.body.update_value(super::Body::freeze);
        view.state.update(|state| state.stopping = true);
        let seen = view.with_body(super::Body::painted);
        browser::spawn(async move {
            let stopped = with_retries(3, || api::stop_run(run, Some(seen))).await;
            // The effect comes with the stream.
            let Err(error) = stopped else { return };
            if view.state.is_disposed() || view.state.with_untracked(|state| state.run != Some(run))
            {
                return;
            }
            view.body.update_value(super::Body::thaw);
            view.paint(true, |state| state.stopping = false);
            self.fail(error, None);
        });
    }

    /// Continues an incomplete answer, with another model if one is given.
    pub fn continue_answer(self, message: MessageId, model: Option<String>) {
        self.restart(
            message,
            Box::new(move |run| Box::pin(api::continue_run(run, model))),
            Self::continued,
        );
    }

    /// Answers again, as another branch.
    pub fn retry(self, message: MessageId, model: Option<String>) {
        self.restart(
            message,
            Box::new(move |run| Box::pin(api::retry_run(run, model))),
            |chat, old, started| {
                let mut views = chat.messages.get_untracked();
                views.truncate(
                    views
                        .iter()
                        .position(|view| view.id == old.id)
                        .unwrap_or(views.len()),
                );
                chat.answer_begins(views, old.parent, started);
            },
        );
    }

    /// Sends another version of the person's message, as another branch.
    pub fn edit(self, message: MessageId, text: String) {
        let views = self.messages.get_untracked();
        let Some(at) = views.iter().position(|view| view.id == message) else {
            return;
        };
        if text.trim().is_empty() || self.sending.get_untracked() {
            return;
        }
        let message = Queued {
            client_id: browser::random_id().to_string(),
            text,
            images: views[at].images.get_untracked(),
        };
        self.start(message, views[at].parent, views[..at].to_vec(), true);
    }

    /// Shows the branch that contains a message.
    pub fn select(self, message: MessageId) {
        let Some(id) = self.id.get_untracked() else {
            return;
        };
        let screen = self.screen();
        self.next_edition();
        let edition = self.edition();
        browser::spawn(async move {
            let selected = api::select_branch(id, message).await;
            if self.screen() != screen || self.edition_or_gone() != Some(edition) {
                return;
            }
            match selected {
                Ok(conversation) => {
                    self.present(conversation);
                    self.tell(News::Changed, id);
                }
                Err(ApiError(error)) => self.fail(error, None),
            }
        });
    }

    /// Changes the settings. Those of a new chat are sent with its first message. `done` is called
    /// with the error, if there is one.
    pub fn set_up(self, settings: Settings, done: Box<dyn FnOnce(Option<Error>)>) {
        let settings = json(settings);
        let Some(id) = self.id.get_untracked() else {
            self.settings.set(settings);
            return done(None);
        };
        let screen = self.screen();
        browser::spawn(async move {
            let set = api::set_conversation(id, settings.clone()).await;
            if self.screen() != screen {
                return;
            }
            match set {
                Ok(()) => {
                    self.settings.set(settings);
                    self.tell(News::Changed, id);
                    // A load in progress may have the old settings.
                    self.reload();
                    done(None);
                }
                Err(ApiError(error)) => done(Some(error)),
            }
        });
    }

    pub(super) fn start_at_head(self, message: Queued) {
        let views = self.messages.get_untracked();
        let parent = views.last().map(|view| view.id);
        self.start(message, parent, views, false);
    }

    /// Sends `message` as a child of `parent`. Until the server has it, it is shown after `views`.
    fn start(
        self,
        message: Queued,
        parent: Option<MessageId>,
        views: Vec<MessageView>,
        branch: bool,
    ) {
        let before = self.messages.get_untracked();
        let conversation = self.id.get_untracked();
        let model = self.model.get_untracked();
        let settings = self.settings.get_untracked();
        let settings = Some(settings).filter(|json| conversation.is_none() && !json.is_empty());
        self.problem.set(None);
        self.sending.set(true);
        self.next_edition();
        let pending = self.make_pending(parent, &message);
        self.set_messages(views.into_iter().chain([pending]).collect());
        let screen = self.screen();
        browser::spawn(async move {
            let started = with_retries(SEND_TRIES, || {
                let Queued {
                    client_id,
                    text,
                    images,
                } = message.clone();
                let images: Vec<String> = images.into_iter().map(|image| image.0).collect();
                let branch = branch.then_some(true);
                api::start_run(
                    text,
                    conversation,
                    parent,
                    model.clone(),
                    Some(client_id),
                    branch,
                    settings.clone(),
                    Some(images.join(",")).filter(|images| !images.is_empty()),
                )
            })
            .await;
            if self.screen() != screen {
                return self.answered_elsewhere(message, conversation, started);
            }
            self.sending.set(false);
            match started {
                Ok(started) => {
                    let views = self.messages.get_untracked();
                    self.answer_begins(views, Some(pending.id), started);
                }
                Err(error) => {
                    let moved_on = error.code == ErrorCode::Conflict;
                    self.next_edition();
                    self.set_messages(before);
                    self.take_back(message.images);
                    self.fail(error, Some(message.text));
                    if moved_on {
                        self.reload();
                    }
                }
            }
        });
    }

    /// Sends a command that starts another run for a message.
    fn restart(
        self,
        message: MessageId,
        command: Box<dyn FnOnce(RunId) -> Starting>,
        then: fn(Self, MessageView, Started),
    ) {
        let Some(view) = self.view(message) else {
            return;
        };
        let run = view.state.with_untracked(|state| state.run);
        let (Some(run), false) = (run, self.sending.get_untracked()) else {
            return;
        };
        self.problem.set(None);
        self.sending.set(true);
        let screen = self.screen();
        let command = command(run);
        browser::spawn(async move {
            let started = command.await;
            if self.screen() != screen {
                return;
            }
            self.sending.set(false);
            match (started, self.view(message)) {
                (Ok(started), Some(view)) => then(self, view, started),
                (Ok(_), None) => self.reload(),
                (Err(ApiError(error)), _) => {
                    let moved_on = error.code == ErrorCode::Conflict;
                    self.fail(error, None);
                    if moved_on {
                        self.reload();
                    }
                }
            }
        });
    }

    fn continued(self, view: MessageView, started: Started) {
        self.next_edition();
        view.body.update_value(|body| body.begin(started.run));
        view.paint(true, |_| {});
        self.begun(started.conversation);
    }

    /// Shows the answer that has just begun after `views`, before its first word.
    fn answer_begins(
        self,
        mut views: Vec<MessageView>,
        parent: Option<MessageId>,
        started: Started,
    ) {
        self.next_edition();
        if self.view(started.message).is_none() {
            let view = self.make(Message {
                id: started.message,
                parent,
                role: Role::Assistant,
                created: browser::now(),
                text: String::new(),
                images: Vec::new(),
                answers: Vec::new(),
                branches: vec![started.message],
            });
            view.body.update_value(|body| body.begin(started.run));
            view.paint(false, |state| state.accepted = browser::now());
            views.push(view);
        }
        if self.id.get_untracked().is_none() {
            self.id.set(Some(started.conversation));
            self.change_queue(|_| {});
        }
        self.set_messages(views);
        self.begun(started.conversation);
    }

    /// Follows the new run, and loads the rest: the title, the identifiers and the branches.
    fn begun(self, conversation: ConversationId) {
        self.inner.update_value(|inner| inner.unconfirmed = true);
        self.follow_running();
        self.tell(News::Started, conversation);
        self.reload();
    }

    /// Handles the answer of a command that arrived when another conversation was on the screen.
    fn answered_elsewhere(
        self,
        message: Queued,
        conversation: Option<ConversationId>,
        started: Result<Started, Error>,
    ) {
        match (started, conversation) {
            (Ok(started), _) if self.screen().is_some() => {
                self.tell(News::Started, started.conversation);
            }
            (Ok(_), _) => {}
            (Err(_), Some(id)) => {
                let mut waiting = queue::stored(id);
                waiting.insert(0, message);
                queue::store(id, &waiting);
            }
            (Err(error), None) if self.screen().is_some() => {
                self.take_back(message.images);
                self.fail(error, Some(message.text));
            }
            (Err(_), None) => {}
        }
    }

    fn fail(self, error: Error, text: Option<String>) {
        self.problem.set(Some(Problem { error, text }));
    }

    /// Notifies the other tabs and the sidebar.
    pub(super) fn tell(self, news: News, conversation: ConversationId) {
        self.live.with_value(|live| live.tell(news, conversation));
    }
}
