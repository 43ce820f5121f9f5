//! `meshward completions` and `meshward man`: what a package installs beside the program, made of the same words as
//! `--help`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Command;

/// Options of `meshward completions`.
#[derive(clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Options of `meshward man`.
#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// Where they are written; made when it is not there.
    folder: PathBuf,
}

pub(crate) fn completions(args: &CompletionsArgs, mut program: Command) -> bool {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "meshward", &mut script);
    crate::follow::say(String::from_utf8_lossy(&script).trim_end())
}

pub(crate) fn man(args: &ManArgs, program: Command) -> anyhow::Result<bool> {
    let cannot = || format!("cannot write manual pages to {}", args.folder.display());
    std::fs::create_dir_all(&args.folder).with_context(cannot)?;
    clap_mangen::generate_to(program, &args.folder).with_context(cannot)?;
    println!("{}: a page for each command; `man -l {0}/meshward.1` shows the first", args.folder.display());
    Ok(true)
}
