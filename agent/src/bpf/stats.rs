//! Kernel counters, read at scrape: sums over all CPUs.

use aya::maps::{MapData, PerCpuArray};
use weir_abi::COUNTER_NAMES;

use super::load::{LoadError, Programs};

/// One counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictCount {
    /// Where it was counted.
    pub hook: &'static str,
    /// What was decided there.
    pub outcome: &'static str,
    /// How often.
    pub count: u64,
}

/// The counters' map.
pub struct Stats {
    array: PerCpuArray<MapData, u64>,
}

impl Stats {
    /// Takes the map out of the loaded programs.
    pub fn take(programs: &mut Programs) -> Result<Stats, LoadError> {
        let map = programs.ebpf.take_map("STATS").ok_or(LoadError::Missing("STATS"))?;
        let array = map
            .try_into()
            .map_err(|error| LoadError::Map { name: "STATS", error })?;
        Ok(Stats { array })
    }

    /// All counters. One that can't be read is left out.
    pub fn read(&self) -> Vec<VerdictCount> {
        COUNTER_NAMES
            .iter()
            .enumerate()
            .filter_map(|(index, (hook, outcome))| {
                let values = self.array.get(&(index as u32), 0).ok()?;
                Some(VerdictCount {
                    hook,
                    outcome,
                    count: values.iter().sum(),
                })
            })
            .collect()
    }
}
