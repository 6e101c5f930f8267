//! The systemd user unit: the one in `config/`, with this user's paths in it.

use super::Plan;

/// Its name in the folder of units.
pub(super) const FILE: &str = "ograph-dispatcher.service";
const TEMPLATE: &str = include_str!("../../../config/ograph-dispatcher.service");
const COMMAND: &str = "/usr/local/bin/ograph-dispatcher run";
const PATH: &str = "%h/.local/bin:/usr/local/bin:/usr/bin:/bin";

/// The unit's text.
pub(super) fn unit(plan: &Plan) -> String {
    let command: Vec<_> = plan.command.iter().map(|word| argument(word)).collect();
    TEMPLATE
        .replace(&format!("ExecStart={COMMAND}\n"), &format!("ExecStart={}\n", command.join(" ")))
        .replace(&format!("\"PATH={PATH}\""), &format!("\"PATH={}\"", escaped(&plan.path)))
}

/// A word of a command line, quoted if it has to be.
fn argument(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:=@".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("\"{}\"", escaped(word).replace('$', "$$"))
}

/// Text between double quotes, in which `%` means nothing.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_so_that_systemd_reads_them_as_they_are() {
        for (word, written) in [
            ("/usr/bin/x", "/usr/bin/x"),
            ("/home/ann b/x", "\"/home/ann b/x\""),
            ("100%", "\"100%%\""),
            ("$HOME", "\"$$HOME\""),
            ("a\"b\\c", r#""a\"b\\c""#),
            (";", "\";\""),
            ("", "\"\""),
        ] {
            assert_eq!(argument(word), written);
        }
    }
}
