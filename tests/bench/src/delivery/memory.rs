//! D9: the worker's memory, while it sends very many mails, and a large one.

use super::bed::{Bed, wait_until};
use super::figures::{Figures, Target};
use crate::setting;
use e2e::invariants::anonymous_memory;

/// Looks at the memory, evenly spread.
const LOOKS: u64 = 10;
/// Octets of the large message.
const LARGE: i64 = 100 << 20;

pub fn report(bed: &mut Bed) -> String {
    let mails = setting("BENCH_MAILS_IN_ALL", 1_000_000);
    let mut queue = bed.queue();
    queue.start();
    let mut sizes = Vec::new();
    for _ in 0..LOOKS {
        queue.fill("near", mails / LOOKS);
        queue.settled();
        sizes.push(anonymous_memory(queue.worker()) as f64);
    }
    let before = anonymous_memory(queue.worker());
    let worker = queue.worker();
    queue.owner.run(&format!(
        "SELECT utl_smtp.submit('near', 'alice@example.test', ARRAY['bob@example.test'],
                                repeat(repeat('x', 78) || E'\r\n', {}))",
        LARGE / 80
    ));
    let mut most = before;
    wait_until("the large message is sent", || {
        most = most.max(anonymous_memory(worker));
        queue
            .owner
            .value("SELECT NOT EXISTS (SELECT FROM utl_smtp.message)")
    });
    let title = format!("D9: the worker's memory, while it sends {mails} mails");
    let mut figures = Figures::new(&title, "KiB");
    figures.figure("after a tenth of them", &sizes[..1]);
    figures.figure("after all", &sizes[sizes.len() - 1..]);
    figures.figure(
        "growth while a message of 100 MiB is sent",
        &[(most - before) as f64],
    );
    let growth = sizes[sizes.len() - 1] / sizes[0];
    figures.compare("after all / after a tenth", &[growth], Target::AtMost(1.05));
    figures.text()
}
