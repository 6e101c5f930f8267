//! What the disk may do to the state: nothing is lost in silence, and nothing goes round in circles.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::support::{DEADLINE, Daemon, Job, change_of, wait_until};

/// A small disk of its own, for as long as it lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said loudly, where disks may not be mounted.
    #[expect(clippy::print_stderr, reason = "a test that shows nothing says so")]
    fn mount(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        if mount.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("SKIPPED: nothing can be mounted here, so a full disk is not tested: {mount:?}");
        None
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.expect("mount").success(), "remount {options}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _still_in_use = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Takes all that is left.
fn fill(disk: &Path) -> PathBuf {
    let filler = disk.join("filler");
    let mut size = 1 << 20;
    let mut text = Vec::new();
    while size > 0 {
        text.resize(text.len() + size, b'x');
        if fs::write(&filler, &text).is_err() {
            text.truncate(text.len() - size);
            size /= 2;
        }
    }
    filler
}

#[test]
fn on_a_full_disk_nothing_is_pushed_or_forgotten_and_it_goes_on_when_there_is_space() {
    let job = Job::new([("board", json!(1))]);
    let Some(disk) = SmallDisk::mount(&job.setup.state_dir(), "size=48m") else { return };
    let mut daemon = job.start();
    let filler = fill(&disk.0);
    let large = |letter: &str| json!(letter.repeat(1 << 20));
    job.ograph.set("board", &large("a"));
    daemon.wait_for_log("the state cannot be stored", DEADLINE);
    job.ograph.set("board", &large("b"));
    job.ograph.wait_for_polls(&["board"], 5, DEADLINE);
    assert_eq!(job.attempts().len(), 0, "what is not durable is not pushed");
    assert!(daemon.is_running());
    assert!(daemon.count_log("the state cannot be stored") <= 2, "said on the edge: {:#?}", daemon.log());

    // A restart on a full disk is no crash loop: it runs, or says why not.
    daemon.kill();
    let mut daemon = job.setup.start();
    job.ograph.wait_for_polls(&["board"], 3, DEADLINE);
    assert!(daemon.is_running(), "{:#?}", daemon.log());
    assert_eq!(daemon.count_log("damaged"), 0, "{:#?}", daemon.log());

    fs::remove_file(filler).expect("the filler");
    let documents = job.wait_for_documents(1);
    let change = change_of(&documents[0], "board");
    assert_eq!(change["old"], json!(1));
    assert_eq!(change["new"], large("b"));
    job.assert_nothing_is_pending();
    daemon.terminate();
}

#[test]
fn a_read_only_state_is_refused_with_the_place_and_nothing_is_touched() {
    let job = Job::new([("board", json!(1))]);
    let Some(disk) = SmallDisk::mount(&job.setup.state_dir(), "size=6m") else { return };
    job.start().terminate();
    let before = fs::read(store(&job)).expect("a store");
    disk.remount("ro");
    let mut daemon = job.setup.start();
    assert_eq!(daemon.wait_exit(DEADLINE).code(), Some(1));
    let said = daemon.wait_for_log("error: ", DEADLINE);
    assert!(said.contains("state.") && said.contains("Read-only"), "{said}");
    assert_eq!(fs::read(store(&job)).expect("a store"), before);
    disk.remount("rw");
    let _daemon = job.start();
    job.assert_nothing_to_tell();
}

#[test]
fn permissions_that_are_lost_while_it_runs_hold_nobody_up_and_lose_nothing() {
    let mut job = Job::new([("board", json!(1))]);
    let outbox = job.setup.path("outbox");
    fs::create_dir(&outbox).expect("a folder");
    let file = outbox.join("dispatch.json");
    job.setup.config["push"]["dispatchFile"] = json!(file);
    job.setup.be_nobody();
    let in_file = || -> Option<Value> { serde_json::from_slice(&fs::read(&file).ok()?).ok() };
    let file_tells = |value: Value| {
        let tells = || in_file().is_some_and(|document| change_of(&document, "board")["new"] == value);
        wait_until(DEADLINE, &format!("the file tells {value}"), tells);
    };
    let mut daemon = job.start();
    job.change("board", &json!(2));
    job.wait_for_documents(1);
    file_tells(json!(2));

    allow(&outbox, 0o500);
    allow(&job.setup.state_dir(), 0o000);
    job.change("board", &json!(3));
    assert_eq!(change_of(&job.wait_for_documents(2)[1], "board")["new"], 3, "the others are told as ever");
    let said = daemon.wait_for_log("dispatch-file failed, and will be tried again: ", DEADLINE);
    assert!(said.contains("ermission denied"), "{said}");
    job.change("board", &json!(4));
    job.wait_for_documents(3);
    assert!(daemon.is_running(), "{:#?}", daemon.log());
    assert_eq!(daemon.count_log("dispatch-file failed"), 1, "said once: {:#?}", daemon.log());
    allow(&outbox, 0o700);
    file_tells(json!(4));
    daemon.terminate();

    // Without its state it does not start, says which folder it is, and touches nothing.
    let mut refused = job.setup.start();
    assert_eq!(refused.wait_exit(DEADLINE).code(), Some(1));
    let said = refused.wait_for_log("error: ", DEADLINE);
    let place = job.setup.state_dir().display().to_string();
    assert!(said.contains(&place) && said.contains("ermission denied"), "{said}");
    allow(&job.setup.state_dir(), 0o700);
    let daemon = job.start();
    job.change("board", &json!(5));
    let change = &job.wait_for_documents(4)[3];
    assert_eq!((&change_of(change, "board")["old"], &change_of(change, "board")["new"]), (&json!(4), &json!(5)));
    daemon.terminate();
}

fn allow(folder: &Path, mode: u32) {
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).expect("permissions");
}

