mod examples;
mod faults;
mod properties;
mod quality;
mod reachability;
mod reference;
mod scale;
