//! Other people's code reads our packets: tshark and scapy decrypt and verify every suite that they have, with the keys
//! given; for SM4, which neither has, the parts are put together from the `openssl` command. AH is verified by scapy.
//!
//! The programs are Debian packages; a test that misses one says which.

#[path = "independent/ah.rs"]
mod ah;
#[path = "independent/esp.rs"]
mod esp;
#[path = "independent/sm4.rs"]
mod sm4;
#[path = "independent/tools.rs"]
mod tools;
