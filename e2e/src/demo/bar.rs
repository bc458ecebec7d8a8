//! A length for a number, so that runs can be compared at a glance.

/// `value` of `full` as a bar of at most `width` characters; one at least for anything above zero.
pub(super) fn bar(value: f64, full: f64, width: usize) -> String {
    let share = (value / full).clamp(0.0, 1.0);
    let eighths = (share * width as f64 * 8.0).ceil() as usize;
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}
