//! Every example runs, ends by itself, and succeeds.
//!
//! `cargo test` builds the examples first; `cargo test --test examples` alone does not.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

fn path(example: &str) -> PathBuf {
    let this = env::current_exe().expect("a path");
    let profile = this.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps");
    profile.join("examples").join(example).with_extension(env::consts::EXE_EXTENSION)
}

fn runs(example: &str) {
    let mut child = Command::new(path(example))
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{example}: {error}; `cargo build --examples` builds it"));
    for _ in 0..6_000 {
        if let Some(status) = child.try_wait().expect("a child") {
            assert!(status.success(), "{example}: {status}");
            return;
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    let _ = child.kill();
    panic!("{example} does not end");
}

macro_rules! runs {
    ($($name:ident: $example:literal;)*) => {$(
        #[test]
        fn $name() {
            runs($example);
        }
    )*};
}

runs! {
    a_web_application_embeds_the_dispatcher: "actix_web_app";
    a_folder_of_files_is_a_source: "custom_source";
    a_semaphore_is_an_availability: "custom_availability";
    an_actor_is_a_receiver: "custom_receiver";
    several_dispatchers_share_a_process: "several_dispatchers";
}
