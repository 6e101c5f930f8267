//! Reads objects key by key. Every key that is asked for is known; what is left over at the end is reported.

use std::cell::RefCell;

use jsonc_parser::{ast, common::Ranged as _};

use super::{
    Flags, Place, Problem, Problems,
    kinds::{Input, Raw, Read, Scope, kind_of},
    show::{Origin, Setting, Show},
    text::{FileText, join},
};

/// One run over a file, a set of variables and flags, and everything it finds out.
pub(super) struct Reader<'a> {
    pub(super) scope: Scope<'a>,
    flags: &'a Flags,
    file: Option<FileText<'a>>,
    findings: RefCell<Findings>,
}

/// What a run found out.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) problems: Problems,
    pub(super) settings: Vec<Setting>,
    /// Whether a secret stands in the file itself.
    pub(super) literal_secret: bool,
    /// Every path that was asked for, without the indexes of arrays.
    #[cfg(test)]
    pub(super) asked: std::collections::BTreeSet<String>,
}

/// A setting's name in its object, and by what it can be overridden.
#[derive(Clone, Copy)]
pub(super) struct Key {
    name: &'static str,
    variable: Option<&'static str>,
    flag: Option<&'static str>,
}

impl Key {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, variable: None, flag: None }
    }

    /// The key in the object.
    pub(super) const fn name(self) -> &'static str {
        self.name
    }

    pub(super) const fn variable(mut self, variable: &'static str) -> Self {
        self.variable = Some(variable);
        self
    }

    pub(super) const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }
}

impl From<&'static str> for Key {
    fn from(name: &'static str) -> Self {
        Self::new(name)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(scope: Scope<'a>, flags: &'a Flags, file: Option<FileText<'a>>) -> Self {
        Self { scope, flags, file, findings: RefCell::default() }
    }

    /// The object at the top; `None` if there is no file.
    pub(super) fn root<'r>(&'r self, tree: Option<&'r ast::Value<'a>>) -> Object<'r> {
        match tree {
            None => Object::new(self, String::new(), None, Presence::Absent),
            Some(tree) => Node { value: tree, path: String::new() }.object(self),
        }
    }

    pub(super) fn finish(self) -> Findings {
        self.findings.into_inner()
    }

    pub(super) fn error(&self, place: Place, path: &str, message: impl Into<String>) {
        let problem = Problem { place, path: path.to_owned(), message: message.into() };
        self.findings.borrow_mut().problems.errors.push(problem);
    }

    pub(super) fn warning(&self, place: Place, path: &str, message: impl Into<String>) {
        let problem = Problem { place, path: path.to_owned(), message: message.into() };
        self.findings.borrow_mut().problems.warnings.push(problem);
    }

    pub(super) fn record(&self, path: &str, value: serde_json::Value, origin: Origin) {
        self.findings.borrow_mut().settings.push(Setting { path: path.to_owned(), value, origin });
    }

    /// Where something is to be added that is not there.
    pub(super) fn nowhere(&self) -> Place {
        self.file.as_ref().map_or(Place::Nowhere {}, FileText::whole)
    }

    /// The place of a value in the file.
    pub(super) fn place(&self, value: &ast::Value<'_>) -> Place {
        self.place_at(value.range().start)
    }

    fn place_at(&self, offset: usize) -> Place {
        self.file.as_ref().map_or(Place::Nowhere {}, |file| file.place(offset))
    }

    /// Every value of a flag.
    pub(super) fn flag_values(&self, flag: &str) -> &'a [String] {
        self.flags.all(flag)
    }

    /// A variable's value; one that is not UTF-8 is reported.
    pub(super) fn variable_value(&self, variable: &'static str, path: &str) -> Option<&'a str> {
        self.scope.environment.variable(variable).unwrap_or_else(|error| {
            self.error(Place::Variable { variable }, path, error.to_string());
            None
        })
    }

    fn note_asked(&self, parent: &str, name: &str) {
        #[cfg(test)]
        {
            let path = join(parent, name);
            let indexes = path
                .split('[')
                .map(|part| part.split_once(']').map_or(part.to_owned(), |(_, rest)| format!("[]{rest}")));
            self.findings.borrow_mut().asked.insert(indexes.collect());
        }
        #[cfg(not(test))]
        let _ = (parent, name);
    }
}

/// A value of the file and its path.
#[derive(Clone)]
pub(super) struct Node<'r> {
    pub(super) value: &'r ast::Value<'r>,
    pub(super) path: String,
}

