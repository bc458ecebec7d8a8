//! A gateway that is not Hawser: a plain strongSwan at a node of its own, configured by hand in `swanctl.conf`.

use super::agent::Agent;
use super::bring_up::Fleet;
use super::error::FleetError;
use super::operator::IkeTunnel;
use super::pki::Pki;
use super::spec::FleetSpec;
use super::wait::{self, Look};
use crate::lab::{End, Link, LinkKind, Node, NodeKind, Process, Route, Sink, Task};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

const NODE: &str = "gateway";
/// The computer behind it.
pub const GATEWAY_HOST: &str = "gateway-host";
/// The gateway's own address, at the provider isp-a.
pub const GATEWAY_ADDRESS: &str = "198.51.100.50";
/// And at isp-b, where it has one ([`FleetSpec::with_gateway_of_two`]).
pub const GATEWAY_OTHER_ADDRESS: &str = "203.0.113.50";
/// What both ends must know.
pub const GATEWAY_KEY: &str = "only for labs: 6d1f0c2a9b";
/// The name under which the edge has it.
pub const GATEWAY_SECRET: &str = "dc-psk";
const LIMIT: Duration = Duration::from_secs(90);
/// As its administrator would write it: one tunnel of the gateway's LAN to the site's.
const BY_HAND: &str = r#"
connections { left {
  version = VERSION
  local_addrs = LOCAL
  remote_addrs = REMOTE
  proposals = aes128-sha256-GROUP
  local { auth = psk
    id = dc.example.net }
  remote { auth = psk
    id = left.example.net }
  children { net {
    local_ts = 10.9.0.0/24
    remote_ts = 10.1.0.0/24
    esp_proposals = aes128gcm16-GROUP } }
} }
secrets { ike-left { id-1 = left.example.net
  id-2 = dc.example.net
  secret = "KEY" } }
"#;

impl FleetSpec {
    /// [`FleetSpec::dual`] with a gateway at isp-a and a LAN behind it, 10.9.0.0/24, to which the edge left-1 has a tunnel
    /// `dc`. `fields`: further ones of the tunnel, such as `, start: trap`.
    ///
    /// # Errors
    /// The bundled topology is faulty.
    pub fn with_gateway(fields: &str) -> Result<Self, FleetError> {
        let mut spec = Self::dual()?;
        let end = |node: &str, interface: &str, address: &str| End {
            node: node.to_owned(),
            interface: interface.to_owned(),
            addresses: address.parse().into_iter().collect(),
        };
        let link = |kind, a, b| Link { kind, mtu: 1500, a, b, impair: Vec::new() };
        let uplink = link(
            LinkKind::Wan,
            end("isp-a", NODE, "198.51.100.49/28"),
            end(NODE, "wan", "198.51.100.50/28"),
        );
        let lan = link(
            LinkKind::Veth,
            end(NODE, "lan", "10.9.0.1/24"),
            end(GATEWAY_HOST, "eth0", "10.9.0.10/24"),
        );
        let node = |kind, via: [u8; 4]| Node {
            kind,
            sysctls: Default::default(),
            routes: vec![Route {
                to: "default".to_owned(),
                via: via.into(),
                dev: None,
                metric: None,
            }],
            masquerade: Vec::new(),
        };
        let topology = &mut spec.topology;
        topology.nodes.insert(NODE.to_owned(), node(NodeKind::Edge, [198, 51, 100, 49]));
        topology.nodes.insert(GATEWAY_HOST.to_owned(), node(NodeKind::Host, [10, 9, 0, 1]));
        topology.links.insert("gateway-isp-a".to_owned(), uplink);
        // Links are watched at their first end. The kernel shows what it took out of an ESP tunnel once more, in clear, on
        // the interface that it came by: these must be watched at the provider's.
        if let Some(link) = topology.links.get_mut("left-isp-a") {
            std::mem::swap(&mut link.a, &mut link.b);
        }
        topology.links.insert("gateway-lan".to_owned(), lan);
        topology.check()?;
        let tunnel = format!(
            "      - name: left-1\n        ike_tunnels:\n          - {{name: dc, uplink: isp-a, peer_addresses: \
             [{GATEWAY_ADDRESS}], local_id: left.example.net, remote_id: dc.example.net, psk: {GATEWAY_SECRET}, \
             local_prefixes: [10.1.0.0/24], remote_prefixes: [10.9.0.0/24], dpd_s: 5{fields}}}\n"
        );
        spec.document = spec.document.replace("      - name: left-1\n", &tunnel);
        Ok(spec)
    }
}

