//! The files of a built dashboard, in memory: each with its type, its tag, and packed where that is shorter.
//!
//! They are found by their whole name and by nothing else, so there is no path that leads out of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::conditional::etag;

/// Shorter files are not worth packing, in bytes: with its headers an answer fills a frame anyway.
const PACKED_MIN: usize = 1_024;

/// One file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) body: Bytes,
    /// The same with gzip, where that is shorter.
    pub(super) packed: Option<Bytes>,
    /// In quotes, as it is sent.
    pub(super) tag: String,
    pub(super) kind: &'static str,
    /// Its name says what is in it, so it never changes.
    pub(super) lasting: bool,
}

impl File {
    pub(super) fn new(name: &str, body: Cow<'static, [u8]>) -> Self {
        let (kind, text) = kind(name);
        let body = match body {
            Cow::Borrowed(body) => Bytes::from_static(body),
            Cow::Owned(body) => Bytes::from(body),
        };
        let packed = (text && body.len() >= PACKED_MIN).then(|| pack(&body)).flatten();
        let packed = packed.filter(|packed| packed.len() < body.len());
        let tag = etag(&body);
        Self { body, packed, tag, kind, lasting: is_hashed(name) }
    }
}

/// All of them, by their path in the built folder.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<String, File>);

impl Files {
    pub(super) fn new(files: impl IntoIterator<Item = (String, Cow<'static, [u8]>)>) -> Self {
        let seen = files.into_iter().filter(|(name, _)| !name.split('/').any(|part| part.starts_with('.')));
        Self(seen.map(|(name, body)| (name.clone(), File::new(&name, body))).collect())
    }

    /// Those that this program carries; none when it was built without.
    #[cfg(feature = "dashboard")]
    pub(super) fn embedded() -> Self {
        /// What `cargo xtask web` has built, if it has.
        #[derive(rust_embed::RustEmbed)]
        #[folder = "../../dashboard/dist"]
        #[allow_missing = true]
        struct Built;

        let read = |name: Cow<'static, str>| Some((name.to_string(), Built::get(&name)?.data));
        Self::new(Built::iter().filter_map(read))
    }

    /// None: this program was built without the feature `dashboard`.
    #[cfg(not(feature = "dashboard"))]
    pub(super) fn embedded() -> Self {
        Self::default()
    }

    pub(super) fn get(&self, name: &str) -> Option<&File> {
        self.0.get(name)
    }
}

/// The media type by the end of a name, and whether it is text.
fn kind(name: &str) -> (&'static str, bool) {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => ("text/html; charset=utf-8", true),
        "js" | "mjs" => ("text/javascript; charset=utf-8", true),
        "css" => ("text/css; charset=utf-8", true),
        "svg" => ("image/svg+xml", true),
        "json" => ("application/json", true),
        "webmanifest" => ("application/manifest+json", true),
        "txt" => ("text/plain; charset=utf-8", true),
        "png" => ("image/png", false),
        "ico" => ("image/x-icon", false),
        "woff2" => ("font/woff2", false),
        _ => ("application/octet-stream", false),
    }
}

/// Whether Vite has put the hash of a file into its name, as `assets/index-C3vXk_1a.js`.
fn is_hashed(name: &str) -> bool {
    let Some(name) = name.strip_prefix("assets/") else { return false };
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    // The hash may have a `-` of its own.
    let Some(from) = stem.len().checked_sub(9) else { return false };
    stem.get(from..).is_some_and(|end| {
        end.starts_with('-')
            && end.bytes().skip(1).all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    })
}

fn pack(body: &[u8]) -> Option<Bytes> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(body).ok()?;
    packer.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_type_and_whether_a_file_lasts() {
        for (name, expected, lasting) in [
            ("index.html", "text/html; charset=utf-8", false),
            ("theme.js", "text/javascript; charset=utf-8", false),
            ("assets/index-C3vXk_1a.js", "text/javascript; charset=utf-8", true),
            ("assets/index-C3v-k_1a.css", "text/css; charset=utf-8", true),
            ("assets/Nodes-abcdefg.js", "text/javascript; charset=utf-8", false),
            ("assets/a.js", "text/javascript; charset=utf-8", false),
            ("index-C3vXk_1a.js", "text/javascript; charset=utf-8", false),
            ("favicon.svg", "image/svg+xml", false),
            ("what", "application/octet-stream", false),
        ] {
            let file = File::new(name, Cow::Borrowed(b"x"));
            assert_eq!((file.kind, file.lasting), (expected, lasting), "{name}");
        }
    }

    #[test]
    fn long_texts_are_packed_and_noise_is_not() {
        let text = "a line of text\n".repeat(1_000).into_bytes();
        let file = File::new("a.js", Cow::Owned(text.clone()));
        let packed = file.packed.unwrap();
        assert!(packed.len() < text.len() / 10);
        let mut back = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut back).unwrap();
        assert_eq!(back, text);
        let mut rng = meshward_core::rng::Rng::new(1);
        let noise: Vec<u8> = (0..4_096).map(|_| rng.next_u64() as u8).collect();
        assert!(File::new("a.js", Cow::Owned(noise)).packed.is_none());
        assert!(File::new("a.png", Cow::Owned(text)).packed.is_none());
        assert!(File::new("a.js", Cow::Borrowed(b"short")).packed.is_none());
    }

    #[test]
    #[cfg(feature = "dashboard")]
    fn what_was_built_before_is_carried() {
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dashboard/dist/index.html");
        let files = Files::embedded();
        let page = files.get("index.html").map(|file| file.body.to_vec());
        assert_eq!(page, std::fs::read(built).ok());
    }

    #[test]
    fn hidden_files_are_none() {
        let files = [".vite/manifest.json", "a/.b", ".env", "index.html"];
        let files = Files::new(files.map(|name| (name.to_owned(), Cow::Borrowed(&b"x"[..]))));
        assert_eq!(files.0.keys().map(String::as_str).collect::<Vec<_>>(), ["index.html"]);
    }
}
