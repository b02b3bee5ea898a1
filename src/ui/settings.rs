//! The settings of a chat: system prompt, sampling and effort; and how this browser gets its answers.

use super::dialog::modal;
use crate::{
    base, browser,
    client::{
        choice::{TRANSPORT, Way},
        store::Chat,
    },
};
use headwater_protocol::{
    Error,
    chat::{Effort, Settings},
};
use leptos::{
    ev, html,
    prelude::*,
    web_sys::{HtmlInputElement, HtmlSelectElement, HtmlTextAreaElement},
};

/// The dialog's id.
const ID: &str = "settings";

/// The fields of the dialog. Their values belong to the browser. They are set when the dialog opens
/// and read when it is saved. A signal that is written with each key would reject an incomplete
/// number, such as a minus sign.
#[derive(Clone, Copy)]
pub(super) struct SettingsForm {
    chat: Chat,
    system: NodeRef<html::Textarea>,
    temperature: NodeRef<html::Input>,
    top_p: NodeRef<html::Input>,
    max_tokens: NodeRef<html::Input>,
    effort: NodeRef<html::Select>,
    connection: NodeRef<html::Select>,
    /// Why the settings could not be saved.
    problem: RwSignal<Option<String>>,
}

/// The elements of the fields.
struct Fields {
    system: HtmlTextAreaElement,
    temperature: HtmlInputElement,
    top_p: HtmlInputElement,
    max_tokens: HtmlInputElement,
    effort: HtmlSelectElement,
    connection: HtmlSelectElement,
}

impl SettingsForm {
    /// The form for the settings of `chat`.
    pub(super) fn new(chat: Chat) -> Self {
        Self {
            chat,
            system: NodeRef::new(),
            temperature: NodeRef::new(),
            top_p: NodeRef::new(),
            max_tokens: NodeRef::new(),
            effort: NodeRef::new(),
            connection: NodeRef::new(),
            problem: RwSignal::new(None),
        }
    }

    /// Opens the dialog with the current settings. Unsaved changes are lost.
    pub(super) fn open(self) {
        let Some(fields) = self.fields() else {
            return;
        };
        let json = self.chat.settings.get_untracked();
        let settings: Settings = serde_json::from_slice(json.as_bytes()).unwrap_or_default();
        fields.fill(&settings);
        self.problem.set(None);
        browser::open_dialog(ID);
    }

    fn save(self) {
        let Some(fields) = self.fields() else {
            return;
        };
        let settings = fields.read();
        let length = settings.system.as_ref().map_or(0, String::len);
        if length > Settings::MAX_SYSTEM_BYTES {
            self.problem.set(Some(too_long(length)));
            return;
        }
        fields.keep_connection();
        let done = move |error: Option<Error>| match error {
            Some(error) => self.problem.set(Some(error.message)),
            None => browser::close_dialog(ID),
        };
        self.chat.set_up(settings, Box::new(done));
    }

    fn fields(self) -> Option<Fields> {
        Some(Fields {
            system: self.system.get_untracked()?,
            temperature: self.temperature.get_untracked()?,
            top_p: self.top_p.get_untracked()?,
            max_tokens: self.max_tokens.get_untracked()?,
            effort: self.effort.get_untracked()?,
            connection: self.connection.get_untracked()?,
        })
    }
}

impl Fields {
    fn fill(&self, settings: &Settings) {
        let system = settings.system.as_deref().unwrap_or_default();
        self.system.set_value(system);
        self.effort
            .set_value(settings.effort.map_or("", Effort::word));
        let way = browser::load(TRANSPORT).and_then(|word| Way::of(&word));
        self.connection.set_value(way.map_or("", Way::word));
        set_number(&self.temperature, settings.temperature);
        set_number(&self.top_p, settings.top_p);
        set_number(&self.max_tokens, settings.max_tokens.map(f64::from));
    }

    /// Keeps in the browser how it gets its answers; it is no setting of the chat.
    fn keep_connection(&self) {
        match Way::of(&self.connection.value()) {
            Some(way) => browser::save(TRANSPORT, way.word()),
            None => browser::forget(TRANSPORT),
        }
    }

    fn read(&self) -> Settings {
        Settings {
            system: Some(self.system.value()).filter(|text| !text.trim().is_empty()),
            temperature: number(&self.temperature),
            top_p: number(&self.top_p),
            max_tokens: number(&self.max_tokens).map(|most| most as u32),
            effort: Effort::of(&self.effort.value()),
        }
    }
}

