mod faults;
mod properties;
mod reachability;
mod scale;
