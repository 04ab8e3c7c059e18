//! Whatever a server answers, each recipient gets the verdict of its own commands, and the verdict
//! is the truth: a model server records which recipients it delivered to.

use proptest::prelude::*;
use smtp_core::command::{Command, Verb};
use smtp_core::envelope::Envelope;
use smtp_core::parser::ReplyParser;
use smtp_core::reply::Reply;
use smtp_core::text::{Mailbox, Parameters, ReversePath};
use smtp_core::transaction::{Outcome, Step, Transaction};

fn envelope(recipients: usize) -> Envelope {
    let mailbox = |number| Mailbox::parse(&format!("r{number}@example.com")).unwrap();
    Envelope {
        sender: ReversePath::Null,
        parameters: Parameters::default(),
        recipients: (0..recipients)
            .map(|number| mailbox(number).into())
            .collect(),
    }
}

fn reply(code: u16, text: &str) -> Reply {
    let line = format!("{code} {text}\r\n");
    ReplyParser::default()
        .feed(line.as_bytes())
        .unwrap()
        .1
        .unwrap()
}

/// Answers by a list of moods, and delivers what it has accepted.
struct Server {
    moods: std::vec::IntoIter<Mood>,
    in_transaction: bool,
    recipients: Vec<String>,
    data: bool,
    /// Who got the message, in order, once for each time.
    delivered: Vec<String>,
    commands: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Accepts,
    Says(u16),
    /// Closes the connection instead of answering.
    Leaves,
}

impl Server {
    fn new(moods: Vec<Mood>) -> Self {
        Self {
            moods: moods.into_iter(),
            in_transaction: false,
            recipients: Vec::new(),
            data: false,
            delivered: Vec::new(),
            commands: Vec::new(),
        }
    }

    fn mood(&mut self) -> Mood {
        self.moods.next().unwrap_or(Mood::Accepts)
    }

    /// The reply to a command; `None` where the server left. The text is the command's own
    /// argument.
    fn command(&mut self, command: &Command) -> Option<Reply> {
        let line = command.line().unwrap();
        self.commands.push(line.clone());
        let failure = match self.mood() {
            Mood::Leaves => return None,
            Mood::Says(code) => Some(code),
            Mood::Accepts => None,
        };
        let code = match command {
            Command::Mail(..) => failure.unwrap_or_else(|| {
                // Without RSET the message would reach the recipients of the transaction before.
                assert!(!self.in_transaction);
                self.in_transaction = true;
                250
            }),
            Command::Rcpt(..) if !self.in_transaction => 503,
            Command::Rcpt(to, _) => failure.unwrap_or_else(|| {
                self.recipients.push(to.as_str().to_owned());
                250
            }),
            // Some servers open message data for nobody.
            Command::Data if self.recipients.is_empty() => failure.map_or(354, |_| 554),
            Command::Data => failure.unwrap_or(354),
            Command::Rset => failure.unwrap_or_else(|| {
                self.in_transaction = false;
                self.recipients.clear();
                250
            }),
            _ => unreachable!("{line}"),
        };
        self.data = code == 354;
        Some(reply(code, &line))
    }

    fn dot(&mut self, empty: bool) -> Option<Reply> {
        assert!(self.data, "a message where a command was due");
        self.data = false;
        self.in_transaction = false;
        let recipients = std::mem::take(&mut self.recipients);
        assert_eq!(empty, recipients.is_empty());
        match self.mood() {
            Mood::Leaves => None,
            Mood::Says(code) => Some(reply(code, "dot")),
            Mood::Accepts => {
                self.delivered.extend(recipients);
                Some(reply(250, "dot"))
            }
        }
    }
}

