//! Tests on a real file system, with planted links and careless readers.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    super::{DeliveryErrorKind, testing::*},
    *,
};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dispatch.json");
    (folder, path)
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).expect("readable");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

async fn error_at(path: &Path) -> DeliveryError {
    DispatchFile::new(path, 0o600).deliver(&document()).await.expect_err("it cannot be written")
}

#[actix_rt::test]
async fn the_document_is_written_as_indented_json() {
    let (folder, path) = folder();
    let receipt = DispatchFile::new(&path, 0o600).deliver(&document()).await.expect("written");
    let text = fs::read_to_string(&path).expect("readable");
    assert_eq!(receipt.detail, format!("{} bytes to {}", text.len(), path.display()));
    assert!(text.starts_with("{\n  \"version\": 1,\n  \"batchId\": ") && text.ends_with("}\n"), "{text}");
    let read: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read, serde_json::to_value(document()).expect("JSON"));
    assert_eq!(names(&folder), ["dispatch.json"], "no temporary file is left");
}

#[actix_rt::test]
async fn a_path_without_a_folder_is_relative_to_the_working_directory() {
    let name = format!("ograph-dispatch-test-{}.json", std::process::id());
    let result = DispatchFile::new(&name, 0o600).deliver(&document()).await;
    fs::remove_file(&name).expect("it was written here");
    assert!(result.is_ok());
}

#[actix_rt::test]
async fn the_file_has_exactly_the_mode_that_is_configured() {
    let (_guard, path) = folder();
    // 0o666 is more than the usual umask leaves; 0o6644 asks for bits that make no sense.
    for (mode, expected) in [(0o600, 0o600), (0o666, 0o666), (0o640, 0o640), (0o400, 0o400), (0o6644, 0o644)] {
        DispatchFile::new(&path, mode).deliver(&document()).await.expect("written");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, expected);
    }
}

#[test]
fn the_temporary_file_never_has_more_than_its_mode() {
    let folder = tempfile::tempdir().expect("a folder");
    let temp = Temp::create(folder.path(), 0o600).expect("created");
    assert!(is_temp_name(temp.path.file_name().unwrap().to_str().unwrap()));
    assert_eq!(temp.file.metadata().expect("there").permissions().mode() & 0o7777, 0o600);
}

#[actix_rt::test]
async fn a_link_at_the_path_is_replaced_and_not_followed() {
    let (folder, path) = folder();
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").expect("written");
    for target in [victim.clone(), folder.path().join("missing"), folder.path().to_owned(), path.clone()] {
        let _ = fs::remove_file(&path);
        symlink(&target, &path).expect("planted");
        DispatchFile::new(&path, 0o600).deliver(&document()).await.expect("written");
        assert!(fs::symlink_metadata(&path).expect("there").is_file());
        assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
        assert_eq!(names(&folder), ["dispatch.json", "victim"]);
    }
}

#[actix_rt::test]
async fn a_hard_link_at_the_path_leaves_the_other_name_alone() {
    let (folder, path) = folder();
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").expect("written");
    fs::hard_link(&victim, &path).expect("planted");
    DispatchFile::new(&path, 0o600).deliver(&document()).await.expect("written");
    assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
}

#[actix_rt::test]
async fn links_at_guessable_temporary_names_are_not_touched() {
    let (folder, path) = folder();
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").expect("written");
    let guesses = [
        "dispatch.json.tmp".to_owned(),
        ".dispatch.json.tmp".to_owned(),
        format!("{TEMP_PREFIX}{}{TEMP_SUFFIX}", std::process::id()),
        format!("{TEMP_PREFIX}{:032x}{TEMP_SUFFIX}", 0),
    ];
    for guess in &guesses {
        symlink(&victim, folder.path().join(guess)).expect("planted");
    }
    for _ in 0..20 {
        DispatchFile::new(&path, 0o600).deliver(&document()).await.expect("written");
    }
    assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
    assert!(guesses.iter().all(|guess| folder.path().join(guess).is_symlink()));
}

#[test]
fn a_temporary_file_is_never_opened_through_what_is_already_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let (victim, guessed) = (folder.path().join("victim"), folder.path().join("guessed"));
    for target in [&victim, &folder.path().join("missing")] {
        fs::write(&victim, "precious").expect("written");
        symlink(target, &guessed).expect("planted");
        let error = Temp::create_at(guessed.clone(), 0o600).err().expect("refused");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(guessed.is_symlink(), "what we did not create is not removed");
        fs::remove_file(&guessed).expect("removed");
    }
    assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
}

