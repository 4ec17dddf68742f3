//! Takes the eBPF object in: `OUT_DIR/weir-ebpf.o` is what the agent includes.
//!
//! The object is built by `cargo xtask build` into `bpf/weir.o` of the target directory; `WEIR_EBPF_OBJECT` names another
//! one. Where there is none, the included file is empty, so that `cargo check`, clippy and the documentation need no BPF
//! toolchain; such an agent says at run time that it was built without programs.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=WEIR_EBPF_OBJECT");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = match env::var_os("WEIR_EBPF_OBJECT") {
        // Named, so it has to be there.
        Some(path) => Some(PathBuf::from(path)),
        None => built_object(&out),
    };
    let bytes = match &object {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", path.display());
            fs::read(path).unwrap_or_else(|error| panic!("eBPF object {}: {error}", path.display()))
        }
        None => Vec::new(),
    };
    fs::write(out.join("weir-ebpf.o"), bytes).expect("OUT_DIR is writable");
}

/// The object in the target directory, if it was built. Where not, its folder is watched for it.
fn built_object(out: &Path) -> Option<PathBuf> {
    let folder = target_dir(out)?.join("bpf");
    let object = folder.join("weir.o");
    if object.exists() {
        return Some(object);
    }
    // Cargo takes a watched path that does not exist for changed, each time: so the folder has to exist.
    if fs::create_dir_all(&folder).is_ok() {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    None
}

/// The target directory: OUT_DIR is `TARGET_DIR/[TRIPLE/]PROFILE/build/PACKAGE-HASH/out`.
fn target_dir(out: &Path) -> Option<&Path> {
    let above_profile = out.ancestors().nth(4)?;
    let triple = env::var_os("TARGET");
    if above_profile.file_name() == triple.as_deref() {
        above_profile.parent()
    } else {
        Some(above_profile)
    }
}
