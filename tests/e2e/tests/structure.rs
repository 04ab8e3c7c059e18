//! The structure of the sources: the folders of `src` depend in one direction, each using only
//! those before it, and the crates below it name nothing of SQL.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const FOLDERS: [&str; 8] = [
    "pg",
    "errors",
    "settings",
    "access",
    "servers",
    "conversation",
    "delivery",
    "api",
];

/// The modules of this crate that a source names: `crate::x`, and each `x` of `crate::{x, y::{a,
/// b}}`.
fn named(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, prefix) in source.match_indices("crate::") {
        let rest = &source[at + prefix.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.extend(name(rest));
            continue;
        };
        let mut depth = 0;
        found.extend(name(list));
        for (at, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => found.extend(name(&list[at + 1..])),
                _ => {}
            }
        }
    }
    found
}

/// The identifier that a text begins with, if it does.
fn name(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
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
        named("use crate::{a::{x, y}, b::c,};\nuse crate::d::{e, f};\nlet x = crate::g::h;"),
        ["a", "b", "d", "g"].map(str::to_owned).into()
    );
}

/// The crates return kinds, and `src/errors` makes the texts.
#[test]
fn the_crates_name_no_routine_setting_or_argument() {
    const WORDS: [&str; 9] = [
        "oracle",
        "utl_smtp",
        "dbms_network",
        "open_connection",
        "tx_timeout",
        "secure_host",
        "wallet_path",
        "wallet_password",
        "wallet_roots",
    ];
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates");
    let texts = sources(&crates);
    assert!(texts.len() > 50, "{}", texts.len());
    for text in texts {
        let lower = text.to_lowercase();
        let first = text.lines().next().unwrap_or_default();
        for word in WORDS {
            assert!(
                !lower.contains(word),
                "{word} in the file that begins with: {first}"
            );
        }
    }
}
