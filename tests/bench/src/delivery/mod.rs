//! Delivery from the queue: D1 to D9, with their floors and peers in the same run.
//!
//! - [`bed`] the sink, and databases with a queue
//! - [`floors`] the SQL alone, the wire alone
//! - [`peers`] Postfix, an outbox table
//! - [`recording`] D1
//! - [`drain`] D2 to D4
//! - [`latency`] D5
//! - [`beside`] D6
//! - [`signing`] D7
//! - [`housekeeping`] D8
//! - [`memory`] D9
//! - [`figures`] tables

mod bed;
mod beside;
mod drain;
mod figures;
mod floors;
mod housekeeping;
mod latency;
mod memory;
mod peers;
mod recording;
mod signing;

use bed::Bed;
use std::path::Path;

type Measure = fn(&mut Bed) -> String;

const ALL: [(&str, Measure); 9] = [
    ("D1", |bed| recording::report(bed)),
    ("D2", drain::beside_floors_and_peers),
    ("D3", drain::distant),
    ("D4", drain::undisturbed),
    ("D5", latency::report),
    ("D6", beside::report),
    ("D7", signing::report),
    ("D8", housekeeping::report),
    ("D9", memory::report),
];

/// Measures those that are wanted, and says each when it is known.
pub fn report(directory: &Path, wanted: impl Fn(&str) -> bool, mut say: impl FnMut(String)) {
    let mut bed = Bed::new(directory);
    for (id, measure) in ALL {
        if wanted(id) {
            say(measure(&mut bed));
        }
    }
}
