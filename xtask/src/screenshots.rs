//! `cargo xtask screenshots`: pictures of the dashboard's pages, out of the demonstration, into `docs/images`.
//!
//! Builds dashboard and program first; a headless Chromium takes the pictures. They show real nodes of a mesh on this
//! machine, by the demonstration's usual seed; ages and times are those of the day.

use crate::command::Failure;
use crate::{no_arguments, program, system, web};

/// Takes them.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("screenshots", arguments)?;
    system::ready(&[system::BROWSER])?;
    web::build()?;
    let program = program::built()?.to_string();
    let line = web::npm(&["run", "screenshots"]).env("MESHWARD", &program);
    println!("xtask: $ {line}");
    line.run().map(drop)
}
