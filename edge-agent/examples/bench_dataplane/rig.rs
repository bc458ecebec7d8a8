//! One contender: two namespaces, its two ends, and the addresses that lead through it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::Fault;
use crate::child::until;
use crate::net::Net;

pub struct Rig {
    pub name: &'static str,
    pub a: Arc<Net>,
    pub b: Arc<Net>,
    /// Of A and of B.
    pub addresses: [IpAddr; 2],
    /// What must live as long.
    _parts: Box<dyn Send + Sync>,
}

impl Rig {
    pub fn new(
        name: &'static str,
        nets: &[Arc<Net>; 2],
        addresses: [IpAddr; 2],
        parts: impl Send + Sync + 'static,
    ) -> Result<Rig, Fault> {
        let [a, b] = nets.clone();
        let rig = Rig { name, a, b, addresses, _parts: Box::new(parts) };
        let [from, to] = rig.addresses;
        until(Duration::from_secs(10), || {
            let answered = rig.a.run(&format!("ping -n -c 1 -W 0.3 -I {from} {to}"));
            let none = || format!("{name}: no ping from {from} to {to}").into();
            answered.status.success().then_some(()).ok_or_else(none)
        })?;
        Ok(rig)
    }
}

/// Two namespaces with a veth between them: 192.0.2.1 and .2 outside, 10.1.0.1 and 10.2.0.1 as LANs.
pub fn nets() -> [Arc<Net>; 2] {
    let (a, b) = (Net::new(), Net::new());
    a.connect("wan0", &["192.0.2.1/24"], &b, "wan0", &["192.0.2.2/24"]);
    a.ip("address add 10.1.0.1/32 dev lo");
    b.ip("address add 10.2.0.1/32 dev lo");
    [Arc::new(a), Arc::new(b)]
}

pub fn outside() -> [IpAddr; 2] {
    [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()]
}

pub fn lans() -> [IpAddr; 2] {
    [[10, 1, 0, 1].into(), [10, 2, 0, 1].into()]
}
