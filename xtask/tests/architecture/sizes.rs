//! How long a file and a function may be: what does not fit a screen is not read.

use crate::code::{code_only, functions};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Where our own sources are.
const SOURCES: [&str; 6] = ["crates/", "xtask/", "budget/", "firmware/", "fuzz/", "dashboard/src/"];

/// Violations in one file. Type declarations (`.d.ts`) are made by tools and not measured.
fn sizes(path: &str, source: &str) -> Vec<String> {
    let ours = SOURCES.iter().any(|directory| path.starts_with(directory));
    let measured =
        [".rs", ".ts", ".svelte"].iter().any(|end| path.ends_with(end)) && !path.ends_with(".d.ts");
    if !ours || !measured {
        return Vec::new();
    }
    let mut violations = Vec::new();
    let lines = source.lines().count();
    if lines > FILE_LINES_MAX {
        violations.push(format!("{path}: {lines} lines; at most {FILE_LINES_MAX}"));
    }
    if path.ends_with(".rs") {
        let long = functions(&code_only(source)).into_iter().filter(|f| f.lines > FUNCTION_LINES_MAX);
        violations.extend(long.map(|f| {
            format!("{path}:{}: fn {} has {} lines; at most {FUNCTION_LINES_MAX}", f.line, f.name, f.lines)
        }));
    }
    violations
}

mod tests {
    use super::*;
    use crate::tree::{assert_none, files};

    #[test]
    fn everything_fits() {
        let violations: Vec<String> = files().iter().flat_map(|file| sizes(&file.path, &file.text)).collect();
        assert_none(&violations);
    }

    /// A function of `lines` lines, full of braces that are not braces.
    fn function(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    f(\"}\", '}', r#\"}\"#); // }\n".repeat(lines - 2))
    }

    #[test]
    fn planted_long_functions_are_found() {
        assert_none(&sizes("crates/a/src/b.rs", &function(FUNCTION_LINES_MAX)));
        let source = format!("// first line\n{}", function(FUNCTION_LINES_MAX + 1));
        for path in ["crates/a/src/b.rs", "crates/a/tests/it/b.rs", "xtask/src/b.rs"] {
            let expected = format!("{path}:2: fn long has 71 lines; at most 70");
            assert_eq!(sizes(path, &source), [expected]);
        }
    }

    #[test]
    fn planted_long_files_are_found() {
        for path in ["crates/a/src/b.rs", "dashboard/src/b.ts", "dashboard/src/c/B.svelte", "fuzz/a.rs"] {
            assert_none(&sizes(path, &"\n".repeat(800)));
            assert_eq!(sizes(path, &"\n".repeat(801)), [format!("{path}: 801 lines; at most 800")]);
        }
        for path in ["docs/a.md", "dashboard/src/api.d.ts", "other/a.rs"] {
            assert_none(&sizes(path, &"\n".repeat(801)));
        }
    }
}
