//! Locks that the tabs of a browser share ([Web Locks](https://w3c.github.io/web-locks/)). The browser frees those of
//! a tab that is closed or crashes.
//!
//! `web-sys` has them as an unstable part only, so they are called by name here.

use js_sys::{Function, Object, Promise, Reflect};
use leptos::prelude::window;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;

/// How a lock is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Only if it is free.
    IfFree,
    /// When it is free.
    Wait,
    /// At once. Whoever holds it loses it.
    Steal,
}

/// A lock that this tab holds. Dropping it frees the lock.
pub(crate) struct Held(Function);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.call0(&JsValue::UNDEFINED);
    }
}

/// Whether the browser has locks. It has none on the address of another machine without TLS.
pub(crate) fn has_locks() -> bool {
    request().is_some()
}

fn request() -> Option<(JsValue, Function)> {
    let locks = Reflect::get(&window().navigator(), &"locks".into()).ok()?;
    let request = Reflect::get(&locks, &"request".into()).ok()?;
    Some((locks, request.dyn_into().ok()?))
}

/// Asks for a lock. `got` is called once this tab holds it, or with `None` if it is not free; `lost` when somebody
/// steals it.
pub(crate) fn lock(
    name: &str,
    claim: Claim,
    got: impl FnOnce(Option<Held>) + 'static,
    lost: impl FnOnce() + 'static,
) {
    let Some((locks, request)) = request() else {
        return;
    };
    let options = Object::new();
    let option = match claim {
        Claim::IfFree => Some("ifAvailable"),
        Claim::Steal => Some("steal"),
        Claim::Wait => None,
    };
    if let Some(option) = option {
        let _ = Reflect::set(&options, &option.into(), &JsValue::TRUE);
    }
    // The lock is held until the promise that this returns is kept.
    let granted = Closure::once_into_js(move |lock: JsValue| -> JsValue {
        if lock.is_null() {
            got(None);
            return JsValue::UNDEFINED;
        }
        let mut free = None;
        let until = Promise::new(&mut |resolve, _| free = Some(resolve));
        got(free.map(Held));
        until.into()
    });
    let asked = request.call3(&locks, &name.into(), &options, &granted);
    if let Some(asked) = asked
        .ok()
        .and_then(|asked| asked.dyn_into::<Promise>().ok())
    {
        super::spawn(async move {
            if JsFuture::from(asked).await.is_err() {
                lost();
            }
        });
    }
}
