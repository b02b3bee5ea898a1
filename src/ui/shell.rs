//! The document around the app.

use super::App;
use crate::base;
use leptos::{nonce::use_nonce, prelude::*};
use leptos_meta::MetaTags;

/// Applies the chosen theme before the first paint.
const LOOKS: &str = r#"try{var r=document.documentElement.dataset,t=localStorage.getItem("headwater.theme");if(t=="light"||t=="dark")r.theme=t;if(localStorage.getItem("headwater.sidebar")=="folded")r.sidebar="folded"}catch(e){}"#;

/// Scrolls to the end of the conversation at once, before the WebAssembly program starts.
const TO_THE_END: &str =
    r#"(function(){var s=document.getElementById("scroller");if(s)s.scrollTop=s.scrollHeight})()"#;

/// Opens the page without script if the program cannot start. It happens only once, so that a link
/// back to this page works.
const NO_PROGRAM: &str = r#"addEventListener("unhandledrejection",function(){var c=location.pathname.match(/^(.*)\/c\/([0-9a-f-]+)$/);if(c&&!document.documentElement.hasAttribute("data-hydrated")){try{sessionStorage.setItem("headwater.plain","1")}catch(e){}location.replace(c[1]+"/plain/"+c[2])}})"#;

/// The whole document, around [`App`].
///
/// If scripts are disabled, the page of a conversation redirects to the page without script.
pub fn shell(options: LeptosOptions) -> impl IntoView {
    let nonce = use_nonce();
    let plain = use_context::<axum::http::request::Parts>()
        .and_then(|parts| plain_page(parts.uri.path()))
        .map(|address| {
            view! {
                <noscript>
                    <meta http-equiv="refresh" content=["0; url=", &base::address(&address)].concat()/>
                </noscript>
            }
        });
    view! {
        <!DOCTYPE html>
        <html lang="en" data-base=base::current()>
            <head>
                <meta charset="utf-8"/>
                <meta
                    name="viewport"
                    content="width=device-width, initial-scale=1, viewport-fit=cover, interactive-widget=resizes-content"
                />
                <meta name="color-scheme" content="light dark"/>
                <meta name="theme-color" media="(prefers-color-scheme: light)" content="#fcfcfa"/>
                <meta name="theme-color" media="(prefers-color-scheme: dark)" content="#15191b"/>
                <meta name="description" content="A chat whose answers cannot be lost."/>
                <script nonce=nonce.clone()>{LOOKS}</script>
                <script nonce=nonce.clone()>{NO_PROGRAM}</script>
                {plain}
                <link rel="icon" href=base::address("/favicon.svg") type="image/svg+xml"/>
                <link rel="manifest" href=base::address("/manifest.webmanifest")/>
                <link rel="stylesheet" id="leptos" href=base::address("/pkg/headwater.css")/>
                <AutoReload options=options.clone()/>
                <HydrationScripts options root=base::current().into_owned()/>
                <MetaTags/>
            </head>
            <body>
                <App/>
                <div id="crash" class="crash" role="alert" hidden>
                    <p>
                        "This page has stopped working. Your conversation is safe on the server. "
                        <a href="">"Reload the page"</a>
                    </p>
                </div>
                <script nonce=nonce>{TO_THE_END}</script>
            </body>
        </html>
    }
}

/// The path of the page without script for the page of a conversation. `None` if the path has other
/// characters than those of an identifier.
fn plain_page(path: &str) -> Option<String> {
    let id = path.strip_prefix("/c/")?;
    let sound = !id.is_empty() && id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    sound.then(|| ["/plain/", id].concat())
}

#[cfg(test)]
mod tests {
    use super::plain_page;

    #[test]
    fn only_conversations_have_a_plain_page() {
        assert_eq!(plain_page("/c/0a-1"), Some("/plain/0a-1".to_owned()));
        for path in ["/", "/c/", "/c/../x", "/c/1\"2", "/settings"] {
            assert_eq!(plain_page(path), None, "{path}");
        }
    }
}
