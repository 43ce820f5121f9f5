//! What a node tells about itself.

mod metric;

pub use metric::{Metric, Shape};
