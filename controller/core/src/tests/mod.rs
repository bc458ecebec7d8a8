mod faults;
mod properties;
mod scale;
