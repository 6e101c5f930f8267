//! Tests with stand-ins for the `openclaw` program.

use std::path::Path;

use super::{
    super::{DeliveryErrorKind, testing::*},
    *,
};

/// Writes its arguments, one a line, beside itself.
const RECORD: &str = "#!/bin/sh\nprintf '%s\\n' \"$@\" >\"$0.args\"\n";

fn options(bin: &Path) -> OpenClawOptions {
    OpenClawOptions {
        bin: bin.into(),
        channel: None,
        target: Some("+15550100".to_owned()),
        account: None,
        message: None,
        timeout: Duration::from_secs(60),
    }
}

async fn arguments(change: impl FnOnce(&mut OpenClawOptions)) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let bin = script(folder.path(), "openclaw", RECORD);
    let mut options = options(&bin);
    change(&mut options);
    let receiver = OpenClawCli::new(options, Some("/tmp/x.json".into()));
    receiver.deliver(&document()).await.expect("it is sent");
    let text = std::fs::read_to_string(folder.path().join("openclaw.args")).expect("recorded");
    text.lines().map(ToOwned::to_owned).collect()
}

async fn fails(text: &str) -> DeliveryError {
    let folder = tempfile::tempdir().expect("a folder");
    let bin = script(folder.path(), "openclaw", text);
    OpenClawCli::new(options(&bin), None).deliver(&document()).await.expect_err("it fails")
}

#[actix_rt::test]
async fn the_cli_is_called_as_documented() {
    let text = "OGraph: 1 projection changed: `tasks`. Details: `/tmp/x.json`";
    assert_eq!(arguments(|_| {}).await, ["message", "send", "--target", "+15550100", "--message", text, "--json"]);
    let all = arguments(|options| {
        options.channel = Some("telegram".to_owned());
        options.account = Some("bot".to_owned());
        options.message = Some("{count}!".to_owned());
    });
    assert_eq!(
        all.await,
        [
            "message",
            "send",
            "--target",
            "+15550100",
            "--message",
            "1!",
            "--channel",
            "telegram",
            "--account",
            "bot",
            "--json"
        ]
    );
}

#[actix_rt::test]
async fn a_leading_dash_never_makes_an_option() {
    let arguments = arguments(|options| {
        options.target = Some("-1001234".to_owned());
        options.message = Some("--help".to_owned());
        options.channel = Some("-h".to_owned());
        options.account = Some(String::new());
    });
    assert_eq!(arguments.await, ["message", "send", "--target=-1001234", "--message=--help", "--channel=-h", "--json"]);
}

#[actix_rt::test]
async fn without_a_target_or_a_program_the_push_is_skipped() {
    let missing = options(Path::new("ograph-no-such-openclaw"));
    for (options, message) in [
        (OpenClawOptions { target: None, ..missing.clone() }, "push.openclaw.target is not set"),
        (OpenClawOptions { target: Some(String::new()), ..missing.clone() }, "push.openclaw.target is not set"),
        (
            missing.clone(),
            "`ograph-no-such-openclaw` was not found: install it, or configure its full path (push.openclaw.bin)",
        ),
        (
            OpenClawOptions { bin: "/".into(), ..missing },
            "`/` cannot be executed: permission denied; is it a file with execute permission? (push.openclaw.bin)",
        ),
    ] {
        let error = OpenClawCli::new(options, None).deliver(&document()).await.expect_err("nothing to deliver to");
        assert_eq!(error, DeliveryError::skipped(message));
    }
}

#[actix_rt::test]
async fn a_program_installed_later_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = OpenClawCli::new(options(&folder.path().join("openclaw")), None);
    let error = receiver.deliver(&document()).await.expect_err("not installed");
    assert_eq!(error.kind, DeliveryErrorKind::Skipped);
    script(folder.path(), "openclaw", RECORD);
    assert!(receiver.deliver(&document()).await.is_ok());
}

#[actix_rt::test]
async fn the_error_in_the_json_answer_is_shown() {
    let answer = r#"{"ok":false,"error":{"type":"gateway","message":"no such\nchannel"}}"#;
    let print = format!("cat <<'END'\n{answer}\nEND\n");
    for text in [
        format!("#!/bin/sh\necho noise >&2\n{print}exit 1\n"),
        format!("#!/bin/sh\necho 'loading {{plugins}}'\n{print}echo bye\nexit 1\n"),
    ] {
        let expected = "openclaw message send failed: exit status: 1: no such channel";
        assert_eq!(fails(&text).await, DeliveryError::retry(Reached::Maybe, expected));
    }
}

#[actix_rt::test]
async fn without_a_json_answer_its_last_words_are_shown() {
    let error = fails("#!/bin/sh\necho '{broken'; echo 'node: not found' >&2; exit 127\n").await;
    assert_eq!(error.message, "openclaw message send failed: exit status: 127: node: not found");
    let error = fails("#!/bin/sh\necho '{\"ok\":false}'\n").await;
    assert_eq!(error.reached, Reached::Maybe, "a success that denies itself is none");
}

#[actix_rt::test]
async fn a_call_that_hangs_may_have_been_heard() {
    let folder = tempfile::tempdir().expect("a folder");
    let bin = script(folder.path(), "openclaw", "#!/bin/sh\nsleep 600\n");
    let options = OpenClawOptions { timeout: Duration::from_millis(300), ..options(&bin) };
    let receiver = OpenClawCli::new(options, None);
    assert_eq!(receiver.guarantee(), Guarantee::BestEffort);
    let error = receiver.deliver(&document()).await.expect_err("it hangs");
    assert_eq!(error.reached, Reached::Maybe);
}
