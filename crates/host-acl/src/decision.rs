//! Which of many entries decides.

use std::fmt;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GrantType {
    /// Access is denied.
    Deny,
    /// Access is granted.
    Grant,
}

impl fmt::Display for GrantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grant => "GRANT",
            Self::Deny => "DENY",
        })
    }
}

/// One access control entry. `P` identifies a role.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a, P> {
    /// The canonical text of a [`crate::HostPattern`].
    pub host: &'a [u8],
    /// The first and the last port; `None` is every port.
    pub ports: Option<(i32, i32)>,
    /// Within one host and port range the lowest decides.
    pub order: i32,
    /// The role.
    pub principal: P,
    /// The privilege, such as `connect`.
    pub privilege: &'a [u8],
    /// What it says.
    pub grant_type: GrantType,
    /// The entry applies from this time on, in the unit of [`Asker::now`].
    pub start: Option<i64>,
    /// The entry applies up to this time.
    pub end: Option<i64>,
}

/// Who asks, and when.
pub struct Asker<'a, P> {
    /// The present time. Asked for only where an entry has a date.
    pub now: &'a dyn Fn() -> i64,
    /// Whether the role that wants to connect has the privileges of this one.
    pub has_privileges_of: &'a dyn Fn(P) -> bool,
}

/// What is asked.
pub struct Question<'a> {
    /// The patterns that match the host, the most specific first; see [`crate::candidates`].
    pub patterns: &'a [String],
    /// The port to connect to.
    pub port: u16,
    /// Any of these privileges will do.
    pub privileges: &'a [&'a str],
}

/// The answer to a question, found by looking at one entry after another, in any order.
pub struct Decision<'a, P> {
    question: Question<'a>,
    asker: Asker<'a, P>,
    first: Option<Precedence>,
}

/// What decides between entries that apply: the least comes first.
type Precedence = (usize, bool, i32, GrantType);

impl<'a, P: Copy> Decision<'a, P> {
    /// Before any entry was looked at.
    pub fn new(question: Question<'a>, asker: Asker<'a, P>) -> Self {
        Self {
            question,
            asker,
            first: None,
        }
    }

    /// Looks at one entry.
    pub fn consider(&mut self, entry: &Entry<'_, P>) {
        let precedence = self.precedence(entry);
        self.first = [self.first, precedence].into_iter().flatten().min();
    }

    /// What the entries say; `None` where none of them applies.
    pub fn outcome(&self) -> Option<GrantType> {
        self.first.map(|(.., grant_type)| grant_type)
    }

    /// Where an entry comes among those that apply; `None` if it does not apply.
    fn precedence(&self, entry: &Entry<'_, P>) -> Option<Precedence> {
        let Question {
            patterns,
            port,
            privileges,
        } = self.question;
        let port = i32::from(port);
        let rank = patterns
            .iter()
            .position(|pattern| pattern.as_bytes() == entry.host)?;
        let applies = entry
            .ports
            .is_none_or(|(lower, upper)| lower <= port && port <= upper)
            && privileges
                .iter()
                .any(|privilege| privilege.as_bytes() == entry.privilege)
            && entry.applies_to(&self.asker);
        applies.then_some((rank, entry.ports.is_none(), entry.order, entry.grant_type))
    }
}

impl<P: Copy> Entry<'_, P> {
    /// Whether the entry is in force and concerns the role, whatever the host, port and privilege.
    pub fn applies_to(&self, asker: &Asker<'_, P>) -> bool {
        self.is_in_force(asker.now) && (asker.has_privileges_of)(self.principal)
    }

    fn is_in_force(&self, now: &dyn Fn() -> i64) -> bool {
        if self.start.is_none() && self.end.is_none() {
            return true;
        }
        let now = now();
        self.start.is_none_or(|start| start <= now) && self.end.is_none_or(|end| now <= end)
    }
}

#[cfg(test)]
mod tests {
    use super::GrantType::{Deny, Grant};
    use super::*;

