use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::PrefixTable;

fn table(prefixes: &[&str]) -> PrefixTable<String> {
    PrefixTable::new(prefixes.iter().map(|p| (p.parse().expect("prefix"), (*p).to_string())))
}

#[test]
fn the_longest_prefix_wins_and_families_never_mix() {
    let table = table(&[
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.255.0/24",
        "10.1.255.255/32",
        "255.255.255.255/32",
        "fd00::/16",
        "fd00:1::/32",
    ]);
    for (address, want) in [
        ("9.255.255.255", Some("0.0.0.0/0")),
        ("10.0.0.0", Some("10.0.0.0/8")),
        ("10.1.0.0", Some("10.1.0.0/16")),
        ("10.1.254.255", Some("10.1.0.0/16")),
        ("10.1.255.254", Some("10.1.255.0/24")),
        ("10.1.255.255", Some("10.1.255.255/32")),
        ("10.2.0.0", Some("10.0.0.0/8")),
        ("11.0.0.0", Some("0.0.0.0/0")),
        ("255.255.255.255", Some("255.255.255.255/32")),
        ("fd00:1::1", Some("fd00:1::/32")),
        ("fd00:2::1", Some("fd00::/16")),
        ("fd01::", None),
        ("::", None),
        ("::ffff:10.1.0.1", None),
    ] {
        let got = table.lookup(address.parse().expect("address")).map(String::as_str);
        assert_eq!(got, want, "{address}");
    }
}

#[test]
fn an_empty_table_holds_nothing() {
    assert_eq!(table(&[]).lookup(IpAddr::V4(Ipv4Addr::LOCALHOST)), None);
}

/// Few distinct bits, so that prefixes nest and touch often.
fn any_prefix() -> impl Strategy<Value = IpNet> {
    let bits = prop_oneof![Just(0u32), Just(u32::MAX), 0u32..16, (0u32..16).prop_map(|b| b << 28)];
    let v6 = (bits.clone(), bits.clone(), 0u8..=128).prop_map(|(high, low, length)| {
        let address = Ipv6Addr::from(u128::from(high) << 96 | u128::from(low));
        IpNet::V6(Ipv6Net::new(address, length).expect("length").trunc())
    });
    let v4 = (bits, 0u8..=32).prop_map(|(bits, length)| {
        IpNet::V4(Ipv4Net::new(Ipv4Addr::from(bits), length).expect("length").trunc())
    });
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn it_agrees_with_a_linear_scan(
        prefixes in prop::collection::vec(any_prefix(), 0..24),
        probes in prop::collection::vec(any_prefix(), 1..24),
    ) {
        let table = PrefixTable::new(prefixes.iter().map(|&p| (p, p)));
        let edges = prefixes.iter().chain(&probes).flat_map(|p| [p.network(), p.broadcast()]);
        for address in edges {
            let model = prefixes.iter().filter(|p| p.contains(&address)).max_by_key(|p| p.prefix_len());
            prop_assert_eq!(table.lookup(address), model, "{}", address);
        }
    }
}
