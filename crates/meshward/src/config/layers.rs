//! The file and the environment, key by key. Whoever reads takes each key once; what is left over then is a mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::Origin;
use super::keys;
use super::kind::{Kind, Wrong};
use super::mistake::{Mistake, line_of};
use super::raw::Raw;

/// What all our variables begin with.
const PREFIX: &str = "MESHWARD_";
/// What stands between section and key in a variable's name.
const BETWEEN: &str = "__";

/// What was given, and what was wrong with it.
pub(super) struct Layers<'a> {
    name: String,
    text: &'a str,
    /// By `section.key`.
    file: BTreeMap<String, Raw>,
    /// By the variable's name.
    variables: BTreeMap<String, String>,
    origins: BTreeMap<String, Origin>,
    /// In the order of the places where they stand; the environment's are the last.
    mistakes: BTreeMap<usize, Vec<Mistake>>,
}

/// The variable that goes before the file.
pub(super) fn variable(section: &str, key: &str) -> String {
    format!("{PREFIX}{}{BETWEEN}{}", section.to_uppercase(), key.to_uppercase())
}

impl<'a> Layers<'a> {
    pub(super) fn new(path: Option<&Path>, text: &'a str, variables: BTreeMap<String, String>) -> Self {
        let name = path.map_or_else(String::new, |path| path.display().to_string());
        let (file, origins, mistakes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let ours = |name: &String| name.starts_with(PREFIX) && name.contains(BETWEEN);
        let variables = variables.into_iter().filter(|(name, _)| ours(name)).collect();
        let mut layers = Self { name, text, file, variables, origins, mistakes };
        // Of a path without a folder the parent is empty, which joins to what it was.
        layers.open(path.and_then(Path::parent).map(Path::to_owned).as_ref());
        layers
    }

    /// Takes the file apart.
    fn open(&mut self, folder: Option<&PathBuf>) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            self.mistake(span, error.message());
        }
        // What was made of a broken text is not what was meant.
        if !errors.is_empty() {
            return;
        }
        let known: BTreeMap<&str, Vec<&str>> = keys::sections()
            .iter()
            .map(|section| (section.name, section.keys.iter().map(|key| key.name).collect()))
            .collect();
        for (section, content) in table.get_ref() {
            let name: &str = section.get_ref();
            let Some(keys) = known.get(name) else {
                self.mistake(section.span(), &unknown("section", "", name, known.keys().copied()));
                continue;
            };
            let DeValue::Table(content) = content.get_ref() else {
                self.mistake(
                    content.span(),
                    &format!("{name} is a section: write [{name}], and its keys below"),
                );
                continue;
            };
            for (key, value) in content {
                if keys.contains(&&**key.get_ref()) {
                    self.file.insert(format!("{name}.{}", key.get_ref()), Raw::of(value, folder));
                } else {
                    let prefix = format!("{name}.");
                    self.mistake(key.span(), &unknown("key", &prefix, key.get_ref(), keys.iter().copied()));
                }
            }
        }
    }

    fn mistake(&mut self, span: Range<usize>, what: &str) {
        let at = span.start;
        self.mistakes.entry(at).or_default().push(Mistake::in_file(&self.name, self.text, span, what));
    }

    /// The value of a key, if anybody gave one that can be used.
    pub(super) fn take<K: Kind>(&mut self, section: &str, key: &str, kind: &K) -> Option<K::Value> {
        let path = format!("{section}.{key}");
        let mut taken = None;
        let mut origin = Origin::Default;
        if let Some(raw) = self.file.remove(&path) {
            match kind.read(&raw) {
                Ok(value) => {
                    (taken, origin) = (Some(value), Origin::File(line_of(self.text, raw.span.start)))
                }
                Err(wrong) => {
                    let span = wrong.span.clone().unwrap_or(raw.span);
                    self.mistake(span, &sentence(&path, &wrong));
                }
            }
        }
        let variable = variable(section, key);
        // An empty one is as good as none.
        if let Some(words) = self.variables.remove(&variable).filter(|words| !words.trim().is_empty()) {
            match kind.read(&kind.words(&words)) {
                Ok(value) => (taken, origin) = (Some(value), Origin::Environment(variable)),
                Err(wrong) => {
                    let mistake = Mistake::in_variable(&variable, &sentence(&path, &wrong));
                    self.mistakes.entry(usize::MAX).or_default().push(mistake);
                }
            }
        }
        self.origins.insert(path, origin);
        taken
    }

    /// Where everything came from, if nothing was wrong.
    pub(super) fn finish(mut self) -> Result<BTreeMap<String, Origin>, Vec<Mistake>> {
        let known: BTreeSet<String> = keys::sections()
            .iter()
            .flat_map(|section| section.keys.iter().map(|key| variable(section.name, key.name)))
            .collect();
        for name in std::mem::take(&mut self.variables).into_keys() {
            let what = unknown("key", "", &name, known.iter().map(String::as_str));
            self.mistakes.entry(usize::MAX).or_default().push(Mistake::in_variable(&name, &what));
        }
        if self.mistakes.is_empty() {
            return Ok(self.origins);
        }
        Err(self.mistakes.into_values().flatten().collect())
    }
}

fn sentence(path: &str, wrong: &Wrong) -> String {
    format!("{path} is {}: {}", wrong.found, wrong.right)
}

/// Something that there is not, and what may have been meant.
fn unknown<'k>(what: &str, prefix: &str, name: &str, known: impl Iterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().map(|known| (distance(name, known), *known)).min();
    let near = near.filter(|(distance, _)| *distance <= 1 + name.len() / 4).map(|(_, near)| near);
    let hint = near.map_or_else(
        || {
            if known.len() < 20 {
                format!("there are {}", known.join(", "))
            } else {
                "`meshward config reference` lists them".to_owned()
            }
        },
        |near| format!("did you mean {prefix}{near}?"),
    );
    format!("there is no {what} {prefix}{name}: {hint}")
}

/// How many letters must be changed, added or left out to make one word of another.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, mine) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (index, theirs) in other.iter().enumerate() {
            let changed = diagonal + usize::from(mine != *theirs);
            diagonal = row[index + 1];
            row[index + 1] = changed.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[other.len()]
}
