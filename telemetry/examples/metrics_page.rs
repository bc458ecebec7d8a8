//! Prints docs/METRICS.md.

fn main() {
    print!("{}", hawser_telemetry::catalogue::page());
}
