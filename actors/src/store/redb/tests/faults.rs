//! Disks that fail: nothing halfway, nothing lost, no restart needed.

use std::fs;

use tempfile::tempdir;

use super::{
    super::RedbStore,
    dir_with,
    disk::{self, Fault},
    names,
};
use crate::store::{
    Store, StoreError, Write,
    tests::{open, samples::*},
};

/// A commit that touches every table, over several pages, and differs from round to round.
fn round(number: usize) -> Vec<Write> {
    let big = format!("[{number},\"{}\"]", "x".repeat(9_000));
    let to = receiver("r");
    let mut writes = vec![
        Write::Observed(key("a"), observed(&big)),
        Write::Observed(key(&format!("new-{number}")), observed("1")),
        Write::Entry(to.clone(), key("a"), Some(entry("0", &big))),
        Write::Lease(to.clone(), Some(lease(&[("a", "0", &big)]))),
        Write::Receiver(to, record(number as i64)),
        Write::Paused(number.is_multiple_of(2)),
        Write::Delivery(delivery(number)),
    ];
    if number > 0 {
        writes.push(Write::ForgetObserved(key(&format!("new-{}", number - 1))));
    }
    if number.is_multiple_of(3) {
        writes.push(Write::ForgetReceiver(receiver("r")));
    }
    writes
}

fn is_disk_full(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { .. }) && error.to_string().contains("no space left on device")
}

/// Fails every commit at its first, second, … step, and lets it succeed after the disk healed.
fn commits_fail_at_every_step(fault: Fault) {
    let dir = tempdir().unwrap();
    let (disk, attach) = disk::quick();
    let store = RedbStore::open_through(dir.path(), attach).unwrap().store;
    store.commit(&round(0)).unwrap();
    for step in 0.. {
        assert!(step < 1_000, "the disk fails without end");
        let before = dump(&store);
        let writes = round(usize::try_from(step).unwrap() + 1);
        disk.fail(fault, step);
        let committed = store.commit(&writes);
        let crashed = tempdir().unwrap();
        fs::copy(dir.path().join("state.redb"), crashed.path().join("state.redb")).unwrap();
        if let Err(error) = &committed {
            assert!(is_disk_full(error), "step {step}: {error}");
            assert!(error.to_string().contains("state.redb"), "step {step}: {error}");
            if fault != Fault::Once {
                let again = store.commit(&writes).unwrap_err();
                assert!(is_disk_full(&again), "step {step}: {again}");
            }
        }
        let hit = disk.heal().hit;
        if committed.is_err() {
            assert_eq!(dump(&store), before, "step {step}: something of a failed commit is there");
            store.commit(&writes).unwrap_or_else(|error| panic!("step {step}: {error}"));
        }
        let after = dump(&store);
        assert_ne!(before, after);
        let found = dump(&open(crashed.path()));
        assert!(found == after || committed.is_err() && found == before, "step {step}: a crash left neither");
        if !hit {
            assert!(step > 3, "the disk was hardly used");
            break;
        }
    }
    let last = dump(&store);
    drop(store);
    assert_eq!(dump(&open(dir.path())), last);
    assert_eq!(names(dir.path()), ["state.lock", "state.redb"]);
}

#[test]
fn a_full_disk_fails_a_commit_at_any_write_and_leaves_nothing_of_it() {
    commits_fail_at_every_step(Fault::Full);
}

#[test]
fn a_torn_write_leaves_nothing_of_a_commit() {
    commits_fail_at_every_step(Fault::Torn);
}

#[test]
fn a_single_failing_write_or_sync_leaves_nothing_of_a_commit() {
    commits_fail_at_every_step(Fault::Once);
}

