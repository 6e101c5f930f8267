//! Tells the program what it was built from: `OGRAPH_DISPATCHER_BUILD`, e.g. `commit 1a2b3c4, x86_64-unknown-linux-gnu`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let commit = commit(&folder).map(|commit| format!("commit {commit}"));
    let rustc = output(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version"));
    // `rustc 1.95.0 (…)`: the version is enough.
    let rustc = rustc.map(|version| version.split(' ').take(2).collect::<Vec<_>>().join(" "));
    let parts: Vec<_> = [commit, env::var("TARGET").ok(), rustc].into_iter().flatten().collect();
    println!("cargo::rustc-env=OGRAPH_DISPATCHER_BUILD={}", parts.join(", "));
}

/// The commit that is checked out; `None` without git, and in a tarball unpacked inside another repository.
fn commit(folder: &Path) -> Option<String> {
    if !folder.join(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| output(Command::new("git").arg("-C").arg(folder).args(arguments));
    let commit = git(&["rev-parse", "--short=10", "HEAD"])?;
    // HEAD names a branch, and the branch the commit: as a file of its own or among the packed ones.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]).unwrap_or_default();
    for file in ["HEAD", branch.as_str(), "packed-refs"].into_iter().filter(|file| !file.is_empty()) {
        // A path that does not exist would mean building anew every time.
        if let Some(path) = git(&["rev-parse", "--git-path", file]).map(|path| folder.join(path)).filter(|p| p.exists())
        {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    Some(commit)
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
