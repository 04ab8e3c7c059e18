//! Commands in groups (RFC 2920): which may follow which before the replies are read, and which
//! reply belongs to which command.

use std::collections::VecDeque;

use proptest::prelude::*;
use smtp_core::command::{Command, Verb};
use smtp_core::phase::Phase;
use smtp_core::session::{Progress, Session};
use smtp_core::text::{Mailbox, Parameters, ReversePath};

use super::script::{domain, encrypted, plain, raw};

const HELLO: &str =
    "S: 220 mx\nC: EHLO db.example.com\nS: 250-mx\nS: 250-SMTPUTF8\nS: 250 PIPELINING\n";

#[test]
fn a_group_is_answered_in_its_order() {
    let conversation = plain(&format!(
        "{HELLO}C: MAIL FROM:<a@example.com>
         C: RCPT TO:<b@example.com>
         C: RCPT TO:<c@example.com>
         C: DATA
         S: 250 sender
         S: 550 b
         S: 250-c
         S: 250 c
         S: 354 go
         = data
         C: hello
         C: .
         S: 250 queued
         = ready"
    ));
    let verbs = [
        Verb::Mail,
        Verb::Rcpt,
        Verb::Rcpt,
        Verb::Data,
        Verb::FinalDot,
    ];
    assert_eq!(conversation.verbs[2..], verbs);
}

/// The server opened message data for nobody: only the final dot ends it.
#[test]
fn a_354_opens_message_data_whatever_was_refused() {
    for replies in [
        "S: 550 no\nS: 503 no\nS: 354 go",
        "S: 250 ok\nS: 550 no\nS: 354 go",
    ] {
        plain(&format!(
            "{HELLO}C: MAIL FROM:<>\nC: RCPT TO:<b@example.com>\nC: DATA\n{replies}\n= data
             > typed RSET
             ! a command inside message data
             C: .
             S: 554 no valid recipients
             = ready"
        ));
    }
}

#[test]
fn nothing_follows_the_last_command_of_a_group() {
    for last in [
        "EHLO db.example.com",
        "HELO db.example.com",
        "STARTTLS",
        "DATA",
        "VRFY a",
        "NOOP",
        "HELP",
        "QUIT",
        "EXPN a",
        "TURN",
        "XFOO",
        "AUTH LOGIN",
    ] {
        let script = format!("{HELLO}C: MAIL FROM:<>\nC: RSET\nC: {last}\n");
        let mut conversation = match last {
            // Over clear text AUTH LOGIN would be refused for another reason.
            "AUTH LOGIN" => encrypted(&script),
            _ => plain(&script),
        };
        for next in [
            Command::Rset,
            Command::Mail(ReversePath::Null, Parameters::default()),
            Command::Noop,
            raw("XFOO"),
        ] {
            let error = conversation.session.issue(&next).unwrap_err().to_string();
            assert!(error.ends_with("has not been read"), "{last}: {error}");
        }
        assert!(conversation.session.end_data().is_err());
        assert_eq!(conversation.session.output(), b"", "{last}");
        conversation.server(b"250 ok\r\n250 ok\r\n");
        assert!(conversation.session.due().is_some(), "{last}");
        assert!(
            conversation.session.issue(&Command::Rset).is_err(),
            "{last}"
        );
    }
}

/// What a raw line means is not known: even one that looks like RSET ends its group.
#[test]
fn a_raw_line_ends_its_group() {
    for line in ["RSET", "MAIL FROM:<>", "RCPT TO:<a@example.com>"] {
        plain(&format!(
            "{HELLO}C: MAIL FROM:<a@example.com>
             > raw {line}
             C: {line}
             > typed RSET
             ! the reply to {} has not been read
             S: 250 ok
             S: 503 no
             C: RSET
             S: 250 ok",
            match line.split(' ').next() {
                Some("MAIL") => "MAIL FROM",
                Some("RCPT") => "RCPT TO",
                _ => "RSET",
            }
        ));
    }
}

