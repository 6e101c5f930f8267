//! The status page: one file without data, which asks for everything with the token that it is given.

use std::sync::LazyLock;

use actix_web::{HttpResponse, http::header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest;

const PAGE: &str = include_str!("page/index.html");

/// Allows the page's own script and style, by their digests, and talking to this server; nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        digest_of("script"),
        digest_of("style"),
    )
});

/// The page.
pub(super) async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .content_type("text/html; charset=utf-8")
        .body(PAGE)
}

fn digest_of(element: &str) -> String {
    let text = inline(element).unwrap_or_default();
    format!("sha256-{}", STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
}

/// What stands in the page's only element of this name.
fn inline(element: &str) -> Option<&'static str> {
    let (_, rest) = PAGE.split_once(&format!("<{element}>"))?;
    rest.split_once(&format!("</{element}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_nothing_that_the_policy_forbids() {
        for element in ["script", "style"] {
            assert!(inline(element).is_some_and(|text| text.len() > 100), "{element}");
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "{element}");
        }
        for forbidden in [" style=\"", " onclick", " onload", "innerHTML", "outerHTML", "insertAdjacent", "eval("] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
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
