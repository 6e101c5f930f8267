//! Where commands write, and how it looks: aligned tables for people, JSON for programs, colours only on a terminal.

use std::{
    error::Error,
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;

use super::daemon::CallError;
use crate::config::Environment;

/// Where commands write.
pub(super) struct Output<'o> {
    pub(super) out: &'o mut dyn Write,
    pub(super) err: &'o mut dyn Write,
    /// What standard output can show.
    pub(super) screen: Screen,
}

/// What can be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Screen {
    /// Whether somebody looks at it, so that it can be drawn over.
    pub(super) is_terminal: bool,
    /// Whether it has colours.
    pub(super) colours: bool,
}

impl Screen {
    /// Standard output. `NO_COLOR` (any text in it) and `TERM=dumb` mean no colours.
    pub(super) fn of_process(environment: &Environment) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self { is_terminal, colours: is_terminal && wants_colours(environment) }
    }
}

fn wants_colours(environment: &Environment) -> bool {
    let text = |name: &str| environment.variables.get(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty());
    text("NO_COLOR").is_none() && text("TERM").is_none_or(|terminal| terminal != "dumb")
}

impl Output<'_> {
    /// Writes `value` as JSON that people can read as well.
    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *self.out, value)?;
        writeln!(self.out)
    }

    /// Writes a line.
    pub(super) fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// What was answered. Programs that asked for JSON get the daemon's own words of a refusal, too.
    pub(super) fn answered<T>(&mut self, answer: Result<T, CallError>, json: bool) -> Result<T, Box<dyn Error>> {
        if let Err(CallError { problem: Some(problem), .. }) = &answer
            && json
        {
            self.json(problem)?;
        }
        Ok(answer?)
    }

    /// Writes a table.
    pub(super) fn table(&mut self, table: &Table) -> io::Result<()> {
        self.out.write_all(table.text(self.screen.colours).as_bytes())
    }

    /// The text of a cell, coloured if the screen has colours.
    pub(super) fn painted(&self, cell: &Cell) -> String {
        cell.painted(self.screen.colours)
    }
}

/// What a text means, as a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// A heading.
    Head,
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
    /// Something is wrong.
    Bad,
    /// Less important.
    Faint,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Head => Some("1"),
            Self::Good => Some("32"),
            Self::Warn => Some("33"),
            Self::Bad => Some("31"),
            Self::Faint => Some("2"),
        }
    }
}

/// Text on one line. What came from elsewhere cannot leave it or control the terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl Display, tone: Tone) -> Self {
        Self { text: harmless(&text.to_string()), tone }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn painted(&self, colours: bool) -> String {
        match self.tone.code().filter(|_| colours && !self.text.is_empty()) {
            Some(code) => format!("\x1b[{code}m{}\x1b[0m", self.text),
            None => self.text.clone(),
        }
    }
}

impl<T: Display> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// `text` without characters that move the cursor, reorder what stands around them, or are not seen.
pub(super) fn harmless(text: &str) -> String {
    let is_harmful = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_harmful(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Rows of aligned columns under a heading.
#[derive(Clone, Debug)]
pub(super) struct Table {
    head: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { head: head.iter().map(|title| Cell::new(title, Tone::Head)).collect(), rows: Vec::new() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.head.len());
        self.rows.push(cells.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn text(&self, colours: bool) -> String {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| lines().map(|line| width(&line[column].text)).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in lines() {
            let mut gap = 0;
            for (cell, width_of_column) in line.iter().zip(&widths) {
                if !cell.is_empty() {
                    text.extend(std::iter::repeat_n(' ', gap));
                    text.push_str(&cell.painted(colours));
                    gap = 0;
                }
                gap += width_of_column - if cell.is_empty() { 0 } else { width(&cell.text) } + 2;
            }
            text.push('\n');
        }
        text
    }
}

/// How many columns a terminal needs: two for East Asian wide letters, none for marks that combine.
fn width(text: &str) -> usize {
    let columns = |letter| match letter {
        '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    };
    text.chars().map(columns).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_also_with_colours_wide_letters_and_empty_cells() {
        let mut table = Table::new(["NAME", "N", "STATE"]);
        table.row(["看板".into(), 7.into(), Cell::new("ok", Tone::Good)]);
        table.row(["a-long-name".into(), Cell::default(), Cell::default()]);
        table.row(["b".into(), Cell::default(), "x".into()]);
        assert_eq!(table.text(false), "NAME         N  STATE\n看板         7  ok\na-long-name\nb               x\n");
        assert_eq!(
            table.text(true),
            "\x1b[1mNAME\x1b[0m         \x1b[1mN\x1b[0m  \x1b[1mSTATE\x1b[0m\n\
             看板         7  \x1b[32mok\x1b[0m\na-long-name\nb               x\n"
        );
    }

    #[test]
    fn text_from_elsewhere_stays_on_its_line_and_cannot_control_the_terminal() {
        let hostile = "a\x1b[2Jb\r\nc\u{202e}d\u{200b}e\u{9b}f";
        assert_eq!(Cell::from(hostile).text, r"a\u{1b}[2Jb\r\nc\u{202e}d\u{200b}e\u{9b}f");
        assert_eq!(harmless("Größe 看板 🦀"), "Größe 看板 🦀");
    }

    #[test]
    fn colours_can_be_declined() {
        for (name, value, wanted) in [
            ("X", "", true),
            ("NO_COLOR", "1", false),
            ("NO_COLOR", "", true),
            ("TERM", "dumb", false),
            ("TERM", "xterm", true),
        ] {
            let variables = [(name.into(), value.into())].into();
            assert_eq!(wants_colours(&Environment { variables, ..Environment::default() }), wanted, "{name}={value}");
        }
    }
}
