//! A message as a mail: plain text and HTML side by side, one thread per group, by SMTP.

use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::channel::{Mail, Security};
use super::message::{Item, Message};
use super::send::SendError;

/// Longest that one command of SMTP may take.
const COMMAND_MAX: Duration = Duration::from_secs(5);

/// Sends a message; what the server said.
pub(super) async fn send(
    mail: &Mail,
    id: &str,
    message: &Message,
    public_url: &str,
) -> Result<String, SendError> {
    let letter = letter(mail, id, message, public_url)?;
    let transport = transport(mail)?;
    match transport.send(letter).await {
        Ok(response) => Ok(format!("{} {}", response.code(), response.first_line().unwrap_or_default())),
        Err(error) => {
            let said =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            let said = format!("{error}{said}");
            // 53x: it is not the message that is refused but who sends it, which an operator can mend.
            let login = error.status().is_some_and(|code| code.to_string().starts_with("53"));
            let never = error.is_permanent() && !login;
            Err(if never { SendError::never(said) } else { SendError::later(said) })
        }
    }
}

fn transport(mail: &Mail) -> Result<AsyncSmtpTransport<Tokio1Executor>, SendError> {
    let tls = || {
        let mut builder = TlsParameters::builder(mail.server.clone());
        if let Some(ca) = &mail.ca {
            let ca = Certificate::from_pem(ca.as_bytes());
            builder = builder.add_root_certificate(ca.map_err(|error| SendError::later(error.to_string()))?);
        }
        builder.build().map_err(|error| SendError::later(format!("TLS cannot be set up: {error}")))
    };
    let tls = match mail.security {
        Security::None => Tls::None,
        Security::Starttls => Tls::Required(tls()?),
        Security::Tls => Tls::Wrapper(tls()?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.server)
        .port(mail.port)
        .tls(tls)
        .timeout(Some(COMMAND_MAX));
    if let (Some(user), Some(password)) = (&mail.user, &mail.password) {
        builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
    }
    Ok(builder.build())
}

/// The part of a mail address behind the @, where ids of messages are unique.
fn domain(from: &Mailbox) -> String {
    from.email.domain().to_owned()
}

/// The mail itself.
fn letter(mail: &Mail, id: &str, message: &Message, public_url: &str) -> Result<lettre::Message, SendError> {
    let address = |text: &str| {
        text.parse::<Mailbox>()
            .map_err(|error| SendError::never(format!("`{text}` is no mail address: {error}")))
    };
    let from = address(&mail.from)?;
    let domain = domain(&from);
    // Nobody has sent a mail of this name: it only ties those of one group together.
    let word: String = format!("{}.{}", message.mesh, message.rule)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '-' })
        .collect();
    let thread = format!("<{word}.alerts@{domain}>");
    let mut builder = lettre::Message::builder()
        .from(from)
        .subject(message.title())
        .message_id(Some(format!("<{id}@{domain}>")))
        .in_reply_to(thread.clone())
        .references(thread)
        .date(crate::rest::convert::system_time(message.at));
    for to in &mail.to {
        builder = builder.to(address(to)?);
    }
    let text = format!("{}\n\n{}\n{public_url}\n", message.title(), message.text());
    let built = builder.multipart(MultiPart::alternative_plain_html(text, html(message, public_url)));
    built.map_err(|error| SendError::never(format!("no mail can be made of it: {error}")))
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

fn row(item: &Item) -> String {
    let cells =
        [item.severity.name(), &item.rule, &item.called(), &item.evidence, &format!("{:.0}", item.since)]
            .map(|cell| format!("<td>{}</td>", escaped(cell)));
    format!("<tr>{}</tr>\n", cells.concat())
}

fn html(message: &Message, public_url: &str) -> String {
    let mut page = format!("<!doctype html>\n<html><body>\n<h2>{}</h2>\n", escaped(&message.title()));
    for (head, items) in [("Raised", &message.firing), ("Cleared", &message.cleared)] {
        if !items.is_empty() {
            let rows: String = items.iter().map(row).collect();
            page.push_str(&format!(
                "<h3>{head}</h3>\n<table border=\"1\" cellpadding=\"4\">\n\
                 <tr><th>severity</th><th>rule</th><th>of</th><th>evidence</th><th>since</th></tr>\n{rows}</table>\n"
            ));
        }
    }
    if message.more > 0 {
        page.push_str(&format!("<p>… and {} more</p>\n", message.more));
    }
    if !message.runbook.is_empty() {
        page.push_str(&format!("<p>What to do: {}</p>\n", escaped(&message.runbook)));
    }
    if !public_url.is_empty() {
        let url = escaped(public_url);
        page.push_str(&format!("<p><a href=\"{url}\">{url}</a></p>\n"));
    }
    page.push_str("</body></html>\n");
    page
}

#[cfg(test)]
mod tests {
    use meshward_fleet::alert::Severity;

    use super::super::channel::tests::mail;
    use super::super::message::tests::message_of;
    use super::*;

    #[test]
    fn mails_of_a_group_are_one_thread() {
        let message = message_of("node_offline", Severity::Critical, &[7], &[]);
        let one = letter(&mail(25), "home-1", &message, "").unwrap();
        let text = String::from_utf8(one.formatted()).unwrap();
        for line in [
            "From: Mesh <mesh@example.org>",
            "Message-ID: <home-1@example.org>",
            "In-Reply-To: <home.node_offline.alerts@example.org>",
            "To: ops@example.org",
            "Subject: [critical] home: node_offline: roof (node 7) raised",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} is not in {text}");
        }
        assert!(text.contains("text/plain") && text.contains("text/html"));
    }

    #[test]
    fn what_a_node_is_called_is_no_markup() {
        let mut message = message_of("a", Severity::Info, &[7], &[]);
        message.firing[0].name = Some("<script>\"&\r\nBcc: x@y.org".to_owned());
        let page = html(&message, "https://mesh.example.org/?a=1&b=2");
        assert!(page.contains("&lt;script&gt;&quot;&amp;") && !page.contains("<script>"), "{page}");
        let text = String::from_utf8(letter(&mail(25), "i", &message, "").unwrap().formatted()).unwrap();
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(!head.contains("\r\nBcc:"), "{head}");
    }
}
