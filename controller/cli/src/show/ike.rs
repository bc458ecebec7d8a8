//! Tunnels with gateways that are not Hawser.

use hawser_proto::agent::v1::IkeState;
use hawser_proto::operator::v1::IkeTunnel;

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
            style.cell(&tunnel.name, Shade::Plain),
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
    format!("\n\n{}", style.finish(&table))
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
