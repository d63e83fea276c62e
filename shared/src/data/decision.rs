//! What a function decides for an event.

/// What a user record owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<T> {
    /// Nothing: it is not severe enough.
    Nothing,
    /// That output.
    Output(T),
    /// A reject.
    Reject {
        /// A short stable code.
        reason: &'static str,
        /// What is wrong, and what would be right.
        detail: String,
    },
}

impl<T> Decision<T> {
    /// The same with another output.
    #[must_use]
    pub fn map<U>(self, output: impl FnOnce(T) -> U) -> Decision<U> {
        match self {
            Self::Nothing => Decision::Nothing,
            Self::Output(decision) => Decision::Output(output(decision)),
            Self::Reject { reason, detail } => Decision::Reject { reason, detail },
        }
    }
}