impl FleetSpec {
    /// [`FleetSpec::with_gateway`], where the gateway is a customer of both providers, and the tunnel may leave by both
    /// uplinks to both of its addresses. The providers do not know each other: two of the four links work.
    ///
    /// # Errors
    /// The bundled topology is faulty.
    pub fn with_gateway_of_two(fields: &str) -> Result<Self, FleetError> {
        let mut spec = Self::with_gateway(fields)?;
        let end = |node: &str, interface: &str, address: &str| End {
            node: node.to_owned(),
            interface: interface.to_owned(),
            addresses: address.parse().into_iter().collect(),
        };
        let uplink = Link {
            kind: LinkKind::Wan,
            mtu: 1500,
            a: end("isp-b", NODE, "203.0.113.49/28"),
            b: end(NODE, "wan-b", "203.0.113.50/28"),
            impair: Vec::new(),
        };
        let topology = &mut spec.topology;
        topology.links.insert("gateway-isp-b".to_owned(), uplink);
        if let Some(link) = topology.links.get_mut("left-isp-b") {
            std::mem::swap(&mut link.a, &mut link.b);
        }
        if let Some(node) = topology.nodes.get_mut(NODE) {
            let via = [203, 0, 113, 49].into();
            let to = "203.0.113.0/24".to_owned();
            node.routes.push(Route { to, via, dev: None, metric: None });
        }
        topology.check()?;
        let (one, both) = (
            format!("uplink: isp-a, peer_addresses: [{GATEWAY_ADDRESS}]"),
            format!(
                "uplinks: [isp-a, isp-b], peer_addresses: [{GATEWAY_ADDRESS}, {GATEWAY_OTHER_ADDRESS}]"
            ),
        );
        spec.document = spec.document.replace(&one, &both);
        Ok(spec)
    }

    /// Only the site left, without any tunnel to another: for slow machines.
    #[must_use]
    pub fn left_alone(mut self) -> Self {
        let before = self.document.split("  - name: right\n").next().unwrap_or_default();
        self.document = before.to_owned();
        self.edges.retain(|place| place.site == "left");
        self
    }
}

/// The same with certificates, in its folders `x509`, `x509ca` and `private`.
const BY_CERTIFICATES: &str = r#"
connections { left {
  version = 2
  local_addrs = LOCAL
  remote_addrs = REMOTE
  proposals = aes128-sha256-GROUP
  local { auth = pubkey
    certs = gateway.pem
    id = dc.example.net }
  remote { auth = pubkey
    cacerts = PEER_CA
    id = PEER_ID }
  children { net {
    local_ts = 10.9.0.0/24
    remote_ts = 10.1.0.0/24
    esp_proposals = aes128gcm16-GROUP } }
} }
"#;

/// How packets for the site get into the gateway's tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Led {
    /// By an xfrm interface, and any address is asked for.
    ByInterface,
    /// By GRE in transport mode.
    ByGre,
}

impl Led {
    fn child(self) -> &'static str {
        match self {
            Led::ByInterface => {
                "local_ts = 0.0.0.0/0\n remote_ts = 0.0.0.0/0\n if_id_in = 42\n if_id_out = 42"
            }
            Led::ByGre => "mode = transport\n local_ts = dynamic[gre]\n remote_ts = dynamic[gre]",
        }
    }

    /// As its administrator would type them.
    fn commands(self) -> [String; 3] {
        let make = match self {
            Led::ByInterface => "type xfrm dev wan if_id 42".to_owned(),
            Led::ByGre => format!("type gre local {GATEWAY_ADDRESS} remote 198.51.100.2 ttl 64"),
        };
        [
            format!("ip link add site {make}"),
            "ip link set site mtu 1400 up".to_owned(),
            "ip route add 10.1.0.0/24 dev site".to_owned(),
        ]
    }
}

/// A running strongSwan. Dropping it ends it.
pub struct Gateway {
    folder: PathBuf,
    process: Process,
}

impl Gateway {
    /// Starts it, with what an administrator would write.
    ///
    /// # Errors
    /// strongSwan is not installed, or does not take the configuration.
    pub fn by_hand(fleet: &Fleet, version: u8, group: &str) -> Result<Self, FleetError> {
        Self::start(fleet, &by_hand(version, group, GATEWAY_ADDRESS, "198.51.100.2"))
    }

