use hawser_proto::agent::v1::*;
use hawser_proto::operator::v1::*;

use crate::harness::*;

const CODE: &str = "CAPABILITY_MISSING";

/// The branch's edge shall have a tunnel with a gateway.
fn with_gateway() -> String {
    let tunnel = "{name: cloud, peer_addresses: [203.0.113.9], local_id: b1, psk: cloud, \
                  remote_prefixes: [172.20.0.0/16]}";
    let edge = "      - name: b1-1\n";
    fleet(&[(edge, &format!("{edge}        ike_tunnels: [{tunnel}]\n"))])
}

fn saying(features: &[&str]) -> Hello {
    let features = features.iter().map(|f| (*f).to_owned()).collect();
    Hello { features, ..hello("acme", "b1-1", GenerationState::default()) }
}

async fn plan(lab: &Lab, document: &str) -> Vec<Fault> {
    let asked = PlanRequest { document: document.as_bytes().to_vec(), ..Default::default() };
    lab.operator().await.plan(asked).await.expect("a plan").into_inner().faults
}

async fn validate(lab: &Lab, document: &str) -> Vec<Fault> {
    let asked = ValidateRequest { document: document.as_bytes().to_vec() };
    lab.operator().await.validate(asked).await.expect("validated").into_inner().faults
}

#[tokio::test]
async fn a_plan_that_asks_an_edge_for_what_it_said_it_cannot_do_is_refused_with_place_and_mend() {
    let mut lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    assert_eq!(plan(&lab, &with_gateway()).await, [], "nobody knows what it can do");
    let open = lab.open(Some(&keys), saying(&["capabilities", "ike", "kernel-ipsec"])).await;
    let mut agent = open.expect("a session");
    agent.next().await;
    let faults = plan(&lab, &with_gateway()).await;
    let told: Vec<_> = faults.iter().map(|f| (f.code.as_str(), f.path.as_str())).collect();
    // It named no suite either, but the fleet asks it for one already.
    let gateway = "sites[1].edges[0].ike_tunnels[0]";
    assert_eq!(told, [(CODE, gateway)], "{faults:?}");
    assert!(faults[0].message.contains("strongSwan"), "{}", faults[0].message);
    assert!(faults[0].mend.contains("charon-systemd"), "{}", faults[0].mend);
    assert_eq!(validate(&lab, &with_gateway()).await, faults);
    let applied = apply(&mut lab.operator().await, &with_gateway()).await;
    assert_eq!((applied.faults, applied.revision), (faults.clone(), 0));

    // Known sites are those that ever spoke: also when they are away, and after a restart.
    drop(agent);
    lab.event("EDGE_DISCONNECTED").await;
    lab.restart().await;
    assert_eq!(plan(&lab, &with_gateway()).await, faults);

    let now = ["capabilities", "ike", "kernel-ipsec", "strongswan"];
    let mut agent = lab.open(Some(&keys), saying(&now)).await.expect("a session");
    agent.next().await;
    assert_eq!(plan(&lab, &with_gateway()).await, []);
    lab.apply(&with_gateway()).await;

    // What the fleet asks already does not hold up changes of others when a site loses it.
    let lost = saying(&["capabilities", "ike", "kernel-ipsec"]);
    let mut agent = lab.open(Some(&keys), lost).await.expect("a session");
    agent.next().await;
    let other = with_gateway().replace("cost: 22", "cost: 23");
    assert_eq!(plan(&lab, &other).await, []);
}

#[tokio::test]
async fn a_device_that_was_enrolled_anew_is_not_judged_by_what_the_one_before_it_said() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.open(Some(&keys), saying(&["stamp"])).await.expect("a session");
    agent.next().await;
    assert_eq!(plan(&lab, &with_gateway()).await.len(), 1);
    lab.enrol("b1-1").await;
    assert_eq!(plan(&lab, &with_gateway()).await, []);
}
