use proptest::prelude::*;

use super::*;

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
/// RFC 7677 §3.
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

const EVERY_SCHEME: [Scheme; 7] = [
    Scheme::ScramSha256,
    Scheme::CramMd5,
    Scheme::Plain,
    Scheme::Login,
    Scheme::Xoauth2,
    Scheme::Oauthbearer,
    Scheme::External,
];

fn credentials(username: &str, password: &str) -> Credentials {
    Credentials {
        username: username.to_owned(),
        password: Secret::new(password),
        host: "server.example.com".to_owned(),
        port: 587,
        nonce: NONCE.to_owned(),
    }
}

fn begin(scheme: Scheme, username: &str, password: &str) -> Box<dyn Mechanism + Send> {
    mechanism(scheme, credentials(username, password)).unwrap()
}

fn initial(mechanism: &mut dyn Mechanism) -> String {
    text(mechanism.initial_response().unwrap())
}

fn answer(mechanism: &mut dyn Mechanism, challenge: &str) -> Result<String, Breach> {
    mechanism
        .respond(challenge.as_bytes(), &mut || {})
        .map(text)
}

fn text(secret: Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

fn is_breach(result: Result<impl std::fmt::Debug, Breach>) -> bool {
    result.is_err()
}

/// A SCRAM exchange in which the client has spoken and waits.
fn scram() -> Box<dyn Mechanism + Send> {
    let mut scram = begin(Scheme::ScramSha256, "user", "pencil");
    initial(&mut *scram);
    scram
}

#[test]
fn plain_sends_the_message_of_rfc_4616() {
    let mut plain = begin(Scheme::Plain, "tim", "tanstaaftanstaaf");
    assert_eq!(initial(&mut *plain), "\0tim\0tanstaaftanstaaf");
    assert!(is_breach(answer(&mut *plain, "more?")));
}

#[test]
fn login_answers_by_order_whatever_the_prompts_say() {
    let mut login = begin(Scheme::Login, "tim", "secret");
    assert!(login.initial_response().is_none());
    assert_eq!(answer(&mut *login, "Password:").unwrap(), "tim");
    assert_eq!(answer(&mut *login, "").unwrap(), "secret");
    assert!(is_breach(answer(&mut *login, "Token:")));
}

/// RFC 2195 §2.
#[test]
fn cram_md5_answers_the_challenge_of_rfc_2195() {
    let mut cram = begin(Scheme::CramMd5, "tim", "tanstaaftanstaaf");
    assert!(cram.initial_response().is_none());
    let challenge = "<1896.697170952@postoffice.reston.mci.net>";
    assert_eq!(
        answer(&mut *cram, challenge).unwrap(),
        "tim b913a602c7eda7a495b4e6e7334d3890"
    );
    assert!(is_breach(answer(&mut *cram, challenge)));
}

#[test]
fn cram_md5_refuses_an_empty_challenge() {
    let mut cram = begin(Scheme::CramMd5, "tim", "tanstaaftanstaaf");
    assert!(is_breach(answer(&mut *cram, "")));
}

#[test]
fn xoauth2_lets_the_server_finish_its_refusal() {
    let mut xoauth2 = begin(
        Scheme::Xoauth2,
        "someuser@example.com",
        "ya29.vF9dft4qmTc2Nvb3",
    );
    assert_eq!(
        initial(&mut *xoauth2),
        "user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3\x01\x01"
    );
    assert_eq!(answer(&mut *xoauth2, r#"{"status":"400"}"#).unwrap(), "");
    assert!(is_breach(answer(&mut *xoauth2, "again")));
}

/// The message of RFC 7628 §4.1, and the dummy response of §3.2.3.
#[test]
fn oauthbearer_sends_the_message_of_rfc_7628() {
    let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
    let mut bearer = mechanism(
        Scheme::Oauthbearer,
        Credentials {
            port: 143,
            ..credentials("user@example.com", token)
        },
    )
    .unwrap();
    assert_eq!(
        initial(&mut *bearer),
        format!(
            "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer {token}\x01\x01"
        )
    );
    let mut anonymous = begin(Scheme::Oauthbearer, "", "token");
    assert_eq!(
        initial(&mut *anonymous),
        "n,,\x01host=server.example.com\x01port=587\x01auth=Bearer token\x01\x01"
    );
    assert_eq!(
        answer(&mut *bearer, r#"{"status":"invalid_token"}"#).unwrap(),
        "\x01"
    );
    assert!(is_breach(answer(&mut *bearer, "again")));
}

#[test]
fn external_sends_the_identity_or_nothing() {
    assert_eq!(initial(&mut *begin(Scheme::External, "", "")), "");
    assert_eq!(
        initial(&mut *begin(Scheme::External, "tim@example.com", "")),
        "tim@example.com"
    );
}

#[test]
fn scram_runs_the_exchange_of_rfc_7677() {
    let mut scram = begin(Scheme::ScramSha256, "user", "pencil");
    assert_eq!(initial(&mut *scram), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert_eq!(
        answer(&mut *scram, SERVER_FIRST).unwrap(),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    assert_eq!(answer(&mut *scram, SERVER_FINAL).unwrap(), "");
    scram.finish().unwrap();
    assert!(is_breach(answer(&mut *scram, SERVER_FINAL)));
}

#[test]
fn scram_escapes_and_prepares_the_user_name() {
    // RFC 5802 §5.1 for the comma and the equals sign; RFC 4013 §2.1 maps a soft hyphen to nothing.
    let mut scram = begin(Scheme::ScramSha256, "a,b=c\u{ad}d", "pencil");
    assert_eq!(
        initial(&mut *scram),
        "n,,n=a=2Cb=3Dcd,r=rOprNGfwEbeRWgbNEkqO"
    );
}

#[test]
fn scram_prepares_the_password() {
    let mut scram = begin(Scheme::ScramSha256, "user", "pen\u{ad}cil");
    initial(&mut *scram);
    answer(&mut *scram, SERVER_FIRST).unwrap();
    answer(&mut *scram, SERVER_FINAL).unwrap();
    scram.finish().unwrap();
}

#[test]
fn scram_lets_interrupts_through_while_it_computes() {
    let mut scram = scram();
    let mut pauses = 0;
    let first = SERVER_FIRST.replace("i=4096", "i=20000");
    scram
        .respond(first.as_bytes(), &mut || pauses += 1)
        .unwrap();
    assert_eq!(pauses, 4);
}

#[test]
fn scram_refuses_a_success_without_the_servers_signature() {
    let mut scram = scram();
    assert!(is_breach(scram.finish()));
    answer(&mut *scram, SERVER_FIRST).unwrap();
    assert!(is_breach(scram.finish()));
}

#[test]
fn scram_refuses_a_wrong_signature() {
    for wrong in [
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8=",
        "v=6rri",
        "v=",
        "v=!",
        "",
        "x",
    ] {
        let mut scram = scram();
        answer(&mut *scram, SERVER_FIRST).unwrap();
        assert!(is_breach(answer(&mut *scram, wrong)), "{wrong}");
        assert!(is_breach(scram.finish()), "{wrong}");
    }
}

#[test]
fn scram_waits_for_the_servers_own_refusal_but_never_takes_it_for_success() {
    let mut scram = scram();
    answer(&mut *scram, SERVER_FIRST).unwrap();
    assert_eq!(answer(&mut *scram, "e=invalid-proof").unwrap(), "");
    assert!(is_breach(answer(&mut *scram, SERVER_FINAL)));
    assert!(is_breach(scram.finish()));
}

#[test]
fn scram_refuses_a_first_message_that_breaks_the_rules() {
    let nonce = "r=rOprNGfwEbeRWgbNEkqO";
    for wrong in [
        format!("{nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
        "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".to_owned(),
        format!("{nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095"),
        format!("{nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1000001"),
        format!("{nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=+4096"),
        format!("{nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999999999999999"),
        format!("{nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i="),
        format!("{nonce}x,s=,i=4096"),
        format!("{nonce}x,s=?,i=4096"),
        format!("{nonce}x,i=4096,s=W22ZaJ0SNY7soEsUEjb6gQ=="),
        format!("m=ext,{nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
        "e=other-error".to_owned(),
        String::new(),
    ] {
        assert!(is_breach(answer(&mut *scram(), &wrong)), "{wrong}");
    }
}

#[test]
fn scram_refuses_a_nonce_that_would_break_the_message() {
    for nonce in ["", "a,b", "a b", "ä", "a\n"] {
        let credentials = Credentials {
            nonce: nonce.to_owned(),
            ..credentials("user", "pencil")
        };
        let result = mechanism(Scheme::ScramSha256, credentials);
        assert_eq!(result.unwrap_err(), CredentialError::Nonce, "{nonce:?}");
    }
}

#[test]
fn credentials_with_line_breaks_are_refused_without_being_repeated() {
    for scheme in EVERY_SCHEME {
        for bad in ["hunter2\0", "hun\rter2", "hunter2\nRSET"] {
            for (field, username, password) in
                [(Field::Username, bad, "x"), (Field::Password, "x", bad)]
            {
                let error = mechanism(scheme, credentials(username, password)).unwrap_err();
                assert_eq!(error, CredentialError::ControlCharacter(field));
                assert!(!format!("{error} {error:?}").contains("hun"), "{error:?}");
            }
        }
    }
}

#[test]
fn token_schemes_refuse_the_separator_of_their_fields() {
    for scheme in [Scheme::Xoauth2, Scheme::Oauthbearer] {
        assert!(mechanism(scheme, credentials("a\x01b", "token")).is_err());
        assert!(mechanism(scheme, credentials("a", "token\x01host=evil")).is_err());
    }
}

/// UTF-8 as given, and ten kilobytes of it.
#[test]
fn passwords_go_out_as_utf_8_whatever_their_length() {
    let password = "pässwörd".repeat(1024);
    let mut plain = begin(Scheme::Plain, "jürgen", &password);
    assert_eq!(initial(&mut *plain), format!("\0jürgen\0{password}"));
}

#[test]
fn debug_of_a_mechanism_shows_no_secret() {
    for scheme in EVERY_SCHEME {
        let mut mechanism = begin(scheme, "tim", "hunter2");
        let shown = format!("{mechanism:?} {:?}", credentials("tim", "hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
        mechanism.initial_response();
        let _ = mechanism.respond(SERVER_FIRST.as_bytes(), &mut || {});
        assert!(!format!("{mechanism:?}").contains("hunter2"));
    }
}

fn list(text: &str) -> SchemeList {
    SchemeList::parse(text).unwrap()
}

fn offer(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn scheme_names_are_read_in_any_case_and_with_either_separator() {
    assert_eq!(
        list("plain,Scram-Sha-256,  LOGIN").to_string(),
        "PLAIN SCRAM-SHA-256 LOGIN"
    );
    assert_eq!(list(ALL_SCHEMES).to_string(), ALL_SCHEMES);
    assert_eq!(
        list(NON_CLEARTEXT_PASSWORD_SCHEMES).to_string(),
        NON_CLEARTEXT_PASSWORD_SCHEMES
    );
    for scheme in EVERY_SCHEME {
        assert_eq!(scheme.name().to_lowercase().parse(), Ok(scheme));
    }
}

#[test]
fn an_unknown_scheme_is_named() {
    let error = SchemeList::parse("PLAIN DIGEST-MD5").unwrap_err();
    assert_eq!(error, SchemeError::Unsupported("DIGEST-MD5".to_owned()));
    assert_eq!(
        error.to_string(),
        "authentication scheme \"DIGEST-MD5\" is not supported"
    );
}

#[test]
fn an_empty_list_and_control_characters_are_argument_errors() {
    for text in ["", " ,, ", "PLAIN\r\nRSET"] {
        let error = SchemeList::parse(text).unwrap_err();
        let is_expected = matches!(error, SchemeError::Empty | SchemeError::Text(_));
        assert!(is_expected, "{text:?}: {error:?}");
    }
}

#[test]
fn the_callers_order_decides_among_what_is_offered() {
    let offered = offer("login PLAIN CRAM-MD5");
    let choose = |text: &str| {
        list(text)
            .choose(Some(&offered), SchemePolicy::Any)
            .unwrap()
    };
    assert_eq!(choose("PLAIN LOGIN"), Scheme::Plain);
    assert_eq!(choose("SCRAM-SHA-256 LOGIN PLAIN"), Scheme::Login);
}

/// EHLO never called.
#[test]
fn without_an_ehlo_the_first_scheme_is_taken() {
    assert_eq!(
        list(ALL_SCHEMES).choose(None, SchemePolicy::NoCleartextSecret),
        Ok(Scheme::ScramSha256)
    );
    assert_eq!(
        list("LOGIN CRAM-MD5").choose(None, SchemePolicy::Any),
        Ok(Scheme::Login)
    );
}

#[test]
fn schemes_that_expose_the_secret_count_as_not_offered_in_clear() {
    let offered = offer("PLAIN LOGIN XOAUTH2 OAUTHBEARER");
    for scheme in ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", ALL_SCHEMES] {
        for offered in [Some(offered.as_slice()), None] {
            let chosen = list(scheme).choose(offered, SchemePolicy::NoCleartextSecret);
            if scheme == ALL_SCHEMES && offered.is_none() {
                continue;
            }
            let error = chosen.unwrap_err();
            assert!(error.refused.is_some(), "{scheme}");
            assert_eq!(error.policy, SchemePolicy::NoCleartextSecret);
        }
    }
    let with_cram = offer("PLAIN CRAM-MD5");
    assert_eq!(
        list("PLAIN CRAM-MD5").choose(Some(&with_cram), SchemePolicy::NoCleartextSecret),
        Ok(Scheme::CramMd5)
    );
    assert_eq!(
        list("PLAIN CRAM-MD5").choose(Some(&with_cram), SchemePolicy::Any),
        Ok(Scheme::Plain)
    );
}

/// Whatever is made of a password: an attacker who chose the challenge could try passwords on the
/// answer.
#[test]
fn no_scheme_with_a_password_is_chosen_where_none_may_be_used() {
    let offered = offer("SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN XOAUTH2 OAUTHBEARER EXTERNAL");
    for scheme in EVERY_SCHEME {
        let chosen = list(scheme.name()).choose(Some(&offered), SchemePolicy::NoPassword);
        if scheme == Scheme::External {
            assert_eq!(chosen, Ok(scheme));
            continue;
        }
        let error = chosen.unwrap_err();
        assert_eq!(error.refused.as_deref(), Some(scheme.name()));
        assert_eq!(error.policy, SchemePolicy::NoPassword);
    }
    let error = NoSupportedScheme::unknown_in_clear("NT\nLM");
    assert_eq!(error.refused.as_deref(), Some("\"NT\\nLM\""));
}

#[test]
fn the_refusal_says_what_the_server_offers() {
    let offered = ["GSSAPI".to_owned(), "N\nTLM".to_owned()];
    let error = list("CRAM-MD5")
        .choose(Some(&offered), SchemePolicy::Any)
        .unwrap_err();
    assert_eq!(error.offered.as_deref(), Some("\"GSSAPI N\\nTLM\""));
    assert_eq!(error.wanted, "CRAM-MD5");
    let error = list("CRAM-MD5")
        .choose(Some(&[]), SchemePolicy::Any)
        .unwrap_err();
    assert!(error.offered.is_none() && error.none_offered);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_challenge_makes_a_mechanism_panic(
        challenges in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..4),
        known in any::<bool>(),
    ) {
        for scheme in EVERY_SCHEME {
            let mut mechanism = begin(scheme, "user", "pencil");
            mechanism.initial_response();
            if known {
                let _ = mechanism.respond(SERVER_FIRST.as_bytes(), &mut || {});
            }
            for challenge in &challenges {
                let _ = mechanism.respond(challenge, &mut || {});
            }
            prop_assert!(scheme != Scheme::ScramSha256 || mechanism.finish().is_err());
        }
    }
}