    /// The same, with AH in place of ESP.
    ///
    /// # Errors
    /// strongSwan is not installed, or does not take the configuration.
    pub fn by_hand_with_ah(fleet: &Fleet, group: &str) -> Result<Self, FleetError> {
        let text = by_hand(2, group, GATEWAY_ADDRESS, "198.51.100.2");
        let (esp, ah) = (
            format!("esp_proposals = aes128gcm16-{group}"),
            format!("ah_proposals = sha256-{group}"),
        );
        assert!(text.contains(&esp), "{text}");
        Self::start(fleet, &text.replace(&esp, &ah))
    }

    /// The same at both of its addresses, for both of the site's.
    ///
    /// # Errors
    /// strongSwan is not installed, or does not take the configuration.
    pub fn by_hand_of_two(fleet: &Fleet, version: u8, group: &str) -> Result<Self, FleetError> {
        let local = format!("{GATEWAY_ADDRESS}, {GATEWAY_OTHER_ADDRESS}");
        Self::start(fleet, &by_hand(version, group, &local, "198.51.100.2, 203.0.113.2"))
    }

    /// Starts it with a certificate `gateway` of this CA, of which the site's must be too.
    ///
    /// # Errors
    /// strongSwan is not installed, or does not take the configuration.
    pub fn by_certificates(fleet: &Fleet, pki: &Pki, group: &str) -> Result<Self, FleetError> {
        Self::trusting(fleet, pki, group, ("ca.pem", "left.example.net"))
    }

