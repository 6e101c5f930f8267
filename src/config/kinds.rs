//! Single values: how each kind is read from JSON, from a variable or from a flag, and what is said if it is wrong.
//!
//! A kind is a function from an [`Input`] to a value or to the rest of a sentence that starts with the setting's path.
//! Secrets and URLs are never repeated in a message; other values are, shortened.

use std::{
    fs::File,
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use jsonc_parser::ast;
use ograph_dispatcher_actors::{model::pointer::Pointer, secret::Secret};
use serde_json::{Value, json};

use super::{ActiveScope, Environment, FirstSeen, Id, Listen, LogFormat, Proxy, SafeUrl, defaults, show::Show, url};

/// What every value is read in the light of.
#[derive(Clone, Copy)]
pub(super) struct Scope<'i> {
    pub(super) environment: &'i Environment,
    /// The file's folder, which its relative paths start from.
    pub(super) folder: &'i Path,
}

/// A value as somebody wrote it.
#[derive(Clone, Copy)]
pub(super) enum Raw<'i> {
    /// In the file.
    Json(&'i ast::Value<'i>),
    /// In an environment variable.
    Variable(&'i str),
    /// On the command line.
    Flag(&'i str),
}

/// A value to be read.
#[derive(Clone, Copy)]
pub(super) struct Input<'i> {
    pub(super) raw: Raw<'i>,
    pub(super) scope: Scope<'i>,
}

/// The outcome of reading: the value, or what is wrong with it.
pub(super) type Read<T> = Result<T, String>;

/// Whether it is what `init` writes for something that only the user knows.
fn is_placeholder(text: &str) -> bool {
    text.starts_with('<') && text.ends_with('>')
}

impl<'i> Input<'i> {
    /// The text of a string; what was expected instead is said without repeating the value.
    fn text(&self, expected: &str) -> Read<&'i str> {
        let text: &str = match self.raw {
            Raw::Variable(text) | Raw::Flag(text) => text,
            Raw::Json(ast::Value::StringLit(text)) => &text.value,
            Raw::Json(other) => return Err(format!("must be {expected}, not {}", kind_of(other))),
        };
        match text {
            "" => Err("must not be empty".to_owned()),
            text if is_placeholder(text) => Err("still holds a placeholder; replace it by your own value".to_owned()),
            text => Ok(text),
        }
    }

    /// What is said about a value that is not what was expected.
    fn wrong(&self, expected: &str) -> String {
        let found = match self.raw {
            Raw::Variable(text) | Raw::Flag(text) => quoted(text),
            Raw::Json(ast::Value::StringLit(text)) => quoted(&text.value),
            Raw::Json(ast::Value::NumberLit(number)) => clip(number.value),
            Raw::Json(ast::Value::BooleanLit(boolean)) => boolean.value.to_string(),
            Raw::Json(other) => kind_of(other).to_owned(),
        };
        format!("must be {expected}, not {found}")
    }

    fn is_null(&self) -> bool {
        matches!(self.raw, Raw::Json(ast::Value::NullKeyword(_)))
    }

    /// Whether it switches something off: `null` in the file, `off` elsewhere.
    fn is_off(&self) -> bool {
        self.is_null() || matches!(self.raw, Raw::Variable("off") | Raw::Flag("off"))
    }

    /// The path in absolute form: the file's paths start from its folder, others from the current one.
    fn absolute(&self, path: &str) -> PathBuf {
        let base = match self.raw {
            Raw::Json(_) => self.scope.folder,
            Raw::Variable(_) | Raw::Flag(_) => &self.scope.environment.current,
        };
        base.join(self.scope.environment.expand(path))
    }
}

