//! Figures of a window, as text and JSON, and their medians over rounds.
//!
//! A figure is a name and a number; names carry their unit. Costs of the server are shared over all
//! operations of the window, since `/proc` cannot tell them apart.

use nilas_tests::device::Usage;
use serde_json::{Map, Value, json};

use crate::window::{Tally, Window};

/// Figures by name, in the order in which they are printed.
pub(crate) type Figures = Vec<(String, f64)>;

/// All figures of one window; `stored` is true if the bytes moved were written.
pub(crate) fn figures(window: &Window, stored: bool) -> Figures {
    let secs = window.elapsed.as_secs_f64().max(1e-9);
    let mut out = Figures::new();
    let mut total = (0u64, 0u64);
    for (name, tally) in &window.tallies {
        total.0 += tally.ops;
        total.1 += tally.bytes;
        tally_figures(name, tally, secs, &mut out);
    }
    if 1 < window.tallies.len() {
        out.push(("total_per_s".to_owned(), total.0 as f64 / secs));
        out.push(("total_MiB_per_s".to_owned(), mib(total.1) / secs));
    }
    out.push(("errors".to_owned(), window.tallies.values().map(|tally| tally.errors as f64).sum()));
    out.push(("refused".to_owned(), window.tallies.values().map(|tally| tally.refused as f64).sum()));
    out.push(("seconds".to_owned(), secs));
    if let Some((before, after)) = &window.usage {
        usage_figures(before, after, total, stored, &mut out);
    }
    out
}

fn tally_figures(name: &str, tally: &Tally, secs: f64, out: &mut Figures) {
    let mut push = |suffix: &str, value: f64| out.push((format!("{name}_{suffix}"), value));
    push("ops", tally.ops as f64);
    push("per_s", tally.ops as f64 / secs);
    if tally.bytes != 0 {
        push("MiB_per_s", mib(tally.bytes) / secs);
    }
    if tally.objects != tally.ops {
        push("objects_per_s", tally.objects as f64 / secs);
    }
    for (suffix, quantile) in [("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999)] {
        push(suffix, tally.latency.value_at_quantile(quantile) as f64 / 1e6);
    }
    push("max_ms", tally.latency.max() as f64 / 1e6);
}

fn usage_figures(before: &Usage, after: &Usage, (ops, bytes): (u64, u64), stored: bool, out: &mut Figures) {
    let mut push = |name: &str, value: f64| out.push((name.to_owned(), value));
    let cpu = after.cpu_secs - before.cpu_secs;
    push("server_cpu_s", cpu);
    if ops != 0 {
        push("server_cpu_us_per_op", cpu * 1e6 / ops as f64);
    }
    if bytes != 0 {
        push("server_cpu_s_per_GiB", cpu / (mib(bytes) / 1024.0));
    }
    if let (Some(before), Some(after)) = (before.disk, after.disk) {
        let written = after.written_bytes.saturating_sub(before.written_bytes);
        push("disk_written_MiB", mib(written));
        push("disk_read_MiB", mib(after.read_bytes.saturating_sub(before.read_bytes)));
        if ops != 0 {
            push("flushes_per_op", after.flushes.saturating_sub(before.flushes) as f64 / ops as f64);
        }
        if stored && bytes != 0 {
            push("written_per_stored_byte", written as f64 / bytes as f64);
        }
    }
    push("server_rss_MiB", mib(after.rss_bytes));
    push("server_rss_peak_MiB", mib(after.rss_peak_bytes));
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Collects rounds and prints them.
pub(crate) struct Report {
    title: String,
    parameters: Value,
    json: bool,
    rounds: Vec<Figures>,
    errors: u64,
}

impl Report {
    /// An empty report; with `json` nothing is printed before [`Report::finish`].
    pub(crate) fn new(title: String, parameters: Value, json: bool) -> Self {
        if !json {
            println!("{title}");
        }
        Report { title, parameters, json, rounds: Vec::new(), errors: 0 }
    }

    /// Adds a window as a round.
    pub(crate) fn add(&mut self, window: &Window, stored: bool) {
        let figures = figures(window, stored);
        for (name, tally) in &window.tallies {
            self.errors += tally.errors;
            if let Some(error) = &tally.first_error {
                eprintln!("first failed {name}: {error:.400}");
            }
        }
        if !self.json {
            println!("  round {}", self.rounds.len() + 1);
            for (name, value) in &figures {
                println!("    {name:<28} {}", short(*value));
            }
        }
        self.rounds.push(figures);
    }

    /// Prints medians and extremes, or the JSON object; the number of failed operations.
    pub(crate) fn finish(self) -> u64 {
        let summary = summarise(&self.rounds);
        if self.json {
            let rounds: Vec<Value> = self.rounds.iter().map(to_json).collect();
            let median: Figures = summary.iter().map(|(name, values)| (name.clone(), values[1])).collect();
            println!(
                "{}",
                json!({
                    "title": self.title, "parameters": self.parameters,
                    "rounds": rounds, "median": to_json(&median),
                })
            );
        } else if 1 < self.rounds.len() {
            println!("  median of {} rounds (min, max)", self.rounds.len());
            for (name, [min, median, max]) in &summary {
                println!("    {name:<28} {} ({}, {})", short(*median), short(*min), short(*max));
            }
        }
        self.errors
    }
}

/// Minimum, median and maximum of each figure of the first round.
pub(crate) fn summarise(rounds: &[Figures]) -> Vec<(String, [f64; 3])> {
    let Some(first) = rounds.first() else { return Vec::new() };
    let mut out = Vec::with_capacity(first.len());
    for (name, _) in first {
        let mut values: Vec<f64> = rounds
            .iter()
            .filter_map(|round| round.iter().find(|(other, _)| other == name).map(|(_, value)| *value))
            .collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        out.push((name.clone(), [values[0], median, values[values.len() - 1]]));
    }
    out
}

pub(crate) fn to_json(figures: &Figures) -> Value {
    let map: Map<String, Value> =
        figures.iter().map(|(name, value)| (name.clone(), json!((value * 1e4).round() / 1e4))).collect();
    Value::Object(map)
}

/// Four significant digits or so, without an exponent.
pub(crate) fn short(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        size if 1000.0 <= size => 0,
        size if 10.0 <= size => 1,
        size if 1.0 <= size => 2,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::{Figures, short, summarise};

    #[test]
    fn medians() {
        let round = |value: f64| -> Figures { vec![("x".to_owned(), value)] };
        let check = |values: &[f64], expected: [f64; 3]| {
            let rounds: Vec<Figures> = values.iter().map(|value| round(*value)).collect();
            assert_eq!(summarise(&rounds), [("x".to_owned(), expected)]);
        };
        check(&[3.0], [3.0, 3.0, 3.0]);
        check(&[3.0, 1.0, 2.0], [1.0, 2.0, 3.0]);
        check(&[4.0, 1.0, 2.0, 3.0], [1.0, 2.5, 4.0]);
        assert!(summarise(&[]).is_empty());
    }

    #[test]
    fn numbers() {
        for (value, text) in
            [(0.0, "0"), (0.12345, "0.1235"), (1.5, "1.50"), (81.26, "81.3"), (12345.6, "12346")]
        {
            assert_eq!(short(value), text);
        }
    }
}
