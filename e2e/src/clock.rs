//! CLOCK_MONOTONIC: one clock for all processes and namespaces of a machine, so times may be compared between them.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC.
#[must_use]
pub fn mono_ns() -> u64 {
    read_ns(ClockId::CLOCK_MONOTONIC)
}

/// Microseconds of CLOCK_MONOTONIC.
#[must_use]
pub fn mono_us() -> u64 {
    mono_ns() / 1_000
}

/// Nanoseconds of CLOCK_REALTIME: the kernel's packet time stamps are of this clock.
#[must_use]
pub fn real_ns() -> u64 {
    read_ns(ClockId::CLOCK_REALTIME)
}

fn read_ns(clock: ClockId) -> u64 {
    // Both clocks exist on every Linux, so the call can't fail.
    let now = clock_gettime(clock).expect("the kernel has this clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// Sleeps until `at_ns` of CLOCK_MONOTONIC; returns at once when that is past.
pub fn sleep_until_ns(at_ns: u64) {
    let at = libc::timespec {
        tv_sec: (at_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (at_ns % 1_000_000_000) as libc::c_long,
    };
    loop {
        // SAFETY: `at` is a valid timespec; a null remainder is allowed for absolute sleeps.
        let rc = unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                libc::TIMER_ABSTIME,
                &raw const at,
                std::ptr::null_mut(),
            )
        };
        if rc != libc::EINTR {
            return;
        }
    }
}

/// Asks the kernel not to batch this thread's timers (the default slack is 50 µs).
pub fn use_precise_timers() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000 as libc::c_ulong) };
}

/// Puts the calling thread before all ordinary ones, so that a busy machine adds no delay of its own to what is
/// measured. Without the right to do so it stays as it is, less precise. Only for threads that mostly wait.
pub(crate) fn run_first() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: `priority` outlives the call; 0 means the calling thread.
    let rc = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const priority) };
    if rc < 0 {
        // SAFETY: takes integers only; on Linux it acts on the calling thread alone.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -15) };
    }
}