impl<'r> Node<'r> {
    /// The value as an object; anything else is reported.
    pub(super) fn object(self, reader: &'r Reader<'_>) -> Object<'r> {
        match self.value {
            ast::Value::Object(object) => Object::new(reader, self.path, Some(object), Presence::Present),
            other => {
                reader.error(reader.place(other), &self.path, format!("must be an object, not {}", kind_of(other)));
                Object::new(reader, self.path, None, Presence::Broken)
            }
        }
    }

    /// The elements of an array; anything else is reported.
    pub(super) fn elements(&self, reader: &Reader<'_>) -> Option<Vec<Self>> {
        match self.value {
            ast::Value::Array(array) => {
                let node = |(index, value)| Self { value, path: format!("{}[{index}]", self.path) };
                Some(array.elements.iter().enumerate().map(node).collect())
            }
            other => {
                reader.error(reader.place(other), &self.path, format!("must be an array, not {}", kind_of(other)));
                None
            }
        }
    }

    /// The value as one of a kind; anything else is reported.
    pub(super) fn read<T>(&self, reader: &Reader<'_>, kind: impl Fn(&Input<'_>) -> Read<T>) -> Option<T> {
        let input = Input { raw: Raw::Json(self.value), scope: reader.scope };
        kind(&input).map_err(|message| reader.error(reader.place(self.value), &self.path, message)).ok()
    }
}

/// Whether an object is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Present,
    Absent,
    /// Something else stands in its place, which was reported; what it lacks needs no further words.
    Broken,
}

/// An object while it is being read. When it is dropped, the keys that nobody asked for are reported.
pub(super) struct Object<'r> {
    reader: &'r Reader<'r>,
    path: String,
    members: &'r [ast::ObjectProp<'r>],
    start: Option<usize>,
    presence: Presence,
    known: Vec<&'static str>,
}

impl<'r> Object<'r> {
    fn new(reader: &'r Reader<'_>, path: String, object: Option<&'r ast::Object<'r>>, presence: Presence) -> Self {
        let members = object.map_or(&[][..], |object| &object.properties);
        let start = object.map(|object| object.range.start);
        Self { reader, path, members, start, presence, known: Vec::new() }
    }

    /// The path of one of its members.
    pub(super) fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// The object's own path.
    pub(super) fn own_path(&self) -> &str {
        &self.path
    }

