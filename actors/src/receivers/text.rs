//! The short text that announces a batch, and the rules for content that others wrote.
//!
//! Names of projections, their parameters and the output of programs are data: nobody here wrote them. In a text they
//! stand without control and invisible characters, without what a Markdown code span or OpenClaw's own unescaping of
//! `\n` would react to, and never at full length.

use std::{borrow::Cow, path::Path};

use crate::model::document::Document;

/// No text gets longer than this, in bytes, whatever it is made of.
pub(super) const MAX_TEXT: usize = 4000;

/// How many projections are named; the rest is counted.
const MAX_NAMES: usize = 10;

/// How long the name of one projection may get, in bytes.
const MAX_NAME: usize = 100;

/// How long the path of the dispatch file may get, in bytes.
const MAX_PATH: usize = 1000;

/// The text that announces `document`, at most [`MAX_TEXT`] bytes long.
///
/// A template may contain `{count}`, `{names}`, `{file}` (the path of the dispatch file) and `{batchId}`. Anything else
/// in braces stays as it is, and what is put in is not searched for placeholders again.
pub(super) fn announce(document: &Document, file: Option<&Path>, template: Option<&str>) -> String {
    let count = document.changes.len();
    let text = match (template, file) {
        (Some(template), _) => expand(template, |name| placeholder(name, document, file)),
        (None, file) => {
            let projections = if count == 1 { "projection" } else { "projections" };
            let details = file.map(|file| format!(". Details: {}", path(file))).unwrap_or_default();
            format!("OGraph: {count} {projections} changed: {}{details}", names(document))
        }
    };
    // The one character that no argument of a program can carry.
    clip(&text.replace('\0', ""), MAX_TEXT)
}

/// What stands for a placeholder in every kind of text.
pub(super) fn placeholder<'a>(name: &str, document: &Document, file: Option<&Path>) -> Option<Cow<'a, str>> {
    match name {
        "count" => Some(Cow::Owned(document.changes.len().to_string())),
        "names" => Some(Cow::Owned(names(document))),
        "file" => Some(file.map_or(Cow::Borrowed("(no dispatch file)"), |file| Cow::Owned(path(file)))),
        "batchId" => Some(Cow::Owned(document.envelope.batch_id.to_string())),
        _ => None,
    }
}

/// Replaces each `{placeholder}` that `value` knows.
pub(super) fn expand<'a>(template: &str, mut value: impl FnMut(&str) -> Option<Cow<'a, str>>) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        text.push_str(&rest[..open]);
        rest = &rest[open..];
        let known = rest.find('}').and_then(|close| Some((close, value(&rest[1..close])?)));
        let (replaced, with) = known.map_or((1, Cow::Borrowed("{")), |(close, value)| (close + 1, value));
        text.push_str(&with);
        rest = &rest[replaced..];
    }
    text + rest
}

/// The changed projections, each in a code span: there Markdown, links and mentions mean nothing.
fn names(document: &Document) -> String {
    let named = document.changes.iter().take(MAX_NAMES);
    let mut names = named.map(|change| code(change.projection.as_str(), MAX_NAME)).collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = document.changes.len().checked_sub(MAX_NAMES) {
        names.push_str(&format!(" and {more} more"));
    }
    names
}

fn path(file: &Path) -> String {
    code(&file.to_string_lossy(), MAX_PATH)
}

fn code(content: &str, max: usize) -> String {
    format!("`{}`", data(content, max))
}

/// Content written by others, fit to stand in a line of text, at most `max` bytes long.
pub(super) fn data(content: &str, max: usize) -> String {
    let harmless = |c| match c {
        '`' => '\'',
        '\\' => '/',
        c if is_hidden(c) => ' ',
        c => c,
    };
    // No replacement is longer than what it replaces, so that it can be cut first.
    clip(content, max).chars().map(harmless).collect()
}

/// The last words of what a program wrote, as one line of at most `max` bytes: white space is a blank, other control
/// and invisible characters are escaped.
pub(super) fn last_words(output: &[u8], max: usize) -> String {
    let output = String::from_utf8_lossy(&output[output.len().saturating_sub(max)..]);
    let mut line = String::new();
    for word in output.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if is_hidden(c) { line.extend(c.escape_unicode()) } else { line.push(c) }
        }
    }
    // Escaping may have made it longer: the end is what matters.
    let mut start = line.len().saturating_sub(max);
    while !line.is_char_boundary(start) {
        start += 1;
    }
    line.split_off(start)
}

/// Cuts `text` to at most `max` bytes, marking the cut.
pub(super) fn clip(text: &str, max: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned() + MARK
}

/// Control characters, and characters that change how others are shown without being seen themselves.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(all(test, unix))]
mod tests;
