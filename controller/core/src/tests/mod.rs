mod faults;
mod properties;
mod quality;
mod reference;
mod reachability;
mod scale;
