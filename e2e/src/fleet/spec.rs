//! Which fleet to bring up, in which network.

use super::error::FleetError;
use crate::lab::{End, Link, LinkKind, Node, NodeKind, Route, Topology};

/// Of the bundled documents' profile, and for slow processors.
const CADENCE: (&str, &str) = (
    "probe_interval_ms: 100, probe_idle_interval_ms: 200",
    "probe_interval_ms: 400, probe_idle_interval_ms: 800, down_after_probes: 5",
);

/// A fleet's document and the network it lives in.
#[derive(Clone, Debug)]
pub struct FleetSpec {
    pub topology: Topology,
    /// YAML, as an operator applies it.
    pub document: String,
    pub fleet: String,
    /// The node that runs the controller, and `host:port` under which it is reached.
    pub controller_node: String,
    pub advertise: Vec<String>,
    pub edges: Vec<EdgePlace>,
    /// The lab's name; without one it gets one of its own.
    pub lab_name: Option<String>,
    /// What `hawser-edge run` and `hawser-controller run` are told besides.
    pub agent_args: Vec<String>,
    pub controller_args: Vec<String>,
}

/// Where an edge of the document lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgePlace {
    pub edge: String,
    pub site: String,
    /// The node that runs its agent.
    pub node: String,
    /// The computer on its LAN.
    pub host: String,
    /// The driver of its data plane, as `hawser-edge run --driver` has it; none: the default.
    pub driver: Option<&'static str>,
}

impl EdgePlace {
    fn at(site: &str) -> Self {
        Self {
            edge: format!("{site}-1"),
            site: site.to_owned(),
            node: site.to_owned(),
            host: format!("{site}-host"),
            driver: None,
        }
    }
}

impl FleetSpec {
    /// A hub and two branches, two uplinks each: 8 paths.
    ///
    /// # Errors
    /// The bundled topology is faulty.
    pub fn demo() -> Result<Self, FleetError> {
        Ok(Self {
            topology: Topology::bundled("demo")?,
            document: include_str!("../../fleets/demo.yaml").to_owned(),
            fleet: "acme".to_owned(),
            controller_node: "controller".to_owned(),
            advertise: vec!["192.0.2.18:4511".to_owned()],
            edges: ["hq", "b1", "b2"].map(EdgePlace::at).to_vec(),
            lab_name: None,
            agent_args: Vec::new(),
            controller_args: Vec::new(),
        })
    }

    /// Two hubs, `hq1` preferred, and two branches, two uplinks each: 20 paths, of 40 ms round trip each.
    ///
    /// # Errors
    /// The bundled topology is faulty.
    pub fn hubs() -> Result<Self, FleetError> {
        Ok(Self {
            topology: Topology::bundled("hubs")?,
            document: include_str!("../../fleets/hubs.yaml").to_owned(),
            fleet: "acme".to_owned(),
            controller_node: "controller".to_owned(),
            advertise: vec!["192.0.2.18:4511".to_owned()],
            edges: ["hq1", "hq2", "b1", "b2"].map(EdgePlace::at).to_vec(),
            lab_name: None,
            agent_args: Vec::new(),
            controller_args: Vec::new(),
        })
    }

