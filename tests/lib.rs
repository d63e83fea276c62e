//! Shared by the tests across functions: handlers over scripted services, the simulation of the whole chain, and
//! defaults of the template.

pub mod scripted;
pub mod simulation;

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
