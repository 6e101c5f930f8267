//! Tests with real programs that misbehave.

use std::{path::PathBuf, time::Instant};

use tempfile::TempDir;

use super::{super::testing::*, *};

const LONG: Duration = Duration::from_secs(60);

async fn run_argv(argv: &[OsString], stdin: Option<&[u8]>, timeout: Duration) -> Result<Finished, RunError> {
    run(&Program { argv, env: &[], stdin, timeout }).await
}

async fn run_sh(script: &str, timeout: Duration) -> Result<Finished, RunError> {
    run_argv(&sh(script, &[]), None, timeout).await
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    (folder, path)
}

#[expect(clippy::disallowed_methods, reason = "real processes take real time")]
fn stopwatch() -> Instant {
    Instant::now()
}

#[actix_rt::test]
async fn input_output_status_and_environment_are_passed() {
    let argv = sh("cat; echo \"$GREETING\" >&2; exit 3", &[]);
    let env = [("GREETING", "hello".to_owned())];
    let program = Program { argv: &argv, env: &env, stdin: Some(b"in"), timeout: LONG };
    let finished = run(&program).await.expect("it runs");
    assert_eq!(finished.status.code(), Some(3));
    assert_eq!((finished.output.stdout.as_slice(), finished.output.stderr.as_slice()), (&b"in"[..], &b"hello\n"[..]));
}

#[actix_rt::test]
async fn arguments_reach_the_program_as_they_are() {
    let argv = ["printf", "%s|", "$HOME", "`id`", "a b", "", "-n", ";ls", "*"].map(OsString::from);
    let finished = run_argv(&argv, None, LONG).await.expect("it runs");
    assert_eq!(finished.output.stdout, b"$HOME|`id`|a b||-n|;ls|*|");
}

#[actix_rt::test]
async fn without_input_stdin_is_empty() {
    let finished = run_sh("cat; echo end", LONG).await.expect("it runs");
    assert_eq!(finished.output.stdout, b"end\n");
}

#[actix_rt::test]
async fn a_program_that_cannot_run_says_why() {
    let (_guard, folder) = folder();
    let plain = folder.join("plain");
    std::fs::write(&plain, "x").expect("written");
    let binary = script(&folder, "binary", "\u{1}\u{2}\u{3}\u{4}");
    let orphan = script(&folder, "orphan", "#!/nonexistent/interpreter\n");
    for (program, error) in [
        ("ograph-no-such-program".into(), "`ograph-no-such-program` was not found: install it".to_owned()),
        (folder.join("none"), "was not found: install it, or configure its full path".to_owned()),
        (plain, "cannot be executed: permission denied".to_owned()),
        (folder.clone(), "cannot be executed: permission denied".to_owned()),
        (binary, "cannot be executed: it is neither a program for this system nor begins with `#!`".to_owned()),
        (orphan, "cannot be executed: the interpreter named in its first line does not exist".to_owned()),
    ] {
        let result = run_argv(&[program.into_os_string()], None, LONG).await.expect_err("it cannot run");
        assert!(result.to_string().contains(&error), "{result}");
        assert!(!result.was_started());
    }
    assert_eq!(run_argv(&[], None, LONG).await.expect_err("nothing").to_string(), "no program is configured");
    let huge = ["echo".into(), "x".repeat(200_000).into()];
    let result = run_argv(&huge, None, LONG).await.expect_err("the kernel refuses it");
    assert!(result.to_string().starts_with("`echo` could not be started: "), "{result}");
}

#[actix_rt::test]
async fn at_the_timeout_the_program_dies_with_its_children() {
    let (_guard, folder) = folder();
    let argv = sh(
        "sh -c 'echo $$ >\"$1\"; exec sleep 600' sh \"$1\" & echo $$ >\"$2\"; echo working; wait",
        &[&folder.join("child"), &folder.join("parent")],
    );
    let start = stopwatch();
    let error = run_argv(&argv, None, Duration::from_millis(1500)).await.expect_err("it hangs");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(error.was_started());
    assert!(error.to_string().ends_with("did not end within 1500 ms and was killed: working"), "{error}");
    gone(number_in(&folder.join("parent")).await).await;
    dead(number_in(&folder.join("child")).await).await;
}