#[test]
fn a_store_in_a_foreign_format_is_refused_and_left_as_it_is() {
    let job = Job::new([("board", json!(1))]);
    job.start().terminate();
    let mut foreign = fs::read(store(&job)).expect("a store");
    // Both commit slots of the database begin with its format.
    foreign[64] += 1;
    foreign[192] += 1;
    fs::write(store(&job), &foreign).expect("a store");
    let mut daemon = job.setup.start();
    assert_eq!(daemon.wait_exit(DEADLINE).code(), Some(1));
    let said = daemon.wait_for_log("error: ", DEADLINE);
    assert!(said.contains("format") && said.contains("state.dir"), "{said}");
    assert_eq!(fs::read(store(&job)).expect("a store"), foreign);
}

#[test]
fn a_folder_that_vanishes_while_it_runs_is_no_reason_to_die() {
    let job = Job::new([("board", json!(1))]);
    let mut daemon = job.start();
    fs::rename(job.setup.state_dir(), job.setup.path("elsewhere")).expect("a renamed folder");
    job.change("board", &json!(2));
    job.wait_for_documents(1);
    assert!(daemon.is_running());
    daemon.kill();
    // The store is where it was moved to; here is none, so everything is new.
    let _daemon = job.start();
    assert_eq!(job.attempts().len(), 1, "a fresh baseline is silent");
}

/// How many damages are tried in the plain test command; `CRASH_DAMAGES` sets it.
const DAMAGES: usize = 24;

#[test]
fn wherever_the_store_is_damaged_or_cut_off_the_daemon_goes_on_or_says_what_is_lost() {
    let job = Job::new([("board", json!(1))]);
    let daemon = job.start();
    // Something waits to be told.
    job.openclaw.set_available(0);
    job.change("board", &json!(2));
    daemon.kill();
    let good = fs::read(store(&job)).expect("a store");
    let damages = std::env::var("CRASH_DAMAGES").map_or(DAMAGES, |text| text.parse().expect("a number"));
    let seed = std::env::var("CRASH_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
    println!("to draw the damages again: CRASH_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut kept, mut lost) = (0, 0);
    for number in 0..damages {
        let boundary = dice.usize(..good.len() / 512) * 512;
        let mut bad = good.clone();
        match dice.u8(..3) {
            0 => bad.truncate(boundary),
            1 => bad[boundary..boundary + 512].fill(0),
            _ => bad[boundary..boundary + 512].iter_mut().for_each(|byte| *byte ^= dice.u8(1..)),
        }
        clear(&job);
        fs::write(store(&job), &bad).expect("a store");
        job.openclaw.set_available(0);
        job.ograph.set("board", &json!(2));
        let told = job.attempts().len();
        let mut daemon = job.start();
        job.openclaw.set_available(9);
        let what = format!("damage {number} at byte {boundary} of {}", good.len());
        if daemon.count_log("the stored state was damaged") > 0 {
            lost += 1;
            // From here on it works as ever.
            job.change("board", &json!(number + 10));
            next_tells(&job, told, &json!(number + 10), &what);
        } else {
            kept += 1;
            next_tells(&job, told, &json!(2), &what);
        }
        assert!(daemon.is_running(), "{what}: {:#?}", daemon.log());
        said_no_panic(&daemon, &what);
        daemon.kill();
    }
    println!("{damages} damages: {kept} without loss, {lost} set aside");
}

fn next_tells(job: &Job, before: usize, value: &Value, what: &str) {
    wait_until(DEADLINE, what, || {
        let documents = job.documents();
        documents[before..].iter().any(|document| {
            document["changes"].as_array().is_some_and(|changes| {
                changes.iter().any(|change| change["projection"] == "board" && change["new"] == *value)
            })
        })
    });
}

fn said_no_panic(daemon: &Daemon, what: &str) {
    let raw: Vec<_> = daemon.log().into_iter().filter(|line| line.contains("panicked at")).collect();
    assert!(raw.is_empty(), "{what}: {raw:#?}");
}

fn store(job: &Job) -> PathBuf {
    job.setup.state_dir().join("state.redb")
}

fn clear(job: &Job) {
    fs::remove_dir_all(job.setup.state_dir()).expect("a folder");
    fs::create_dir(job.setup.state_dir()).expect("a folder");
}
