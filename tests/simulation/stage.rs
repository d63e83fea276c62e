//! The functions by their roles, and values for each of them.

/// A function of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reads rows, and writes events to stream 1.
    Ingest,
    /// Reads stream 1, and writes severe events to stream 2.
    Transform,
    /// Reads stream 2, and counts events.
    Metrics,
    /// Reads stream 2, and alerts.
    Notify,
}

/// A value for each function.
#[derive(Debug, Clone, Default)]
pub struct Stages<T> {
    /// That of ingest.
    pub ingest: T,
    /// That of transform.
    pub transform: T,
    /// That of metrics.
    pub metrics: T,
    /// That of notify.
    pub notify: T,
}

/// A value for each function that reads a stream.
#[derive(Debug, Clone, Default)]
pub struct Readers<T> {
    /// That of transform.
    pub transform: T,
    /// That of metrics.
    pub metrics: T,
    /// That of notify.
    pub notify: T,
}

impl Stage {
    /// The functions that read a stream.
    pub const READERS: [Self; 3] = [Self::Transform, Self::Metrics, Self::Notify];

    /// The function's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Transform => "transform",
            Self::Metrics => "metrics",
            Self::Notify => "notify",
        }
    }
}

impl<T> Stages<T> {
    /// Makes the value of each function, in the order of the chain.
    pub fn from_fn(mut make: impl FnMut(Stage) -> T) -> Self {
        Self {
            ingest: make(Stage::Ingest),
            transform: make(Stage::Transform),
            metrics: make(Stage::Metrics),
            notify: make(Stage::Notify),
        }
    }

    /// The value of a function.
    #[must_use]
    pub fn of(&self, stage: Stage) -> &T {
        match stage {
            Stage::Ingest => &self.ingest,
            Stage::Transform => &self.transform,
            Stage::Metrics => &self.metrics,
            Stage::Notify => &self.notify,
        }
    }

    /// The values with their functions, in the order of the chain.
    pub fn each(&self) -> impl Iterator<Item = (Stage, &T)> {
        let Self { ingest, transform, metrics, notify } = self;
        [
            (Stage::Ingest, ingest),
            (Stage::Transform, transform),
            (Stage::Metrics, metrics),
            (Stage::Notify, notify),
        ]
        .into_iter()
    }

    /// The values, in the order of the chain.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.each().map(|(_, value)| value)
    }
}

impl<T> Readers<T> {
    /// Makes the value of each function, in the order of the chain.
    pub fn from_fn(make: impl FnMut(Stage) -> T) -> Self {
        let [transform, metrics, notify] = Stage::READERS.map(make);
        Self { transform, metrics, notify }
    }

    /// The value of a function.
    ///
    /// # Panics
    ///
    /// For ingest, which reads no stream.
    #[must_use]
    pub fn of(&self, stage: Stage) -> &T {
        match stage {
            Stage::Ingest => panic!("ingest reads no stream"),
            Stage::Transform => &self.transform,
            Stage::Metrics => &self.metrics,
            Stage::Notify => &self.notify,
        }
    }

    /// The values with their functions, in the order of the chain.
    pub fn each(&self) -> impl Iterator<Item = (Stage, &T)> {
        Stage::READERS.into_iter().zip(self.values())
    }

    /// The values, in the order of the chain.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        [&self.transform, &self.metrics, &self.notify].into_iter()
    }

    /// The values, in the order of the chain.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        [&mut self.transform, &mut self.metrics, &mut self.notify].into_iter()
    }
}