#[actix_rt::test]
async fn a_reader_never_sees_part_of_a_document() {
    let (_guard, path) = folder();
    let documents = [big_document(300_000), document()];
    let sizes = documents.each_ref().map(|document| serde_json::to_vec_pretty(document).unwrap().len() + 1);
    let receiver = DispatchFile::new(&path, 0o600);
    receiver.deliver(&documents[0]).await.expect("written");
    let done = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (path, done) = (path.clone(), Arc::clone(&done));
        move || {
            let mut seen = [0; 2];
            while !done.load(Ordering::Relaxed) {
                let text = fs::read(&path).expect("it is never missing");
                let which = sizes.iter().position(|size| *size == text.len()).expect("it is never cut");
                assert!(text.ends_with(b"\n}\n"));
                seen[which] += 1;
            }
            seen
        }
    });
    for n in 0..300 {
        receiver.deliver(&documents[n % 2]).await.expect("written");
    }
    done.store(true, Ordering::Relaxed);
    let seen = reader.join().expect("nothing torn was seen");
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[actix_rt::test]
async fn what_stands_in_the_way_is_named_with_its_remedy() {
    let (guard, path) = folder();
    let plain = guard.path().join("plain");
    fs::write(&plain, "x").expect("written");
    let long = guard.path().join("x".repeat(300));
    for (path, words) in [
        (guard.path().join("no/such/x.json"), "its folder does not exist: create it, or set push.dispatchFile to"),
        (guard.path().to_owned(), "is a folder: set push.dispatchFile to another path"),
        ("/".into(), "is a folder: set push.dispatchFile to another path"),
        (plain.join("x.json"), "Not a directory"),
        (long, "File name too long"),
        ("/proc/ograph.json".into(), "its folder cannot be written to: "),
        ("/dev/null".into(), "is not a regular file: set push.dispatchFile to another path"),
    ] {
        let error = error_at(&path).await;
        assert_eq!((error.kind, error.reached), (DeliveryErrorKind::Retry { after: None }, Reached::No));
        assert!(error.message.starts_with(&format!("dispatch file {}: ", path.display())), "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    assert!(!path.exists());
    assert!(fs::metadata("/dev/null").expect("there").file_type().is_char_device());
    assert_eq!(names(&guard), ["plain"], "no temporary file is left, and no folder was made");
}

#[actix_rt::test]
async fn the_old_document_stays_when_the_new_one_fails() {
    let (folder, path) = folder();
    let receiver = DispatchFile::new(&path, 0o600);
    receiver.deliver(&document()).await.expect("written");
    let before = fs::read(&path).expect("readable");
    let replacement = Replacement {
        path: path.clone(),
        mode: 0o600,
        text: b"new".to_vec(),
        given_up: Arc::new(AtomicBool::new(true)),
    };
    let error = replacement.make().expect_err("the delivery was given up");
    assert_eq!(error.reached, Reached::No);
    assert_eq!(fs::read(&path).expect("readable"), before);
    assert_eq!(names(&folder), ["dispatch.json"]);
}

#[actix_rt::test]
async fn a_delivery_that_was_given_up_never_replaces_a_later_one() {
    let (_guard, path) = folder();
    let receiver = DispatchFile::new(&path, 0o600);
    let (old, new) = (big_document(2_000_000), document());
    for _ in 0..30 {
        {
            // Polled once: its thread begins to write.
            let mut given_up = receiver.deliver(&old);
            let _ = futures_util::poll!(&mut given_up);
        }
        receiver.deliver(&new).await.expect("written");
        let length = fs::metadata(&path).expect("there").len();
        drop(receiver.turn.lock().await);
        assert_eq!(fs::metadata(&path).expect("there").len(), length);
        assert!(length < 10_000, "the later document stands");
    }
}

#[actix_rt::test]
async fn leftovers_of_crashes_are_removed_if_they_are_old_and_ours() {
    let (folder, path) = folder();
    let temp = |n: u32| format!("{TEMP_PREFIX}{n:032x}{TEMP_SUFFIX}");
    let at = |name: &str| folder.path().join(name);
    let age = |name: &str, age: Duration| {
        let file = File::options().write(true).create(true).truncate(false).open(at(name)).expect("opened");
        let then = file.metadata().expect("there").modified().expect("a time") - age;
        file.set_modified(then).expect("aged");
    };
    let old = STALE * 2;
    age(&temp(1), old);
    age(&temp(2), STALE / 2);
    age("victim", old);
    symlink(at("victim"), at(&temp(3))).expect("planted");
    fs::create_dir(at(&temp(4))).expect("planted");
    for name in [".ograph-dispatch-12.tmp", ".ograph-dispatch-.tmp", "my.tmp"] {
        age(name, old);
    }
    let mut expected = names(&folder);
    expected.retain(|name| *name != temp(1));
    // Only root can give a file away.
    if rustix::process::geteuid().is_root() {
        age(&temp(5), old);
        std::os::unix::fs::chown(at(&temp(5)), Some(65534), None).expect("given away");
        assert_eq!(fs::metadata(at(&temp(5))).expect("there").uid(), 65534);
        expected.push(temp(5));
    }
    DispatchFile::new(&path, 0o600).deliver(&document()).await.expect("written");
    expected.push("dispatch.json".to_owned());
    expected.sort();
    assert_eq!(names(&folder), expected);
}
