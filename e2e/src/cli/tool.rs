//! Instruments, to be run at a node: `hawser-lab exec hq-host -- hawser-lab tool recv ...`.

use super::wait;
use crate::stream::{StreamSpec, recv, send};
use crate::watch::sniff;
use clap::{Args, Subcommand};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Subcommand)]
pub(super) enum Tool {
    /// Count frames on an interface, and those with a marker; any input line shows the counts
    Watch(Watch),
    /// Send a UDP stream at a constant rate
    Send(Send),
    /// Receive such a stream; asked on standard input, as "totals",
    /// {"window": {"from_ns": 0, "to_ns": 1}}, {"loss": {"from_seq": 0, "to_seq": 9}}
    Recv(Recv),
    /// Connect what comes in on the listening socket that is standard input with an address
    Forward(Forward),
    /// Make this node forget every flow that it has seen, its NAT mappings with them
    ForgetFlows,
}

#[derive(Args)]
pub(super) struct Forward {
    #[arg(long)]
    to: SocketAddr,
}

#[derive(Args)]
pub(super) struct Watch {
    #[arg(long)]
    interface: String,
    /// A text to look for; may be given again
    #[arg(long)]
    marker: Vec<String>,
    /// Also write the frames to a file
    #[arg(long)]
    pcap: Option<PathBuf>,
    /// Ignore standard input, its end too: run until done, or until a signal
    #[arg(long)]
    unattended: bool,
}

#[derive(Args)]
pub(super) struct Send {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    from: Option<IpAddr>,
    /// Packets a second
    #[arg(long, default_value_t = 200)]
    pps: u32,
    /// Octets of UDP payload
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// First in each payload
    #[arg(long, default_value = "hawser-stream")]
    marker: String,
    /// Stop after so many
    #[arg(long)]
    count: Option<u64>,
    #[arg(long, default_value_t = 0)]
    dscp: u8,
    /// Ignore standard input, its end too: run until done, or until a signal
    #[arg(long)]
    unattended: bool,
}

#[derive(Args)]
pub(super) struct Recv {
    #[arg(long)]
    bind: SocketAddr,
    #[arg(long, default_value = "hawser-stream")]
    marker: String,
    /// Write every arrival to a file of JSON lines at the end
    #[arg(long)]
    record: Option<PathBuf>,
    /// Ignore standard input, its end too: run until done, or until a signal
    #[arg(long)]
    unattended: bool,
}

pub(super) fn run(tool: Tool) -> ExitCode {
    // It has nothing to tidy up.
    if let Tool::Forward(Forward { to }) = tool {
        return done(super::forward::run(to));
    }
    if let Tool::ForgetFlows = tool {
        return done(super::conntrack::forget());
    }
    // Before any thread starts, or the signal that should end the work would end the process.
    wait::block_signals();
    done(start(tool))
}

fn done(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hawser-lab tool: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(tool: Tool) -> io::Result<()> {
    match tool {
        Tool::Watch(Watch { interface, marker: markers, pcap, unattended }) => {
            sniff::run(sniff::Options { interface, markers, pcap, unattended })
        }
        Tool::Send(args) => {
            let spec = StreamSpec {
                to: args.to,
                from: args.from,
                packets_per_s: args.pps,
                payload_bytes: args.size,
                marker: args.marker,
                count: args.count,
                dscp: args.dscp,
            };
            send::run(&spec, args.unattended)
        }
        Tool::Recv(Recv { bind, marker, record, unattended }) => {
            recv::run(&recv::Options { bind, marker, record, unattended })
        }
        Tool::Forward(Forward { to }) => super::forward::run(to),
        Tool::ForgetFlows => super::conntrack::forget(),
    }
}
