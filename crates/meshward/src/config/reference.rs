//! The reference of all keys, `docs/configuration.md`, and the file that `meshward setup` writes: both are made of
//! [`keys`](super::keys), so neither can forget one.

use std::collections::BTreeMap;

use super::keys::{Key, sections};
use super::layers::variable;

/// How wide comments are in a file.
const WIDTH: usize = 100;

/// What stands before the sections. What holds for all keys is said here.
const HEAD: &str = "\
# Configuration

<!-- Made by `meshward config reference`; a test compares. Change crates/meshward/src/config/keys.rs instead. -->

`meshward gateway` reads one file in [TOML](https://toml.io). It is the first of these that there is:

1. `--config FILE`
2. the environment variable `MESHWARD_CONFIG`
3. `meshward.toml` in the folder where it is started
4. `meshward/meshward.toml` in the user's own folder for settings (`$XDG_CONFIG_HOME`, else `~/.config`)
5. `/etc/meshward/meshward.toml`

Without any, everything is as by default. `meshward setup` writes one with comments; `meshward config check` looks for mistakes, `meshward config show` prints what holds and where each value comes from.

- **What goes before what:** an option of the command line, an environment variable, the file, the default.
- **Environment:** `MESHWARD_`, section, two underscores, key, all in capitals: `MESHWARD_MESH__LISTEN=0.0.0.0:5555`. Text needs no quotation marks, lists have commas between their items, an empty variable is as good as none.
- **Mistakes:** an unknown key, another type or a value out of range is said with line and column, all of them at once; nothing is used of a file with a mistake, and the program ends with exit code 4.
- **Reload:** `systemctl reload meshward`, or SIGHUP, reads the file again. Keys that take effect *at once* are taken up; of others that have changed the log says that they need a restart. A file with a mistake changes nothing.
- **Secrets** are never in the file itself: a key whose value is secret names the file that holds it. Such a file should be its owner's alone (mode 0600); `meshward doctor` looks at that.
- **Durations** are seconds, or text with a unit: `90`, `\"90 s\"`, `\"5 min\"`, `\"2 h\"`, `\"30 d\"`.
- **Files** are relative to the folder of the configuration; in an environment variable or an option, to the folder where the program is started.
";

/// The whole page.
pub(crate) fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for section in sections() {
        page.push_str(&format!("\n## [{}]\n\n{}\n\n", section.name, section.about));
        page.push_str(
            "| key | value | default | takes effect | variable |\n| --- | --- | --- | --- | --- |\n",
        );
        for key in &section.keys {
            page.push_str(&format!(
                "| `{}` | {} | {} | {} | `{}` |\n",
                key.name,
                key.what.replace('|', "\\|"),
                key.default.as_ref().map_or_else(|| "–".to_owned(), |default| format!("`{default}`")),
                if key.live { "at once" } else { "at the start" },
                variable(section.name, key.name),
            ));
        }
        page.push('\n');
        for key in &section.keys {
            page.push_str(&format!("- **`{}`**: {}\n", key.name, key.about));
        }
    }
    page.push_str("\n## A file with everything in it\n\n```toml\n");
    page.push_str(&file(&BTreeMap::new()));
    page.push_str("```\n");
    page
}

/// A file with a comment on every key, in which these (`section.key`) are set, as TOML writes them.
pub(crate) fn file(set: &BTreeMap<&str, String>) -> String {
    let mut text = String::new();
    for section in sections() {
        if !text.is_empty() {
            text.push('\n');
        }
        comment(&mut text, &section.about);
        text.push_str(&format!("[{}]\n", section.name));
        for key in &section.keys {
            text.push('\n');
            entry(&mut text, key, set.get(&*format!("{}.{}", section.name, key.name)));
        }
    }
    text
}

fn entry(text: &mut String, key: &Key, set: Option<&String>) {
    comment(text, &format!("{} Value: {}.", key.about, key.what.replace('`', "")));
    let (mark, value) = match (set, &key.default) {
        (Some(value), _) => ("", value),
        (None, Some(default)) => ("# ", default),
        (None, None) => ("# ", &key.example),
    };
    text.push_str(&format!("{mark}{} = {value}\n", key.name));
}

/// Lines that begin with `##`, so that keys that are switched off stand out.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("##");
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("##");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
