//! How hard the machine works: processor and memory, as the kernel tells.

use std::fs;

/// Reads the shares of processor and memory in use.
#[derive(Debug, Default)]
pub struct HostPressure {
    busy_before: u64,
    total_before: u64,
}

impl HostPressure {
    /// The share of processor time used since the last call, over all cores, 0 to 1; 0 the first time and where the
    /// kernel does not tell.
    pub fn cpu_used(&mut self) -> f32 {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let Some((busy, total)) = processor_times(&text) else { return 0.0 };
        let (busy_since, total_since) =
            (busy.saturating_sub(self.busy_before), total.saturating_sub(self.total_before));
        let is_first = self.total_before == 0;
        (self.busy_before, self.total_before) = (busy, total);
        if is_first || total_since == 0 { 0.0 } else { busy_since as f32 / total_since as f32 }
    }

    /// The share of memory that could not be had without swapping, 0 to 1; 0 where the kernel does not tell.
    pub fn memory_used(&self) -> f32 {
        memory_used(&fs::read_to_string("/proc/meminfo").unwrap_or_default()).unwrap_or(0.0)
    }
}

/// Busy and total time of all cores, in ticks, from the first line of `/proc/stat`: user, nice, system, idle, iowait,
/// irq, softirq, steal.
fn processor_times(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let total = times.iter().sum();
    let idle = times.get(3)? + times.get(4)?;
    Some((total - idle, total))
}

fn memory_used(meminfo: &str) -> Option<f32> {
    let kibibytes = |name: &str| -> Option<f32> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(1.0 - kibibytes("MemAvailable:")? / kibibytes("MemTotal:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_texts_are_read() {
        assert_eq!(processor_times("cpu  10 1 9 70 10 0 0 0 5 0\ncpu0 1 2 3\n"), Some((20, 100)));
        assert_eq!(processor_times("nothing"), None);
        assert_eq!(memory_used("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   250 kB\n"), Some(0.75));
        assert_eq!(memory_used(""), None);
    }

    #[test]
    fn the_first_reading_has_nothing_to_compare_with() {
        assert!(HostPressure::default().cpu_used().abs() < f32::EPSILON);
    }
}
