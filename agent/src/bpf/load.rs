//! Programs into the kernel, on the maps that are pinned or on new ones.
//!
//! Layout below the agent's folder in bpffs: `maps/NAME`, `links/HOOK`, `links/lookup-COOKIE`. Maps of another ABI
//! version or other sizes are set aside as `maps-old`, kept alive until the new tables are filled and the links point
//! to the new programs, then removed: at no moment is a hook without tables.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aya::maps::{Array, MapData};
use aya::programs::{CgroupSkb, CgroupSockAddr, Program, ProgramError, ProgramType, SkLookup};
use aya::sys::{BpfHelper, is_helper_supported};
use aya::{Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};
use thiserror::Error;
use tracing::{info, warn};
use weir_abi::{ABI_VERSION, Meta};

use super::mount;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-ebpf.o"));

/// All maps of the object, by name; every one of them is pinned.
const MAPS: &[&str] = &[
    "PODS",
    "PEERS",
    "POLICY",
    "SERVICES",
    "SLOTS",
    "PROBES",
    "NODE",
    "SOCKETS",
    "ORIGINS",
    "FLOWS",
    "PICKED",
    "LISTENERS",
    "BUDGETS",
    "EVENTS",
    "STATS",
    "META",
];

/// Where maps are set aside. bpffs refuses names with a dot (EPERM).
const OLD_MAPS: &str = "maps-old";

/// How long an agent may hold the folder that another one waits for: more than it takes to let go of it.
const HANDOVER: Duration = Duration::from_secs(4);

/// How large the tables are, in entries. A full table refuses what does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Enrolled pods of this node.
    pub pods: u32,
    /// Addresses of known pods.
    pub peers: u32,
    /// (client, server, port) grants.
    pub policy: u32,
    /// Service addresses and ports.
    pub services: u32,
    /// Endpoints of all Services.
    pub slots: u32,
    /// UDP flows of each pod that answers are waited for. What is over it pushes out the pod's own oldest.
    pub flows: u32,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            pods: 1024,
            peers: 65_536,
            policy: 131_072,
            services: 16_384,
            slots: 262_144,
            flows: 4096,
        }
    }
}

