//! The static flavour refers to what the source looks up by name, neither less nor more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const LIST: &str = "src/sys/dl/linked.rs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The names of the list's part that begins so.
fn listed(part: &str) -> BTreeSet<String> {
    let list = read(LIST);
    let (_, symbols) = list.split_once("symbols! {\n").expect("the list");
    let (_, names) = symbols.split_once(&format!("{part} {{")).expect("a part of the list");
    let (names, _) = names.split_once('}').unwrap();
    names.split_whitespace().map(str::to_owned).collect()
}

/// The string literals that name a symbol of DPDK.
fn looked_up(source: &str) -> impl Iterator<Item = String> {
    let is_symbol = |text: &&str| {
        (text.starts_with("rte_") || text.starts_with("per_lcore__"))
            && !text.starts_with("rte_hotplug")
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    source.split('"').filter(is_symbol).map(str::to_owned)
}

#[test]
fn every_symbol_that_is_looked_up_is_listed() {
    let (replaced, mut expected) = (listed("replaced"), listed("others"));
    expected.extend(replaced);
    expected.insert("per_lcore__rte_errno".to_owned());
    let own = [root().join(LIST), root().join("src/capi")];
    let sources = sources(&root().join("src"));
    let sources = sources.iter().filter(|path| !own.iter().any(|own| path.starts_with(own)));
    let found: BTreeSet<_> =
        sources.flat_map(|path| looked_up(&read(path)).collect::<Vec<_>>()).collect();
    assert!(found.contains("rte_devargs_parse"), "the search finds nothing");
    assert_eq!(found, expected, "looked up, and listed in {LIST}");
}

#[test]
fn every_replaced_function_has_the_name_that_wrap_calls() {
    let mut wrapped = BTreeSet::new();
    for path in sources(&root().join("src/capi")) {
        let source = read(path);
        for part in source.split("export_name = \"__wrap_").skip(1) {
            let name = part.split('"').next().unwrap().to_owned();
            let function = part.split_once(" fn ").unwrap().1.split('(').next().unwrap();
            assert_eq!(name, function);
            wrapped.insert(name);
        }
    }
    assert_eq!(wrapped, listed("replaced"));
}
