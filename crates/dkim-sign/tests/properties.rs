//! Whatever a message is, a verifier that shares no code with the crate finds what was signed.

mod common;

use common::{ed25519, parts, relaxed_body, relaxed_field, sign, tags, verify};
use dkim_sign::{HashedMessage, MessageError};
use proptest::prelude::*;

/// Header fields, lines that are none, and bodies, all with the octets that matter.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        6 => prop::sample::select(vec![
            "From", "from ", "To", "TO\t ", "Cc", "Subject", "Date", "Reply-To", "Content-Type",
            "Message-ID", "List-Unsubscribe", "Received", "Bcc", "X-Other",
        ]).prop_map(str::to_owned),
        1 => "[a-zA-Z \t\u{e9}-]{0,12}",
    ];
    let end = || prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r", "\n\r"]);
    let value = "[ab@:<> \t\u{e9}.]{0,20}(\r\n[ \t][ab \t]{0,8}){0,2}";
    let field = (name, value, end()).prop_map(|(name, value, end)| format!("{name}:{value}{end}"));
    let header = prop_oneof![20 => field, 1 => "[ a:\t]{0,5}(\r\n|\r|\n)"];
    let body = prop::collection::vec(
        prop_oneof![
            prop::sample::select(vec![
                &b" "[..],
                b"\t",
                b"\r\n",
                b"\r\n",
                b"\r",
                b"\n",
                b".",
                b"a",
                b"b",
                b"\0",
                b"\xff",
            ])
            .prop_map(<[u8]>::to_vec),
            prop::collection::vec(any::<u8>(), 0..4),
        ],
        0..40,
    );
    let from = prop::sample::select(vec!["", "From: a@example.com\r\n"]);
    (from, prop::collection::vec(header, 0..8), body).prop_map(|(from, header, body)| {
        let mut message = from.as_bytes().to_vec();
        message.extend(header.concat().into_bytes());
        message.extend(body.concat());
        message
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_signature_is_valid_or_the_message_is_refused(message in message()) {
        let signer = ed25519();
        let (fields, _) = parts(&message);
        let authors = fields.iter().filter(|(name, _)| name == "from").count();
        match sign(&signer, [&message]) {
            Ok(field) => {
                prop_assert_eq!(authors, 1);
                let signed = [field.as_bytes(), &message].concat();
                prop_assert_eq!(verify(&signed, &signer.key().dns_record()), Ok(()));
            }
            Err(MessageError::NoFrom) => prop_assert_eq!(authors, 0),
            Err(MessageError::SeveralFrom) => prop_assert!(authors > 1),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn a_signature_does_not_depend_on_how_the_message_is_cut(
        message in message(), sizes in prop::collection::vec(0..7usize, 1..20),
    ) {
        let signer = ed25519();
        let whole = sign(&signer, [&message]);
        prop_assert_eq!(&sign(&signer, message.chunks(1)), &whole);
        let mut rest = &message[..];
        let mut pieces = Vec::new();
        for size in sizes.into_iter().cycle().take(1000) {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        prop_assert_eq!(&sign(&signer, pieces), &whole);
    }

    #[test]
    fn what_changes_the_relaxed_form_breaks_the_signature(
        message in message(), at in any::<prop::sample::Index>(), octet in any::<u8>(),
    ) {
        let signer = ed25519();
        let Ok(field) = sign(&signer, [&message]) else { return Ok(()) };
        let mut changed = message.clone();
        *at.get_mut(&mut changed) = octet;
        // The first line would belong to the signature's field.
        prop_assume!(!matches!(changed[0], b' ' | b'\t'));
        let same = canonical(&message, &field) == canonical(&changed, &field);
        let signed = [field.as_bytes(), &changed].concat();
        let verdict = verify(&signed, &signer.key().dns_record());
        prop_assert_eq!(verdict.is_ok(), same);
    }

    #[test]
    fn authors_are_known_when_the_header_has_been_read(message in message()) {
        let mut hasher = dkim_sign::MessageHasher::new();
        hasher.feed(&message);
        let early = hasher.authors();
        let late = HashedMessage::read([&message]);
        if let Some(early) = early {
            prop_assert_eq!(early, late.map_err(Into::into).and_then(|message| message.authors()));
        }
    }
}

/// What a signature is made of.
fn canonical(message: &[u8], field: &str) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (fields, body) = parts(message);
    let tags = tags(field);
    let mut names: Vec<&str> = tags["h"].split(':').collect();
    names.dedup();
    let mut signed = Vec::new();
    for wanted in names {
        for (name, value) in &fields {
            if name == wanted {
                signed.push(relaxed_field(name, value));
            }
        }
    }
    (signed, relaxed_body(&body))
}
