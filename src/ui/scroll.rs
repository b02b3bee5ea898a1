//! Follows the growing text while the reader is at its end, and never otherwise.

use crate::client::store::Chat;
use leptos::{html, prelude::*};

/// The distance from the end that still counts as the end, in pixels.
const NEAR: i32 = 48;

/// The distance from the start at which earlier messages are loaded, in pixels.
const EARLY: i32 = 800;

/// The scroll position in the transcript.
#[derive(Clone, Copy)]
pub(super) struct Scroll {
    /// The element that scrolls.
    pub(super) scroller: NodeRef<html::Div>,
    /// Its content, which grows.
    pub(super) column: NodeRef<html::Div>,
    /// Whether the reader has scrolled up from the end.
    pub(super) away: RwSignal<bool>,
    last: StoredValue<i32>,
    chat: Chat,
    /// Whether the text is followed: while it grows, and until the layout has settled after that.
    #[cfg(feature = "hydrate")]
    follows: StoredValue<bool>,
    /// The message at the upper edge and its position. It stays there when the content above it
    /// changes. Not every browser does that itself ([scroll
    /// anchoring](https://developer.mozilla.org/docs/Web/CSS/CSS_scroll_anchoring)), and none does
    /// when earlier messages are inserted at the start.
    #[cfg(feature = "hydrate")]
    anchor: StoredValue<Option<(web_sys::Element, f64)>, LocalStorage>,
}

impl Scroll {
    /// Follows the text while `running`, and for a moment afterwards, until the layout has settled.
    pub(super) fn new(chat: Chat, running: Memo<bool>) -> Self {
        let scroll = Self {
            scroller: NodeRef::new(),
            column: NodeRef::new(),
            away: RwSignal::new(false),
            last: StoredValue::new(0),
            chat,
            #[cfg(feature = "hydrate")]
            follows: StoredValue::new(true),
            #[cfg(feature = "hydrate")]
            anchor: StoredValue::new_local(None),
        };
        scroll.watch(running);
        scroll
    }

    /// Handles scrolling, by the reader or by us. Only scrolling up ends the following, because
    /// growing text never moves the page up.
    pub(super) fn moved(self) {
        let Some(element) = self.scroller.get_untracked() else {
            return;
        };
        let top = element.scroll_top();
        let left = element.scroll_height() - top - element.client_height();
        let up = top < self.last.get_value();
        self.last.set_value(top);
        if up && top < EARLY {
            self.chat.show_earlier();
        }
        let away = if left <= NEAR {
            false
        } else {
            up || self.away.get_untracked()
        };
        if away != self.away.get_untracked() {
            self.away.set(away);
        }
        // At the end of growing text nothing is held in its place, and each frame scrolls.
        #[cfg(feature = "hydrate")]
        if away || !self.follows.get_value() {
            self.drop_anchor(&element);
        }
    }

    /// Scrolls to the end and follows the text.
    pub(super) fn to_end(self) {
        self.away.set(false);
        self.pin();
    }

    fn pin(self) {
        if let Some(element) = self.scroller.get_untracked() {
            element.set_scroll_top(element.scroll_height());
            self.last.set_value(element.scroll_top());
        }
    }

    /// Handles a new size of the column: the reader stays at the end, or at the same words.
    #[cfg(feature = "hydrate")]
    fn grown(self) {
        let Some(follows) = self.follows.try_get_value() else {
            return;
        };
        if follows && self.away.try_get_untracked() == Some(false) {
            return self.pin();
        }
        let Some(element) = self.scroller.get_untracked() else {
            return;
        };
        let moved = self.anchor.with_value(|anchor| {
            let (article, top) = anchor
                .as_ref()
                .filter(|(article, _)| article.is_connected())?;
            Some((article.get_bounding_client_rect().top() - top) as i32)
        });
        if let Some(by) = moved.filter(|by| *by != 0) {
            element.set_scroll_top(element.scroll_top() + by);
            self.last.set_value(element.scroll_top());
        }
        self.drop_anchor(&element);
    }

    /// Ends the following, unless the text grows again.
    #[cfg(feature = "hydrate")]
    fn settled(self, running: Memo<bool>) {
        let runs = running.try_get_untracked().unwrap_or_default();
        self.follows.try_set_value(runs);
        if let Some(Some(element)) = self.scroller.try_get_untracked()
            && !runs
        {
            self.drop_anchor(&element);
        }
    }

    /// Notes the message at the upper edge.
    #[cfg(feature = "hydrate")]
    fn drop_anchor(self, scroller: &web_sys::Element) {
        /// Below the edge there may be a gap or a button.
        const DEPTHS: [f32; 3] = [1.0, 80.0, 240.0];

        let edge = scroller.get_bounding_client_rect();
        let x = (edge.left() + edge.width() / 2.0) as f32;
        let article = DEPTHS.into_iter().find_map(|depth| {
            let there = document().element_from_point(x, edge.top() as f32 + depth)?;
            there.closest("article").ok()?
        });
        self.anchor.set_value(article.map(|article| {
            let top = article.get_bounding_client_rect().top();
            (article, top)
        }));
    }

    /// Observes the size of the column. The browser reports it between layout and paint, so
    /// following causes no additional layout.
    #[cfg(feature = "hydrate")]
    fn watch(self, running: Memo<bool>) {
        use wasm_bindgen::{JsCast, prelude::Closure};

        Effect::new(move |_| {
            let runs = running.get();
            self.follows.set_value(true);
            if !runs {
                let settled = move || self.settled(running);
                set_timeout(settled, std::time::Duration::from_millis(600));
            }
        });
        Effect::new(move |_| {
            let Some(column) = self.column.get() else {
                return;
            };
            let grown = Closure::<dyn FnMut()>::new(move || self.grown());
            let Ok(observer) = web_sys::ResizeObserver::new(grown.as_ref().unchecked_ref()) else {
                return;
            };
            observer.observe(&column);
            let held = StoredValue::new_local(Some((observer, grown)));
            on_cleanup(move || {
                if let Some(Some((observer, _))) = held.try_update_value(Option::take) {
                    observer.disconnect();
                }
            });
        });
    }

    #[cfg(not(feature = "hydrate"))]
    fn watch(self, _: Memo<bool>) {}
}
