mod faults;
mod properties;
mod quality;
mod reference;
mod scale;