    /// An entry for role 1 that always applies to port 25 of `mail.example.com`.
    const ENTRY: Entry<'static, u32> = Entry {
        host: b"mail.example.com",
        ports: None,
        order: 5,
        principal: 1,
        privilege: b"smtp",
        grant_type: Grant,
        start: None,
        end: None,
    };

    /// Asked at time 100 by role 1, which is a member of role 2, in either order of the entries.
    fn ask(entries: &[Entry<'_, u32>]) -> Option<GrantType> {
        let patterns = ["mail.example.com", "*.example.com", "*"].map(str::to_owned);
        let decision = || {
            let question = Question {
                patterns: &patterns,
                port: 25,
                privileges: &["connect", "smtp"],
            };
            let asker = Asker {
                now: &|| 100,
                has_privileges_of: &|role| role == 1 || role == 2,
            };
            Decision::new(question, asker)
        };
        let (mut forward, mut backward) = (decision(), decision());
        entries.iter().for_each(|entry| forward.consider(entry));
        entries
            .iter()
            .rev()
            .for_each(|entry| backward.consider(entry));
        assert_eq!(forward.outcome(), backward.outcome());
        forward.outcome()
    }

    #[test]
    fn without_an_entry_that_applies_there_is_no_answer() {
        let others = [
            Entry {
                host: b"other.example.com",
                ..ENTRY
            },
            Entry {
                ports: Some((26, 465)),
                ..ENTRY
            },
            Entry {
                ports: Some((1, 24)),
                ..ENTRY
            },
            Entry {
                principal: 3,
                ..ENTRY
            },
            Entry {
                privilege: b"resolve",
                ..ENTRY
            },
            Entry {
                start: Some(101),
                ..ENTRY
            },
            Entry {
                end: Some(99),
                ..ENTRY
            },
        ];
        for entry in others {
            assert_eq!(ask(&[entry]), None, "{entry:?}");
        }
        assert_eq!(ask(&others), None);
        assert_eq!(ask(&[]), None);
    }

    #[test]
    fn ports_dates_membership_and_privileges_include_their_ends() {
        for entry in [
            Entry {
                ports: Some((25, 25)),
                ..ENTRY
            },
            Entry {
                ports: Some((20, 25)),
                ..ENTRY
            },
            Entry {
                ports: Some((25, 30)),
                ..ENTRY
            },
            Entry {
                principal: 2,
                ..ENTRY
            },
            Entry {
                privilege: b"connect",
                ..ENTRY
            },
            Entry {
                start: Some(100),
                end: Some(100),
                ..ENTRY
            },
        ] {
            assert_eq!(ask(&[entry]), Some(Grant), "{entry:?}");
        }
    }

    #[test]
    fn the_first_in_order_of_precedence_decides() {
        let deny = Entry {
            grant_type: Deny,
            ..ENTRY
        };
        for (stronger, weaker) in [
            // The host before the port range, the port range before the order, the order before
            // DENY.
            (
                ENTRY,
                Entry {
                    host: b"*.example.com",
                    ports: Some((25, 25)),
                    order: 1,
                    ..deny
                },
            ),
            (
                Entry {
                    host: b"*.example.com",
                    ..ENTRY
                },
                Entry { host: b"*", ..deny },
            ),
            (
                Entry {
                    ports: Some((1, 99)),
                    ..ENTRY
                },
                Entry { order: 1, ..deny },
            ),
            (Entry { order: 4, ..ENTRY }, deny),
            (deny, ENTRY),
        ] {
            let verdict = ask(&[stronger, weaker]);
            assert_eq!(
                verdict,
                Some(stronger.grant_type),
                "{stronger:?} {weaker:?}"
            );
        }
    }

    #[test]
    fn an_entry_for_another_role_hides_nothing() {
        let other = Entry {
            principal: 3,
            grant_type: Deny,
            order: 1,
            ..ENTRY
        };
        let wide = Entry {
            host: b"*",
            ..ENTRY
        };
        assert_eq!(ask(&[other, wide]), Some(Grant));
    }
}
