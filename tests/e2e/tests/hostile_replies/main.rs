//! Unexpected replies: every code at every step, broken syntax, floods, slow and missing replies,
//! resets, unsolicited and late data.

mod codes;
mod syntax;
mod timing;
mod unsolicited;

use Step::*;
use e2e::invariants::assert_over;
use e2e::peer::Ending;
use e2e::process::{BOUND, LIMITS, NEVER};
use e2e::test_bed::{CLIENT, Case, TestBed, lasts};
use e2e::{Failure, Script, Session, Smtp};
use std::time::{Duration, Instant};

const IN_STEP: &str = "250 in step";
const PASSWORD: &str = "nOt-a-sEcret";
/// The user of AUTH PLAIN; the peers ignore it.
const USER: &str = "alice";

/// A command whose reply is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Dot,
    Rset,
    Noop,
    Vrfy,
    Help,
    Command,
    CommandReplies,
    Quit,
}

const STEPS: [Step; 15] = [
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Dot,
    Rset,
    Noop,
    Vrfy,
    Help,
    Command,
    CommandReplies,
    Quit,
];

impl Step {
    /// The peer's script up to the point where it has received the command.
    fn script(self) -> Script {
        let greeted = Script::greeting();
        let ready = || Script::greeting().on("EHLO", "250-peer\r\n250 AUTH PLAIN");
        let mail = || ready().on("MAIL", "250 ok");
        let rcpt = || mail().on("RCPT", "250 ok");
        match self {
            Ehlo => greeted.expect_start("EHLO"),
            Helo => greeted.expect_start("HELO"),
            StartTls => ready().expect_start("STARTTLS"),
            Auth => ready().expect_start("AUTH PLAIN "),
            Mail => ready().expect_start("MAIL"),
            Rcpt => mail().expect_start("RCPT"),
            Data => rcpt().expect_start("DATA"),
            Dot => rcpt().on("DATA", "354 go").body(),
            Rset => rcpt().expect_start("RSET"),
            Noop => ready().expect_start("NOOP"),
            Vrfy => ready().expect_start("VRFY"),
            Help => ready().expect_start("HELP"),
            Command | CommandReplies => ready().expect_start("XTEST"),
            Quit => ready().expect_start("QUIT"),
        }
    }

    /// Runs the client up to the same point.
    #[track_caller]
    fn prepare(self, case: &mut Case<'_>, timeout: i32) -> Smtp {
        self.try_prepare(case, timeout)
            .unwrap_or_else(|failure| panic!("{self:?}: {failure}"))
    }

    fn try_prepare(self, case: &mut Case<'_>, timeout: i32) -> Result<Smtp, Failure> {
        let smtp = case.open().timeout(timeout).open(case.session)?;
        if matches!(self, Ehlo | Helo) {
            return Ok(smtp);
        }
        smtp.ehlo(case.session, CLIENT)?;
        if matches!(self, Rcpt | Data | Dot | Rset) {
            smtp.mail(case.session, "a@example.test")?;
        }
        if matches!(self, Data | Dot | Rset) {
            smtp.rcpt(case.session, "b@example.test")?;
        }
        if self == Dot {
            smtp.open_data(case.session)?;
            smtp.write_data(case.session, "body\r\n")?;
        }
        Ok(smtp)
    }

    /// Makes the call; returns its reply code.
    fn call(self, session: &mut Session, smtp: &Smtp) -> Result<i32, Failure> {
        let last = |replies: Vec<e2e::Reply>| replies.last().unwrap().code;
        let reply = match self {
            Ehlo => return smtp.ehlo(session, CLIENT).map(last),
            Help => return smtp.replies(session, "help", &[]).map(last),
            CommandReplies => {
                let verb = "XTEST";
                return smtp.replies(session, "command_replies", &[&verb]).map(last);
            }
            Helo => smtp.helo(session, CLIENT),
            StartTls => smtp.starttls(session),
            Auth => smtp.auth(session, USER, PASSWORD, "PLAIN"),
            Mail => smtp.mail(session, "a@example.test"),
            Rcpt => smtp.rcpt(session, "b@example.test"),
            Data => smtp.open_data(session),
            Dot => smtp.close_data(session),
            Rset => smtp.rset(session),
            Noop => smtp.noop(session),
            Vrfy => smtp.reply(session, "vrfy", &[&"b@example.test"]),
            Command => smtp.command(session, "XTEST", None),
            Quit => smtp.quit(session),
        };
        reply.map(|reply| reply.code)
    }

    /// Whether the function returns 4xx, 5xx and a lost connection instead of raising them.
    fn never_raises(self) -> bool {
        matches!(self, Vrfy | Help | CommandReplies)
    }

    /// Its name in CONTEXT.
    fn in_context(self) -> &'static str {
        match self {
            Ehlo => "EHLO",
            Helo => "HELO",
            StartTls => "STARTTLS",
            Auth => "AUTH",
            Mail => "MAIL FROM",
            Rcpt => "RCPT TO",
            Data => "DATA",
            Dot => "end of data",
            Rset => "RSET",
            Noop => "NOOP",
            Vrfy => "VRFY",
            Help => "HELP",
            Command | CommandReplies => "command",
            Quit => "QUIT",
        }
    }
}

/// A test bed that allows AUTH PLAIN without TLS.
fn bed() -> TestBed {
    let mut bed = TestBed::new();
    bed.database.set("utl_smtp.allow_cleartext_auth", "on");
    bed.session = bed.database.connect(&bed.role);
    bed
}

/// The expected outcome of every step when the connection is lost.
#[track_caller]
fn assert_lost(step: Step, outcome: Result<i32, Failure>) {
    match outcome {
        Ok(code) => {
            assert!(
                step.never_raises() || step == Quit,
                "{step:?} returned {code}"
            );
            assert_eq!(code, 421, "{step:?}");
        }
        Err(failure) => {
            assert!(!step.never_raises() && step != Quit, "{step:?}: {failure}");
            assert_eq!(failure.sqlstate, "U9278", "{step:?}: {failure}");
            assert!(
                failure.message.contains("error: 421 "),
                "{step:?}: {failure}"
            );
        }
    }
}
