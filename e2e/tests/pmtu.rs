//! Providers that carry less than their links say, with real agents in a lab. Needs root. Nothing here is about speed.

use std::time::Duration;

use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{Fleet, FleetError, FleetSpec};
use hawser_e2e::lab::{Sink, Task};

const UP: Duration = Duration::from_secs(60);
/// A silent provider is noticed by the confirmation, every 30 s.
const NOTICED: Duration = Duration::from_secs(90);

type Outcome = Result<(), FleetError>;

#[test]
fn a_provider_that_swallows_long_packets_and_one_that_says_so_are_both_found() {
    let mut fleet = Fleet::up(FleetSpec::dual().expect("the bundled fleet")).expect("needs root");
    let outcome = fleet.wait_all_up(UP).map(drop).and_then(|()| scenario(&mut fleet));
    if let Err(error) = outcome {
        panic!("{}\n{}", error.line(), fleet.log_tails());
    }
}

fn scenario(fleet: &mut Fleet) -> Outcome {
    let of = |fleet: &Fleet, uplink: &str| -> Result<Vec<u32>, FleetError> {
        let paths = fleet.agent("left-1")?.paths()?;
        let over = paths.iter().filter(|path| path.local_uplink == uplink);
        Ok(over.map(|path| path.inner_mtu_bytes).collect())
    };
    assert_eq!(of(fleet, "isp-a")?, [1_430, 1_410], "as wide as the links");
    let run = |fleet: &Fleet, node: &str, line: &str| -> Outcome {
        let output = fleet.lab().exec(node, &line.split(' ').collect::<Vec<_>>())?;
        assert!(output.status.success(), "{line}: {}", output.stderr_text());
        Ok(())
    };
    // One swallows them, the other one's router tells.
    run(fleet, "isp-a", "nft add table inet narrow")?;
    run(fleet, "isp-a", "nft add chain inet narrow f { type filter hook forward priority 0 ; }")?;
    run(fleet, "isp-a", "nft add rule inet narrow f meta length > 1400 drop")?;
    run(fleet, "isp-b", "ip link set right mtu 1400")?;
    wait::until("both are found", NOTICED, || {
        let (a, b) = (of(fleet, "isp-a")?, of(fleet, "isp-b")?);
        // Of 1400 octets outside IPv4 leaves 1330 inside, IPv6 1310.
        let found =
            |mtus: &[u32]| (1_323..=1_330).contains(&mtus[0]) && (1_303..=1_310).contains(&mtus[1]);
        let done = found(&a) && found(&b);
        Ok(if done { Look::Done(()) } else { Look::Not(format!("{a:?} {b:?}")) })
    })?;
    fleet.wait_edges_up(UP)?;
    whole_packets_pass(fleet)
}

/// Full-sized segments, and datagrams that may be fragmented.
fn whole_packets_pass(fleet: &Fleet) -> Outcome {
    let server = "import socket;s=socket.create_server(('10.2.0.10',7100));c,_=s.accept();\
                  n=0\nwhile (b:=c.recv(65536)): n+=len(b)\nprint(n)";
    let client = "import socket;c=socket.create_connection(('10.2.0.10',7100),10);\
                  c.sendall(bytes(3_000_000));c.close()";
    let task = Task::new("python3").args(["-c", server]).stdout(Sink::Pipe);
    let server = fleet.lab().spawn("right-host", &task)?;
    std::thread::sleep(Duration::from_secs(1));
    fleet.lab().exec("left-host", &["python3", "-c", client])?;
    assert_eq!(server.output(UP)?.stdout_text().trim(), "3000000");
    let ping =
        ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", "-M", "dont", "-s", "1472", "10.2.0.10"];
    let output = fleet.lab().exec("left-host", &ping)?;
    assert!(output.status.success(), "{}", output.stdout_text());
    Ok(())
}