    /// The member with this key, if there is one.
    pub(super) fn node(&mut self, name: &'static str) -> Option<Node<'r>> {
        self.known.push(name);
        self.reader.note_asked(&self.path, name);
        let member = self.members.iter().find(|member| member.name.as_str() == name)?;
        Some(Node { value: &member.value, path: self.path(name) })
    }

    /// All members, whatever their keys.
    pub(super) fn nodes(&mut self) -> Vec<(&'r str, Node<'r>)> {
        let members = std::mem::take(&mut self.members);
        members.iter().map(|m| (m.name.as_str(), Node { value: &m.value, path: self.path(m.name.as_str()) })).collect()
    }

    /// The object with this key; an empty one if it is absent.
    pub(super) fn object(&mut self, name: &'static str) -> Object<'r> {
        let reader = self.reader;
        match self.node(name) {
            Some(node) => node.object(reader),
            // What is missing in an object that is missing is missing; what is missing in a broken one is not.
            None => {
                let presence = if self.presence == Presence::Broken { Presence::Broken } else { Presence::Absent };
                Object::new(reader, self.path(name), None, presence)
            }
        }
    }

    /// The object with this key, if it is there and not `null`.
    pub(super) fn optional_object(&mut self, name: &'static str) -> Option<Object<'r>> {
        let node = self.node(name)?;
        (!matches!(node.value, ast::Value::NullKeyword(_))).then(|| node.object(self.reader))
    }

    /// An object that is not in the file, but whose settings may come from elsewhere.
    pub(super) fn absent(&self, name: &str) -> Object<'r> {
        Object::new(self.reader, self.path(name), None, Presence::Absent)
    }

    /// Whoever set it last: a flag, else a variable, else the file.
    fn input(&mut self, key: Key) -> Option<(Raw<'r>, Place)> {
        let node = self.node(key.name);
        let reader = self.reader;
        if let Some((flag, value)) = key.flag.and_then(|flag| Some((flag, reader.flags.last(flag)?))) {
            return Some((Raw::Flag(value), Place::Flag { flag }));
        }
        let path = self.path(key.name);
        let variable = key.variable.and_then(|name| Some((name, reader.variable_value(name, &path)?)));
        if let Some((variable, value)) = variable {
            return Some((Raw::Variable(value), Place::Variable { variable }));
        }
        node.map(|node| (Raw::Json(node.value), reader.place(node.value)))
    }

    fn setting<T: Show>(&mut self, key: Key, kind: impl Fn(&Input<'_>) -> Read<T>) -> Found<T> {
        let Some((raw, place)) = self.input(key) else { return Found::Nothing };
        let path = self.path(key.name);
        match kind(&Input { raw, scope: self.reader.scope }) {
            Ok(value) => {
                self.reader.record(&path, value.show(), Origin::Set(place.clone()));
                Found::Value(value, place)
            }
            Err(message) => {
                self.reader.error(place, &path, message);
                Found::Reported
            }
        }
    }

    /// The setting's value and place, if somebody set it. A wrong one is reported and counts as not set.
    pub(super) fn get<T: Show>(
        &mut self,
        key: impl Into<Key>,
        kind: impl Fn(&Input<'_>) -> Read<T>,
    ) -> Option<(T, Place)> {
        match self.setting(key.into(), kind) {
            Found::Value(value, place) => Some((value, place)),
            Found::Reported | Found::Nothing => None,
        }
    }

    /// The setting's value, or a default.
    pub(super) fn get_or<T: Show>(
        &mut self,
        key: impl Into<Key>,
        default: T,
        kind: impl Fn(&Input<'_>) -> Read<T>,
    ) -> T {
        let key = key.into();
        match self.setting(key, kind) {
            Found::Value(value, _) => value,
            Found::Reported => default,
            Found::Nothing => {
                self.reader.record(&self.path(key.name), default.show(), Origin::Default);
                default
            }
        }
    }

    /// The setting's value; that nobody set it is reported.
    pub(super) fn required<T: Show>(&mut self, key: impl Into<Key>, kind: impl Fn(&Input<'_>) -> Read<T>) -> Option<T> {
        let key = key.into();
        match self.setting(key, kind) {
            Found::Value(value, _) => Some(value),
            Found::Reported => None,
            Found::Nothing => {
                let otherwise = match (key.variable, key.flag) {
                    (Some(variable), Some(flag)) => format!("; set it in the file, as {variable} or with {flag}"),
                    (Some(variable), None) => format!("; set it in the file or as {variable}"),
                    (None, _) => String::new(),
                };
                self.missing(key.name, &otherwise);
                None
            }
        }
    }

    /// Reports that a key is missing, and what follows from it.
    pub(super) fn missing(&self, name: &str, otherwise: &str) {
        if self.presence != Presence::Broken {
            self.reader.error(self.place(), &self.path(name), format!("is missing{otherwise}"));
        }
    }

    /// Where the object starts, or where it would have to be added.
    pub(super) fn place(&self) -> Place {
        self.start.map_or_else(|| self.reader.nowhere(), |start| self.reader.place_at(start))
    }

    /// Where the setting's value stands, or where it would have to be added.
    pub(super) fn place_of(&mut self, key: impl Into<Key>) -> Place {
        self.input(key.into()).map_or_else(|| self.place(), |(_, place)| place)
    }

    /// Gives up on the object: what else is in it, or missing, is not worth a word.
    pub(super) fn abandon(&mut self) {
        self.members = &[];
        self.presence = Presence::Broken;
    }

    /// Remembers that this member holds a secret, for the case that it stands in the file itself.
    pub(super) fn is_secret(&mut self, name: &'static str) {
        let mut findings = self.reader.findings.borrow_mut();
        let member = self.members.iter().find(|member| member.name.as_str() == name);
        findings.literal_secret |= member.is_some_and(|member| matches!(member.value, ast::Value::StringLit(_)));
        drop(findings);
        self.reader.note_asked(&self.path(name), "file");
        self.reader.note_asked(&self.path(name), "env");
    }
}

/// What came of looking for a setting.
enum Found<T> {
    Value(T, Place),
    Reported,
    Nothing,
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        for member in self.members {
            let name = member.name.as_str();
            if self.known.contains(&name) {
                continue;
            }
            let message = match nearest(name, &self.known) {
                Some(known) => format!("unknown key, ignored; did you mean \"{known}\"?"),
                None => "unknown key, ignored".to_owned(),
            };
            self.reader.warning(self.reader.place_at(member.range.start), &self.path(name), message);
        }
    }
}

/// The key that was most likely meant, if one is near enough.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    /// At most this many letters are compared: nobody mistypes more.
    const LONGEST: usize = 64;
    let letters = name.chars().count();
    if letters > LONGEST {
        return None;
    }
    let lower = name.to_lowercase();
    let distance = |key: &str| strsim::damerau_levenshtein(&lower, &key.to_lowercase());
    let (near, key) = known.iter().map(|key| (distance(key), *key)).min_by_key(|(distance, _)| *distance)?;
    (near <= letters.div_ceil(3)).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_but_nothing_far_fetched() {
        let known = ["watcherIdle", "watcherActive", "url", "as"];
        for (name, expected) in [
            ("watcheridle", Some("watcherIdle")),
            ("watcher_active", Some("watcherActive")),
            ("wathcerIdle", Some("watcherIdle")),
            ("uri", Some("url")),
            ("comment", None),
            ("", None),
            (&"x".repeat(100_000), None),
        ] {
            assert_eq!(nearest(name, &known), expected, "{name:.20}");
        }
    }
}
