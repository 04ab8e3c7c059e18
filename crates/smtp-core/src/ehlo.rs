//! What a server's reply to EHLO offers (RFC 5321 §4.1.1.1, RFC 4954 §3 for AUTH, RFC 1870 for
//! SIZE).

use crate::reply::Reply;

/// The extensions of the last EHLO. There are none before it, and none after HELO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    keywords: Vec<String>,
    auth: Vec<String>,
    pipelining: bool,
}

impl Capabilities {
    /// Reads the lines after the first, which is the greeting.
    pub fn parse(reply: &Reply) -> Self {
        let keywords: Vec<String> = reply
            .lines()
            .iter()
            .skip(1)
            .filter(|line| !line.is_empty())
            .cloned()
            .collect();
        let auth = keywords
            .iter()
            .filter_map(|line| auth_parameters(line))
            .flat_map(str::split_ascii_whitespace)
            .map(str::to_ascii_uppercase)
            .collect();
        let mut this = Self {
            keywords,
            auth,
            pipelining: false,
        };
        this.pipelining = this.offers("PIPELINING");
        this
    }

    /// Whether PIPELINING is offered (RFC 2920). It is asked for every command.
    pub fn is_pipelining(&self) -> bool {
        self.pipelining
    }

    /// Each line that offers an extension, as the server wrote it.
    pub fn keywords(&self) -> &[String] {
        &self.keywords
    }

    /// The SASL mechanisms offered, in upper case.
    pub fn auth_schemes(&self) -> &[String] {
        &self.auth
    }

    /// Whether an extension is offered, whatever its parameters.
    pub fn offers(&self, extension: &str) -> bool {
        self.keywords
            .iter()
            .filter_map(|line| line.split_ascii_whitespace().next())
            .any(|keyword| keyword.eq_ignore_ascii_case(extension))
    }

    /// The octets of the largest message that the server takes (RFC 1870 §4); `None` if it does not
    /// say, or says that there is no limit.
    pub fn size_limit(&self) -> Option<u64> {
        let mut limits = self.keywords.iter().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next()?;
            keyword.eq_ignore_ascii_case("SIZE").then(|| words.next())?
        });
        limits.next()?.parse().ok().filter(|limit| *limit > 0)
    }
}

/// The parameters of an AUTH line. Servers from before RFC 2554 write `AUTH=`, and some write both.
fn auth_parameters(line: &str) -> Option<&str> {
    let (keyword, parameters) = line.split_at_checked(5)?;
    (keyword.eq_ignore_ascii_case("AUTH ") || keyword.eq_ignore_ascii_case("AUTH="))
        .then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::ReplyParser;

    fn capabilities(text: &str) -> Capabilities {
        let (_, reply) = ReplyParser::default().feed(text.as_bytes()).unwrap();
        Capabilities::parse(&reply.unwrap())
    }

    #[test]
    fn extensions_are_found_whatever_their_case_and_parameters() {
        let offered = capabilities(
            "250-AUTH\r\n250-SIZE 157286400\r\n250-auth login XOAUTH2\r\n250 STARTTLS\r\n",
        );
        assert!(offered.offers("SIZE") && offered.offers("starttls") && offered.offers("AUTH"));
        assert!(!offered.offers("8BITMIME"));
        assert_eq!(offered.auth_schemes(), ["LOGIN", "XOAUTH2"]);
        assert_eq!(
            offered.keywords(),
            ["SIZE 157286400", "auth login XOAUTH2", "STARTTLS"]
        );
    }

    #[test]
    fn a_size_is_a_limit_unless_it_is_zero_or_missing() {
        let limit = |text: &str| capabilities(text).size_limit();
        assert_eq!(limit("250-mx\r\n250 SIZE 157286400\r\n"), Some(157_286_400));
        assert_eq!(limit("250-mx\r\n250 size 1000 \r\n"), Some(1000));
        for text in ["SIZE", "SIZE 0", "SIZE many", "SIZES 10", "DSN"] {
            assert_eq!(limit(&format!("250-mx\r\n250 {text}\r\n")), None, "{text}");
        }
    }

    #[test]
    fn the_old_auth_form_counts_and_the_greeting_line_does_not() {
        let offered = capabilities("250-AUTH PLAIN\r\n250-AUTH=LOGIN\r\n250 x\r\n");
        assert_eq!(offered.auth_schemes(), ["LOGIN"]);
        assert!(capabilities("250 STARTTLS\r\n").keywords().is_empty());
    }
}
