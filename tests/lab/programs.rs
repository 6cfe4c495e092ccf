//! The shipped programs, for tests that run them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// A program of the workspace, built as the running test was.
///
/// # Panics
///
/// When they do not build.
pub fn built(name: &str) -> PathBuf {
    FOLDER.join(name)
}

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = env::current_exe().expect("the path of this program");
    let folder = test.parent().and_then(Path::parent).expect("a target folder").to_owned();
    let mut build = Command::new(env!("CARGO"));
    // All of it: with other features than the tests have, every dependency would be built anew.
    build.args(["build", "--quiet", "--locked", "--workspace", "--bins"]);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    // What cargo tells a test of the test's own package is news to the build scripts of some dependencies (ring's), and these
    // would be built anew as well, here and again after the test.
    for (name, _) in env::vars_os() {
        let is_of_a_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_of_a_package) {
            build.env_remove(name);
        }
    }
    assert!(build.status().expect("cargo").success(), "the programs do not build");
    folder
});
