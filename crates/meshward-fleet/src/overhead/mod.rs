//! What keeping an eye on a mesh costs its channel, and the budget that this never exceeds.
//!
//! The measure is air time: a message of L bytes holds the one channel that all links share for t(L) on each hop, so
//! `share = Σ hops · t(L) / T` ([`Channel`], whose constants [`Fit`] corrects from probes). A gateway sees the bytes of
//! its own links; what happened deeper is reckoned from the depth of the sender, and for a broadcast from the number of
//! links. [`Meter`] keeps ten minutes of that by [`Class`], [`Governor`] says how often nodes report and whether a
//! probe or a query may go now, and [`Noise`] finds nodes that exceed the budget by themselves. None of them sends.
//!
//! [`Channel`]: crate::forecast::Channel

mod fit;
mod governor;
mod lost;
mod meter;
mod noise;
mod reports;

pub use fit::{Fit, PROBE_BYTES};
pub use governor::{Governor, Period, Urgency};
pub use lost::Lost;
pub use meter::{Class, Crossings, Frame, Meter, Shares, WINDOW};
pub use noise::Noise;
pub(crate) use reports::ENVELOPE_BYTES;
pub use reports::Reports;