#[actix_rt::test]
async fn a_program_that_ignores_signals_is_killed_all_the_same() {
    let (_guard, folder) = folder();
    let argv = sh("trap '' TERM INT HUP PIPE; echo $$ >\"$1\"; while :; do sleep 1; done", &[&folder.join("pid")]);
    run_argv(&argv, None, Duration::from_millis(1500)).await.expect_err("it hangs");
    gone(number_in(&folder.join("pid")).await).await;
}

#[actix_rt::test]
async fn dropping_the_future_kills_the_group_and_leaves_no_zombie() {
    let (_guard, folder) = folder();
    let argv = sh(
        "sh -c 'echo $$ >\"$1\"; exec sleep 600' sh \"$1\" & echo $$ >\"$2\"; wait",
        &[&folder.join("child"), &folder.join("parent")],
    );
    let (child, parent) = tokio::select! {
        result = run_argv(&argv, None, LONG) => panic!("it ended: {result:?}"),
        pids = async { (number_in(&folder.join("child")).await, number_in(&folder.join("parent")).await) } => pids,
    };
    dead(child).await;
    gone(parent).await;
}

#[actix_rt::test]
async fn a_flood_neither_blocks_nor_is_kept() {
    let flood = "head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2; echo the end; echo the end >&2";
    let finished = run_sh(flood, LONG).await.expect("it ends");
    assert!(finished.status.success());
    for kept in [finished.output.stdout, finished.output.stderr] {
        assert!(kept.ends_with(b"\0the end\n"));
        assert_eq!(kept.len(), KEPT);
        assert!(kept.capacity() <= 4 * KEPT);
    }
}

#[actix_rt::test]
async fn an_endless_flood_is_stopped_and_lets_others_work() {
    let start = stopwatch();
    let ticks = async {
        let mut ticks = 0;
        while start.elapsed() < Duration::from_millis(800) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            ticks += 1;
        }
        ticks
    };
    let flood = run_sh("exec yes", Duration::from_secs(1));
    let (result, ticks) = futures_util::join!(flood, ticks);
    assert!(matches!(result, Err(RunError::TimedOut { .. })));
    // If it had the thread for itself it would be one; how many more there are depends on the machine.
    assert!(ticks >= 5, "only {ticks} timers ran beside it");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[actix_rt::test]
async fn input_that_is_never_read_hangs_nobody() {
    let input = vec![b'x'; 4 << 20];
    let start = stopwatch();
    let finished = run_argv(&sh("exit 0", &[]), Some(&input), LONG).await.expect("it ends");
    assert!(finished.status.success());
    let finished = run_argv(&sh("exec <&-; exit 5", &[]), Some(&input), LONG).await.expect("it ends");
    assert_eq!(finished.status.code(), Some(5));
    // Here the pipe stays full until the program ends.
    let finished = run_argv(&sh("sleep 0.3; exit 6", &[]), Some(&input), LONG).await.expect("it ends");
    assert_eq!(finished.status.code(), Some(6));
    assert!(start.elapsed() < Duration::from_secs(30));
    let error = run_argv(&sh("sleep 600", &[]), Some(&input), Duration::from_millis(300)).await.expect_err("it hangs");
    assert!(matches!(error, RunError::TimedOut { .. }));
}

#[actix_rt::test]
async fn much_input_and_much_output_do_not_wait_for_each_other() {
    let input = vec![b'x'; 8 << 20];
    let finished = run_argv(&sh("cat; cat >&2", &[]), Some(&input), LONG).await.expect("it ends");
    assert!(finished.status.success());
}