    /// Two sites, two uplinks of both address families each, by providers that do not know each other: 4 paths. The
    /// controller has a leg in each provider.
    ///
    /// # Errors
    /// The bundled topology is faulty.
    pub fn dual() -> Result<Self, FleetError> {
        let mut topology = Topology::bundled("dual")?;
        let route = |to: &str, via: &str| -> Option<Route> {
            Some(Route { to: to.to_owned(), via: via.parse().ok()?, dev: None, metric: None })
        };
        let routes =
            [route("198.51.100.0/24", "198.51.100.33"), route("203.0.113.0/24", "203.0.113.33")];
        let controller = Node {
            kind: NodeKind::Controller,
            sysctls: Default::default(),
            routes: routes.into_iter().flatten().collect(),
            masquerade: Vec::new(),
        };
        topology.nodes.insert("controller".to_owned(), controller);
        for (isp, net) in [("isp-a", "198.51.100"), ("isp-b", "203.0.113")] {
            let end = |node: &str, interface: &str, last: u8| End {
                node: node.to_owned(),
                interface: interface.to_owned(),
                addresses: format!("{net}.{last}/28").parse().into_iter().collect(),
            };
            let link = Link {
                kind: LinkKind::Veth,
                mtu: 1500,
                a: end(isp, "controller", 33),
                b: end("controller", isp, 34),
                impair: Vec::new(),
            };
            topology.links.insert(format!("{isp}-controller"), link);
        }
        topology.check()?;
        Ok(Self {
            topology,
            document: include_str!("../../fleets/dual.yaml").to_owned(),
            fleet: "acme".to_owned(),
            controller_node: "controller".to_owned(),
            advertise: vec!["198.51.100.34:4511".to_owned(), "203.0.113.34:4511".to_owned()],
            edges: ["left", "right"].map(EdgePlace::at).to_vec(),
            lab_name: None,
            agent_args: Vec::new(),
            controller_args: Vec::new(),
        })
    }

    /// A hub, and these branches behind one NAT (`b1`, `b2`), an uplink each: a path a branch.
    ///
    /// # Errors
    /// The bundled topology is faulty.
    pub fn nat(branches: &[&str]) -> Result<Self, FleetError> {
        let mut document = String::from(include_str!("../../fleets/nat.yaml"));
        for branch in ["b1", "b2"].iter().filter(|branch| !branches.contains(branch)) {
            document = without_site(&document, branch);
        }
        Ok(Self {
            topology: Topology::bundled("nat")?,
            document,
            fleet: "acme".to_owned(),
            controller_node: "controller".to_owned(),
            advertise: vec!["192.0.2.18:4511".to_owned()],
            edges: [&["hq"], branches].concat().into_iter().map(EdgePlace::at).collect(),
            lab_name: None,
            agent_args: Vec::new(),
            controller_args: Vec::new(),
        })
    }

    /// With a cadence of probes for processors that stand still for hundreds of milliseconds at times, as the kernel lab's
    /// do: what can be shown there is that selection works, not how fast.
    #[must_use]
    pub fn for_slow_processors(mut self) -> Self {
        let (fast, slow) = CADENCE;
        assert!(self.document.contains(fast), "the document's cadence is not {fast}");
        self.document = self.document.replace(fast, slow);
        self
    }

    /// With that driver at an edge.
    #[must_use]
    pub fn with_driver(mut self, edge: &str, driver: &'static str) -> Self {
        for place in self.edges.iter_mut().filter(|place| place.edge == edge) {
            place.driver = Some(driver);
        }
        self
    }

    pub(super) fn place(&self, edge: &str) -> Result<&EdgePlace, FleetError> {
        let unknown = || FleetError::Unknown { kind: "edge", name: edge.to_owned() };
        self.edges.iter().find(|place| place.edge == edge).ok_or_else(unknown)
    }
}

/// The document's lines from the site's name to the next site, or to the end of the sites, taken out.
fn without_site(document: &str, site: &str) -> String {
    let mut inside = false;
    let kept = document.lines().filter(|line| {
        if line.starts_with("  - name: ") || !line.starts_with(' ') {
            inside = line.strip_prefix("  - name: ") == Some(site);
        }
        !inside
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_that_is_not_wanted_is_not_in_the_document() {
        let spec = FleetSpec::nat(&["b2"]).expect("the topology is good");
        assert!(!spec.document.contains("b1") && spec.document.contains("10.3.0.0/24"));
        assert!(spec.document.contains("kind: hub-spoke"), "{}", spec.document);
        let edges: Vec<&str> = spec.edges.iter().map(|place| place.edge.as_str()).collect();
        assert_eq!(edges, ["hq-1", "b2-1"]);
    }
}
