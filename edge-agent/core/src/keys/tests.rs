mod agreement;
mod limits;
mod schedule;
mod simulation;
