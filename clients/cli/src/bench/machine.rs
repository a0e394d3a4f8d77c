//! The machine of a run, and what the server's processes used of it. A number without its machine
//! says nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) cpu: String,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
}

impl Machine {
    pub(super) fn read() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let system = rustix::system::uname();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: value(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned(),
            memory_bytes: value(&read("/proc/meminfo"), "MemTotal").and_then(kibibytes).unwrap_or(0),
            kernel: format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
        }
    }
}

/// The value of the first `name : value` line.
fn value<'text>(text: &'text str, name: &str) -> Option<&'text str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// CPU time used so far by a process and all below it, those that ended included; none when it is
/// not there. The difference of two readings is what was used between.
pub(super) fn cpu_time(process: u32) -> Option<Duration> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        // A process may end while we look.
        if let (Some(id), Ok(text)) = (id, fs::read_to_string(entry.path().join("stat")))
            && let Some(stat) = Stat::parse(&text)
        {
            processes.insert(id, stat);
        }
    }
    tree_time(process, &processes)
}

fn tree_time(root: u32, processes: &BTreeMap<u32, Stat>) -> Option<Duration> {
    /// `USER_HZ`: what /proc counts in, 100 a second on every Linux we run on.
    const TICK: Duration = Duration::from_millis(10);
    processes.get(&root)?;
    let mut tree = BTreeSet::from([root]);
    let mut grown = true;
    while grown {
        let below = processes.iter().filter(|(_, stat)| tree.contains(&stat.parent)).map(|(id, _)| *id);
        let below: Vec<u32> = below.collect();
        let before = tree.len();
        tree.extend(below);
        grown = tree.len() > before;
    }
    let ticks: u64 = tree.iter().filter_map(|id| processes.get(id)).map(|stat| stat.ticks).sum();
    Some(TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time, its own and that of children it has waited for.
    ticks: u64,
}

impl Stat {
    /// A line of `/proc/PID/stat`: the name in brackets may hold anything, so start after it.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let parent = fields.get(1)?.parse().ok()?;
        // utime, stime, cutime, cstime are fields 14 to 17 of the line, 11 to 14 after the name.
        let times = fields.get(11..15)?.iter().map(|field| field.parse::<u64>());
        Some(Self { parent, ticks: times.sum::<Result<u64, _>>().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_a_process_is_read_whatever_its_name() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 10 20 3 4 20 0 1 0 100 0 0";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 7, ticks: 37 }));
        assert_eq!(Stat::parse("42 (short) S 7"), None);
    }

    #[test]
    fn time_of_a_process_counts_all_below_it() {
        let stat = |parent, ticks| Stat { parent, ticks };
        let processes =
            BTreeMap::from([(1, stat(0, 1000)), (9, stat(1, 1)), (5, stat(9, 10)), (3, stat(5, 100))]);
        assert_eq!(tree_time(9, &processes), Some(Duration::from_millis(1110)));
        assert_eq!(tree_time(77, &processes), None);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::read();
        assert!(machine.cores > 0 && machine.memory_bytes > 0, "{machine:?}");
        assert!(machine.kernel.starts_with("Linux "), "{machine:?}");
        assert!(cpu_time(std::process::id()).is_some());
    }
}
