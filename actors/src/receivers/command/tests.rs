//! Tests with real commands.

use serde_json::Value;

use super::{
    super::{DeliveryErrorKind, testing::*},
    *,
};

fn command(argv: &[OsString], timeout: Duration) -> Command {
    Command::new(ReceiverId::new("command:test"), argv, timeout)
}

const LONG: Duration = Duration::from_secs(60);

#[actix_rt::test]
async fn the_command_gets_the_document_and_the_batch_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, batch) = (folder.path().join("input"), folder.path().join("batch"));
    let receiver = command(&sh("cat >\"$1\"; echo \"$OGRAPH_BATCH_ID\" >\"$2\"", &[&input, &batch]), LONG);
    let document = big_document(4 << 20);
    assert_eq!(receiver.deliver(&document).await, Ok(Receipt { detail: "exit 0".to_owned() }));
    let text = std::fs::read_to_string(&input).expect("written");
    assert!(text.ends_with('\n') && text.lines().count() == 1);
    let read: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read, serde_json::to_value(&document).expect("JSON"));
    assert_eq!(std::fs::read_to_string(&batch).expect("written").trim(), read["batchId"].as_str().expect("an id"));
}

#[actix_rt::test]
async fn exit_0_is_delivered_even_if_nothing_was_read() {
    assert!(command(&["true".into()], LONG).deliver(&big_document(4 << 20)).await.is_ok());
}

#[actix_rt::test]
async fn a_failure_is_tried_again_and_shows_what_was_written() {
    for (script, message) in [
        ("echo out; exit 3", "the command failed: exit status: 3: out"),
        (
            "echo out; printf 'no \\033[31mroom\\n' >&2; exit 1",
            "the command failed: exit status: 1: no \\u{1b}[31mroom",
        ),
        ("exit 1", "the command failed: exit status: 1"),
        ("kill -9 $$", "the command failed: signal: 9 (SIGKILL)"),
        ("sleep 600", "`sh` did not end within 500 ms and was killed"),
    ] {
        let limit = Duration::from_millis(if script.starts_with("sleep") { 500 } else { 60_000 });
        let error = command(&sh(script, &[]), limit).deliver(&document()).await.expect_err("it fails");
        assert_eq!(error, DeliveryError::retry(Reached::Maybe, message));
    }
}

#[actix_rt::test]
async fn what_cannot_be_started_was_not_reached() {
    for argv in [vec![], vec!["ograph-no-such-program".into()], vec!["/".into()]] {
        let error = command(&argv, LONG).deliver(&document()).await.expect_err("it cannot start");
        assert_eq!((error.kind, error.reached), (DeliveryErrorKind::Retry { after: None }, Reached::No));
    }
}

#[actix_rt::test]
async fn a_long_complaint_is_shortened() {
    let argv = sh("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1", &[]);
    let error = command(&argv, LONG).deliver(&document()).await.expect_err("it fails");
    assert!(error.message.len() < 500, "{}", error.message.len());
}
