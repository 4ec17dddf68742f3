//! The command line. Each command has a file of its own with its arguments and a `run`.

pub mod lint;

use clap::ValueEnum;

/// How results look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}
