//! `cargo xtask schemathesis`: whether a gateway answers what `docs/openapi.json` says, whatever it is asked.
//!
//! schemathesis makes the requests, right ones and wrong ones, from the description that the gateway serves; what it
//! looks for is in `contrib/schemathesis.toml`. Everything that can be asked for is done to the mesh, so it is one for
//! that alone.

use crate::command::{Failure, Line};
use crate::scene::Scene;

/// Nodes of the mesh: requests find some, and there is no waiting for them.
const NODES: usize = 8;
/// What is looked for, and how.
const SETTINGS: &str = "contrib/schemathesis.toml";

/// Runs it; arguments go to `schemathesis run`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if Line::new("schemathesis", &["--version"]).output().is_err() {
        let right = "`pip install schemathesis`, and have it in PATH";
        return Err(Failure::Missing(format!("schemathesis cannot be started: {right}")));
    }
    let scene = Scene::start(NODES)?;
    let description = format!("http://{}/api/v1/openapi.json", scene.address());
    let line = Line::new("schemathesis", &["--config-file", SETTINGS, "run", &description]).with(arguments);
    // Before it has a token, which is nobody's business.
    println!("xtask: $ {line}");
    line.env("MESHWARD_TOKEN", &scene.token()?).run().map(drop)
}