#[test]
fn a_disk_that_fails_again_while_a_commit_is_taken_back_leaves_nothing_of_it() {
    let dir = tempdir().unwrap();
    let (disk, attach) = disk::quick();
    let store = RedbStore::open_through(dir.path(), attach).unwrap().store;
    store.commit(&round(0)).unwrap();
    disk.fail(Fault::Once, u64::MAX);
    store.commit(&round(1)).unwrap();
    let steps = disk.heal().spent;
    let mut failed_twice = 0;
    // The last steps of a commit are those after which nobody knows whether the file has it.
    for step in steps - 2..=steps {
        for again in 0..100 {
            let before = dump(&store);
            disk.fail(Fault::Once, step);
            let committed = store.commit(&round(2));
            disk.fail(Fault::Once, again);
            let loaded = store.load();
            let hit = disk.heal().hit;
            if committed.is_err() {
                assert_eq!(dump(&store), before, "steps {step} and {again}");
                failed_twice += usize::from(loaded.is_err());
            }
            if !hit {
                break;
            }
        }
    }
    assert!(failed_twice > 10, "only {failed_twice}");
}

#[test]
fn a_disk_full_for_a_while_refuses_every_call_and_needs_no_restart() {
    let dir = tempdir().unwrap();
    let (disk, attach) = disk::switched();
    let store = RedbStore::open_through(dir.path(), attach).unwrap().store;
    store.commit(&one_of_each("a")).unwrap();
    let before = dump(&store);
    disk.fail(Fault::Full, 0);
    for _ in 0..5 {
        assert!(is_disk_full(&store.commit(&one_of_each("b")).unwrap_err()));
        assert!(
            matches!(RedbStore::open(dir.path()).unwrap_err(), StoreError::Locked { .. }),
            "the claim was given up"
        );
    }
    assert!(disk.heal().hit);
    assert_eq!(dump(&store), before);
    store.commit(&one_of_each("b")).unwrap();
    assert_eq!(store.load().unwrap().observed.len(), 2);
}

#[test]
fn a_disk_that_cannot_be_read_for_a_while_is_an_error_and_no_damage() {
    let dir = dir_with(&[Write::Observed(key("big"), observed(&format!("\"{}\"", "x".repeat(4 << 20))))]);
    let (disk, attach) = disk::switched();
    let store = RedbStore::open_through(dir.path(), attach).unwrap().store;
    disk.fail(Fault::Unreadable, 0);
    let error = store.observed(&[key("big")]).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(error.to_string().starts_with("reading "), "{error}");
    assert!(matches!(store.load().unwrap_err(), StoreError::Io { .. }));
    assert!(disk.heal().hit);
    assert!(store.observed(&[key("big")]).unwrap()[0].is_some());
}

#[test]
fn opening_on_a_failing_disk_sets_nothing_aside() {
    for fault in [Fault::Full, Fault::Torn, Fault::Once, Fault::Unreadable] {
        let dir = dir_with(&round(0));
        let before = dump(&open(dir.path()));
        for step in 0.. {
            assert!(step < 1_000, "the disk fails without end");
            let (disk, attach) = disk::quick();
            disk.fail(fault, step);
            let opened = RedbStore::open_through(dir.path(), attach);
            let hit = disk.heal().hit;
            match opened {
                Ok(opened) => {
                    assert_eq!(opened.set_aside, None, "{fault:?} {step}");
                    assert_eq!(dump(&opened.store), before, "{fault:?} {step}");
                }
                Err(error) => assert!(matches!(error, StoreError::Io { .. }), "{fault:?} {step}: {error}"),
            }
            assert_eq!(dump(&open(dir.path())), before, "{fault:?} {step}");
            if !hit {
                break;
            }
        }
        assert_eq!(names(dir.path()), ["state.lock", "state.redb"]);
    }
}

#[test]
fn beginning_on_a_failing_disk_leaves_nothing_that_looks_like_a_store() {
    for fault in [Fault::Full, Fault::Torn, Fault::Once] {
        for step in 0.. {
            assert!(step < 1_000, "the disk fails without end");
            let dir = tempdir().unwrap();
            let (disk, attach) = disk::quick();
            disk.fail(fault, step);
            let opened = RedbStore::open_through(dir.path(), attach).map(drop);
            let hit = disk.heal().hit;
            if let Err(error) = opened {
                assert!(is_disk_full(&error), "{fault:?} {step}: {error}");
            }
            open(dir.path()).commit(&one_of_each("a")).unwrap();
            if !hit {
                break;
            }
        }
    }
}
