//! What a handle may do, as a type: [`Rw`] reads and writes, [`Ro`] only reads.
//!
//! A database opened read-only is a [`Database<Ro>`](crate::Database) and gives handles that have no method that
//! writes; [`read_only`](crate::Table::read_only) makes such a handle of any other, and nothing makes it writing again.

/// The handle reads and writes.
pub enum Rw {}

/// The handle reads.
pub enum Ro {}

/// [`Rw`] or [`Ro`].
pub trait Mode: sealed::Mode + 'static {}

mod sealed {
    /// Closes [`Mode`](super::Mode).
    pub trait Mode {
        /// May it make stores?
        const WRITES: bool;
    }
}

impl sealed::Mode for Rw {
    const WRITES: bool = true;
}
impl sealed::Mode for Ro {
    const WRITES: bool = false;
}
impl Mode for Rw {}
impl Mode for Ro {}
