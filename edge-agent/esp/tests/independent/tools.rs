//! The programs, and packets for them.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use hawser_esp::gre::{Gre, Protocol};
use hawser_esp::{IvSeed, KeyMaterial, Layout, Packet, Suite, sealer};

pub const SPI: u32 = 0x0bad_cafe;
pub const SRC: [u8; 4] = [192, 0, 2, 1];
pub const DST: [u8; 4] = [198, 51, 100, 2];

/// Every inner packet's UDP ports.
pub const PORTS: (u16, u16) = (40_000, 40_001);

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|octet| format!("{octet:02x}")).collect()
}

pub fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hexadecimal digits"))
        .collect()
}

/// Runs a program on `input`; if it is missing, says which package has it.
pub fn run(program: &str, package: &str, args: &[&str], input: &[u8]) -> Output {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| {
        panic!(
            "{program}: {error}; install it: apt-get install -y --no-install-recommends {package}"
        )
    });
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(input).expect("the program reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    assert!(
        output.status.success(),
        "{program} {args:?} (package {package}): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Key material whose octets all differ.
pub fn key_octets(suite: Suite) -> Vec<u8> {
    (0..suite.key_material_len()).map(|at| (at * 37 + 11) as u8).collect()
}

/// An IP packet around `payload`.
pub fn ip(ipv6: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    if ipv6 {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
        packet[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        packet.extend(payload);
        return packet;
    }
    let len = 20 + payload.len() as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, protocol, 0, 0];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend(SRC);
    packet.extend(DST);
    let sum = hawser_esp::checksum::checksum(&packet).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet.extend(payload);
    packet
}

/// An inner packet: UDP without checksum over IPv4.
pub fn inner(data: &[u8]) -> Vec<u8> {
    let mut udp = Vec::new();
    for field in [PORTS.0, PORTS.1, 8 + data.len() as u16, 0] {
        udp.extend(field.to_be_bytes());
    }
    udp.extend(data);
    ip(false, 17, &udp)
}

/// Data of many lengths, for every amount of padding.
pub fn texts() -> Vec<Vec<u8>> {
    (0..20_usize)
        .chain([100, 511, 1372])
        .map(|len| (0..len).map(|at| (at * 7 + len) as u8).collect())
        .collect()
}

/// What an SA carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    Gre,
    Tunnel,
}

/// ESP datagrams of one SA, one for each inner packet, sealed in one batch under the numbers from 1 on.
pub fn sealed(suite: Suite, esn: bool, carried: Carried, inners: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let key = KeyMaterial::new(suite, &key_octets(suite)).expect("the length is the suite's");
    let sa = sealer(SPI, &key, esn, &IvSeed::new([0x17; IvSeed::LEN])).expect("good parameters");
    let shim = match carried {
        Carried::Gre => {
            Gre { protocol: Protocol::Ipv4, key: 0x0102_0304, sequence: None }.encode().to_vec()
        }
        Carried::Tunnel => Vec::new(),
    };
    let mut buffers: Vec<Vec<u8>> =
        inners.iter().map(|inner| buffer(sa.layout(), &[&shim, &inner[..]].concat())).collect();
    let mut packets: Vec<Packet<'_>> = buffers
        .iter_mut()
        .zip(inners)
        .map(|(buffer, inner)| match carried {
            Carried::Gre => Packet::gre(buffer, shim.len() + inner.len()),
            Carried::Tunnel => Packet::tunnelled(buffer, inner.len(), Protocol::Ipv4),
        })
        .collect();
    sa.seal(&mut packets).expect("the buffers have room");
    buffers
}

fn buffer(layout: Layout, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; layout.sealed_len(payload.len())];
    buffer[layout.payload_offset()..][..payload.len()].copy_from_slice(payload);
    buffer
}

/// A capture of IP packets (link type 101, raw IP).
pub fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for field in [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65_535, 101_u32] {
        file.extend(field.to_be_bytes());
    }
    for (second, packet) in (1_u32..).zip(packets) {
        for field in [second, 0, packet.len() as u32, packet.len() as u32] {
            file.extend(field.to_be_bytes());
        }
        file.extend(packet);
    }
    file
}

/// Runs the scapy script on cases of one line each, and wants `ok` for each.
pub fn scapy(cases: &[String]) {
    let script = include_str!("check.py");
    // Debian's own interpreter: another one in front of it lacks Debian's modules.
    let input = cases.join("\n");
    let package = "python3-scapy python3-cryptography";
    let output = run("/usr/bin/python3", package, &["-c", script], input.as_bytes());
    let answers = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), cases.len());
    for (answer, case) in answers.iter().zip(cases) {
        assert_eq!(*answer, "ok", "{case}");
    }
}