/// The kind of a JSON value, with its article.
pub(super) fn kind_of(value: &ast::Value<'_>) -> &'static str {
    match value {
        ast::Value::StringLit(_) => "a string",
        ast::Value::NumberLit(_) => "a number",
        ast::Value::BooleanLit(_) => "a boolean",
        ast::Value::Object(_) => "an object",
        ast::Value::Array(_) => "an array",
        ast::Value::NullKeyword(_) => "null",
    }
}

fn clip(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", clip(text))
}

/// The same kind for something that may be left out: `null` is as good as absent.
pub(super) fn nullable<T>(kind: impl Fn(&Input<'_>) -> Read<T>) -> impl Fn(&Input<'_>) -> Read<Option<T>> {
    move |input| if input.is_null() { Ok(None) } else { kind(input).map(Some) }
}

/// Any text but the empty one.
pub(super) fn text(input: &Input<'_>) -> Read<String> {
    input.text("a string").map(str::to_owned)
}

/// Text without line breaks and other control characters.
pub(super) fn line(input: &Input<'_>) -> Read<String> {
    let text = input.text("a string")?;
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn boolean(input: &Input<'_>) -> Read<bool> {
    match input.raw {
        Raw::Json(ast::Value::BooleanLit(boolean)) => Ok(boolean.value),
        _ => Err(input.wrong("true or false")),
    }
}

/// A whole number within these bounds.
pub(super) fn whole(min: u64, max: u64) -> impl Fn(&Input<'_>) -> Read<u64> {
    move |input| number(input, min, max).ok_or_else(|| input.wrong(&format!("a whole number from {min} to {max}")))
}

/// The same, as a size in memory.
pub(super) fn size(min: u64, max: u64) -> impl Fn(&Input<'_>) -> Read<usize> {
    move |input| whole(min, max)(input).map(|size| usize::try_from(size).unwrap_or(usize::MAX))
}

/// A duration: neither zero nor longer than a day.
pub(super) fn millis(input: &Input<'_>) -> Read<Duration> {
    let max = defaults::MAX_MILLIS;
    let millis = number(input, 1, max);
    let expected = || input.wrong(&format!("a whole number of milliseconds from 1 to {max}"));
    millis.map(Duration::from_millis).ok_or_else(expected)
}

fn number(input: &Input<'_>, min: u64, max: u64) -> Option<u64> {
    let digits = match input.raw {
        Raw::Json(ast::Value::NumberLit(number)) => number.value,
        Raw::Variable(text) | Raw::Flag(text) => text.trim(),
        Raw::Json(_) => return None,
    };
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| all_digits && (min..=max).contains(number))
}

/// A JSON pointer; the empty one is one, too.
pub(super) fn pointer(input: &Input<'_>) -> Read<Pointer> {
    let text = match input.raw {
        Raw::Json(ast::Value::StringLit(text)) if text.value.is_empty() => "",
        _ => input.text("a JSON pointer like \"/slots/free\"")?,
    };
    Pointer::from_str(text).map_err(|error| error.to_string())
}

/// A URL of an HTTP server.
pub(super) fn http_url(input: &Input<'_>) -> Read<SafeUrl> {
    url::parse(input.text("a URL")?, &["http", "https"])
}

/// A URL that paths are appended to.
pub(super) fn base_url(input: &Input<'_>) -> Read<SafeUrl> {
    let url = http_url(input)?;
    if url.expose().query().is_some() || url.expose().fragment().is_some() {
        return Err("must not contain '?' or '#': paths are appended to it".to_owned());
    }
    Ok(url)
}

/// A URL of OpenClaw's WebSocket.
pub(super) fn gateway_url(input: &Input<'_>) -> Read<SafeUrl> {
    url::parse(input.text("a URL")?, &["ws", "wss", "http", "https"])
}

/// A proxy's URL, or `null` for none.
pub(super) fn proxy(input: &Input<'_>) -> Read<Proxy> {
    if input.is_null() {
        return Ok(Proxy::Direct);
    }
    url::parse_with_credentials(input.text("a URL or null")?, &["http"]).map(Proxy::Through)
}

/// A file or folder.
pub(super) fn path(input: &Input<'_>) -> Read<PathBuf> {
    line(input).map(|path| input.absolute(&path))
}

/// A file, or nothing if it is switched off.
pub(super) fn path_or_off(input: &Input<'_>) -> Read<Option<PathBuf>> {
    if input.is_off() { Ok(None) } else { path(input).map(Some) }
}

/// A program: a bare name is left to `PATH`.
pub(super) fn program(input: &Input<'_>) -> Read<PathBuf> {
    let program = line(input)?;
    let is_path = program.starts_with('~') || program.contains(std::path::is_separator);
    Ok(if is_path { input.absolute(&program) } else { PathBuf::from(program) })
}

/// An argument of a program.
pub(super) fn argument(input: &Input<'_>) -> Read<String> {
    match input.raw {
        Raw::Json(ast::Value::StringLit(text)) if text.value.contains('\0') => Err("must not contain \\0".to_owned()),
        Raw::Json(ast::Value::StringLit(text)) => Ok(text.value.clone().into_owned()),
        Raw::Json(other) => Err(format!("must be a string, not {}", kind_of(other))),
        Raw::Variable(text) | Raw::Flag(text) => Ok(text.to_owned()),
    }
}

/// Permission bits.
pub(super) struct Mode(pub(super) u32);

impl Show for Mode {
    fn show(&self) -> Value {
        json!(format!("{:04o}", self.0))
    }
}

/// Permission bits as octal text.
pub(super) fn mode(input: &Input<'_>) -> Read<Mode> {
    let expected = || input.wrong("octal permission bits as a string, like \"0600\"");
    let Raw::Json(ast::Value::StringLit(digits)) = input.raw else { return Err(expected()) };
    let is_octal = matches!(digits.value.len(), 3 | 4) && digits.value.bytes().all(|byte| byte.is_ascii_digit());
    u32::from_str_radix(&digits.value, 8).ok().filter(|mode| is_octal && *mode <= 0o777).map(Mode).ok_or_else(expected)
}

/// An address to listen on, or nothing if it is switched off.
pub(super) fn listen(input: &Input<'_>) -> Read<Option<Listen>> {
    if input.is_off() {
        return Ok(None);
    }
    let expected = "an address like \"127.0.0.1:18791\", or null for none";
    let text = input.text(expected)?;
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Some(Listen { host: address.ip().to_string(), port: address.port() }));
    }
    let is_name = |host: &str| !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    let (host, port) = text.rsplit_once(':').filter(|(host, _)| is_name(host)).ok_or_else(|| input.wrong(expected))?;
    let port = port.parse().map_err(|_| input.wrong(expected))?;
    Ok(Some(Listen { host: host.to_owned(), port }))
}

