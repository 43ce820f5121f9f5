//! The shape of the tree, as tests: which crate and module may know which, what the pure crates may not
//! touch, how long a file and a function may be, under which licences we build, and what must not be left
//! lying about.
//!
//! Every rule is a function from text (or cargo's metadata) to a list of violations, one readable line each.
//! A rule has two tests: the tree as it is has none, and a planted violation is found.

#[cfg(test)]
mod code;
#[cfg(test)]
mod crates;
#[cfg(test)]
mod hygiene;
#[cfg(test)]
mod licences;
#[cfg(test)]
mod modules;
#[cfg(test)]
mod purity;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod tree;
