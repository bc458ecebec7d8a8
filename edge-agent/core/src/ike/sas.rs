//! What charon says of security associations (events `list-sa` of the command `list-sas`).

use super::vici::Section;

/// An IKE SA. Times are absent until they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IkeSa {
    /// Of the connection, whole.
    pub connection: String,
    pub unique_id: u64,
    /// 1 or 2.
    pub version: u8,
    /// In charon's words, such as `ESTABLISHED`.
    pub state: String,
    pub local_host: String,
    pub remote_host: String,
    pub established_s: Option<u64>,
    pub rekey_in_s: Option<u64>,
    pub children: Vec<ChildSa>,
}

/// A pair of ESP or AH SAs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChildSa {
    /// Of the child in the connection.
    pub name: String,
    pub unique_id: u64,
    /// Such as `INSTALLED`.
    pub state: String,
    pub protocol: String,
    pub mode: String,
    /// Hexadecimal.
    pub spi_in: String,
    pub spi_out: String,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
}

impl IkeSa {
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.state == "ESTABLISHED"
    }
}

/// Of one event. What is missing or unreadable is left at its default: other versions say more or less.
pub fn ike_sas(event: &Section) -> impl Iterator<Item = IkeSa> {
    event.sections().map(|(connection, sa)| IkeSa {
        connection: connection.to_owned(),
        unique_id: number(sa, "uniqueid").unwrap_or_default(),
        version: number(sa, "version").and_then(|v| u8::try_from(v).ok()).unwrap_or_default(),
        state: text(sa, "state"),
        local_host: text(sa, "local-host"),
        remote_host: text(sa, "remote-host"),
        established_s: number(sa, "established"),
        rekey_in_s: number(sa, "rekey-time"),
        children: children(sa),
    })
}

fn children(sa: &Section) -> Vec<ChildSa> {
    let Some(super::vici::Value::Section(children)) = sa.get("child-sas") else {
        return Vec::new();
    };
    let child = |(_, child): (&str, &Section)| ChildSa {
        name: text(child, "name"),
        unique_id: number(child, "uniqueid").unwrap_or_default(),
        state: text(child, "state"),
        protocol: text(child, "protocol"),
        mode: text(child, "mode"),
        spi_in: text(child, "spi-in"),
        spi_out: text(child, "spi-out"),
        bytes_in: number(child, "bytes-in").unwrap_or_default(),
        bytes_out: number(child, "bytes-out").unwrap_or_default(),
        packets_in: number(child, "packets-in").unwrap_or_default(),
        packets_out: number(child, "packets-out").unwrap_or_default(),
    };
    children.sections().map(child).collect()
}

fn text(section: &Section, name: &str) -> String {
    section.text(name).unwrap_or_default().to_owned()
}

fn number(section: &Section, name: &str) -> Option<u64> {
    section.text(name)?.parse().ok()
}