impl Sizes {
    fn by_map(&self) -> [(&'static str, u32); 10] {
        [
            ("PODS", self.pods),
            ("ORIGINS", self.pods),
            ("FLOWS", self.pods),
            ("BUDGETS", self.pods),
            ("LISTENERS", self.pods.saturating_mul(4)),
            ("PROBES", self.pods.saturating_mul(16)),
            ("PEERS", self.peers),
            ("POLICY", self.policy),
            ("SERVICES", self.services),
            ("SLOTS", self.slots),
        ]
    }

    /// Names these sizes in [`Meta`]: FNV-1a over them.
    fn digest(&self) -> u64 {
        let sizes = self.by_map().map(|(_, size)| size);
        sizes
            .iter()
            .chain([&self.flows])
            .fold(0xcbf2_9ce4_8422_2325, |hash, size| {
                size.to_le_bytes().iter().fold(hash, |hash, byte| {
                    (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
                })
            })
    }
}

/// Where and how to load.
#[derive(Clone, Debug)]
pub struct Options {
    /// The agent's own folder in bpffs.
    pub bpffs: PathBuf,
    /// Table sizes.
    pub sizes: Sizes,
    /// How long answers to datagrams are waited for, and how long a UDP flow keeps to its endpoint, seconds.
    pub udp_idle_seconds: u32,
}

/// What can go wrong.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum LoadError {
    #[error("this binary was built without eBPF programs: build it with `cargo xtask build`")]
    NoObject,
    #[error("can't prepare {path} for pinned maps, maybe bpffs can't be mounted here: {error}")]
    Bpffs { path: PathBuf, error: io::Error },
    #[error("another agent uses {path}: end it first, or give each agent a folder of its own with --bpffs")]
    Busy { path: PathBuf },
    #[error("the kernel refused the eBPF object, `weir check` says what it lacks: {0}")]
    Object(#[from] EbpfError),
    #[error("the kernel refused program {name}, `weir check` says what it lacks: {error}")]
    Program { name: &'static str, error: ProgramError },
    #[error("program or map {0} is missing from the eBPF object, maybe agent and programs are of different builds")]
    Missing(&'static str),
    #[error("can't use map {name}: {error}")]
    Map {
        name: &'static str,
        error: aya::maps::MapError,
    },
}

/// Loaded programs and the maps they use.
#[derive(Debug)]
pub struct Programs {
    pub(super) ebpf: Ebpf,
    pub(super) bpffs: PathBuf,
    /// Says to other agents that the folder is taken; the kernel lets go of it however the process ends.
    _lock: File,
    /// Maps that were set aside, removed by [`Programs::settle`].
    old_maps: Option<PathBuf>,
}

impl Programs {
    /// Removes what an agent of another version left; to be called once the links point to these programs.
    pub fn settle(&mut self) {
        let Some(old) = self.old_maps.take() else { return };
        if let Err(error) = std::fs::remove_dir_all(&old) {
            warn!(path = %old.display(), %error, "can't remove the pinned maps of another version");
        }
    }
}

/// Loads all programs. Nothing is attached yet.
pub fn load(options: &Options) -> Result<Programs, LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::NoObject);
    }
    let bpffs = |error| LoadError::Bpffs {
        path: options.bpffs.clone(),
        error,
    };
    prepare(&options.bpffs).map_err(bpffs)?;
    let lock = take_folder(&options.bpffs)?;
    let meta = Meta {
        abi_version: ABI_VERSION,
        reserved: 0,
        sizes: options.sizes.digest(),
    };
    let maps = options.bpffs.join("maps");
    let old_maps = set_aside(&maps, &meta).map_err(bpffs)?;
    let inherited = maps.join("META").exists();
    make_dir(&maps).map_err(bpffs)?;

    let paths: BTreeMap<&str, PathBuf> = MAPS.iter().map(|name| (*name, maps.join(name))).collect();
    let packet_cookie = u32::from(has_packet_cookie());
    let mut loader = EbpfLoader::new();
    loader.override_global("HAS_PACKET_COOKIE", &packet_cookie, true);
    loader.override_global("UDP_IDLE_SECONDS", &options.udp_idle_seconds, true);
    for (name, size) in options.sizes.by_map() {
        loader.map_max_entries(name, size);
    }
    for (name, path) in &paths {
        loader.map_pin_path(name, path.as_path());
    }
    let mut ebpf = loader.load(OBJECT)?;
    verify(&mut ebpf)?;
    let map = ebpf.map_mut("META").ok_or(LoadError::Missing("META"))?;
    let failed = |error| LoadError::Map { name: "META", error };
    let mut array: Array<&mut MapData, Meta> = map.try_into().map_err(failed)?;
    array.set(0, meta, 0).map_err(failed)?;
    info!(
        programs = PROGRAMS.len(),
        inherited,
        packet_cookie = packet_cookie == 1,
        "eBPF programs loaded"
    );
    Ok(Programs {
        ebpf,
        bpffs: options.bpffs.clone(),
        _lock: lock,
        old_maps,
    })
}

/// Loads all programs on small maps that nobody keeps, to see whether the kernel takes them. Gives their names, each
/// with the number of instructions that the verifier went through.
///
/// # Errors
/// As [`load`].
pub fn try_load() -> Result<Vec<String>, LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::NoObject);
    }
    let packet_cookie = u32::from(has_packet_cookie());
    let mut loader = EbpfLoader::new();
    loader.override_global("HAS_PACKET_COOKIE", &packet_cookie, true);
    let mut ebpf = loader.load(OBJECT)?;
    verify(&mut ebpf)?;
    let name = |(name, program): (&str, &Program)| {
        let instructions = program.info().ok().and_then(|info| info.verified_instruction_count());
        format!(
            "{} ({})",
            name.trim_start_matches("weir_"),
            instructions.unwrap_or_default()
        )
    };
    Ok(ebpf.programs().map(name).collect())
}

