//! `monitoring/dashboard.json`: what its panels ask, as Grafana would.

use super::exporter::assert_restricted;
use super::{Day, text};
use e2e::Session;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Long enough that all of the day falls into one bucket.
const INTERVAL_SECONDS: i64 = 1_000_000_000;

/// The panels' titles and queries.
fn panels() -> BTreeMap<String, String> {
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let of_text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found = BTreeMap::new();
    for panel in panels {
        let [target] = panel["targets"].as_array().unwrap().as_slice() else {
            panic!("{panel}")
        };
        let query = of_text(&target["rawSql"]);
        let is_series = panel["type"] == "timeseries";
        assert_eq!(target["format"] == "time_series", is_series, "{panel}");
        assert_eq!(query.contains("$__timeGroupAlias"), is_series, "{panel}");
        found.insert(of_text(&panel["title"]), query);
    }
    assert_eq!(found.len(), panels.len(), "two panels have one title");
    found
}

/// Replaces the macros as Grafana's data source for PostgreSQL does. The dashboard shows an hour.
fn expanded(query: &str) -> String {
    let query = query
        .replace("$__interval_ms", &(INTERVAL_SECONDS * 1000).to_string())
        .replace(
            "$__timeGroupAlias(finished_at,$__interval)",
            &format!(
                "floor(extract(epoch from finished_at)/{INTERVAL_SECONDS})*{INTERVAL_SECONDS} AS \"time\""
            ),
        )
        .replace(
            "$__timeFilter(finished_at)",
            "finished_at BETWEEN now() - interval '1 hour' AND now()",
        );
    assert!(!query.contains('$'), "{query}");
    query
}

/// The rows as JSON objects, without the time that a series begins with.
fn rows(session: &mut Session, query: &str) -> Value {
    let rows = session
        .query(
            &format!("SELECT (to_jsonb(q) - 'time')::text FROM ({query}) AS q"),
            &[],
        )
        .unwrap();
    let row = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    rows.iter().map(|one| row(one.get(0))).collect()
}

/// What a panel shows. Moments are only asked for being there.
fn shown(title: &str) -> Value {
    match title {
        "Delivery" => {
            json!([{"state": "stopped", "since": true, "connections": 0, "queued": 5, "deferred": 1,
                              "held": 3, "last_error": null}])
        }
        "Progress" => json!([
            {"server": "office", "waiting": 4, "per_minute": 2.4, "estimated_end": true},
            {"server": "down", "waiting": 1, "per_minute": null, "estimated_end": null},
            {"server": "spare", "waiting": 1, "per_minute": null, "estimated_end": null}]),
        "Accepted" => json!([{"metric": "office", "accepted": 5}]),
        "Failed by reason" => json!([
            {"metric": "550 5.1.1", "failed": 2}, {"metric": "554 5.7.1", "failed": 1},
            {"metric": "none", "failed": 1}]),
        "Suppressed, expired, cancelled, unknown" => json!([
            {"metric": "cancelled", "recipients": 1}, {"metric": "expired", "recipients": 1},
            {"metric": "suppressed", "recipients": 1}, {"metric": "unknown", "recipients": 1}]),
        "Refused, part of all" => json!([{"metric": "office", "refused": 4.0 / 9.0}]),
        "Latency" => json!([{"median": 10.0, "p95": 82.0}]),
        "Throughput" => json!([{"metric": "office", "per_second": 13.0 / INTERVAL_SECONDS as f64}]),
        "Queue by server" => json!([
            {"server": "down", "queued": 1, "sending": 0, "deferred": 0, "held": 0, "due_since": true},
            {"server": "office", "queued": 2, "sending": 1, "deferred": 1, "held": 3, "due_since": true},
            {"server": "spare", "queued": 1, "sending": 0, "deferred": 0, "held": 0, "due_since": null}]),
        "Deferred by reason" => json!([
            {"server": "office", "reply": "450 4.2.1", "recipients": 1, "attempts": 1, "next_attempt_at": true}]),
        "Servers" => json!([
            {"server": "down", "state": "backed off", "until": true, "waiting": 1, "connections": 0,
             "last_error": "connection refused", "last_error_at": true},
            {"server": "office", "state": "ok", "until": null, "waiting": 4, "connections": 0,
             "last_error": null, "last_error_at": null}]),
        "Certificates" => json!([
            {"server": "office", "file": "ca.pem", "kind": "trust anchor", "subject": "CN=ca", "not_after": true,
             "days_left": 9}]),
        _ => panic!("what does the panel {title} show?"),
    }
}

/// Moments, which differ from run to run.
const MOMENTS: [&str; 6] = [
    "estimated_end",
    "due_since",
    "next_attempt_at",
    "until",
    "last_error_at",
    "not_after",
];

/// Replaces moments by true, writes numbers in one way, and sorts what has no order of its own.
fn comparable(mut rows: Value) -> Value {
    let rows = rows.as_array_mut().unwrap();
    for (name, value) in rows.iter_mut().flat_map(|row| row.as_object_mut().unwrap()) {
        // Since when delivery is stopped is there when a worker has looked.
        if name == "since" || MOMENTS.contains(&name.as_str()) && !value.is_null() {
            *value = json!(true);
        } else if let Some(number) = value.as_f64() {
            *value = json!(format!("{number:.6e}"));
        }
    }
    rows.sort_by_key(|row| row.to_string());
    json!(rows)
}

#[test]
fn every_panel_shows_the_day() {
    let day = Day::new();
    let mut session = day.fixture.database.connect(&day.monitor);
    let panels = panels();
    assert_eq!(panels.len(), 12);
    for (title, query) in &panels {
        let query = expanded(query);
        let found = comparable(rows(&mut session, &query));
        assert_eq!(found, comparable(shown(title)), "{title}");
        if query.contains("mail_log") {
            assert_restricted(&mut session, &query);
        }
    }
}
