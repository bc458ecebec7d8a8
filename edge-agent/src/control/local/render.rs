//! Tables for people.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use super::{
    CandidateView, DecisionView, LocalAnswer, NextHopView, PathView, SelectionView, StatusView,
    WhyView,
};

/// The answer as text that ends in a newline. Programs read the JSON instead.
pub fn render(answer: &LocalAnswer) -> String {
    match answer {
        LocalAnswer::Status(status) => render_status(status),
        LocalAnswer::Paths(paths) => render_paths(paths),
        LocalAnswer::Why(why) => render_why(why),
    }
}

fn render_status(status: &StatusView) -> String {
    let mut facts = table(&[]);
    let mut row = |name: &str, value: String| {
        facts.add_row([name.to_owned(), value]);
    };
    row("edge", format!("{} (site {}, fleet {})", status.edge, status.site, status.fleet));
    row("agent", format!("{}, up {}", status.agent_version, duration(status.uptime_s)));
    row("controller", controller(status));
    row("generation", generation(status));
    let mut out = format!("{facts}\n");

    if !status.uplinks.is_empty() {
        let mut uplinks = table(&["UPLINK", "INTERFACE", "CARRIER", "ADDRESSES", "SEEN AS", "MTU"]);
        for u in &status.uplinks {
            uplinks.add_row([
                u.name.clone(),
                u.interface.clone(),
                if u.carrier { "yes" } else { "NO" }.to_owned(),
                u.addresses.join("\n"),
                u.public_endpoints.join("\n"),
                u.mtu_bytes.to_string(),
            ]);
        }
        let _ = write!(out, "\n{uplinks}\n");
    }
    if !status.tunnels.is_empty() {
        let mut tunnels = table(&["TUNNEL TO", "SITE", "PATHS UP", "PEER CONNECTION"]);
        for t in &status.tunnels {
            tunnels.add_row([
                t.peer_edge.clone(),
                t.peer_site.clone(),
                format!("{} of {}", t.paths_up, t.paths),
                if t.peer_connected { "up" } else { "DOWN" }.to_owned(),
            ]);
        }
        let _ = write!(out, "\n{tunnels}\n");
    }
    if !status.ike_tunnels.is_empty() {
        let mut tunnels = table(&["IKE TUNNEL", "GATEWAY", "STATE", "SENT", "RECEIVED", "WHY"]);
        for t in &status.ike_tunnels {
            let good = t.state == "up" || t.state == "waiting";
            tunnels.add_row([
                t.name.clone(),
                t.remote_address.clone(),
                if good { t.state.clone() } else { t.state.to_uppercase() },
                bytes(t.tx_bytes),
                bytes(t.rx_bytes),
                t.reason.clone(),
            ]);
        }
        let _ = write!(out, "\n{tunnels}\n");
    }
    if !status.counters.is_empty() {
        let mut counters = table(&["COUNTER", "VALUE"]);
        for (name, value) in &status.counters {
            counters.add_row([name.clone(), value.to_string()]);
        }
        let _ = write!(out, "\n{counters}\n");
    }
    out
}

fn controller(status: &StatusView) -> String {
    let c = &status.controller;
    if !c.connected {
        let why = if c.last_error.is_empty() { "no attempt ended yet" } else { &c.last_error };
        return format!("NOT CONNECTED: {why}");
    }
    match c.uplink.as_str() {
        "" => format!("connected to {}", c.address),
        uplink => format!("connected to {} over {uplink}", c.address),
    }
}

fn generation(status: &StatusView) -> String {
    let g = &status.generations;
    let mut text = match g.applied.as_str() {
        "" => "none".to_owned(),
        applied if applied == g.confirmed => format!("{applied}, confirmed"),
        applied => format!("{applied}, PROVISIONAL (confirmed: {})", or_dash(&g.confirmed)),
    };
    if !g.refused.is_empty() {
        let _ = write!(text, "; refused: {}", g.refused.join(", "));
    }
    text
}

fn render_paths(paths: &[PathView]) -> String {
    if paths.is_empty() {
        return "no paths: no generation is applied, or it has no tunnels\n".to_owned();
    }
    let mut out = table(&[
        "PEER",
        "LOCAL",
        "REMOTE",
        "STATE",
        "RTT",
        "JITTER",
        "LOSS TX/RX",
        "SENT",
        "RECEIVED",
        "CARRIES",
    ]);
    for p in paths {
        let up = p.state == "up";
        out.add_row([
            p.peer_edge.clone(),
            p.local_uplink.clone(),
            p.remote_uplink.clone(),
            if up { p.state.clone() } else { p.state.to_uppercase() },
            if up { millis(p.rtt_us) } else { "–".to_owned() },
            if up { millis(p.jitter_us) } else { "–".to_owned() },
            format!("{} / {}", percent(p.loss_tx_ppm), percent(p.loss_rx_ppm)),
            bytes(p.tx_bytes),
            bytes(p.rx_bytes),
            p.selected_for.join(", "),
        ]);
    }
    format!("{out}\n")
}