#[test]
fn no_group_without_pipelining() {
    for hello in [
        "S: 220 mx\n",
        "S: 220 mx\nC: HELO db.example.com\nS: 250 PIPELINING\n",
        "S: 220 mx\nC: EHLO db.example.com\nS: 250-mx PIPELINING\nS: 250 SIZE\n",
    ] {
        plain(&format!(
            "{hello}C: MAIL FROM:<>
             > typed RCPT TO:<b@example.com>
             ! the reply to MAIL FROM has not been read
             S: 250 ok
             C: RCPT TO:<b@example.com>
             S: 250 ok"
        ));
    }
}

#[test]
fn a_421_in_a_group_ends_the_session_and_what_is_due_is_forgotten() {
    let mut conversation = plain(&format!(
        "{HELLO}C: MAIL FROM:<>
         C: RCPT TO:<b@example.com>
         C: DATA
         S: 250 ok
         S: 421 shutting down
         = closed
         > typed RSET
         ! the connection is closed"
    ));
    assert_eq!(conversation.verbs[2..], [Verb::Mail, Verb::Rcpt]);
    assert_eq!(conversation.session.due(), None);
    let error = conversation.session.feed(b"354 go\r\n", &mut || {});
    assert!(error.unwrap_err().to_string().contains("354 go"));
}

/// Even a 421, and even the beginning of a reply.
#[test]
fn bytes_when_nothing_is_due_end_the_session() {
    for bytes in ["250 ok\r\n", "421 bye\r\n", "2", "hello\r\n"] {
        let mut session = plain(HELLO).session;
        assert!(session.feed(bytes.as_bytes(), &mut || {}).is_err());
        assert_eq!(session.phase(), Phase::Closed, "{bytes}");
    }
}

/// Whether RCPT may have a non-ASCII address depends on the MAIL before it, not on the one before
/// that.
#[test]
fn smtputf8_is_that_of_the_mail_in_flight() {
    plain(&format!(
        "{HELLO}C: MAIL FROM:<a@example.com> SMTPUTF8
         C: RCPT TO:<jörg@example.com>
         C: RSET
         C: MAIL FROM:<a@example.com>
         > typed RCPT TO:<jörg@example.com>
         ! the address of RCPT TO has non-ASCII characters, and MAIL had no parameter SMTPUTF8
         S: 250 ok
         S: 250 ok
         S: 250 ok
         S: 503 no"
    ));
    // The second MAIL was refused, so the parameters of the first one count.
    plain(&format!(
        "{HELLO}C: MAIL FROM:<a@example.com> SMTPUTF8
         C: MAIL FROM:<a@example.com>
         S: 250 ok
         S: 503 nested
         C: RCPT TO:<jörg@example.com>
         S: 250 ok"
    ));
}

/// One step of a caller, or the next reply of the server.
#[derive(Clone, Debug)]
enum Step {
    Issue(Command),
    /// The code, and how many lines.
    Reply(u16, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let mailbox = || Mailbox::parse("b@example.com").unwrap();
    prop_oneof![
        5 => prop::sample::select(vec![
            Command::Mail(ReversePath::Null, Parameters::default()),
            Command::Rcpt(mailbox(), Parameters::default()),
            Command::Rcpt(mailbox(), Parameters::default()),
            Command::Rset,
            Command::Data,
            Command::Noop,
            Command::Ehlo(domain("db.example.com")),
            Command::Vrfy("a".to_owned()),
            raw("XFOO"),
        ])
        .prop_map(Step::Issue),
        4 => (prop::sample::select(vec![250, 250, 354, 421, 450, 503, 550]), 1usize..4)
            .prop_map(|(code, lines)| Step::Reply(code, lines)),
    ]
}

/// A session with the replies that the server has sent, which are fed in pieces.
struct Run {
    session: Session,
    /// What is in flight, with its number, and whether a further command may follow.
    due: VecDeque<(Verb, usize, bool)>,
    issued: usize,
    pipelining: bool,
    seen: Vec<String>,
}

impl Run {
    fn new(pipelining: bool) -> Self {
        let mut this = Self {
            session: Session::new(false, false),
            due: VecDeque::from([(Verb::Connect, 0, false)]),
            issued: 0,
            pipelining: false,
            seen: Vec::new(),
        };
        this.server(b"220 0\r\n", 3);
        this.issue(&Command::Ehlo(domain("db.example.com")));
        let offer = match pipelining {
            true => "250-1\r\n250-PIPELINING\r\n250 1\r\n",
            false => "250-1\r\n250 1\r\n",
        };
        this.server(offer.as_bytes(), 3);
        this.pipelining = pipelining;
        this
    }

