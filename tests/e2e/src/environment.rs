//! Reads the `NAME=value` files that the scripts write for the tests.

use std::collections::HashMap;
use std::path::Path;

pub struct Environment(HashMap<String, String>);

impl Environment {
    /// Reads the file named by this environment variable.
    pub fn from_variable(variable: &str) -> Self {
        let path = std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set: run the suite by `make test`"));
        Self::of_file(Path::new(&path))
    }

    pub fn of_file(path: &Path) -> Self {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("\"{}\": {error}", path.display()));
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Self(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    pub fn text(&self, name: &str) -> String {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing"))
            .clone()
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> T {
        let value = self.text(name);
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: \"{value}\""))
    }
}
