//! Tools of the tests that are written in Go: h2spec, gRPC's interoperability client and server, and our own `h2echo`.
//!
//! Built into the target directory from one module of this repository, `xtask/go`: its `go.mod` has the versions, its
//! `go.sum` the checksums, and neither moves by itself. Go itself is expected on the machine. What was built from which
//! files is written beside the programs, so that a second call costs three reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::run::Run;

/// Package, and the name of the program that it becomes.
const TOOLS: &[(&str, &str)] = &[
    ("github.com/summerwind/h2spec/cmd/h2spec", "h2spec"),
    ("google.golang.org/grpc/interop/client", "grpc-client"),
    ("google.golang.org/grpc/interop/server", "grpc-server"),
    ("weir.dev/tools/h2echo", "h2echo"),
];

/// What the programs are built from.
const SOURCES: &[&str] = &["go.mod", "go.sum", "h2echo/main.go"];

/// Where Go's own installer puts it, for shells that do not have it in `PATH`.
const USUAL: &str = "/usr/local/go/bin/go";

/// Builds what is missing or was built from other sources.
pub fn install() -> Result<()> {
    let module = paths::root().join("xtask/go");
    let wanted = sources(&module)?;
    let stamp = paths::go_tools().join("built-from");
    let there = TOOLS.iter().all(|(_, name)| paths::go_tools().join(name).exists());
    if there && fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
        return Ok(());
    }
    let go = go()?;
    eprintln!("setup: building the tests' Go tools (about a minute) …");
    let start = Instant::now();
    fs::create_dir_all(paths::go_tools()).with_context(|| format!("{}", paths::go_tools().display()))?;
    for (package, name) in TOOLS {
        Run::new(&go)
            .dir(&module)
            .args(["build", "-trimpath", "-buildvcs=false", "-o"])
            .arg(paths::go_tools().join(name))
            .arg(package)
            .env("CGO_ENABLED", "0")
            .quiet()
            .with_context(|| format!("{name} did not build; is the Go module proxy reachable?"))?;
    }
    fs::write(&stamp, wanted).with_context(|| format!("{}", stamp.display()))?;
    eprintln!("setup: built in {:.0} s", start.elapsed().as_secs_f32());
    Ok(())
}

fn sources(module: &Path) -> Result<String> {
    let read = |name: &&str| {
        let path = module.join(name);
        fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
    };
    SOURCES.iter().map(read).collect()
}

fn go() -> Result<PathBuf> {
    let found = ["go", USUAL].into_iter().map(PathBuf::from);
    let works = |go: &PathBuf| Run::new(go).arg("version").quiet().is_ok();
    let Some(go) = found.into_iter().find(works) else {
        bail!("the HTTP/2 and gRPC tests need Go 1.24 or newer, in PATH or as {USUAL}: https://go.dev/dl/");
    };
    Ok(go)
}
