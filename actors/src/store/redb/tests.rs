//! The file: how it is opened, refused and set aside.

mod damage;
mod disk;
mod faults;

use std::{fs, path::Path};

use redb::{Builder, Database, TableDefinition};
use tempfile::{TempDir, tempdir};

use super::{Opened, RedbStore};
use crate::store::{
    Saved, Store, StoreError, Write,
    tests::{open, samples::*},
};

/// A directory with a store that was closed in peace.
fn dir_with(writes: &[Write]) -> TempDir {
    let dir = tempdir().unwrap();
    open(dir.path()).commit(writes).unwrap();
    dir
}

/// The names in `dir`, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Changes a record behind the store's back.
fn tamper<K: redb::Key + 'static>(dir: &Path, table: &str, key: K::SelfType<'_>, record: &[u8]) {
    let db = Database::open(dir.join("state.redb")).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(TableDefinition::<K, &[u8]>::new(table)).unwrap().insert(key, record).unwrap();
    transaction.commit().unwrap();
}

/// Opens a damaged store; gives the reason for which it was set aside.
fn set_aside(dir: &Path) -> String {
    let Opened { store, set_aside } = RedbStore::open(dir).unwrap();
    let set_aside = set_aside.expect("a file that was set aside");
    assert!(set_aside.path.exists());
    assert_eq!(store.load().unwrap(), Saved::default(), "a fresh store");
    store.commit(&one_of_each("a")).unwrap();
    set_aside.reason
}

#[test]
fn the_file_is_made_in_a_directory_that_may_be_missing() {
    let dir = tempdir().unwrap();
    let inner = dir.path().join("a/b");
    drop(open(&inner));
    assert_eq!(names(&inner), ["state.lock", "state.redb"]);
}

#[cfg(unix)]
#[test]
fn directory_and_file_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempdir().unwrap();
    let inner = dir.path().join("state");
    drop(open(&inner));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(&inner.join("state.redb")), 0o600);
    assert_eq!(mode(&inner.join("state.lock")), 0o600);
}

#[cfg(unix)]
#[test]
fn the_mode_of_a_directory_that_exists_is_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
    drop(open(dir.path()));
    assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o750);
}

#[test]
fn a_second_store_in_the_same_directory_is_locked_out_until_the_first_is_dropped() {
    let dir = tempdir().unwrap();
    let first = open(dir.path());
    let error = RedbStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("state.redb is in use by another"), "{error}");
    drop(first);
    drop(open(dir.path()));
}

#[test]
fn a_file_that_another_program_has_open_is_locked_and_not_set_aside() {
    let dir = dir_with(&one_of_each("a"));
    let other = Database::open(dir.path().join("state.redb")).unwrap();
    let error = RedbStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(other);
    assert_eq!(open(dir.path()).load().unwrap().observed.len(), 1);
}

#[test]
fn records_of_a_newer_program_are_refused_and_kept() {
    let dir = dir_with(&one_of_each("a"));
    tamper::<&str>(dir.path(), "meta", "format", b"2");
    tamper::<&str>(dir.path(), "leases", "a", b"something new");
    let before = names(dir.path());
    for _ in 0..2 {
        let error = RedbStore::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::TooNew { found: 2, .. }), "{error}");
    }
    assert_eq!(names(dir.path()), before);
    tamper::<&str>(dir.path(), "meta", "format", b"1");
    assert!(set_aside(dir.path()).contains("leases"), "its records were still there");
}

#[test]
fn a_file_in_another_format_of_the_database_is_refused_and_kept() {
    let dir = dir_with(&one_of_each("a"));
    let path = dir.path().join("state.redb");
    for format in [1, 2, 4, 9] {
        let mut bytes = fs::read(&path).unwrap();
        (bytes[64], bytes[192]) = (format, format);
        fs::write(&path, &bytes).unwrap();
        let error = RedbStore::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(&format!("is in database format {format}, ")), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(names(dir.path()), ["state.lock", "state.redb"]);
    }
    let mut bytes = fs::read(&path).unwrap();
    (bytes[64], bytes[192]) = (3, 9);
    fs::write(&path, &bytes).unwrap();
    set_aside(dir.path());
}

#[test]
fn what_is_no_database_is_set_aside() {
    for content in [&b""[..], b"r", b"redb\x1A\x0A\xA9\x0D\x0A", b"{}", &[0; 8192], &[0xFF; 100_000]] {
        let dir = tempdir().unwrap();
        fs::write(dir.path().join("state.redb"), content).unwrap();
        assert_ne!(set_aside(dir.path()), "");
        assert_eq!(fs::read(dir.path().join("state.redb.damaged-1")).unwrap(), content);
    }
}

