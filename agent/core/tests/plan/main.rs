//! From objects to verdicts: golden folders, and what holds for any objects.

mod golden;
mod kernel;
mod properties;
mod random;
mod speed;
mod steps;
mod world;
