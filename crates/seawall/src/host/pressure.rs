//! How hard the machine works: processor and memory, as the kernel tells.

use std::collections::VecDeque;
use std::fs;

/// Readings over which the use of the processor is averaged: two seconds at four a second. One page being rendered is no
/// pressure; what lasts is.
const READINGS: usize = 8;

/// Reads the shares of processor and memory in use.
#[derive(Debug, Default)]
pub struct HostPressure {
    /// Busy and total time, oldest first.
    readings: VecDeque<(u64, u64)>,
}

impl HostPressure {
    /// The share of processor time used over the last eight calls, over all cores, 0 to 1; 0 the first time and where the
    /// kernel does not tell.
    pub fn cpu_used(&mut self) -> f32 {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        processor_times(&text).map_or(0.0, |(busy, total)| self.since_oldest(busy, total))
    }

    fn since_oldest(&mut self, busy: u64, total: u64) -> f32 {
        if self.readings.len() >= READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back((busy, total));
        let (busy_before, total_before) = self.readings.front().copied().unwrap_or((busy, total));
        match total.saturating_sub(total_before) {
            0 => 0.0,
            passed => busy.saturating_sub(busy_before) as f32 / passed as f32,
        }
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
    fn one_busy_moment_is_no_pressure() {
        let mut pressure = HostPressure::default();
        assert!(pressure.since_oldest(1_000, 5_000).abs() < f32::EPSILON, "nothing to compare with");
        for step in 1..READINGS as u64 {
            pressure.since_oldest(1_000, 5_000 + 50 * step);
        }
        let moment = pressure.since_oldest(1_050, 5_000 + 50 * READINGS as u64);
        assert!(moment < 0.2, "{moment}");
        let mut lasting = moment;
        for step in 1..=READINGS as u64 {
            lasting = pressure.since_oldest(1_050 + 50 * step, 5_400 + 50 * step);
        }
        assert!(lasting > 0.99, "{lasting}");
    }
}
