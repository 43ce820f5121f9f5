//! `cargo xtask help`: the verbs, one line each.

const TEXT: &str = "\
cargo xtask <verb>

  demo [arguments]   build dashboard and Meshward and run its demo: a mesh on this machine, with a gateway;
                     the arguments go to `meshward demo` (`cargo xtask demo --help` lists them)
  test               everything that must hold, in stages: format, dashboard, architecture, lints, docs, the core
                     for riscv32imc, its memory there, build, tests, the dashboard in a browser; ends with a table of seconds
  bench [sections] [arguments]
                     measure the core and a node on loopback on this machine, the core's memory on riscv32imc,
                     the simulator (`meshward sim speed`), and updates in it (`meshward sim bench`, which gets
                     the arguments); rewrites docs/benchmarks.md, or the sections of it that come first: core,
                     forward, store, rest, payload, budget, speed, latency, simulator
  bench-rest [--nodes N] [--requests N] [--settle SECONDS]
                     start a mesh of 500 nodes and a gateway on free ports, and print how long the gateway takes to
                     answer and how much memory it has; `bench rest` writes that into docs/benchmarks.md
  schemathesis [arguments]
                     start a mesh of 8 nodes and a gateway on free ports, and hold what it answers against its
                     description (needs schemathesis, whose `run` gets the arguments)
  budget             measure the core's memory on riscv32imc, in qemu; fails when a budget is exceeded
  web                build the dashboard (needs Node.js); programs that are compiled after that carry it
  screenshots        pictures of the dashboard's pages, out of the demo, into docs/images
  tidy               format the sources, then show what clippy has to say
  help               this page
";

/// Prints the page.
pub(crate) fn run() {
    print!("{TEXT}");
}

#[cfg(test)]
mod tests {
    use super::TEXT;

    #[test]
    fn every_verb_has_its_line() {
        for verb in [
            "demo",
            "test",
            "bench",
            "bench-rest",
            "schemathesis",
            "budget",
            "web",
            "screenshots",
            "tidy",
            "help",
        ] {
            assert!(TEXT.lines().any(|line| line.starts_with(&format!("  {verb} "))), "{verb}");
        }
    }
}