#[test]
fn a_database_of_something_else_is_set_aside() {
    let dir = tempdir().unwrap();
    let db = Builder::new().create(dir.path().join("state.redb")).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(TableDefinition::<&str, &str>::new("meta")).unwrap().insert("format", "1").unwrap();
    transaction.commit().unwrap();
    drop(db);
    assert_ne!(set_aside(dir.path()), "");
}

#[test]
fn a_record_that_cannot_be_read_is_damage() {
    let damaged = |table: &str, tamper: &dyn Fn(&Path)| {
        let dir = dir_with(&one_of_each("a"));
        tamper(dir.path());
        let reason = set_aside(dir.path());
        assert!(reason.contains(&format!("`{table}`")), "{table}: {reason}");
    };
    let too_deep = format!(r#"{{"digest":"0","value":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for record in ["{", "", "\u{0}", "{}", "7", &too_deep] {
        for table in ["observed_heads", "observed_values", "leases"] {
            damaged(table, &|dir| tamper::<&str>(dir, table, "a", record.as_bytes()));
        }
        damaged("entries", &|dir| tamper::<(&str, &str)>(dir, "entries", ("a", "a"), record.as_bytes()));
        damaged("deliveries", &|dir| tamper::<u64>(dir, "deliveries", 1, record.as_bytes()));
        damaged("meta", &|dir| tamper::<&str>(dir, "meta", "paused", record.as_bytes()));
    }
    damaged("receivers", &|dir| tamper::<&str>(dir, "receivers", "a", b"7"));
    for name in ["format", "commits"] {
        damaged("meta", &|dir| tamper::<&str>(dir, "meta", name, b"-1"));
    }
}

#[test]
fn an_observed_projection_without_its_value_is_damage() {
    let dir = dir_with(&one_of_each("a"));
    let head = serde_json::to_vec(&observed("1").head).unwrap();
    tamper::<&str>(dir.path(), "observed_heads", "b", &head);
    assert_eq!(set_aside(dir.path()), "an observed projection has no value");
}

#[test]
fn an_earlier_damaged_file_is_never_overwritten() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("state.redb");
    for round in 1..4 {
        fs::write(&path, format!("garbage {round}")).unwrap();
        set_aside(dir.path());
    }
    for round in 1..4 {
        let kept = fs::read_to_string(dir.path().join(format!("state.redb.damaged-{round}"))).unwrap();
        assert_eq!(kept, format!("garbage {round}"));
    }
}

#[test]
fn the_leftover_of_an_interrupted_beginning_is_ignored() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("state.redb.new"), "half a database").unwrap();
    drop(open(dir.path()));
    assert_eq!(names(dir.path()), ["state.lock", "state.redb"]);
}

#[test]
fn what_the_system_refuses_is_named_and_nothing_is_set_aside() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = RedbStore::open(&file).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("creating {}: ", file.display())), "{error}");

    let path = dir.path().join("state.redb");
    fs::create_dir(&path).unwrap();
    let error = RedbStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("opening {}: ", path.display())), "{error}");
    assert_eq!(names(dir.path()), ["file", "state.lock", "state.redb"]);
}

#[test]
fn after_kill_9_everything_committed_is_there_at_once() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    for round in 0..20 {
        store.commit(&one_of_each(&format!("p{round}"))).unwrap();
        let crashed = tempdir().unwrap();
        fs::copy(dir.path().join("state.redb"), crashed.path().join("state.redb")).unwrap();
        assert_eq!(dump(&open(crashed.path())), dump(&store));
    }
}

#[test]
fn the_file_does_not_grow_when_the_same_records_are_written_again() {
    let dir = tempdir().unwrap();
    let (_disk, attach) = disk::quick();
    let store = RedbStore::open_through(dir.path(), attach).unwrap().store;
    let big = format!("\"{}\"", "x".repeat(20_000));
    let rewrite = |times: usize| {
        for _ in 0..times {
            store.commit(&[Write::Observed(key("a"), observed(&big))]).unwrap();
        }
        fs::metadata(dir.path().join("state.redb")).unwrap().len()
    };
    let size = rewrite(50);
    assert!(rewrite(500) <= size * 2, "{size} bytes at first");
}

#[test]
fn many_threads_may_call_at_once() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..10 {
                    let name = format!("p{thread}-{round}");
                    store.commit(&one_of_each(&name)).unwrap();
                    assert!(store.observed(&[key(&name)]).unwrap()[0].is_some());
                    assert!(store.load().unwrap().observed.contains_key(&key(&name)));
                }
            });
        }
    });
    assert_eq!(store.load().unwrap().observed.len(), 40);
    assert_eq!(store.deliveries(100).unwrap().len(), 40);
}
