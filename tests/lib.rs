//! Shared by the tests across functions: the simulation of the whole chain, and defaults of the template.

pub mod simulation;

pub use fakes::{Reply, Scripted, fixture, tickets, tickets_in_words};

/// The default of a parameter in template.yaml, a number.
///
/// # Panics
///
/// If it has none.
#[must_use]
pub fn template_default(parameter: &str) -> i64 {
    let default = || {
        let (_, rest) = include_str!("../template.yaml").split_once(&format!("\n  {parameter}:\n"))?;
        let (_, rest) = rest.split_once("Default: ")?;
        rest.lines().next()?.trim().parse().ok()
    };
    default().unwrap_or_else(|| panic!("template.yaml has no number as the default of {parameter}"))
}
