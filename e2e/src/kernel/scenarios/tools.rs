//! Without any code of ours: what the lab's kernel can do, by the tools that everybody has.

use super::Verdict;
use serde_json::json;
use std::process::Command;

/// What the other scenarios build on.
const MODULES: [&str; 16] = [
    "esp4",
    "esp6",
    "ah4",
    "ah6",
    "ip_gre",
    "ip6_gre",
    "ip_vti",
    "vrf",
    "veth",
    "tun",
    "sch_netem",
    "xfrm_user",
    "nf_tables",
    "gcm",
    "chacha20poly1305",
    "authenc",
];

pub fn kernel_features() -> Verdict {
    let mut missing = Vec::new();
    for module in MODULES {
        if run(&format!("modprobe {module}")).is_err() {
            missing.push(module);
        }
    }
    if !missing.is_empty() {
        return Err(format!("modules that can't be loaded: {}", missing.join(", ")));
    }
    Ok(json!({"release": run("uname -r")?.trim(), "modules": MODULES}))
}

pub fn netem() -> Verdict {
    two_nodes()?;
    run("ip netns exec left tc qdisc add dev wire root netem delay 100ms loss 30%")?;
    let said = run_any("ip netns exec left ping -q -n -i 0.02 -c 100 192.0.2.2").1;
    let received = number_before(&said, " received")?;
    let fastest_ms = said.split("= ").nth(1).and_then(|rest| rest.split('/').next());
    let fastest_ms: f64 = fastest_ms.and_then(|text| text.parse().ok()).ok_or(said.clone())?;
    // Of 100 packets at 30 % loss fewer than 45 or more than 95 come about once in a million runs.
    if !(45.0..=95.0).contains(&received) || fastest_ms < 99.0 {
        return Err(format!("not what was asked of netem:\n{said}"));
    }
    Ok(json!({"received_of_100": received, "fastest_ms": fastest_ms}))
}

/// GRE over ESP in transport mode, keyed by hand, and nothing in clear between the two.
pub fn esp_gre_by_hand() -> Verdict {
    two_nodes()?;
    let key = "0x000102030405060708090a0b0c0d0e0f10111213";
    for (node, own, other) in
        [("left", "192.0.2.1", "192.0.2.2"), ("right", "192.0.2.2", "192.0.2.1")]
    {
        let own_last = &own[8..];
        let at = format!("ip -n {node}");
        for (from, to) in [(own, other), (other, own)] {
            let spi = 0x1000 + u32::from(from < to);
            run(&format!(
                "{at} xfrm state add src {from} dst {to} proto esp spi {spi} reqid 1 mode transport \
                 aead rfc4106(gcm(aes)) {key} 128"
            ))?;
            let direction = if from == own { "out" } else { "in" };
            run(&format!(
                "{at} xfrm policy add src {from} dst {to} proto gre dir {direction} \
                 tmpl proto esp mode transport reqid 1"
            ))?;
        }
        run(&format!("{at} link add tunnel type gre local {own} remote {other} key 256"))?;
        run(&format!("{at} addr add 10.0.0.{own_last}/24 dev tunnel"))?;
        run(&format!("{at} link set tunnel up"))?;
    }
    let said = run("ip netns exec left ping -q -n -i 0.05 -c 20 10.0.0.2")?;
    let received = number_before(&said, " received")?;
    let states = run("ip -s -n right xfrm state")?;
    let carried = states.matches("proto esp").count();
    if received < 20.0 || carried != 2 {
        return Err(format!("{said}\n{states}"));
    }
    Ok(json!({"received_of_20": received}))
}

fn two_nodes() -> Result<(), String> {
    for line in [
        "ip netns add left",
        "ip netns add right",
        "ip link add wire netns left type veth peer name wire netns right",
        "ip -n left addr add 192.0.2.1/24 dev wire",
        "ip -n right addr add 192.0.2.2/24 dev wire",
        "ip -n left link set wire up",
        "ip -n right link set wire up",
    ] {
        run(line)?;
    }
    Ok(())
}

/// Runs a command of plain words; its output, or all it said if it failed.
pub fn run(line: &str) -> Result<String, String> {
    match run_any(line) {
        (true, said) => Ok(said),
        (false, said) => Err(format!("{line}: {said}")),
    }
}

fn run_any(line: &str) -> (bool, String) {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    match Command::new(program).args(words).output() {
        Err(error) => (false, error.to_string()),
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&said).into_owned())
        }
    }
}

fn number_before(text: &str, word: &str) -> Result<f64, String> {
    let number = text.split(word).next().and_then(|head| head.rsplit([' ', ',']).next());
    number.and_then(|text| text.parse().ok()).ok_or_else(|| format!("no number in: {text}"))
}