/// Sets a number field to a number, in the browser's format, or empties it.
fn set_number(field: &HtmlInputElement, number: Option<f64>) {
    match number {
        Some(number) => field.set_value_as_number(number),
        None => field.set_value(""),
    }
}

fn number(field: &HtmlInputElement) -> Option<f64> {
    Some(field.value_as_number()).filter(|number| !number.is_nan())
}

/// The dialog. Cancel belongs to another form, which only closes it.
#[component]
pub(super) fn SettingsDialog(form: SettingsForm) -> impl IntoView {
    let save = move |event: ev::SubmitEvent| {
        event.prevent_default();
        form.save();
    };
    let system = view! {
        <textarea
            id="set-system"
            rows="5"
            dir="auto"
            aria-describedby="set-system-help"
            placeholder="Such as: Answer in two sentences."
            node_ref=form.system
        ></textarea>
    };
    let effort = view! {
        <select id="set-effort" aria-describedby="set-effort-help" node_ref=form.effort>
            <option value="">"As the model wants"</option>
            <option value="none">"None"</option>
            <option value="low">"Low"</option>
            <option value="medium">"Medium"</option>
            <option value="high">"High"</option>
        </select>
    };
    let connection = view! {
        <select id="set-connection" aria-describedby="set-connection-help" node_ref=form.connection>
            <option value="">"Automatic"</option>
            <option value=Way::Stream.word()>"Event stream"</option>
            <option value=Way::Socket.word()>"WebSocket"</option>
            <option value=Way::Poll.word()>"Long polling"</option>
        </select>
    };
    let content = view! {
        <form method="dialog" id="unset"></form>
        <form id="set" autocomplete="off" on:submit=save>
            <p class="hint">
                "They hold from the next answer on. What is left empty is the model’s own choice."
            </p>
            {field(
                "set-system",
                "System prompt",
                "Told to the model before everything else, in place of the server’s own words.",
                system.into_any(),
            )}
            <div class="pairs">
                {field(
                    "set-temperature",
                    "Temperature",
                    "0 to 2. Lower is steadier, higher is livelier.",
                    decimal("set-temperature", "2", form.temperature),
                )}
                {field(
                    "set-top-p",
                    "Top-p",
                    "0 to 1. The share of likely words to choose from.",
                    decimal("set-top-p", "1", form.top_p),
                )}
                {field(
                    "set-most",
                    "Most tokens",
                    "The longest answer. A token is about ¾ of a word.",
                    number_field("set-most", ["1", "1000000", "1", "numeric"], form.max_tokens),
                )}
                {field(
                    "set-effort",
                    "Thinking",
                    "For models that think before they answer.",
                    effort.into_any(),
                )}
            </div>
            {field(
                "set-connection",
                "Connection",
                "How answers reach this browser, in all chats. Automatic finds what works.",
                connection.into_any(),
            )}
            <p class="hint">
                <a href=base::address("/doctor") rel="external">"Check the connection"</a>
            </p>
            <p class="hint bad" id="set-problem" role="alert">
                {move || form.problem.get()}
            </p>
            <div class="row">
                <button type="submit" class="button" form="unset">
                    "Cancel"
                </button>
                <button type="submit" class="button main">
                    "Save"
                </button>
            </div>
        </form>
    };
    modal(ID, "Settings of this chat", content.into_any())
}

/// A control with its label above and a hint below.
fn field(id: &'static str, name: &'static str, hint: &'static str, control: AnyView) -> AnyView {
    view! {
        <div class="field">
            <label for=id>{name}</label>
            {control}
            <p class="hint" id=hint_id(id)>
                {hint}
            </p>
        </div>
    }
    .into_any()
}

fn hint_id(id: &str) -> String {
    [id, "-help"].concat()
}

/// A field for a number from 0 to `max`.
fn decimal(id: &'static str, max: &'static str, field: NodeRef<html::Input>) -> AnyView {
    number_field(id, ["0", max, "any", "decimal"], field)
}

/// A field for a number, with its attributes `min`, `max`, `step` and `inputmode`.
fn number_field(
    id: &'static str,
    [min, max, step, keys]: [&'static str; 4],
    field: NodeRef<html::Input>,
) -> AnyView {
    view! {
        <input
            id=id
            type="number"
            min=min
            max=max
            step=step
            inputmode=keys
            placeholder="Default"
            aria-describedby=hint_id(id)
            node_ref=field
        />
    }
    .into_any()
}

fn too_long(bytes: usize) -> String {
    format!(
        "The system prompt has {} kB. At most {} kB are possible.",
        bytes.div_ceil(1024),
        Settings::MAX_SYSTEM_BYTES / 1024
    )
}
