//! Which queue of a TUN device a flow goes to.
//!
//! By itself the kernel sends a flow to the queue that its answers were last written to, and by a hash while it remembers
//! none: a flow changes queues when the first answer comes, when answers cease for three seconds, and when both ends begin
//! at once; packets in the two queues then overtake each other. A program of ours takes its place: a hash of addresses and
//! ports, the same for both directions of a flow, and nothing remembered.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, check_len};

/// `_IOR('T', 224, int)`.
const TUNSETSTEERINGEBPF: libc::Ioctl = 0x8004_54e0_u32 as libc::Ioctl;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;

/// Odd, and its bits are those of the golden ratio (Knuth, volume 3, section 6.4).
const MIX: i32 = 0x9e37_79b1_u32 as i32;

/// From the kernel's `bpf_attr`, as far as loading needs it.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// Pins each flow to a queue of the device, by its addresses and ports alone.
///
/// # Errors
/// Without CAP_BPF (or CAP_SYS_ADMIN), or in a kernel without BPF.
pub(in super::super) fn pin_flows(device: BorrowedFd<'_>) -> io::Result<()> {
    let program = load(&program())?;
    let number = program.as_raw_fd();
    // SAFETY: the ioctl reads one int through the pointer. The device keeps the program when the descriptor closes.
    check(unsafe { libc::ioctl(device.as_raw_fd(), TUNSETSTEERINGEBPF, &raw const number) })
        .map(drop)
}

fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let load = Load {
        program_type: BPF_PROG_TYPE_SOCKET_FILTER,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        licence: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `load` and what it points to outlive the call, which only reads them; its size is told.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) };
    let fd = check_len(result as isize)?;
    // SAFETY: the call made a descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// An instruction (RFC 9669 section 3.1).
const fn op(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    code as u64
        | ((to | from << 4) as u64) << 8
        | (offset as u16 as u64) << 16
        | (value as u32 as u64) << 32
}

const fn copy(to: u8, from: u8) -> u64 {
    op(0xbf, to, from, 0, 0)
}
const fn set(to: u8, value: i32) -> u64 {
    op(0xb7, to, 0, 0, value)
}
const fn add(to: u8, from: u8) -> u64 {
    op(0x0f, to, from, 0, 0)
}
const fn xor(to: u8, from: u8) -> u64 {
    op(0xaf, to, from, 0, 0)
}
const fn and(to: u8, value: i32) -> u64 {
    op(0x57, to, 0, 0, value)
}
const fn times(to: u8, value: i32) -> u64 {
    op(0x27, to, 0, 0, value)
}
const fn left(to: u8, bits: i32) -> u64 {
    op(0x67, to, 0, 0, bits)
}
const fn right(to: u8, bits: i32) -> u64 {
    op(0x77, to, 0, 0, bits)
}
const fn if_equal(what: u8, value: i32, skip: i16) -> u64 {
    op(0x15, what, 0, skip, value)
}
const fn if_not(what: u8, value: i32, skip: i16) -> u64 {
    op(0x55, what, 0, skip, value)
}
const fn skip(count: i16) -> u64 {
    op(0x05, 0, 0, count, 0)
}
/// Into register 0, from the packet that register 6 stands for; beyond its end the program is over, with 0.
const fn octet(at: i32) -> u64 {
    op(0x30, 0, 0, 0, at)
}
const fn half(at: i32) -> u64 {
    op(0x28, 0, 0, 0, at)
}
const fn word(at: i32) -> u64 {
    op(0x20, 0, 0, 0, at)
}
const fn half_behind(register: u8, at: i32) -> u64 {
    op(0x48, 0, register, 0, at)
}
const EXIT: u64 = op(0x95, 0, 0, 0, 0);

/// Register 7 sums up; 8 is the protocol, then the ports; 9 is where they stand. Sums, for both directions are to be alike.
/// Fragments, and protocols without ports, go by their addresses.
fn program() -> Vec<u64> {
    let mix = [
        times(7, MIX),
        copy(8, 7),
        right(8, 32),
        xor(7, 8),
        times(7, MIX),
        right(7, 32),
        copy(0, 7),
        EXIT,
    ];
    // TCP, UDP, DCCP, SCTP.
    let ports = [
        if_equal(8, 6, 4),
        if_equal(8, 17, 3),
        if_equal(8, 33, 2),
        if_equal(8, 132, 1),
        skip(5),
        half_behind(9, 0),
        copy(8, 0),
        half_behind(9, 2),
        add(8, 0),
        add(7, 8),
    ];
    let mut v6 = vec![set(7, 0)];
    v6.extend((0..8).flat_map(|index| [word(8 + 4 * index), add(7, 0)]));
    v6.extend([octet(6), copy(8, 0), set(9, 40)]);
    let to_ports = v6.len() as i16;
    let v4 = [
        word(12),
        copy(7, 0),
        word(16),
        add(7, 0),
        half(6),
        // More fragments, or an offset.
        and(0, 0x3fff),
        if_not(0, 0, 7 + to_ports + ports.len() as i16),
        octet(9),
        copy(8, 0),
        octet(0),
        and(0, 0xf),
        left(0, 2),
        copy(9, 0),
        skip(to_ports),
    ];
    let head = [copy(6, 1), octet(0), right(0, 4), if_equal(0, 6, v4.len() as i16)];
    [&head[..], &v4, &v6, &ports, &mix].concat()
}
