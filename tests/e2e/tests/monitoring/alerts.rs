//! `monitoring/alerts.yml`, judged by promtool.

use super::exporter::Metrics;
use super::{Day, path, text};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

#[track_caller]
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("promtool: {error}"));
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{arguments:?}: {}", said.concat());
}

#[test]
fn each_alert_fires_when_it_should_and_not_otherwise() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["test", "rules", "alerts_test.yml"]);
    // Each fires in one test at least, and is asked for once when it should not.
    let (rules, tests) = (text("alerts.yml"), text("alerts_test.yml"));
    let alerts = rules.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("- alert: ")
    });
    let mut count = 0;
    for alert in alerts {
        count += 1;
        assert!(
            tests.contains(&format!("- alertname: {alert}\n")),
            "{alert}"
        );
    }
    assert_eq!(count, 9);
}

/// Names of the extension's metrics, and of the exporter's own.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("utl_smtp_") || word.starts_with("pg_exporter_"))
        .collect()
}

#[test]
fn the_rules_and_their_tests_use_what_the_exporter_gives() {
    let given = Metrics::of(&Day::new());
    let (rules, tests) = (text("alerts.yml"), text("alerts_test.yml"));
    let used = metrics_in(&rules);
    assert!(used.len() >= 10, "{used:?}");
    for metric in used.iter().chain(&metrics_in(&tests)) {
        assert!(given.has(metric), "{metric}");
    }
    // The same for what they ask of labels: `state="…"` and `state=~"…|…"`.
    let mut values = 0;
    for (before, operator) in [("{state=\"", "="), ("{state=~\"", "=~")] {
        for rest in rules.split(before).skip(1) {
            let (alternatives, _) = rest.split_once('"').unwrap();
            for value in alternatives.split('|') {
                values += 1;
                let label = format!("state=\"{value}\"");
                assert!(given.has_label(&label), "{operator} {value}");
            }
        }
    }
    assert_eq!(values, 5);
}
