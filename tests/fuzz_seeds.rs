//! The seeds of the fuzz targets, and whatever they found, as an ordinary test.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the same file is a library of its own")]
mod attacks;

use std::{fs, path::Path};

#[test]
fn no_seed_and_nothing_that_was_found_does_any_harm() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (name, target) in attacks::targets() {
        let files: Vec<_> = fs::read_dir(seeds.join(name)).expect("seeds").collect();
        assert!(files.len() >= 3, "{name} has seeds");
        for file in files {
            target(&fs::read(file.expect("a seed").path()).expect("a seed"));
        }
    }
}