    /// The same; but it knows the site's edge by the root that the edge itself has of the fleet.
    ///
    /// # Errors
    /// strongSwan is not installed, or does not take the configuration.
    pub fn by_fleet_root(
        fleet: &Fleet,
        pki: &Pki,
        group: &str,
        edge: &str,
    ) -> Result<Self, FleetError> {
        let (from, to) = (
            fleet.agent(edge)?.state_dir().join("root-ca.pem"),
            fleet.folder().join(NODE).join("x509ca/fleet.pem"),
        );
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(FleetError::file("made", folder))?;
        }
        fs::copy(&from, &to).map_err(FleetError::file("copied", &from))?;
        let name = format!("{edge}.edge.{}.hawser", fleet.spec().fleet);
        Self::trusting(fleet, pki, group, ("fleet.pem", &name))
    }

    fn trusting(
        fleet: &Fleet,
        pki: &Pki,
        group: &str,
        (ca, name): (&str, &str),
    ) -> Result<Self, FleetError> {
        let folder = fleet.folder().join(NODE);
        pki.give("ca.pem", &folder.join("x509ca/ca.pem"))?;
        pki.give("gateway.pem", &folder.join("x509/gateway.pem"))?;
        pki.give("gateway.key", &folder.join("private/gateway.key"))?;
        let text = BY_CERTIFICATES.replace("PEER_CA", ca).replace("PEER_ID", name);
        let text = text.replace("GROUP", group).replace("LOCAL", GATEWAY_ADDRESS);
        Self::start(fleet, &text.replace("REMOTE", "198.51.100.2"))
    }

    /// Starts it with an interface and a route to the site, once [`Gateway::lay_out`] made these.
    ///
    /// # Errors
    /// strongSwan is not installed, or does not take the configuration.
    pub fn routed(fleet: &Fleet, led: Led, group: &str) -> Result<Self, FleetError> {
        let text = by_hand(2, group, GATEWAY_ADDRESS, "198.51.100.2");
        let policies = "local_ts = 10.9.0.0/24\n    remote_ts = 10.1.0.0/24";
        assert!(text.contains(policies), "{text}");
        Self::start(fleet, &text.replace(policies, led.child()))
    }

    /// Its interface, its route, and what keeps GRE from leaving in clear.
    ///
    /// # Errors
    /// The kernel or nft refuses it.
    pub fn lay_out(fleet: &Fleet, led: Led) -> Result<(), FleetError> {
        let guard = "nft table inet clear { chain output { type filter hook output priority 0; \
                     oifname wan meta l4proto 47 rt ipsec missing drop; }; }";
        let mut commands = led.commands().to_vec();
        commands.push(guard.to_owned());
        Self::typed(fleet, &commands)
    }

    /// Starts it with a connection and an interface for each of its addresses, once [`Gateway::lay_out_of_two`] made these.
    ///
    /// # Errors
    /// strongSwan is not installed, or does not take the configuration.
    pub fn routed_of_two(fleet: &Fleet, group: &str) -> Result<Self, FleetError> {
        let policies = "local_ts = 10.9.0.0/24\n    remote_ts = 10.1.0.0/24";
        let one = |name: &str, if_id: u32, local: &str, remote: &str| {
            let any = format!(
                "local_ts = 0.0.0.0/0\n remote_ts = 0.0.0.0/0\n if_id_in = {if_id}\n if_id_out = {if_id}"
            );
            let text = by_hand(2, group, local, remote).replace(policies, &any);
            text.replace("connections { left {", &format!("connections {{ {name} {{"))
        };
        let first = one("left-a", 42, GATEWAY_ADDRESS, "198.51.100.2");
        let second = one("left-b", 43, GATEWAY_OTHER_ADDRESS, "203.0.113.2");
        // The key is in the first.
        let second = second.split("secrets {").next().unwrap_or_default();
        Self::start(fleet, &format!("{second}\n{first}"))
    }

    /// Both interfaces, and what answers each computer of the site by the interface that it was heard by last.
    ///
    /// # Errors
    /// The kernel or nft refuses it.
    pub fn lay_out_of_two(fleet: &Fleet) -> Result<(), FleetError> {
        let follow = "nft table inet follow { \
            set by_b { type ipv4_addr; size 1024; flags dynamic,timeout; timeout 1h; }; \
            chain prerouting { type filter hook prerouting priority mangle; \
            iifname site-b ip saddr 10.1.0.0/24 add @by_b { ip saddr }; \
            iifname site-a ip saddr 10.1.0.0/24 delete @by_b { ip saddr }; \
            iifname lan ip daddr @by_b meta mark set 43; }; }";
        let mut commands: Vec<String> = Vec::new();
        for (name, uplink, if_id) in [("site-a", "wan", 42), ("site-b", "wan-b", 43)] {
            commands.extend([
                format!("ip link add {name} type xfrm dev {uplink} if_id {if_id}"),
                format!("ip link set {name} mtu 1400 up"),
                // Linux takes nothing from an interface without one but where its best route goes.
                format!("ip addr add 192.0.0.8/32 dev {name} scope host"),
                format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2"),
            ]);
        }
        commands.extend([
            "ip route add 10.1.0.0/24 dev site-a".to_owned(),
            "ip route add 10.1.0.0/24 dev site-b table 43".to_owned(),
            "ip rule add fwmark 43 table 43".to_owned(),
            follow.to_owned(),
        ]);
        Self::typed(fleet, &commands)
    }

    fn typed(fleet: &Fleet, commands: &[String]) -> Result<(), FleetError> {
        for command in commands {
            let argv: Vec<&str> = match command.strip_prefix("nft ") {
                Some(script) => vec!["nft", script],
                None => command.split(' ').collect(),
            };
            let output = fleet.lab().exec(NODE, &argv)?;
            if !output.status.success() {
                let (code, said) = (output.status.code(), output.stderr_text());
                return Err(FleetError::Command { command: command.clone(), code, said });
            }
        }
        Ok(())
    }

    fn start(fleet: &Fleet, configuration: &str) -> Result<Self, FleetError> {
        let folder = fleet.folder().join(NODE);
        fs::create_dir_all(&folder).map_err(FleetError::file("made", &folder))?;
        let at = folder.display();
        let settings = format!(
            "charon-systemd {{\n  load = random nonce openssl aes sha1 sha2 hmac gcm gmp kdf drbg pem pkcs1 pkcs8 x509 pubkey \
             kernel-netlink socket-default vici\n  install_routes = no\n  plugins {{ vici {{ socket = unix://{at}/vici }} }}\n  \
             filelog {{ log {{ path = {at}/log\n default = 1\n flush_line = yes }} }}\n}}\n"
        );
        let file = folder.join("strongswan.conf");
        fs::write(&file, settings).map_err(FleetError::file("written", &file))?;
        let task = Task::new("/usr/sbin/charon-systemd")
            .env("STRONGSWAN_CONF", &file.to_string_lossy())
            .log(fleet.folder().join("gateway.out"));
        let process = fleet.lab().spawn(NODE, &task)?;
        let gateway = Self { folder, process };
        wait::until("the gateway's strongSwan answers", LIMIT, || {
            gateway.load(fleet, configuration).map(Look::Done)
        })?;
        Ok(gateway)
    }

    /// What a careful administrator adds: strongSwan's policies come and go with its associations, and without one the
    /// kernel routes what is for the site as it routes everything.
    ///
    /// # Errors
    /// The kernel or nft does not know it.
    pub fn guard(&self, fleet: &Fleet) -> Result<(), FleetError> {
        let rule = "oifname { wan, wan-b } ip daddr 10.1.0.0/24 rt ipsec missing drop";
        let chain = format!("chain forward {{ type filter hook forward priority 0; {rule}; }}");
        let argv = ["nft", &format!("table inet clear {{ {chain}; }}")];
        let output = fleet.lab().exec(NODE, &argv)?;
        if output.status.success() {
            return Ok(());
        }
        let (command, said) = (argv.join(" "), output.stderr_text());
        Err(FleetError::Command { command, code: output.status.code(), said })
    }

    /// Replaces its configuration.
    ///
    /// # Errors
    /// It has faults.
    pub fn load(&self, fleet: &Fleet, configuration: &str) -> Result<(), FleetError> {
        let file = self.folder.join("swanctl.conf");
        fs::write(&file, configuration).map_err(FleetError::file("written", &file))?;
        self.swanctl(fleet, &["--load-all", "--noprompt", "--file", &file.to_string_lossy()])?;
        Ok(())
    }

    /// What it knows of its associations.
    ///
    /// # Errors
    /// It does not answer.
    pub fn associations(&self, fleet: &Fleet) -> Result<String, FleetError> {
        self.swanctl(fleet, &["--list-sas"])
    }

    fn swanctl(&self, fleet: &Fleet, args: &[&str]) -> Result<String, FleetError> {
        let socket = format!("unix://{}/vici", self.folder.display());
        let home = format!("SWANCTL_DIR={}", self.folder.display());
        let argv = [&["env", &home, "swanctl"], args, &["--uri", &socket]].concat();
        let output = fleet.lab().exec(NODE, &argv)?;
        if output.status.success() {
            return Ok(output.stdout_text());
        }
        let said = output.stderr_text() + &output.stdout_text();
        Err(FleetError::Command { command: argv.join(" "), code: output.status.code(), said })
    }

    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// SIGKILL: its peers hear nothing of it.
    pub fn kill(self) {
        self.process.kill();
        self.process.wait_within(Duration::from_secs(5));
    }
}

