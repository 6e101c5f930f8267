//! URLs of the configuration: validated, and never printed with credentials or query.

use std::fmt;

use url::Url;

/// A URL that may carry something secret. Printing it shows scheme, host, port and path alone.
#[derive(Clone, PartialEq, Eq)]
pub struct SafeUrl(Url);

impl SafeUrl {
    /// Wraps a URL.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self(url)
    }

    /// The whole URL: for requests, not for messages.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a URL with one of these schemes and without a user name.
///
/// # Errors
/// Says what a URL must look like; never repeats the text, which may hold a secret.
pub(super) fn parse(text: &str, schemes: &[&str]) -> Result<SafeUrl, String> {
    let url = parse_with_credentials(text, schemes)?;
    if !url.0.username().is_empty() || url.0.password().is_some() {
        return Err("must not contain a user name or password; credentials have keys of their own".to_owned());
    }
    Ok(url)
}

/// The same, but a user name and password may be in it.
pub(super) fn parse_with_credentials(text: &str, schemes: &[&str]) -> Result<SafeUrl, String> {
    let expected = || format!("must be a URL that starts with {}", one_of(schemes));
    let url = Url::parse(text).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => expected(),
        error => format!("is not a URL: {error}"),
    })?;
    if !schemes.contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return Err(expected());
    }
    Ok(SafeUrl(url))
}

fn one_of(schemes: &[&str]) -> String {
    let quoted: Vec<_> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
    match quoted.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_hides_credentials_and_query() {
        let url = parse_with_credentials("http://ann:hush@host:8080/path?token=hush#hush", &["http"]).unwrap();
        assert_eq!(url.to_string(), "http://host:8080/path");
        assert_eq!(format!("{url:?}"), "http://host:8080/path");
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_repeated() {
        for (text, message) in [
            ("hush", "must be a URL that starts with http:// or https://"),
            ("ftp://hush/", "must be a URL that starts with http:// or https://"),
            ("hush:1234", "must be a URL that starts with http:// or https://"),
            ("http://", "is not a URL: empty host"),
            ("http://hush:99999/", "is not a URL: invalid port number"),
            ("https://ann:hush@host/", "must not contain a user name or password; credentials have keys of their own"),
        ] {
            assert_eq!(parse(text, &["http", "https"]).unwrap_err(), message, "{text}");
        }
        assert!(parse("ws://host", &["ws"]).is_ok());
        assert!(parse("x", &["a", "b", "c"]).unwrap_err().ends_with("a://, b:// or c://"));
    }
}
