//! Two drivers in two network namespaces with two veth pairs between them, keyed by the test.

mod attacks;
mod fixture;
mod lifecycle;
mod net;
mod traffic;
