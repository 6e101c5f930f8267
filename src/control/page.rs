//! The status page: one file without data, which asks for everything with the token that it is given.

use std::sync::LazyLock;

use actix_web::{HttpResponse, http::header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest;

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// One self-contained file, put together when the program is built.
const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>",
    include_str!("page/page.css"),
    "</style>",
    include_str!("page/body.html"),
    "<script>",
    include_str!("page/page.js"),
    "</script></body></html>"
);

/// Allows the page's own script and style, by their digests, and talking to this server; nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        digest_of(SCRIPT),
        digest_of(STYLE),
    )
});

/// The page.
pub(super) async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .content_type("text/html; charset=utf-8")
        .body(PAGE)
}

fn digest_of(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_nothing_that_the_policy_forbids() {
        for element in ["<script", "</script", "<style", "</style"] {
            assert_eq!(PAGE.matches(element).count(), 1, "{element}");
        }
        for forbidden in [" style=\"", " onclick", " onload", "innerHTML", "outerHTML", "insertAdjacent", "eval("] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn every_word_that_the_page_shows_is_there_in_both_languages() {
        let (english, chinese) = SCRIPT.split_once("\n  zh: {").expect("two languages");
        let chinese = chinese.split_once("\n};").expect("the end of the words").0;
        for key in PAGE.split("data-t=\"").skip(1).chain(PAGE.split("data-label=\"").skip(1)) {
            let key = key.split_once('"').expect("an end").0;
            for words in [english, chinese] {
                assert!(words.contains(&format!(" {key}: ")), "{key}");
            }
        }
    }

    #[test]
    fn the_page_asks_nobody_else_for_anything() {
        let addresses = PAGE.match_indices("://").map(|(at, _)| &PAGE[at.saturating_sub(6)..(at + 20).min(PAGE.len())]);
        for address in addresses {
            assert!(address.contains("://www.w3.org/"), "{address}");
        }
        assert!(!PAGE.contains("src=") && !PAGE.contains("@import") && !PAGE.contains("url("));
    }
}