fn render_why(why: &WhyView) -> String {
    if why.selections.is_empty() && why.next_hops.is_empty() && why.decisions.is_empty() {
        return "nothing was decided yet\n".to_owned();
    }
    let mut now = table(&["PEER", "CLASS", "PATH NOW", "SLA", "BECAUSE", "VOLUNTARY MOVES"]);
    for s in &why.selections {
        now.add_row(selection_row(s));
    }
    let mut out = if why.selections.is_empty() { String::new() } else { format!("{now}\n") };
    if !why.next_hops.is_empty() {
        let mut hops = table(&["SEGMENT", "PREFIXES", "NEXT HOP NOW", "SLA", "BECAUSE"]);
        for n in &why.next_hops {
            hops.add_row(next_hop_row(n));
        }
        let _ = write!(out, "\n{hops}\n");
    }
    if let Some(advice) = &why.advice {
        let avoided = [&advice.avoid_paths[..], &advice.avoid_edges[..]].concat();
        let _ = writeln!(
            out,
            "The controller advises against {}: {} ({}, for another {})",
            avoided.join(", "),
            advice.reason,
            advice.id,
            duration(advice.left_s),
        );
    }
    for d in &why.decisions {
        let _ = write!(out, "\n{}", decision(d));
    }
    out
}

/// When the next voluntary move may be made.
fn moves(s: &SelectionView) -> String {
    match (s.moves_left, s.dwell_left_s) {
        (0, dwell) => format!("none for {}", duration(s.next_move_s.max(dwell))),
        (left, 0) => format!("{left} now"),
        (left, dwell) => format!("{left} in {}", duration(dwell)),
    }
}

fn selection_row(s: &SelectionView) -> [String; 6] {
    [
        s.peer_edge.clone(),
        s.traffic_class.clone(),
        or_dash(&s.path).to_owned(),
        if s.meets_sla { "met" } else { "NOT MET" }.to_owned(),
        s.because.clone(),
        moves(s),
    ]
}

/// Prefixes of one row; the JSON has them all.
const PREFIXES_SHOWN: usize = 8;

fn next_hop_row(n: &NextHopView) -> [String; 5] {
    let mut prefixes = n.prefixes.iter().take(PREFIXES_SHOWN).cloned().collect::<Vec<_>>();
    if n.prefixes.len() > PREFIXES_SHOWN {
        prefixes.push(format!("and {} more", n.prefixes.len() - PREFIXES_SHOWN));
    }
    [
        n.segment.clone(),
        prefixes.join("\n"),
        or_dash(&n.next_hop).to_owned(),
        if n.meets_sla { "met" } else { "NOT MET" }.to_owned(),
        n.because.clone(),
    ]
}

fn decision(d: &DecisionView) -> String {
    let (about, from, to) = if d.prefixes.is_empty() {
        (format!("{} to {}", d.traffic_class, d.peer_edge), &d.from_path, &d.to_path)
    } else {
        (format!("next hop of {}", d.prefixes.join(", ")), &d.from_next_hop, &d.to_next_hop)
    };
    let mut out = format!(
        "{} #{} {about}: {} → {} ({})\n  {}\n",
        utc(d.unix_ms),
        d.sequence,
        or_dash(from),
        or_dash(to),
        d.cause,
        d.summary,
    );
    if !d.advice_id.is_empty() {
        let _ = writeln!(out, "  It followed the controller's advice {}.", d.advice_id);
    }
    if !d.candidates.is_empty() {
        let mut candidates =
            table(&["", "PATH", "STATE", "RTT", "JITTER", "LOSS TX/RX", "WHY NOT", "LIMITS"]);
        for c in &d.candidates {
            candidates.add_row(candidate_row(c));
        }
        let _ = writeln!(out, "{candidates}");
    }
    out
}

fn candidate_row(c: &CandidateView) -> [String; 8] {
    [
        if c.chosen { "→" } else { "" }.to_owned(),
        c.path.clone(),
        c.state.clone(),
        millis(c.rtt_us),
        millis(c.jitter_us),
        format!("{} / {}", percent(c.loss_tx_ppm), percent(c.loss_rx_ppm)),
        c.refused_because.clone(),
        c.limits_crossed.join(", "),
    ]
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Disabled);
    if !header.is_empty() {
        table.set_header(header.to_vec());
    }
    table
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "–" } else { text }
}

fn millis(us: u32) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

fn percent(ppm: u32) -> String {
    format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100)
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut tenths = u128::from(count) * 10;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
    }
}

fn duration(seconds: u64) -> String {
    let (d, h, m, s) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, _) => format!("{m} min {s} s"),
        (0, _, _) => format!("{h} h {m} min"),
        _ => format!("{d} d {h} h"),
    }
}

/// `2026-01-31 23:59:59.123Z`.
fn utc(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1000, unix_ms % 1000);
    let (year, month, day) = civil(seconds / 86_400);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{ms:03}Z")
}

/// Year, month, day of a day count since 1970 (H. Hinnant, “chrono-compatible low-level date
/// algorithms”, civil_from_days).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}