#[actix_rt::test]
async fn a_child_left_behind_with_the_pipes_is_killed_after_a_moment() {
    let (_guard, folder) = folder();
    let argv = sh("sleep 600 & echo $! >\"$1\"; echo done; exit 4", &[&folder.join("pid")]);
    let start = stopwatch();
    // The program's own timeout does not matter any more once it has ended.
    let finished = run_argv(&argv, None, Duration::from_secs(2)).await.expect("the program itself ended");
    assert!(start.elapsed() >= GRACE && start.elapsed() < Duration::from_secs(10));
    assert_eq!((finished.status.code(), finished.output.stdout.as_slice()), (Some(4), &b"done\n"[..]));
    dead(number_in(&folder.join("pid")).await).await;
}

#[actix_rt::test]
async fn a_child_left_behind_that_never_reads_its_input_is_killed_after_a_moment() {
    let (_guard, folder) = folder();
    // In the background sh gives `/dev/null` as stdin, unless told otherwise.
    let argv = sh("exec 3<&0; sleep 600 <&3 >/dev/null 2>&1 & echo $! >\"$1\"", &[&folder.join("pid")]);
    let finished = run_argv(&argv, Some(&vec![b'x'; 1 << 20]), LONG).await.expect("the program itself ended");
    assert!(finished.status.success());
    dead(number_in(&folder.join("pid")).await).await;
}

#[actix_rt::test]
async fn a_child_that_let_go_of_the_pipes_may_live_on() {
    let (_guard, folder) = folder();
    let argv = sh("sleep 600 >/dev/null 2>&1 & echo $! >\"$1\"", &[&folder.join("pid")]);
    run_argv(&argv, None, LONG).await.expect("it ends");
    let pid = rustix::process::Pid::from_raw(number_in(&folder.join("pid")).await).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives");
}

#[actix_rt::test]
async fn a_daemon_that_holds_the_pipes_cannot_hang_us() {
    let (_guard, folder) = folder();
    let daemon = "import os, sys, time\n\
                  if os.fork() == 0:\n    \
                      os.setsid()\n    \
                      if os.fork() == 0:\n        \
                          open(sys.argv[1], 'w').write(f'{os.getpid()}\\n'); time.sleep(600)\n    \
                      os._exit(0)\n\
                  sys.stdin.buffer.read(1); time.sleep(float(sys.argv[2]))\n";
    for (lives, timeout, ends) in [("0", LONG, true), ("600", Duration::from_secs(3), false)] {
        let pid = folder.join(format!("pid{lives}"));
        let argv = ["python3".into(), "-c".into(), daemon.into(), pid.clone().into(), lives.into()];
        let start = stopwatch();
        let result = run_argv(&argv, Some(&vec![b'x'; 1 << 20]), timeout).await;
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(result.is_ok(), ends, "{result:?}");
        // It left the group, and with it our reach.
        let pid = rustix::process::Pid::from_raw(number_in(&pid).await).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives");
    }
}

#[actix_rt::test]
async fn a_program_that_closes_its_output_early_is_waited_for() {
    let finished = run_sh("exec >&- 2>&-; sleep 0.3; exit 7", LONG).await.expect("it ends");
    assert_eq!(finished.status.code(), Some(7));
}

#[cfg(target_os = "linux")]
#[actix_rt::test]
async fn the_program_gets_none_of_our_files() {
    let (_guard, folder) = folder();
    let _file = std::fs::File::create(folder.join("secret")).expect("created");
    let _socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let finished = run_sh("ls -l /proc/$$/fd", LONG).await.expect("it ends");
    let listing = String::from_utf8_lossy(&finished.output.stdout).into_owned();
    assert!(listing.contains("pipe:"), "{listing}");
    assert!(!listing.contains("secret") && !listing.contains("socket:"), "{listing}");
}

#[actix_rt::test]
async fn a_hundred_runs_leave_no_zombies_and_no_files_open() {
    let open = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    run_sh("exit 0", LONG).await.expect("it ends");
    let before = open();
    let (_guard, folder) = folder();
    for n in 0..100 {
        let pid = folder.join(n.to_string());
        run_argv(&sh("echo $$ >\"$1\"", &[&pid]), Some(b"x"), LONG).await.expect("it ends");
        gone(number_in(&pid).await).await;
    }
    // Other tests of this process open files meanwhile, but not a hundred.
    assert!(open() < before + 100, "{before} files open before, {} after", open());
}
