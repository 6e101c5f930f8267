//! Free slots, and the rules by which they are read from a status answer.

use serde_json::{Number, Value};

use super::pointer::Pointer;

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// So many slots.
    Slots(u64),
    /// The answer only says whether there is room: `true` counts as enough, `false` as none.
    Room(bool),
}

impl Free {
    /// The number of free slots, where `min_available` stands for "enough".
    #[must_use]
    pub fn slots(self, min_available: u64) -> u64 {
        match self {
            Self::Slots(slots) => slots,
            Self::Room(true) => min_available,
            Self::Room(false) => 0,
        }
    }

    /// Whether that is room for a push that needs `min_available` slots.
    #[must_use]
    pub fn is_enough(self, min_available: u64) -> bool {
        match self {
            Self::Slots(slots) => slots >= min_available,
            Self::Room(room) => room,
        }
    }
}

/// An answer in which no rule finds free slots: one line that says what was looked for and what was there.
///
/// The same for answers of the same shape: it quotes names of members, never their values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotUnderstood(String);

/// Where free slots may stand.
const AVAILABLE: [&str; 4] = ["/available", "/availableSlots", "/slots/available", "/capacity/available"];
/// Where a maximum and a use may stand.
const COUNTERS: [&str; 3] = ["", "/slots", "/capacity"];
const MAXIMUM: [&str; 4] = ["max", "maxConcurrent", "total", "limit"];
const USE: [&str; 4] = ["active", "busy", "running", "inUse"];

/// Reads the free slots from a status answer, by the first rule that fits:
/// 1. what `pointer` leads to, if there is one: a number, or a boolean (`true` = room). No other rule is then tried;
/// 2. `available`, `availableSlots`, `slots.available`, `capacity.available`: a number;
/// 3. a maximum (`max`, `maxConcurrent`, `total`, `limit`) minus a use (`active`, `busy`, `running`, `inUse`), never
///    below 0: numbers in the same object, which is the answer, its `slots` or its `capacity`;
/// 4. `idle: true|false`, `busy: true|false`, `status: "idle"|"busy"`;
/// 5. `available: true|false`.
///
/// Within a rule the first member of the right type counts, in the order given here; a member of another type (`busy:
/// 3` for rule 4) is as good as absent. Fractions count against us: half a free slot is none, half a used one is one.
/// Below 0 is 0, and what does not fit into 64 bits is the most that does.
///
/// # Errors
/// If no rule fits. That means "not available".
pub fn read(answer: &Value, pointer: Option<&Pointer>) -> Result<Free, NotUnderstood> {
    match pointer {
        Some(pointer) => at_pointer(answer, pointer),
        None => by_rule(answer).ok_or_else(|| {
            NotUnderstood(format!(
                "no free slots found: looked for {}, a maximum ({}) with a use ({}), idle, busy and status, but {}; \
                 configure a pointer to the number",
                AVAILABLE.map(|path| path[1..].replace('/', ".")).join(", "),
                MAXIMUM.join(", "),
                USE.join(", "),
                shape(answer)
            ))
        }),
    }
}

/// Rule 1.
fn at_pointer(answer: &Value, pointer: &Pointer) -> Result<Free, NotUnderstood> {
    match pointer.get(answer) {
        Some(Value::Number(number)) => Ok(Free::Slots(floor(number))),
        Some(Value::Bool(room)) => Ok(Free::Room(*room)),
        other => Err(NotUnderstood(format!(
            "no free slots found: the pointer {} leads to {}, not to a number or a boolean; {}",
            quoted(pointer.as_str()),
            other.map_or("nothing", kind),
            shape(answer)
        ))),
    }
}

/// Rules 2 to 5.
fn by_rule(answer: &Value) -> Option<Free> {
    let available = || AVAILABLE.iter().find_map(|path| answer.pointer(path)?.as_number()).map(floor);
    let unused = || {
        COUNTERS.iter().find_map(|path| {
            let counters = answer.pointer(path)?;
            let first = |names: [&str; 4]| names.iter().find_map(|name| counters.get(name)?.as_number());
            Some(floor(first(MAXIMUM)?).saturating_sub(ceil(first(USE)?)))
        })
    };
    let boolean = |name| answer.get(name).and_then(Value::as_bool);
    let status = || match answer.get("status")?.as_str()? {
        "idle" => Some(true),
        "busy" => Some(false),
        _ => None,
    };
    let room = || {
        boolean("idle").or_else(|| boolean("busy").map(|busy| !busy)).or_else(status).or_else(|| boolean("available"))
    };
    available().or_else(unused).map(Free::Slots).or_else(|| room().map(Free::Room))
}

fn floor(number: &Number) -> u64 {
    number.as_u64().unwrap_or_else(|| float(number).floor() as u64)
}

fn ceil(number: &Number) -> u64 {
    number.as_u64().unwrap_or_else(|| float(number).ceil() as u64)
}

/// The nearest float; infinite beyond its range. (`Number::as_f64` is `None` there.) Casts of it to integers saturate.
fn float(number: &Number) -> f64 {
    number.to_string().parse().unwrap_or(0.0)
}

/// What the answer looks like: its kind, or the names of its members.
fn shape(answer: &Value) -> String {
    const NAMES: usize = 8;
    let Some(members) = answer.as_object() else { return format!("the answer is {}", kind(answer)) };
    // Sorted, so that the same shape is described in the same words.
    let mut names: Vec<&String> = members.keys().collect();
    names.sort_unstable();
    let shown: Vec<String> = names.iter().take(NAMES).map(|name| quoted(name)).collect();
    match names.len() {
        0 => "the answer is an empty object".to_owned(),
        count if count > NAMES => format!("the answer has {} and {} more", shown.join(", "), count - NAMES),
        _ => format!("the answer has {}", shown.join(", ")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A name as it can be shown: short, on one line, without control characters.
fn quoted(name: &str) -> String {
    const LENGTH: usize = 40;
    let mut shown: String = name.chars().take(LENGTH).flat_map(char::escape_debug).collect();
    if name.chars().nth(LENGTH).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests;