fn verify(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    for (name, program) in ebpf.programs_mut() {
        let name = PROGRAMS
            .iter()
            .find(|known| **known == name)
            .copied()
            .ok_or(LoadError::Missing("of another name"))?;
        let result = match program {
            Program::CgroupSockAddr(program) => CgroupSockAddr::load(program),
            Program::CgroupSkb(program) => CgroupSkb::load(program),
            Program::SkLookup(program) => SkLookup::load(program),
            _ => return Err(LoadError::Missing(name)),
        };
        result.map_err(|error| LoadError::Program { name, error })?;
    }
    Ok(())
}

/// The entry points of the object.
const PROGRAMS: &[&str] = &[
    "weir_connect4",
    "weir_connect6",
    "weir_peername4",
    "weir_peername6",
    "weir_lookup",
    "weir_arrive",
    "weir_leave",
    "weir_sendmsg4",
    "weir_sendmsg6",
    "weir_recvmsg4",
    "weir_recvmsg6",
];

/// Whether cgroup_skb programs may ask for the cookie of a packet's network namespace (Linux 6.16).
pub fn has_packet_cookie() -> bool {
    is_helper_supported(ProgramType::CgroupSkb, BpfHelper::BPF_FUNC_get_netns_cookie).unwrap_or(false)
}

/// Takes the folder for this agent. One that is on its way out, as at a restart, is waited for.
fn take_folder(path: &Path) -> Result<File, LoadError> {
    let failed = |error| LoadError::Bpffs {
        path: path.to_owned(),
        error,
    };
    let lock = File::open(path).map_err(failed)?;
    let started = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if started.elapsed() < HANDOVER => std::thread::sleep(HANDOVER / 50),
            Err(TryLockError::WouldBlock) => return Err(LoadError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// Makes the agent's folder, and mounts bpffs first where nobody has.
fn prepare(folder: &Path) -> io::Result<()> {
    let root = Path::new("/sys/fs/bpf");
    if folder.starts_with(root) && !mount::is_bpffs(root)? {
        mount::mount_bpffs(root)?;
        info!(path = %root.display(), "mounted bpffs");
    }
    make_dir(folder)?;
    if !mount::is_bpffs(folder)? {
        return Err(io::Error::other("not in a bpffs"));
    }
    make_dir(&folder.join("links"))
}

fn make_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Moves maps that were made for something else out of the way. Gives their new place.
fn set_aside(maps: &Path, wanted: &Meta) -> io::Result<Option<PathBuf>> {
    let old = maps.with_file_name(OLD_MAPS);
    if !maps.exists() {
        return Ok(old.exists().then_some(old));
    }
    match read_meta(&maps.join("META")) {
        Ok(found) if found == *wanted => return Ok(old.exists().then_some(old)),
        Ok(found) => {
            warn!(
                ?found,
                ?wanted,
                "pinned maps were made by another version or for other sizes, making new ones"
            );
        }
        // Without META an agent died while it made them: nothing points to them.
        Err(error) => warn!(%error, "pinned maps can't be read, making new ones"),
    }
    if old.exists() {
        std::fs::remove_dir_all(&old)?;
    }
    std::fs::rename(maps, &old)?;
    Ok(Some(old))
}

fn read_meta(path: &Path) -> Result<Meta, aya::maps::MapError> {
    let map = aya::maps::Map::from_map_data(MapData::from_pin(path)?)?;
    let array: Array<MapData, Meta> = map.try_into()?;
    array.get(&0, 0)
}

/// Removes every pin below the agent's folder. Programs detach with their last pin.
///
/// Returns whether there was anything.
pub fn uninstall(bpffs: &Path) -> io::Result<bool> {
    if !bpffs.exists() {
        return Ok(false);
    }
    // Links first, so that no hook is ever left on tables that are going away.
    for part in ["links", "maps", OLD_MAPS] {
        let path = bpffs.join(part);
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
    }
    std::fs::remove_dir(bpffs)?;
    Ok(true)
}
