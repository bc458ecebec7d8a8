//! Two drivers in two network namespaces with two veth pairs between them, keyed by the test.

mod attacker;
mod attacks;
mod evidence;
mod fixture;
mod lanes;
mod lifecycle;
mod marks;
mod modes;
pub(crate) mod net;
mod suites;
mod too_long;
mod traffic;
