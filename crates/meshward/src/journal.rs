//! What the program says of itself, on standard error: as lines for people or as JSON, from a level on that a running
//! gateway can be told to change. `RUST_LOG` goes before everything.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::config::LogFormat;

/// See the module's page.
pub(crate) struct Journal {
    filter: reload::Handle<EnvFilter, Registry>,
    /// `RUST_LOG` says from which level on.
    fixed: bool,
}

impl Journal {
    /// Starts the log.
    pub(crate) fn start(level: &str, format: LogFormat) -> Self {
        let fixed = EnvFilter::try_from_default_env().ok();
        let is_fixed = fixed.is_some();
        let (filter, handle) = reload::Layer::new(fixed.unwrap_or_else(|| EnvFilter::new(level)));
        let lines = fmt::layer().with_writer(std::io::stderr);
        let lines = match format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry().with(filter).with(lines).init();
        Self { filter: handle, fixed: is_fixed }
    }

    /// From another level on. False when `RUST_LOG` forbids it.
    pub(crate) fn set_level(&self, level: &str) -> bool {
        !self.fixed && self.filter.reload(EnvFilter::new(level)).is_ok()
    }
}
