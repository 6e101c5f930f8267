//! What must hold for any bytes at all, one function for each fuzz target.
//!
//! `cargo fuzz run TARGET fuzz/corpus/TARGET fuzz/seeds/TARGET` looks for bytes for which it does not; the seeds, and
//! whatever was found, are tried by the ordinary tests, too (`tests/fuzz_seeds.rs`).

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use ograph_dispatcher::config::{LoadError, Loader};
use ograph_dispatcher_actors::{
    model::{
        availability,
        document::{AvailabilityNote, Document, Envelope, MergedChange, Reason},
        key::{Projection, ProjectionKey},
        patch, retry_after as header,
        time::Timestamp,
        value::{self, Digest, Snapshot},
    },
    store::{RedbStore, Store as _, StoreError},
};
use serde_json::Value;

/// The bytes are a configuration file: accepted, or refused with reasons that can be shown.
pub fn config(bytes: &[u8]) {
    match Loader::default().load_bytes(Path::new("dispatcher.json"), bytes) {
        Ok(loaded) => drop(format!("{:?}", loaded.config)),
        Err(LoadError::Invalid(problems)) => {
            assert!(!problems.errors.is_empty(), "refused without a reason");
            for problem in problems.errors.iter().chain(&problems.warnings) {
                let line = problem.to_string();
                assert!(!line.contains(char::is_control) && line.len() < 2_000, "{line:?}");
            }
        }
        Err(LoadError::FirstRun(_)) => panic!("there is a file"),
    }
}

/// The bytes are OGraph's answer: what is read from it survives being written and read again.
pub fn projection(bytes: &[u8]) {
    let Ok(answer) = value::parse(bytes) else { return };
    let Some(value) = value::extract(answer, None) else { return };
    let snapshot = Snapshot::new(value, &[]);
    let text = serde_json::to_vec(&**snapshot.value()).expect("what was read can be written");
    let again = Snapshot::new(value::parse(&text).expect("what was written can be read"), &[]);
    assert_eq!(again.digest(), snapshot.digest(), "{}", String::from_utf8_lossy(&text));
    assert_eq!(again.value(), snapshot.value());
}

/// The bytes are OpenClaw's answer: room, or a reason in one line.
pub fn availability(bytes: &[u8]) {
    let Ok(answer) = value::parse(bytes) else { return };
    let pointers = ["/available", "/slots/0", ""].map(|pointer| pointer.parse().expect("a pointer"));
    for pointer in [None].into_iter().chain(pointers.iter().map(Some)) {
        match availability::read(&answer, pointer) {
            Ok(free) => assert_eq!(free.is_enough(2), free.slots(2) >= 2),
            Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
        }
    }
}

/// The bytes are a `Retry-After`: a time that an `Instant` can bear, or none.
pub fn retry_after(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for now in [Timestamp::EPOCH, Timestamp::from_millis(1_772_000_000_000)] {
        if let Some(wait) = header::parse(text, now) {
            assert!(wait <= Duration::from_secs(86_400 * 366), "{text:?} asks for {wait:?}");
        }
    }
}

/// Two lines of JSON, a value before and after: the document says so, and its patch leads from one to the other.
pub fn document(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let mut next = || value::parse(lines.next()?).ok();
    let (Some(old), Some(new)) = (next(), next()) else { return };
    let key = ProjectionKey::new("board?id=1");
    let state = |value: &Value| Some(Snapshot::new(value.clone(), &[]));
    let (from, to) = (state(&old), state(&new));
    let change =
        MergedChange { from, to, merged: 1, first_changed_at: Timestamp::EPOCH, last_changed_at: Timestamp::EPOCH };
    let envelope = Envelope {
        batch_id: uuid::Uuid::nil(),
        created_at: Timestamp::EPOCH,
        reason: Reason::Available,
        availability: AvailabilityNote { available: Some(3), min_available: 2 },
    };
    let document = Document::new(&envelope, [(&key, &change)], |key| {
        let projection: Projection = key.as_str().parse().expect("a projection");
        (projection.name, projection.params)
    });
    let text = serde_json::to_vec(&document).expect("a document can be written");
    let read: Value = serde_json::from_slice(&text).expect("and read");
    let change = &read["changes"][0];
    assert_eq!(Digest::of(&change["old"]), Digest::of(&old));
    assert_eq!(Digest::of(&change["new"]), Digest::of(&new));
    // Not read back: what serde reads of a patch has no room for numbers beyond 64 bits.
    let patch = patch::diff(&old, &new);
    assert_eq!(serde_json::to_value(&patch).expect("JSON"), change["patch"]);
    let mut patched = change["old"].clone();
    json_patch::patch(&mut patched, &patch).expect("it fits");
    assert_eq!(Digest::of(&patched), Digest::of(&new), "{}", change["patch"]);
}

/// The bytes say what is done to a good store, three at a time: an offset in units of 64 bytes, and what is put there;
/// an odd rest cuts it off. Opening it never fails for ever: what cannot be believed is set aside, and then all is well.
pub fn store(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("state.redb");
    drop(RedbStore::open(dir.path()).expect("a fresh store"));
    let mut file = fs::read(&path).expect("a store");
    let mut damages = bytes.chunks_exact(3);
    for damage in &mut damages {
        let at = usize::from(u16::from_be_bytes([damage[0], damage[1]])) * 64 % file.len();
        file[at] = damage[2];
    }
    match damages.remainder() {
        [size] => file.truncate(usize::from(*size) * 512),
        [high, low] => file.truncate(usize::from(u16::from_be_bytes([*high, *low]))),
        _ => {}
    }
    fs::write(&path, &file).expect("a damaged store");
    match RedbStore::open(dir.path()) {
        Ok(opened) => {
            opened.store.load().expect("what was opened can be read");
            opened.store.commit(&[]).expect("and written");
        }
        // Somebody else's, by its own words: left as it is, for whoever can read it.
        Err(StoreError::TooNew { .. } | StoreError::Database(_)) => {
            assert_eq!(fs::read(&path).expect("the file"), file);
            return;
        }
        Err(error) => panic!("{error}"),
    }
    let again = RedbStore::open(dir.path()).expect("it opens from now on");
    assert_eq!(again.set_aside, None);
}

/// All of them, by name.
#[must_use]
pub fn targets() -> BTreeMap<&'static str, fn(&[u8])> {
    [
        ("config", config as fn(&[u8])),
        ("projection", projection),
        ("availability", availability),
        ("retry_after", retry_after),
        ("document", document),
        ("store", store),
    ]
    .into()
}
