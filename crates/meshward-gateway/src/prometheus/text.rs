//! The two text formats that Prometheus reads: its own, 0.0.4, and OpenMetrics 1.0.
//!
//! They differ in a suffix here and an escape there, so one writer does both. It refuses nothing and sorts
//! nothing: families come in the order in which they are begun, and one without samples is left out. Which of
//! the two somebody wants is read from `Accept`, weights included.

use std::fmt::Write as _;

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    Open,
}

impl Format {
    /// What its media type is.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The one that `Accept` asks for: OpenMetrics only where it is named, in a version that is ours, with no less
    /// weight than text; text for everybody else.
    pub fn accepted(accept: &str) -> Self {
        let (mut open, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.split(',').map(str::trim) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut weight, mut version) = (1.0_f32, "");
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                let value = value.trim().trim_matches('"');
                match &*name.trim().to_ascii_lowercase() {
                    "q" => weight = value.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0),
                    "version" => version = value,
                    _ => {}
                }
            }
            match &*kind {
                "application/openmetrics-text" if matches!(version, "" | "1.0.0") => open = weight.max(open),
                "text/plain" if matches!(version, "" | "0.0.4") => text = text.max(weight),
                "text/*" | "*/*" => text = text.max(weight),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Self::Open } else { Self::Text }
    }
}

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only rises; its samples end in `_total`.
    Counter,
    /// Says something in labels; its samples end in `_info`.
    Info,
    /// Counts by size.
    Histogram,
}

impl Kind {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Gauge | Self::Histogram => "",
            Self::Counter => "_total",
            Self::Info => "_info",
        }
    }
}

/// A family of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// Its name, without the suffix that its kind adds.
    pub(super) name: &'static str,
    /// What its samples are.
    pub(super) kind: Kind,
    /// Its unit, which its name ends in; empty where there is none.
    pub(super) unit: &'static str,
    /// What it is, in a sentence.
    pub(super) help: &'static str,
}

impl Family {
    /// The name of its samples.
    pub(super) fn sample(&self) -> String {
        format!("{}{}", self.name, self.kind.suffix())
    }
}

/// Labels of a sample.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// See the module's page.
#[derive(Debug)]
pub(super) struct Writer {
    format: Format,
    out: String,
    family: Option<Family>,
    headed: bool,
}

impl Writer {
    /// Nothing yet.
    pub(super) fn new(format: Format) -> Self {
        Self { format, out: String::with_capacity(64 * 1024), family: None, headed: false }
    }

    /// What follows is of this family.
    pub(super) fn begin(&mut self, family: Family) {
        (self.family, self.headed) = (Some(family), false);
    }

    /// A sample. What is no number is left out.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: f64) {
        let Some(family) = self.family.filter(|_| value.is_finite()) else { return };
        self.head(&family);
        self.line(&family, family.kind.suffix(), labels, value);
    }

    /// A histogram: cumulative counts by upper bound, the last of which is infinite, and the sum of all.
    pub(super) fn histogram(
        &mut self,
        labels: Labels<'_>,
        buckets: impl Iterator<Item = (f64, u64)>,
        sum: f64,
    ) {
        let Some(family) = self.family else { return };
        self.head(&family);
        let mut count = 0;
        for (bound, so_far) in buckets {
            count = so_far;
            let bound = if bound.is_finite() { format!("{bound:?}") } else { "+Inf".to_owned() };
            let mut with_bound = labels.to_vec();
            with_bound.push(("le", &bound));
            self.line(&family, "_bucket", &with_bound, so_far as f64);
        }
        self.line(&family, "_sum", labels, sum);
        self.line(&family, "_count", labels, count as f64);
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::Open {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn head(&mut self, family: &Family) {
        if std::mem::replace(&mut self.headed, true) {
            return;
        }
        let Family { name, kind, unit, help } = *family;
        let open = self.format == Format::Open;
        let suffix = if open { "" } else { kind.suffix() };
        let kind = match kind {
            Kind::Info if !open => "gauge",
            Kind::Info => "info",
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let help = escape(help, open);
        // Writing to a string cannot fail.
        let _always_ok = writeln!(self.out, "# HELP {name}{suffix} {help}");
        let _always_ok = writeln!(self.out, "# TYPE {name}{suffix} {kind}");
        if open && !unit.is_empty() {
            let _always_ok = writeln!(self.out, "# UNIT {name} {unit}");
        }
    }

    fn line(&mut self, family: &Family, suffix: &str, labels: Labels<'_>, value: f64) {
        self.out.push_str(family.name);
        self.out.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            self.out.push(if at == 0 { '{' } else { ',' });
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.out.push_str(&escape(value, true));
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _always_ok = writeln!(self.out, " {value}");
    }
}

/// Backslashes and ends of lines, and quotation marks where those end something.
fn escape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        // What Prometheus 2 and 3 send, browsers, curl, and nonsense.
        for (accept, format) in [
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::Open,
            ),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", Format::Open),
            ("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5", Format::Text),
            ("text/plain;q=0,application/openmetrics-text;q=0.1", Format::Open),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=7", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("*/*", Format::Text),
            ("application/json", Format::Text),
            ("", Format::Text),
            (";;q=,,=", Format::Text),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    const NAMES: Family = Family { name: "node", kind: Kind::Info, unit: "", help: "What \"it\" is\\\n." };
    const BYTES: Family = Family { name: "read_bytes", kind: Kind::Counter, unit: "bytes", help: "Read." };
    const TOOK: Family =
        Family { name: "took_seconds", kind: Kind::Histogram, unit: "seconds", help: "Took." };

    fn all(format: Format) -> String {
        let mut writer = Writer::new(format);
        writer.begin(NAMES);
        writer.sample(&[("name", "a \"b\"\\\nc"), ("node", "7")], 1.0);
        writer.begin(BYTES);
        writer.begin(BYTES);
        writer.sample(&[], 12_345_678_901.0);
        writer.sample(&[("node", "8")], f64::NAN);
        writer.begin(TOOK);
        writer.histogram(&[("mesh", "m")], [(0.5, 1), (1.0, 1), (f64::INFINITY, 3)].into_iter(), 9.25);
        writer.finish()
    }

    #[test]
    fn both_formats_are_written_as_they_should() {
        let text = "# HELP node_info What \"it\" is\\\\\\n.\n# TYPE node_info gauge\n\
            node_info{name=\"a \\\"b\\\"\\\\\\nc\",node=\"7\"} 1\n\
            # HELP read_bytes_total Read.\n# TYPE read_bytes_total counter\nread_bytes_total 12345678901\n\
            # HELP took_seconds Took.\n# TYPE took_seconds histogram\n\
            took_seconds_bucket{mesh=\"m\",le=\"0.5\"} 1\ntook_seconds_bucket{mesh=\"m\",le=\"1.0\"} 1\n\
            took_seconds_bucket{mesh=\"m\",le=\"+Inf\"} 3\ntook_seconds_sum{mesh=\"m\"} 9.25\n\
            took_seconds_count{mesh=\"m\"} 3\n";
        assert_eq!(all(Format::Text), text);
        let open = text
            .replace("node_info What \"it\"", "node What \\\"it\\\"")
            .replace("TYPE node_info gauge", "TYPE node info")
            .replace("HELP read_bytes_total", "HELP read_bytes")
            .replace("TYPE read_bytes_total counter", "TYPE read_bytes counter\n# UNIT read_bytes bytes")
            .replace("took_seconds histogram", "took_seconds histogram\n# UNIT took_seconds seconds");
        assert_eq!(all(Format::Open), open + "# EOF\n");
    }
}
