//! Length limits of arguments. A longer argument is refused before it is copied, and is not quoted.

use super::*;

/// Each argument with its maximum length in octets.
const LONGEST: &[(&str, usize)] = &[
    ("open_connection host", 255),
    ("open_connection secure_host", 255),
    ("starttls secure_host", 255),
    ("helo domain", 255),
    ("ehlo domain", 255),
    ("open_connection wallet_path", 4096),
    ("wallet_certificates wallet_path", 4096),
    ("open_connection wallet_password", 65_536),
    ("auth username", 65_536),
    ("auth password", 65_536),
    ("auth schemes", 1024),
    ("mail sender", 998),
    ("mail parameters", 998),
    ("rcpt recipient", 998),
    ("rcpt parameters", 998),
    ("vrfy recipient", 998),
    ("help command", 998),
    ("command cmd", 12_286),
    ("command arg", 12_286),
    ("command_replies cmd", 12_286),
    ("command_replies arg", 12_286),
    ("domains host", 255),
    ("contains_host host", 255),
    ("contains_host domain", 255),
];

/// Arguments that are in neither of the other lists.
const MORE: &[(&str, Call)] = &[
    ("wallet_certificates wallet_path", |s, _, x| {
        s.execute("SELECT utl_smtp.wallet_certificates($1)", &[&x])?;
        Ok(())
    }),
    ("open_connection wallet_password", |s, _, x| {
        discard(Open::to("no-such.example", 25).wallet_password(x).open(s))
    }),
    ("domains host", |s, _, x| {
        s.execute("SELECT dbms_network_acl_utility.domains($1)", &[&x])?;
        Ok(())
    }),
    ("contains_host host", |s, _, x| {
        let sql = "SELECT dbms_network_acl_utility.contains_host($1, 'a.example')";
        s.execute(sql, &[&x])?;
        Ok(())
    }),
    ("contains_host domain", |s, _, x| {
        let sql = "SELECT dbms_network_acl_utility.contains_host('a.example', $1)";
        s.execute(sql, &[&x])?;
        Ok(())
    }),
];

fn call(name: &str) -> Call {
    let all = ON_THE_WIRE.iter().chain(ELSEWHERE).chain(MORE);
    let (_, call) = all.into_iter().find(|(known, _)| *known == name).unwrap();
    *call
}

/// Schemes are names; all others are unlimited text.
fn text(name: &str, octets: usize) -> String {
    let unit = if name == "auth schemes" {
        "PLAIN "
    } else {
        "x"
    };
    let mut text = unit.repeat(octets / unit.len() + 1);
    text.truncate(octets);
    text
}

#[test]
fn every_argument_has_a_length_limit() {
    let mut bed = bed();
    let lines = lines_of(&mut bed, |case, smtp| {
        for (name, longest) in LONGEST {
            let failure = call(name)(case.session, smtp, &text(name, longest + 1)).unwrap_err();
            let failure = failure.expect("22023");
            let expected = format!("A value of {} octets, allowed are {longest}.", longest + 1);
            assert_eq!(failure.detail, expected, "{name}");
            assert!(failure.to_string().len() < 600, "{name}: {failure}");
        }
    });
    assert!(lines.is_empty(), "{lines:?}");
}

/// At the limit an argument does not fail because of its length.
#[test]
fn an_argument_may_be_as_long_as_its_limit() {
    let mut bed = bed();
    lines_of(&mut bed, |case, smtp| {
        for (name, longest) in LONGEST {
            if let Err(failure) = call(name)(case.session, smtp, &text(name, *longest)) {
                assert!(!failure.detail.contains("A value of"), "{name}: {failure}");
                assert!(
                    failure.detail.len() < 600 || *longest == 4096,
                    "{name}: {failure}"
                );
            }
        }
    });
}

/// The length of a value that is compressed or stored out of line is known without fetching it.
#[test]
fn a_stored_value_is_refused_without_fetching_it() {
    let mut bed = bed();
    let owner = &mut bed.database.superuser();
    owner.run(
        "CREATE TABLE long (kind text, value text);
         INSERT INTO long VALUES ('compressed', repeat('x', 300000));
         ALTER TABLE long ALTER COLUMN value SET STORAGE EXTERNAL;
         INSERT INTO long VALUES ('external', repeat('x', 300000));
         GRANT SELECT ON long TO PUBLIC",
    );
    lines_of(&mut bed, |case, _| {
        let rows = case.session.query("SELECT kind FROM long", &[]).unwrap();
        assert_eq!(rows.len(), 2);
        for row in rows {
            let kind: String = row.get(0);
            let sql = "SELECT utl_smtp.wallet_certificates(value) FROM long WHERE kind = $1";
            let failure = Failure::from(case.session.query(sql, &[&kind]).unwrap_err());
            let failure = failure.expect("22023");
            let expected = "A value of 300000 octets, allowed are 4096.";
            assert_eq!(failure.detail, expected, "{kind}");
        }
    });
}

/// An error lists each scheme once.
#[test]
fn a_list_of_schemes_is_not_repeated_at_length() {
    let mut bed = bed();
    lines_of(&mut bed, |case, smtp| {
        let schemes = text("auth schemes", 1020).replace("PLAIN", "LOGIN");
        let failure = smtp
            .auth(case.session, "user", "secret", schemes.trim())
            .unwrap_err()
            .expect("U4250");
        assert_eq!(failure.detail.matches("LOGIN").count(), 1, "{failure}");
    });
}
