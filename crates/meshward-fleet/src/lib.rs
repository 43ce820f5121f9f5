//! Everything a gateway decides, without IO and without a clock.
//!
//! [`firmware`] looks at images before a byte of them is sent; [`payload`] packs and [`sealing`] reads the key that
//! seals them; [`signing`] signs what nodes believe; [`forecast`] reckons what an update costs, and chooses what is
//! sent to whom; [`deployment`] drives a gateway's node through one, and [`rollout`] decides who starts it when.
//!
//! [`reading`] is one thing learnt of a node, with its age and where it comes from; [`packages`] learns from what C++
//! nodes tell, [`commands`] waits for what they answer, and [`query`] asks nodes how they fare. [`registry`] knows
//! nodes for good, [`topology`] where they are, [`liveness`] whether they live, [`cause`] what their loss is due to;
//! [`overhead`] keeps all this cheap, and [`findings`] is what somebody should look at. [`series`] keeps readings,
//! [`anomaly`] finds what is not as it should be, [`condition`] is the form of what is found, [`signal`] the numbers
//! that rules compare, [`setting`] what is said of a setting that makes no sense; [`health`] scores, [`alert`] decides what somebody must hear of. [`fleet`] is
//! the sum of these, and [`memory`] what of it outlives a restart. All are told what happened and when; none reads a socket, a file or a clock.

pub mod alert;
pub mod anomaly;
pub mod cause;
pub mod commands;
pub mod condition;
pub mod deployment;
pub mod findings;
pub mod firmware;
pub mod fleet;
pub mod forecast;
pub mod health;
pub mod liveness;
pub mod memory;
pub mod overhead;
pub mod packages;
pub mod payload;
pub mod query;
pub mod reading;
pub mod registry;
pub mod rollout;
pub mod sealing;
pub mod series;
pub mod setting;
pub mod signal;
pub mod signing;
pub mod topology;
mod uptime;

pub use fleet::Fleet;
