//! How configured values are shown: as JSON, with everything secret masked.

use std::{path::PathBuf, time::Duration};

use ograph_dispatcher_actors::{model::pointer::Pointer, secret::Secret};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Id, Listen, Place, Proxy, SafeUrl};

/// One setting in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its path, e.g. `intervals.watcherIdle`.
    pub path: String,
    /// Its value; secrets, credentials in URLs and their queries are masked.
    pub value: Value,
    /// Where it was set.
    #[serde(serialize_with = "as_text")]
    pub origin: Origin,
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The file, the environment or the command line.
    Set(Place),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Set(Place::At { line, .. }) => write!(f, "line {line}"),
            Self::Set(place) => place.fmt(f),
        }
    }
}

fn as_text<S: serde::Serializer>(origin: &Origin, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(origin)
}

/// A value that `check` can show.
pub(super) trait Show {
    /// The value as in the file, nothing secret in it.
    fn show(&self) -> Value;
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> Value {
        self.as_ref().map_or(Value::Null, Show::show)
    }
}

impl Show for Secret {
    fn show(&self) -> Value {
        json!("(secret)")
    }
}

impl Show for Duration {
    fn show(&self) -> Value {
        json!(u64::try_from(self.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Show for SafeUrl {
    fn show(&self) -> Value {
        json!(self.to_string())
    }
}

impl Show for Proxy {
    fn show(&self) -> Value {
        match self {
            Self::FromEnvironment => json!("(from the environment)"),
            Self::Direct => Value::Null,
            Self::Through(url) => url.show(),
        }
    }
}

impl Show for Listen {
    fn show(&self) -> Value {
        json!(self.to_string())
    }
}

impl Show for Id {
    fn show(&self) -> Value {
        match self {
            Self::Number(number) => json!(number),
            Self::Text(text) => json!(text),
        }
    }
}

impl Show for PathBuf {
    fn show(&self) -> Value {
        json!(self.to_string_lossy())
    }
}

impl Show for Pointer {
    fn show(&self) -> Value {
        json!(self.as_str())
    }
}

macro_rules! show_as_it_is {
    ($($type:ty),*) => {$(
        impl Show for $type {
            fn show(&self) -> Value {
                json!(self)
            }
        }
    )*};
}

show_as_it_is!(bool, u64, usize, String);