    fn issue(&mut self, command: &Command) {
        let phase = self.session.phase();
        let free = match self.due.back() {
            Some((.., may_be_followed)) => self.pipelining && *may_be_followed,
            None => true,
        };
        let free = free && !matches!(phase, Phase::Data | Phase::Closed);
        assert_eq!(self.session.issue(command).is_ok(), free, "{command:?}");
        assert_eq!(self.session.phase(), phase);
        if free {
            self.issued += 1;
            let may_be_followed = matches!(
                command,
                Command::Mail(..) | Command::Rcpt(..) | Command::Rset
            );
            self.due
                .push_back((command.verb(), self.issued, may_be_followed));
        }
        self.session.output_sent();
    }

    /// The server's words arrive in pieces. Each reply must come out with the oldest command.
    fn server(&mut self, octets: &[u8], piece: usize) {
        for mut octets in octets.chunks(piece.min(octets.len())) {
            while !octets.is_empty() && self.session.phase() != Phase::Closed {
                let (used, progress) = match self.session.feed(octets, &mut || {}) {
                    Ok(fed) => fed,
                    Err(error) => {
                        self.seen.push(error.to_string());
                        break;
                    }
                };
                octets = &octets[used..];
                if let Progress::Reply { verb, reply } = progress {
                    let (expected, number, _) = self.due.pop_front().unwrap();
                    assert_eq!((verb, reply.text()), (expected, &*number.to_string()));
                    // A later EHLO does not offer it again.
                    self.pipelining &= verb != Verb::Ehlo || reply.is_failure();
                    self.seen.push(format!("{verb} {reply}"));
                }
            }
        }
        if self.session.phase() == Phase::Closed {
            self.due.clear();
        }
        assert_eq!(self.session.due(), self.due.front().map(|due| due.0));
    }

    /// Message data has one way out.
    fn end_data(&mut self) {
        if self.session.phase() == Phase::Data && self.due.is_empty() {
            self.session.end_data().unwrap();
            self.session.output_sent();
            self.issued += 1;
            self.due.push_back((Verb::FinalDot, self.issued, false));
        }
    }
}

/// A reply that names the command it is for by its number.
fn reply(code: u16, number: usize, lines: usize) -> String {
    let line = |separator| format!("{code}{separator}{number}\r\n");
    [line('-').repeat(lines - 1), line(' ')].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// However the replies are cut, however many arrive together and whatever is refused.
    #[test]
    fn each_reply_is_matched_to_its_own_command(
        steps in prop::collection::vec(step(), 0..60),
        pipelining in any::<bool>(),
        piece in 1usize..40,
        together in 1usize..5,
    ) {
        let mut runs = [Run::new(pipelining), Run::new(pipelining)];
        let mut arriving = String::new();
        let mut waiting = 0;
        for step in &steps {
            match step {
                Step::Issue(command) => runs.iter_mut().for_each(|run| run.issue(command)),
                Step::Reply(code, lines) => {
                    // Beyond what is due, a reply would be unsolicited.
                    let Some((verb, number, _)) = runs[0].due.get(waiting) else {
                        continue;
                    };
                    let code = match (verb, code) {
                        (Verb::Data, 250) => 354,
                        (Verb::Data, code) => *code,
                        (_, 354) => 250,
                        (_, code) => *code,
                    };
                    arriving.push_str(&reply(code, *number, *lines));
                    waiting += 1;
                    if waiting >= together || waiting == runs[0].due.len() {
                        runs[0].server(arriving.as_bytes(), usize::MAX);
                        runs[1].server(arriving.as_bytes(), piece);
                        arriving.clear();
                        waiting = 0;
                        runs.iter_mut().for_each(Run::end_data);
                    }
                }
            }
            prop_assert_eq!(runs[0].session.phase(), runs[1].session.phase());
        }
        prop_assert_eq!(&runs[0].seen, &runs[1].seen);
    }
}
