//! Against a real kernel, in a network namespace of the test's own.

use std::collections::BTreeMap;
use std::process::Command;

use hawser_edge_core::config::Uplink;
use hawser_edge_core::doctor::{Facts, Finding, judge};
use hawser_edge_core::id::UplinkId;

use super::host;
use crate::host::tests::{edge, in_namespace, lay_links, run};

async fn findings() -> BTreeMap<(String, String), Finding> {
    let (settings, uplinks) = host::as_needed(&edge()).await;
    let facts = Facts { settings, uplinks: Some(uplinks), ..Facts::default() };
    judge(&facts).into_iter().map(|f| ((f.code.clone(), f.subject.clone()), f)).collect()
}

/// Does what a finding says.
fn mend(finding: &Finding) {
    let done = Command::new("sh").args(["-c", &finding.mend]).status().expect("sh");
    assert!(done.success(), "{}", finding.mend);
}

#[test]
fn a_lack_is_found_mended_by_its_own_command_and_gone() {
    in_namespace(async || {
        lay_links();
        for (name, value) in [
            ("ipv4/ip_forward", "0"),
            ("ipv4/conf/wan0/rp_filter", "1"),
            ("ipv4/conf/wan1/rp_filter", "0"),
            ("ipv6/conf/wan0/accept_ra", "1"),
        ] {
            std::fs::write(format!("/proc/sys/net/{name}"), value).expect(name);
        }
        run("ip link set p1 down");
        let lacks = [
            ("FORWARDING_OFF", "net.ipv4.ip_forward"),
            ("RP_FILTER_STRICT", "net.ipv4.conf.wan0.rp_filter"),
            ("ROUTER_ADVERTS_IGNORED", "net.ipv6.conf.wan0.accept_ra"),
            ("UPLINK_NO_CARRIER", "wan1"),
        ]
        .map(|(code, subject)| (code.to_owned(), subject.to_owned()));
        let ill = findings().await;
        for lack in &lacks {
            assert!(ill.contains_key(lack), "{lack:?} is not in {:?}", ill.keys());
        }
        assert!(!ill.keys().any(|(_, subject)| subject == "net.ipv4.conf.wan1.rp_filter"));
        // The last one is a cable.
        lacks[..3].iter().for_each(|lack| mend(&ill[lack]));
        run("ip link set p1 up");
        let well = findings().await;
        for lack in &lacks {
            assert!(!well.contains_key(lack), "{lack:?}: {:?}", well[lack]);
        }
    });
}

#[test]
fn an_interface_that_is_not_there_is_found() {
    in_namespace(async || {
        lay_links();
        let mut edge = edge();
        let gone = Uplink { interface: "wan9".into(), ..edge.uplinks[&UplinkId(1)].clone() };
        edge.uplinks.insert(UplinkId(9), gone);
        let (_, uplinks) = host::as_needed(&edge).await;
        let exist: Vec<bool> = uplinks.iter().map(|uplink| uplink.exists).collect();
        assert_eq!(exist, [true, true, false]);
    });
}