/// An integer or a name.
pub(super) fn id(input: &Input<'_>) -> Read<Id> {
    let expected = "a string or a whole number";
    match input.raw {
        Raw::Json(ast::Value::StringLit(_)) => line(input).map(Id::Text),
        _ => number(input, 0, u64::MAX).map(Id::Number).ok_or_else(|| input.wrong(expected)),
    }
}

/// A secret: the text itself, `{"file": path}` or `{"env": name}`; from a flag it is always a file.
pub(super) fn secret(input: &Input<'_>) -> Read<Secret> {
    let text = match input.raw {
        Raw::Flag(file) => secret_file(&input.absolute(file))?,
        Raw::Json(ast::Value::Object(reference)) => secret_reference(input, reference)?,
        Raw::Variable(_) | Raw::Json(_) => input.text("a string, {\"file\": …} or {\"env\": …}")?.to_owned(),
    };
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text;
    if printable {
        Ok(Secret::new(text))
    } else {
        Err("must be visible ASCII characters on one line, without white space around them".to_owned())
    }
}

fn secret_reference(input: &Input<'_>, reference: &ast::Object<'_>) -> Read<String> {
    let [member] = reference.properties.as_slice() else {
        return Err("must have exactly one member, \"file\" or \"env\"".to_owned());
    };
    let value = Input { raw: Raw::Json(&member.value), ..*input }.text("a string")?;
    match member.name.as_str() {
        "file" => secret_file(&input.absolute(value)),
        // A name that cannot be one may be the secret itself in the wrong place.
        "env" if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            Err("\"env\" must be the name of an environment variable".to_owned())
        }
        "env" => match input.scope.environment.variable(value) {
            Ok(Some(text)) => Ok(text.to_owned()),
            Ok(None) => Err(format!("the environment variable {value} is not set")),
            Err(error) => Err(format!("the environment variable {value} {error}")),
        },
        _ => Err("must be a string, {\"file\": …} or {\"env\": …}".to_owned()),
    }
}

fn secret_file(path: &Path) -> Read<String> {
    const LONGEST: u64 = 64 * 1024;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() { Err(format!("{} is empty", path.display())) } else { Ok(text.to_owned()) }
}

/// A secret of the Standard Webhooks convention.
pub(super) fn webhook_secret(input: &Input<'_>) -> Read<Secret> {
    let secret = secret(input)?;
    let is_base64 = |text: &str| {
        let digits = text.trim_end_matches('=');
        let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        text.len().is_multiple_of(4)
            && text.len() - digits.len() <= 2
            && !digits.is_empty()
            && digits.bytes().all(alphabet)
    };
    if secret.expose().strip_prefix("whsec_").is_some_and(is_base64) {
        Ok(secret)
    } else {
        Err("must be \"whsec_\" followed by the key in base64".to_owned())
    }
}

/// A closed set of words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// The words and what they mean.
    const ALL: &'static [(&'static str, Self)];
}

impl<T: Choice> Show for T {
    fn show(&self) -> Value {
        json!(T::ALL.iter().find(|(_, value)| value == self).map(|(word, _)| *word))
    }
}

pub(super) fn choice<T: Choice>(input: &Input<'_>) -> Read<T> {
    let word = match input.raw {
        Raw::Variable(word) | Raw::Flag(word) => word,
        Raw::Json(ast::Value::StringLit(word)) => &word.value,
        Raw::Json(_) => "",
    };
    T::ALL.iter().find(|(name, _)| *name == word).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = T::ALL.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        input.wrong(&words.join(" or "))
    })
}

impl Choice for ActiveScope {
    const ALL: &'static [(&'static str, Self)] = &[("all", Self::All), ("projection", Self::Projection)];
}

impl Choice for FirstSeen {
    const ALL: &'static [(&'static str, Self)] = &[("baseline", Self::Baseline), ("change", Self::Change)];
}

impl Choice for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
