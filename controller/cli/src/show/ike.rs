//! Tunnels with gateways that are not Hawser.

use hawser_proto::agent::v1::{IkeLink, IkeState, PathState};
use hawser_proto::operator::v1::IkeTunnel;
use serde_json::{Value, json};

use super::paths::{loss_shade, milliseconds, percent, state};
use super::style::{Shade, Style};

/// With an empty line before it; nothing, if there are none.
pub fn ike_tunnels(style: &Style, tunnels: &[IkeTunnel]) -> String {
    if tunnels.is_empty() {
        return String::new();
    }
    let header =
        ["IKE TUNNEL", "EDGE", "UPLINK", "GATEWAY", "STATE", "SENT", "RECEIVED", "REKEYS", "WHY"];
    let mut table = style.table(&header);
    for tunnel in tunnels {
        let sample = tunnel.sample.clone().unwrap_or_default();
        table.add_row([
            style.cell(&name(tunnel), Shade::Plain),
            style.cell(&tunnel.edge, Shade::Plain),
            style.cell(&tunnel.uplink, Shade::Plain),
            style.cell(or_dash(&sample.remote_address), Shade::Plain),
            style.cell(sample.state().word(), shade(sample.state())),
            style.cell(&octets(sample.tx_bytes), Shade::Plain),
            style.cell(&octets(sample.rx_bytes), Shade::Plain),
            style.cell(&sample.rekeys.to_string(), Shade::Plain),
            style.cell(&sample.reason, Shade::Plain),
        ]);
    }
    format!("\n\n{}{}", style.finish(&table), links(style, tunnels))
}

fn name(tunnel: &IkeTunnel) -> String {
    if tunnel.manual { format!("{} (manual keys)", tunnel.name) } else { tunnel.name.clone() }
}

/// The ways that tunnels may take, where there is a choice.
fn links(style: &Style, tunnels: &[IkeTunnel]) -> String {
    let header =
        ["", "LINKS OF", "EDGE", "UPLINK", "GATEWAY", "STATE", "RTT", "JITTER", "LOSS", "VERDICT"];
    let mut table = style.table(&header);
    let mut any = false;
    for tunnel in tunnels {
        for link in tunnel.sample.iter().flat_map(|sample| &sample.links) {
            any = true;
            let (word, shade) = state(link.state());
            let heard = link.state() != PathState::Connecting;
            let figure = |value: u32| heard.then_some(value);
            let chosen = if link.chosen { Shade::Good } else { Shade::Plain };
            table.add_row([
                style.cell(if link.chosen { "→" } else { "" }, chosen),
                style.cell(&tunnel.name, chosen),
                style.cell(&tunnel.edge, Shade::Plain),
                style.cell(&link.uplink, chosen),
                style.cell(&link.remote_address, chosen),
                style.cell(word, shade),
                style.cell(&milliseconds(figure(link.rtt_us)), Shade::Plain),
                style.cell(&milliseconds(figure(link.jitter_us)), Shade::Plain),
                style.cell(&percent(figure(link.loss_ppm)), loss_shade(figure(link.loss_ppm))),
                style.cell(&verdict(link), chosen),
            ]);
        }
    }
    if any { format!("\n\n{}", style.finish(&table)) } else { String::new() }
}

fn verdict(link: &IkeLink) -> String {
    let crossed = link.limits_crossed.join(", ");
    match (link.refused_because.as_str(), link.chosen) {
        ("", true) if crossed.is_empty() => "in use".to_owned(),
        ("", true) => format!("in use, though {crossed}"),
        ("", false) => "not chosen".to_owned(),
        (reason, true) => format!("held for want of a better one: {reason}"),
        (reason, false) => reason.to_owned(),
    }
}

fn shade(state: IkeState) -> Shade {
    match state {
        IkeState::Up | IkeState::Waiting => Shade::Good,
        IkeState::Connecting | IkeState::Authenticated => Shade::Middling,
        IkeState::Blocked => Shade::Bad,
        IkeState::Unspecified => Shade::Faint,
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn octets(octets: u64) -> String {
    const STEPS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match STEPS.iter().find(|(size, _)| octets >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", octets as f64 / *size as f64),
        None => format!("{octets} B"),
    }
}

fn ike_link(link: &IkeLink) -> Value {
    json!({
        "link_id": link.link_id,
        "uplink": link.uplink,
        "local_address": link.local_address,
        "remote_address": link.remote_address,
        "state": state(link.state()).0,
        "chosen": link.chosen,
        "rtt_us": link.rtt_us,
        "jitter_us": link.jitter_us,
        "loss_ppm": link.loss_ppm,
        "limits_crossed": link.limits_crossed,
        "refused_because": link.refused_because,
    })
}

/// For programs.
pub fn ike_tunnel_json(tunnel: &IkeTunnel) -> Value {
    let sample = tunnel.sample.clone().unwrap_or_default();
    json!({
        "site": tunnel.site,
        "edge": tunnel.edge,
        "name": tunnel.name,
        "manual": tunnel.manual,
        "uplink": tunnel.uplink,
        "sample_unix_ms": tunnel.sample_unix_ms,
        "state": sample.state().word(),
        "reason": sample.reason,
        "local_address": sample.local_address,
        "remote_address": sample.remote_address,
        "children_up": sample.children_up,
        "children": sample.children,
        "moves": sample.moves,
        "links": sample.links.iter().map(ike_link).collect::<Vec<_>>(),
        "tx_packets": sample.tx_packets,
        "tx_bytes": sample.tx_bytes,
        "rx_packets": sample.rx_packets,
        "rx_bytes": sample.rx_bytes,
        "rekeys": sample.rekeys,
        "retries": sample.retries,
        "since_unix_ms": sample.since_unix_ms,
    })
}
