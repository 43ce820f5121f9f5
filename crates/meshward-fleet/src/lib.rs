//! Everything a gateway decides, without IO and without a clock.
//!
//! [`firmware`] looks at images before a byte of them is sent; [`roster`] remembers which nodes the mesh has
//! shown. Both are told what happened and when; neither reads a socket, a file or a clock.

pub mod firmware;
pub mod roster;
