//! Icons: strokes on a 20 × 20 grid in the colour of the text around them.

use leptos::prelude::*;

/// What an icon shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Icon {
    /// An upward arrow: send.
    Send,
    /// A square: stop.
    Stop,
    /// Two sheets: copy.
    Copy,
    /// A pencil: edit.
    Edit,
    /// A circling arrow: regenerate, retry.
    Retry,
    /// An arrow going on after a bar: continue.
    Continue,
    /// Three dots: more.
    More,
    /// A plus: new.
    Plus,
    /// An arrowhead to the left: the previous one.
    Left,
    /// An arrowhead to the right: the next one.
    Right,
    /// An arrow down: to the end.
    Down,
    /// A lens: search.
    Search,
    /// A page with a margin: the sidebar.
    Panel,
    /// A pin.
    Pin,
    /// A bin: delete.
    Bin,
    /// The sun: light.
    Sun,
    /// The moon: dark.
    Moon,
    /// A screen: the theme of the system.
    Screen,
    /// A cross: close.
    Close,
    /// A warning triangle: a problem.
    Alert,
    /// Two arrows that part: another model.
    Fork,
    /// A tick: done.
    Tick,
    /// Two sliders: settings.
    Sliders,
    /// A plug: the connected providers.
    Plug,
    /// A frame with a hill in it: an image.
    Image,
    /// A triangle to the right: replay.
    Play,
    /// Two bars: pause.
    Pause,
    /// Bars of different lengths under each other: the inspector.
    Bars,
}

impl Icon {
    /// The path data (the attribute `d` in SVG).
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Send => "M10 16V4.5M5 9.2 10 4.2l5 5",
            Self::Stop => "M6 6h8v8H6z",
            Self::Copy => "M7.5 7.5h8v8h-8zM12.5 7.5V4.5h-8v8h3",
            Self::Edit => "M4.5 15.5l.7-3.2 8-8 2.5 2.5-8 8zM11.5 6l2.5 2.5",
            Self::Retry => "M15.5 10a5.5 5.5 0 1 1-1.7-4M15.5 3.5v3.2h-3.2",
            Self::Continue => "M4.5 5v10M8 10h8M12.5 6.5 16 10l-3.5 3.5",
            Self::More => "M4.8 10h.01M10 10h.01M15.2 10h.01",
            Self::Plus => "M10 4.5v11M4.5 10h11",
            Self::Left => "M11.8 5.5 7.3 10l4.5 4.5",
            Self::Right => "M8.2 5.5l4.5 4.5-4.5 4.5",
            Self::Down => "M10 4v11.5M5 10.8l5 5 5-5",
            Self::Search => "M13.7 8.9a4.8 4.8 0 1 1-9.6 0 4.8 4.8 0 0 1 9.6 0zM12.5 12.5l3.7 3.7",
            Self::Panel => "M3.5 4.5h13v11h-13zM8 4.5v11",
            Self::Pin => "M7.3 4h5.4l-.6 4.6 2 2.6H5.9l2-2.6zM10 11.2V16.5",
            Self::Bin => "M4.5 6h11M8 6V4.2h4V6M6 6l.6 10h6.8L14 6",
            Self::Sun => {
                "M13 10a3 3 0 1 1-6 0 3 3 0 0 1 6 0zM10 3.2v1.3M10 15.5v1.3M3.2 10h1.3M15.5 10h1.3M5.2 5.2l.9.9M13.9 13.9l.9.9M14.8 5.2l-.9.9M6.1 13.9l-.9.9"
            }
            Self::Moon => "M15.8 11.7A6.3 6.3 0 0 1 8.3 4.2a6.3 6.3 0 1 0 7.5 7.5z",
            Self::Screen => "M3.5 4.5h13v8.5h-13zM7.5 16h5M10 13v3",
            Self::Close => "M5.5 5.5l9 9M14.5 5.5l-9 9",
            Self::Alert => "M10 3.8 17 16H3zM10 8.5v3.5M10 14.1v.01",
            Self::Fork => "M4 14.5c5 0 5-9 12-9M13 3l3 2.5L13 8M4 14.5h12M13 12l3 2.5-3 2.5",
            Self::Tick => "M4.5 10.5l3.7 3.7 7.3-8",
            Self::Sliders => {
                "M3.8 6.5h6.4M14 6.5h2.2M3.8 13.5H6M9.8 13.5h6.4M14 6.5a1.9 1.9 0 1 1-3.8 0 1.9 1.9 0 0 1 3.8 0zM9.8 13.5a1.9 1.9 0 1 1-3.8 0 1.9 1.9 0 0 1 3.8 0z"
            }
            Self::Image => "M3.5 4.5h13v11h-13zM3.5 13l3.7-3.7 3 3 2-2 4.3 4.2M13 7.8h.01",
            Self::Play => "M7 5l8 5-8 5z",
            Self::Pause => "M7 5v10M13 5v10",
            Self::Bars => "M4 5.5h7M7.5 10h7M10.5 14.5h5.5",
            Self::Plug => "M7.5 3.5v3.3M12.5 3.5v3.3M5 6.8h10v2.4a5 5 0 0 1-10 0zM10 14.2v2.8",
        }
    }
}

/// Draws an icon. It is hidden from screen readers, because its button has a name.
pub(crate) fn icon(icon: Icon) -> AnyView {
    view! {
        <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">
            <path d=icon.path()/>
        </svg>
    }
    .into_any()
}

/// The logo: two springs that become one stream.
pub(crate) fn mark() -> AnyView {
    view! {
        <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
            <path d="M5 3c0 6 7 5.5 7 11v7"/>
            <path d="M19 3c0 6-7 5.5-7 11"/>
            <path d="M12 3v4"/>
        </svg>
    }
    .into_any()
}
