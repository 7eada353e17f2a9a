//! Rules about the text of this project that no compiler checks: who may import whom, and how long a file may be.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file of code, in lines.
const FILE_LINES_MAX: usize = 800;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below `folder` that end in one of `endings`, without what builds leave behind.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.')
                    && !["target", "node_modules", "__pycache__"].contains(&name.as_str())
                {
                    open.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found
}

/// Module to layer, from the table under "Layers" in `docs/ARCHITECTURE.md`.
fn layers() -> BTreeMap<String, u32> {
    let page = fs::read_to_string(workspace().join("docs/ARCHITECTURE.md")).unwrap();
    let section = page.split("## Layers").nth(1).expect("the page has a section on layers");
    let mut layers = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, layer, modules, ..] = cells.as_slice() else { continue };
        let Some(number) = layer.split(' ').next().and_then(|word| word.parse().ok()) else { continue };
        for module in modules.split('`').skip(1).step_by(2) {
            layers.insert(module.to_owned(), number);
        }
    }
    layers
}

/// The module of `backup-core` that a file belongs to.
fn module_of(file: &Path, source: &Path) -> String {
    let inside = file.strip_prefix(source).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Modules named after `crate::`, up to where the file's own tests begin: those may use anything.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut found = Vec::new();
    for line in lines {
        for rest in line.split("crate::").skip(1) {
            let rest = rest.strip_prefix('{').unwrap_or(rest);
            found.push(rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect());
        }
    }
    found.retain(|name: &String| !name.is_empty());
    found
}

#[test]
fn modules_import_only_what_stands_above_them_in_the_table() {
    let (layers, source) = (layers(), Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let mut checked = 0;
    for file in files(&source, &[".rs"]) {
        let module = module_of(&file, &source);
        // Tests may use anything.
        if module == "lib" || file.ends_with("tests.rs") {
            continue;
        }
        let own =
            layers.get(&module).unwrap_or_else(|| panic!("{module} is in no layer of docs/ARCHITECTURE.md"));
        for other in imports(&fs::read_to_string(&file).unwrap()) {
            let Some(layer) = layers.get(&other) else { continue };
            assert!(
                layer <= own,
                "{}: {module} (layer {own}) imports {other} (layer {layer})",
                file.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} imports were found: the test looks in the wrong place");
}

#[test]
fn no_file_of_code_is_too_long_to_read() {
    let all = files(&workspace(), &[".rs", ".py", ".c", ".cpp", ".hpp", ".sh"]);
    assert!(all.len() > 100, "only {} files were found: the test looks in the wrong place", all.len());
    for file in all {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", file.display());
    }
}