/// Runs to the end. The server reads whatever is sent, and its replies are read when the client
/// waits.
fn run(transaction: &mut Transaction<'_>, server: &mut Server) {
    let mut replies = std::collections::VecDeque::new();
    for _ in 0..100_000 {
        match transaction.step() {
            Step::Command(command) => replies.push_back(server.command(&command)),
            Step::Body => {
                transaction.body_sent();
                replies.push_back(server.dot(false));
            }
            Step::EmptyBody => replies.push_back(server.dot(true)),
            Step::Await => match replies.pop_front().unwrap() {
                Some(reply) => {
                    let over = reply.code().value() == 421;
                    transaction.reply(reply);
                    if over {
                        transaction.lost();
                    }
                }
                None => transaction.lost(),
            },
            Step::Done => return,
        }
    }
    panic!("no end");
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        12 => Just(Mood::Accepts),
        6 => prop::sample::select(vec![450, 452, 550, 552, 554]).prop_map(Mood::Says),
        1 => prop::sample::select(vec![Mood::Leaves, Mood::Says(421)]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_verdicts_are_what_the_server_did(
        recipients in 0usize..12,
        most in 1usize..6,
        pipelining in any::<bool>(),
        moods in prop::collection::vec(mood(), 0..60),
    ) {
        let envelope = envelope(recipients);
        let mut server = Server::new(moods);
        let mut transaction = Transaction::new(&envelope, pipelining, most);
        run(&mut transaction, &mut server);
        let outcomes = transaction.into_outcomes();
        prop_assert_eq!(outcomes.len(), recipients);
        for (recipient, outcome) in envelope.recipients.iter().zip(&outcomes) {
            let mailbox = recipient.mailbox.as_str();
            let copies = server.delivered.iter().filter(|to| *to == mailbox).count();
            match outcome {
                Outcome::Accepted(reply) => {
                    prop_assert_eq!((copies, reply.text()), (1, "dot"));
                }
                Outcome::Refused { verb, reply } => {
                    prop_assert_eq!(copies, 0);
                    prop_assert!(reply.is_failure());
                    // The reply repeats its command: it must be this recipient's, or one for the whole message.
                    let expected = match verb {
                        Verb::Mail => "MAIL FROM:<>".to_owned(),
                        Verb::Rcpt => format!("RCPT TO:<{mailbox}>"),
                        Verb::Data => "DATA".to_owned(),
                        _ => "dot".to_owned(),
                    };
                    prop_assert_eq!(reply.text(), expected);
                }
                Outcome::NotSent | Outcome::Unknown => prop_assert_eq!(copies, 0),
                Outcome::Unsendable(error) => panic!("{error}"),
            }
        }
    }
}

/// The commands and bodies of a whole run, and the outcomes, in words.
fn dialogue(recipients: usize, most: usize, pipelining: bool, moods: &[Mood]) -> (String, String) {
    let envelope = envelope(recipients);
    let mut server = Server::new(moods.to_vec());
    let mut transaction = Transaction::new(&envelope, pipelining, most);
    run(&mut transaction, &mut server);
    let outcomes = transaction.into_outcomes();
    let outcomes: Vec<String> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Accepted(_) => "accepted".to_owned(),
            Outcome::Refused { verb, reply } => format!("{verb}: {}", reply.code()),
            other => format!("{other:?}"),
        })
        .collect();
    (server.commands.join(" | "), outcomes.join(", "))
}

use Mood::{Accepts, Leaves, Says};

#[test]
fn a_refused_recipient_costs_the_others_nothing() {
    for pipelining in [true, false] {
        let (commands, outcomes) = dialogue(
            3,
            100,
            pipelining,
            &[Accepts, Accepts, Says(550), Says(450)],
        );
        assert!(commands.ends_with("| DATA"));
        assert_eq!(outcomes, "accepted, RCPT TO: 550, RCPT TO: 450");
    }
}

#[test]
fn those_beyond_the_servers_limit_follow_in_a_further_transaction() {
    let moods = [Accepts, Accepts, Says(452), Says(552)];
    let (commands, outcomes) = dialogue(3, 100, true, &moods);
    let expected = "MAIL FROM:<> | RCPT TO:<r0@example.com> | RCPT TO:<r1@example.com> \
                    | RCPT TO:<r2@example.com> | DATA | MAIL FROM:<> | RCPT TO:<r1@example.com> \
                    | RCPT TO:<r2@example.com> | DATA";
    assert_eq!(commands, expected);
    assert_eq!(outcomes, "accepted, accepted, accepted");
    // 452 for the first is no limit but a refusal.
    let (_, outcomes) = dialogue(1, 100, true, &[Accepts, Says(452), Says(554)]);
    assert_eq!(outcomes, "RCPT TO: 452");
}

#[test]
fn data_opened_for_nobody_is_ended_by_the_dot_alone() {
    let (commands, outcomes) = dialogue(1, 100, true, &[Accepts, Says(550), Accepts, Accepts]);
    assert_eq!(commands, "MAIL FROM:<> | RCPT TO:<r0@example.com> | DATA");
    assert_eq!(outcomes, "RCPT TO: 550");
    // In lock-step DATA is not said at all.
    let (commands, _) = dialogue(1, 100, false, &[Accepts, Says(550)]);
    assert_eq!(commands, "MAIL FROM:<> | RCPT TO:<r0@example.com> | RSET");
}

#[test]
fn a_lost_reply_to_the_dot_is_unknown_and_an_earlier_loss_is_not_sent() {
    let (_, outcomes) = dialogue(
        2,
        100,
        true,
        &[Accepts, Accepts, Says(550), Accepts, Leaves],
    );
    assert_eq!(outcomes, "Unknown, RCPT TO: 550");
    let (_, outcomes) = dialogue(2, 100, true, &[Accepts, Accepts, Leaves]);
    assert_eq!(outcomes, "NotSent, NotSent");
}

#[test]
fn a_refused_message_is_refused_for_all_and_not_offered_again() {
    let (commands, outcomes) = dialogue(3, 1, true, &[Accepts, Accepts, Accepts, Says(554)]);
    assert_eq!(commands, "MAIL FROM:<> | RCPT TO:<r0@example.com> | DATA");
    assert_eq!(
        outcomes,
        "end of data: 554, end of data: 554, end of data: 554"
    );
}

#[test]
fn a_session_that_refused_rset_is_not_used_again() {
    let envelope = envelope(1);
    let mut server = Server::new(vec![Accepts, Says(550), Says(500)]);
    let mut transaction = Transaction::new(&envelope, false, 100);
    run(&mut transaction, &mut server);
    assert!(!transaction.is_reusable());
}
