//! The data plane: one trait, the userspace driver behind it.
