//! `meshward users` and `meshward tokens`: who may ask a gateway, and what.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use meshward_gateway::rest::access::model::{CreatedToken, NewToken, NewUser, Role, Token, User, UserChange};
use reqwest::Method;

use crate::client::{Client, GatewayArgs, in_path};
use crate::follow::dash;
use crate::list::table;

/// What to do with users.
#[derive(clap::Subcommand)]
pub(crate) enum Users {
    /// List the users.
    List(ListArgs),
    /// Let somebody in, with a password.
    Add(AddArgs),
    /// Give a user another role.
    Role(RoleArgs),
    /// Give a user another password, which ends all their sessions.
    Password(PasswordArgs),
    /// Let a user in no longer; their tokens end with them.
    Remove(UserArgs),
}

/// What to do with tokens.
#[derive(clap::Subcommand)]
pub(crate) enum Tokens {
    /// List your tokens; as an admin those of all.
    List(ListArgs),
    /// Make a token for a program, and print its secret, once.
    Create(CreateArgs),
    /// End a token.
    Revoke(RevokeArgs),
}

/// Options of the lists.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Print JSON: an array.
    #[arg(long)]
    json: bool,
}

/// One user.
#[derive(clap::Args)]
pub(crate) struct UserArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The user's name.
    name: String,
}

/// Options of `meshward users add`.
#[derive(clap::Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    user: UserArgs,
    /// What the user may do: viewer, operator or admin.
    #[arg(long, default_value = "viewer")]
    role: Role,
    #[command(flatten)]
    password: Password,
}

/// Options of `meshward users role`.
#[derive(clap::Args)]
pub(crate) struct RoleArgs {
    #[command(flatten)]
    user: UserArgs,
    /// What the user may do: viewer, operator or admin.
    role: Role,
}

/// Options of `meshward users password`.
#[derive(clap::Args)]
pub(crate) struct PasswordArgs {
    #[command(flatten)]
    user: UserArgs,
    #[command(flatten)]
    password: Password,
}

/// Where a password comes from: never from the command line, which others can see.
#[derive(clap::Args)]
struct Password {
    /// A file with the password, of at least 12 characters, in its first line; asked for when absent.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Options of `meshward tokens create`.
#[derive(clap::Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// What it is for, 1 to 64 characters.
    name: String,
    /// The most that it may do: viewer, operator or admin.
    #[arg(long, default_value = "viewer")]
    role: Role,
    /// Whose it is to be, as an admin; yours when absent.
    #[arg(long)]
    user: Option<String>,
    /// In how many days it ends; never when absent.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: Option<u16>,
    /// Print JSON, with the secret.
    #[arg(long)]
    json: bool,
}

/// Options of `meshward tokens revoke`.
#[derive(clap::Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Its id, as `meshward tokens list` has it.
    id: String,
}

impl Password {
    fn get(&self) -> anyhow::Result<String> {
        match &self.password_file {
            Some(file) => first_line(file),
            None => inquire::Password::new("Password:").prompt().context("no password was given"),
        }
    }
}

fn first_line(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let line = text.lines().next().unwrap_or_default();
    anyhow::ensure!(!line.is_empty(), "the first line of {} is empty", file.display());
    Ok(line.to_owned())
}

pub(crate) async fn users(command: Users) -> anyhow::Result<bool> {
    let path = |name: &str| format!("users/{}", in_path(name));
    match command {
        Users::List(args) => {
            let users: Vec<User> = Client::new(&args.gateway)?.items("users").await?;
            if args.json {
                println!("{}", serde_json::to_string_pretty(&users)?);
                return Ok(true);
            }
            let mut rows = table(&["user", "role", "created"]);
            users.iter().for_each(|user| {
                rows.add_row([user.name.clone(), user.role.to_string(), user.created_at.to_string()]);
            });
            println!("{rows}");
        }
        Users::Add(AddArgs { user, role, password }) => {
            let new = NewUser { name: user.name, role, password: password.get()? };
            let added: User = Client::new(&user.gateway)?.send(Method::POST, "users", &new).await?;
            println!("{} may ask the gateway now, as {}", added.name, added.role);
        }
        Users::Role(RoleArgs { user, role }) => {
            let change = UserChange { role: Some(role), password: None };
            let client = Client::new(&user.gateway)?;
            let changed: User = client.send(Method::PATCH, &path(&user.name), &change).await?;
            println!("{} is {} now", changed.name, changed.role);
        }
        Users::Password(PasswordArgs { user, password }) => {
            let change = UserChange { role: None, password: Some(password.get()?) };
            let client = Client::new(&user.gateway)?;
            let changed: User = client.send(Method::PATCH, &path(&user.name), &change).await?;
            println!("{} has another password now; their sessions have ended", changed.name);
        }
        Users::Remove(user) => {
            Client::new(&user.gateway)?.delete(&path(&user.name)).await?;
            println!("{} is let in no longer", user.name);
        }
    }
    Ok(true)
}

pub(crate) async fn tokens(command: Tokens) -> anyhow::Result<bool> {
    match command {
        Tokens::List(args) => {
            let tokens: Vec<Token> = Client::new(&args.gateway)?.items("tokens").await?;
            if args.json {
                println!("{}", serde_json::to_string_pretty(&tokens)?);
                return Ok(true);
            }
            let time = |at: Option<Timestamp>| at.map_or_else(dash, |at| at.to_string());
            let mut rows = table(&["id", "for", "of", "role", "last used", "ends"]);
            for token in &tokens {
                rows.add_row([
                    token.id.clone(),
                    token.name.clone(),
                    token.user.clone().unwrap_or_else(dash),
                    token.role.to_string(),
                    time(token.last_used_at),
                    time(token.expires_at),
                ]);
            }
            println!("{rows}");
        }
        Tokens::Create(args) => create(args).await?,
        Tokens::Revoke(args) => {
            Client::new(&args.gateway)?.delete(&format!("tokens/{}", in_path(&args.id))).await?;
            println!("token {} has ended", args.id);
        }
    }
    Ok(true)
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let ends = |days: u16| Timestamp::now() + SignedDuration::from_hours(24 * i64::from(days));
    let CreateArgs { gateway, name, role, user, days, json } = args;
    let new = NewToken { name, role, user, expires_at: days.map(ends) };
    let made: CreatedToken = Client::new(&gateway)?.send(Method::POST, "tokens", &new).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&made)?);
    } else {
        println!("{}", made.secret);
        eprintln!("this is shown once; programs send it as `Authorization: Bearer …`");
    }
    Ok(())
}