fn by_hand(version: u8, group: &str, local: &str, remote: &str) -> String {
    let text = BY_HAND.replace("VERSION", &version.to_string()).replace("GROUP", group);
    text.replace("LOCAL", local).replace("REMOTE", remote).replace("KEY", GATEWAY_KEY)
}

impl Agent {
    /// `hawser-edge secret set NAME`, the secret on standard input.
    ///
    /// # Errors
    /// It is refused.
    pub fn set_secret(&self, fleet: &Fleet, name: &str, secret: &str) -> Result<(), FleetError> {
        let task = Task::new(&fleet.programs().edge).arg("--state-dir").arg(self.state_dir());
        let task = task.args(["secret", "set", name]).stdin(Sink::Pipe);
        let task = task.stdout(Sink::Pipe).stderr(Sink::Pipe);
        let mut process = fleet.lab().spawn(&self.place().node, &task)?;
        if let Some(mut stdin) = process.take_stdin() {
            let written = writeln!(stdin, "{secret}");
            written.map_err(FleetError::file("written", "standard input"))?;
        }
        let output = process.output(LIMIT)?;
        if output.status.success() {
            return Ok(());
        }
        let command = format!("hawser-edge secret set {name}");
        Err(FleetError::Command { command, code: output.status.code(), said: output.stderr_text() })
    }
}

impl Fleet {
    /// Waits until `hawser paths` shows the tunnel of that name as it should be.
    ///
    /// # Errors
    /// Not within `limit`; the error says how it is.
    pub fn wait_ike(
        &self,
        name: &str,
        limit: Duration,
        wanted: impl Fn(&IkeTunnel) -> bool,
    ) -> Result<IkeTunnel, FleetError> {
        let operator = self.operator()?;
        wait::until(&format!("the IKE tunnel {name}"), limit, || {
            let tunnels = operator.ike_tunnels()?;
            Ok(match tunnels.iter().find(|tunnel| tunnel.name == name) {
                Some(tunnel) if wanted(tunnel) => Look::Done(tunnel.clone()),
                other => Look::Not(format!("{other:?}")),
            })
        })
    }
}
