//! Damaged files: what is left of them is believed as a whole or set aside, and nothing panics or hangs.

use std::{fs, path::Path, sync::mpsc, thread, time::Duration};

use tempfile::tempdir;

use super::{super::RedbStore, disk};
use crate::store::{
    MemoryStore, Store, Write,
    tests::{open, samples::*},
};

const SECTOR: usize = 512;
const PAGE: usize = 4096;

/// A store after a few commits, in bytes, and all that it ever held.
struct Original {
    bytes: Vec<u8>,
    history: Vec<String>,
}

fn original(crashed: bool) -> Original {
    let dir = tempdir().unwrap();
    let (store, mirror) = (open(dir.path()), MemoryStore::default());
    let mut history = vec![dump(&mirror)];
    let big = format!("\"{}\"", "x".repeat(6_000));
    for round in ["a", "b", "c"] {
        let mut writes = one_of_each(round);
        writes.push(Write::Observed(key("big"), observed(&big)));
        store.commit(&writes).unwrap();
        mirror.commit(&writes).unwrap();
        history.push(dump(&mirror));
    }
    let path = dir.path().join("state.redb");
    if !crashed {
        drop(store);
    }
    Original { bytes: fs::read(path).unwrap(), history }
}

/// Opens `bytes` as a store; gives whether they were set aside.
fn open_damaged(original: &Original, bytes: &[u8], what: &str, dir: &Path) -> bool {
    fs::write(dir.join("state.redb"), bytes).unwrap();
    let (_disk, attach) = disk::quick();
    let opened = RedbStore::open_through(dir, attach).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = dump(&opened.store);
    if let Some(aside) = opened.set_aside {
        assert_eq!(found, original.history[0], "{what}: the store is not fresh");
        fs::remove_file(aside.path).unwrap();
        true
    } else {
        // The commit before the last is what a crash in the middle of the last would have left.
        assert!(original.history.iter().rev().take(2).any(|known| *known == found), "{what}: {found} is made up");
        // What was believed can be written to.
        opened.store.commit(&one_of_each("later")).unwrap_or_else(|error| panic!("{what}: {error}"));
        false
    }
}

/// Runs `test` in a thread of its own, which must end.
fn must_end(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel::<()>();
    let running = thread::spawn(move || {
        test();
        drop(done);
    });
    let ended = ended.recv_timeout(Duration::from_secs(300));
    assert_ne!(ended, Err(mpsc::RecvTimeoutError::Timeout), "it hangs");
    running.join().unwrap();
}

#[test]
fn a_file_cut_off_anywhere_is_set_aside() {
    must_end(|| {
        let dir = tempdir().unwrap();
        let (closed, crashed) = (original(false), original(true));
        let cut = |original: &Original, length: usize| {
            let what = format!("cut at {length}");
            assert!(open_damaged(original, &original.bytes[..length], &what, dir.path()), "{what}: believed");
        };
        (0..closed.bytes.len()).step_by(SECTOR).for_each(|length| cut(&closed, length));
        (0..crashed.bytes.len()).step_by(PAGE).for_each(|length| cut(&crashed, length));
        (1..SECTOR).step_by(9).for_each(|length| cut(&crashed, length));
    });
}

/// Every sector of a file, damaged by `damage`: of one that was closed, or also of one that was left by a crash.
fn every_sector(left: &'static [bool], damage: fn(&mut [u8])) {
    must_end(move || {
        let dir = tempdir().unwrap();
        for &crashed in left {
            let original = original(crashed);
            let mut aside = 0;
            for start in (0..original.bytes.len()).step_by(SECTOR) {
                let mut bytes = original.bytes.clone();
                damage(&mut bytes[start..start + SECTOR]);
                let what = format!("sector at {start}, crashed: {crashed}");
                aside += usize::from(open_damaged(&original, &bytes, &what, dir.path()));
            }
            assert!(aside > 0, "no damage is noticed");
        }
    });
}

#[test]
fn a_zeroed_sector_is_set_aside_or_harmless() {
    every_sector(&[false, true], |sector| sector.fill(0));
}

#[test]
fn a_single_flipped_bit_is_set_aside_or_harmless() {
    every_sector(&[false], |sector| sector[17] ^= 4);
}

#[test]
fn a_flipped_bit_anywhere_in_the_header_is_set_aside_or_harmless() {
    must_end(|| {
        let dir = tempdir().unwrap();
        let original = original(true);
        for at in 0..320 {
            let mut bytes = original.bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            open_damaged(&original, &bytes, &format!("byte {at}"), dir.path());
        }
    });
}
