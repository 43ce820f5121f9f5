//! `[[notify.channel]]`: channels by which people are told, as tables, each as plain data. What it comes to is for who
//! starts them.

use std::path::PathBuf;

use meshward_gateway::rest::model::{ChannelKind, MailSecurity};

use super::kind::{Choice, File, Kind, List, Switch, Text, Whole, Wrong, quoted};
use super::raw::{Raw, Value};

/// Most people that a mail goes to.
const TO_MAX: usize = 20;

const KIND: Choice<ChannelKind> = Choice(&[
    ("webhook", ChannelKind::Webhook),
    ("ntfy", ChannelKind::Ntfy),
    ("telegram", ChannelKind::Telegram),
    ("email", ChannelKind::Email),
    ("mqtt", ChannelKind::Mqtt),
]);
const SECURITY: Choice<MailSecurity> =
    Choice(&[("starttls", MailSecurity::Starttls), ("tls", MailSecurity::Tls), ("none", MailSecurity::None)]);
const WORD: Text = Text { max: 2_048, like: "ops" };
const PORT: Whole = Whole { range: 1..=65_535, multiple: 1, unit: "" };
const SECRET: File = File("ops.secret");

/// How one is written.
const EXAMPLE: &str = "[{ id = \"ops\", kind = \"webhook\", url = \"https://hooks.example.org/mesh\", secret_file = \"ops.secret\" }]";

macro_rules! fields {
    ($( $name:ident: $type:ty = $kind:expr; )*) => {
        /// A channel as it stands in the file.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct Channel {
            pub(crate) id: String,
            pub(crate) kind: ChannelKind,
            $( pub(crate) $name: Option<$type>, )*
        }

        /// What may stand in a table.
        const FIELDS: &[&str] = &["id", "kind", $( stringify!($name) ),*];

        impl Channel {
            fn new(id: String, kind: ChannelKind) -> Self {
                Self { id, kind, $( $name: None, )* }
            }

            /// Takes a field; what is none is a mistake.
            fn take(&mut self, name: &str, raw: &Raw) -> Result<(), Wrong> {
                match name {
                    $( stringify!($name) => self.$name = Some($kind.read(raw)?), )*
                    _ => {
                        let right = format!("there are {}", FIELDS.join(", "));
                        return Err(Wrong { found: format!("`{name}`"), ..Wrong::new(raw, right) });
                    }
                }
                Ok(())
            }

            /// As it would be written.
            fn show(&self) -> String {
                let mut parts = vec![format!("id = {}", quoted(&self.id))];
                parts.extend(KIND.show(&self.kind).map(|kind| format!("kind = {kind}")));
                $( parts.extend(
                    self.$name.as_ref().and_then(|value| $kind.show(value))
                        .map(|value| format!("{} = {value}", stringify!($name))),
                ); )*
                format!("{{ {} }}", parts.join(", "))
            }
        }
    };
}

fields! {
    enabled: bool = Switch;
    url: String = WORD;
    url_file: PathBuf = SECRET;
    secret_file: PathBuf = SECRET;
    token_file: PathBuf = SECRET;
    chat: String = WORD;
    server: String = WORD;
    port: u32 = PORT;
    security: MailSecurity = SECURITY;
    user: String = WORD;
    password_file: PathBuf = SECRET;
    ca_file: PathBuf = SECRET;
    from: String = WORD;
    to: Vec<String> = (List { of: WORD, max: TO_MAX });
    topic: String = WORD;
}

/// Tables `[[notify.channel]]`.
pub(crate) struct Channels {
    pub(crate) max: usize,
}

impl Kind for Channels {
    type Value = Vec<Channel>;

    fn what(&self) -> String {
        format!("at most {} tables `[[notify.channel]]`; not as a variable", self.max)
    }

    fn read(&self, raw: &Raw) -> Result<Vec<Channel>, Wrong> {
        let right = "write a table [[notify.channel]] with id and kind for each, in the file";
        let Value::List(items) = &raw.value else { return Err(Wrong::new(raw, right)) };
        if items.len() > self.max {
            let right = format!("take at most {}", self.max);
            return Err(Wrong { found: format!("a list of {}", items.len()), ..Wrong::new(raw, right) });
        }
        let read = |item: &Raw| {
            let Value::Table(fields) = &item.value else {
                return Err(Wrong { span: Some(item.span.clone()), ..Wrong::new(item, right) });
            };
            channel(item, fields)
        };
        items.iter().map(read).collect()
    }

    fn show(&self, value: &Vec<Channel>) -> Option<String> {
        let shown: Vec<String> = value.iter().map(Channel::show).collect();
        Some(format!("[{}]", shown.join(", ")))
    }

    fn example(&self) -> String {
        EXAMPLE.to_owned()
    }
}

/// One table.
fn channel(table: &Raw, fields: &[(String, std::ops::Range<usize>, Raw)]) -> Result<Channel, Wrong> {
    let at = |raw: &Raw, wrong: Wrong| Wrong {
        span: Some(wrong.span.clone().unwrap_or(raw.span.clone())),
        ..wrong
    };
    let given = |wanted: &str| {
        let found = fields.iter().find(|(name, ..)| name == wanted).map(|(.., raw)| raw);
        found.ok_or_else(|| {
            let right = format!("give {wanted} in it");
            let found = format!("a table without {wanted}");
            at(table, Wrong { found, ..Wrong::new(table, right) })
        })
    };
    let (id, kind) = (given("id")?, given("kind")?);
    let mut channel = Channel::new(
        WORD.read(id).map_err(|wrong| at(id, wrong))?,
        KIND.read(kind).map_err(|wrong| at(kind, wrong))?,
    );
    for (name, span, raw) in fields.iter().filter(|(name, ..)| name != "id" && name != "kind") {
        channel.take(name, raw).map_err(|wrong| {
            let known = FIELDS.contains(&name.as_str());
            if known { at(raw, wrong) } else { Wrong { span: Some(span.clone()), ..wrong } }
        })?;
    }
    Ok(channel)
}
