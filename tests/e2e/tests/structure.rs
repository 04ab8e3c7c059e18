//! The folders of `src` depend on each other in one direction: each uses only those before it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const FOLDERS: [&str; 6] = ["pg", "errors", "settings", "access", "conversation", "api"];

/// The modules of this crate that a source names: `crate::x`, and `crate::{x, y}`.
fn named(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, rest) in source
        .match_indices("crate::")
        .map(|(at, _)| source.split_at(at + 7))
    {
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split_once('}').map_or(list, |(list, _)| list),
            None => rest.split([';', ' ', '\n']).next().unwrap_or_default(),
        };
        let first = |path: &str| {
            path.trim()
                .split("::")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        found.extend(list.split(',').map(first));
    }
    found
}

fn sources(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => sources(&path),
                false => vec![fs::read_to_string(path).unwrap()],
            }
        })
        .collect()
}

#[test]
fn the_folders_of_src_depend_in_one_direction() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src");
    for (level, folder) in FOLDERS.iter().enumerate() {
        let used: BTreeSet<_> = sources(&src.join(folder))
            .iter()
            .flat_map(|s| named(s))
            .collect();
        let later = FOLDERS[level + 1..]
            .iter()
            .filter(|later| used.contains(**later));
        assert_eq!(
            later.collect::<Vec<_>>(),
            Vec::<&&str>::new(),
            "used by {folder}"
        );
    }
    // Every folder and module of src has its place in the order.
    for entry in fs::read_dir(&src).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "lib.rs" || FOLDERS.contains(&name.as_str()),
            "{name}"
        );
    }
    assert_eq!(
        named("use crate::{a, b::c};\nuse crate::d::{e, f};\nlet x = crate::g::h;"),
        ["a", "b", "d", "g"].map(str::to_owned).into()
    );
}
