//! A verifier of signatures that shares no code with the crate: slow, as RFC 6376 words it.

#![allow(dead_code, clippy::unwrap_used)] // Not every program uses all of it, and a test may panic wherever it stands.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dkim_sign::{Domain, HashedMessage, MessageError, PrivateKey, Selector, Signer};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

pub const TIME: u64 = 1_764_000_000;

/// The key of RFC 8463 A.2.
pub fn ed25519() -> Signer {
    signer(
        "brisbane",
        "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n",
    )
}

pub fn signer(selector: &str, pem: &str) -> Signer {
    Signer::new(
        Domain::parse("example.com").unwrap(),
        Selector::parse(selector).unwrap(),
        PrivateKey::parse(pem).unwrap(),
    )
    .unwrap()
}

/// The field for a message in pieces.
pub fn sign(
    signer: &Signer,
    pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
) -> Result<String, MessageError> {
    HashedMessage::read(pieces).map(|message| signer.sign(&message, TIME).unwrap())
}

/// The tags of a field, all white space taken out.
pub fn tags(field: &str) -> HashMap<String, String> {
    let (name, value) = field.split_once(':').unwrap();
    assert_eq!(name, "DKIM-Signature");
    let value: String = value.split_ascii_whitespace().collect();
    let tags: Vec<(String, String)> = value
        .split(';')
        .map(|tag| tag.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let count = tags.len();
    let tags: HashMap<String, String> = tags.into_iter().collect();
    assert_eq!(tags.len(), count, "a tag twice: {field}");
    tags
}

/// The message as it arrives: its lines.
pub fn lines(message: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    let mut previous = 0;
    for octet in message.iter().copied() {
        match octet {
            b'\n' if previous == b'\r' => {}
            b'\r' | b'\n' => lines.push(Vec::new()),
            _ => lines.last_mut().unwrap().push(octet),
        }
        previous = octet;
    }
    // What follows the last line end is a line only if there is something.
    lines.pop_if(|line| line.is_empty());
    lines
}

/// Name, and value without line ends.
pub type Field = (String, Vec<u8>);

/// The fields, and the lines of the body.
pub fn parts(message: &[u8]) -> (Vec<Field>, Vec<Vec<u8>>) {
    let mut fields: Vec<Field> = Vec::new();
    let mut lines = lines(message).into_iter().peekable();
    while let Some(line) = lines.peek() {
        if line.is_empty() {
            lines.next();
            break;
        }
        let folded = line[0] == b' ' || line[0] == b'\t';
        if folded && !fields.is_empty() {
            let line = lines.next().unwrap();
            fields.last_mut().unwrap().1.extend(line);
            continue;
        }
        let Some((name, value)) = field(line) else {
            break;
        };
        fields.push((name, value));
        lines.next();
    }
    (fields, lines.collect())
}

fn field(line: &[u8]) -> Option<Field> {
    let colon = line.iter().position(|octet| *octet == b':')?;
    let mut name = &line[..colon];
    while let [before @ .., b' ' | b'\t'] = name {
        name = before;
    }
    let valid = !name.is_empty() && colon <= 998 && name.iter().all(u8::is_ascii_graphic);
    let name = valid.then(|| String::from_utf8(name.to_vec()).unwrap())?;
    Some((name.to_lowercase(), line[colon + 1..].to_vec()))
}

fn reduced(text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for octet in text.iter().copied() {
        let octet = if octet == b'\t' { b' ' } else { octet };
        if octet != b' ' || out.last() != Some(&b' ') {
            out.push(octet);
        }
    }
    out.pop_if(|octet| *octet == b' ');
    out
}

/// §3.4.2
pub fn relaxed_field(name: &str, value: &[u8]) -> Vec<u8> {
    let value = reduced(value);
    let value = value.strip_prefix(b" ").unwrap_or(&value);
    [name.to_lowercase().as_bytes(), b":", value].concat()
}

/// §3.4.4
pub fn relaxed_body(lines: &[Vec<u8>]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = lines.iter().map(|line| reduced(line)).collect();
    while lines.pop_if(|line| line.is_empty()).is_some() {}
    lines
        .into_iter()
        .flat_map(|line| [line, b"\r\n".to_vec()].concat())
        .collect()
}

/// Whether the first field of a message, a DKIM-Signature, is valid for the key in `record`
/// (§6.1.3).
pub fn verify(message: &[u8], record: &str) -> Result<(), &'static str> {
    let (mut fields, body) = parts(message);
    let (name, value) = fields.remove(0);
    assert_eq!(name, "dkim-signature");
    let text = String::from_utf8(value).unwrap();
    let tags = tags(&format!("DKIM-Signature:{text}"));
    assert_eq!(tags["c"], "relaxed/relaxed");
    let hash = digest(&SHA256, &relaxed_body(&body));
    if STANDARD.encode(hash) != tags["bh"] {
        return Err("body");
    }
    let mut data = Vec::new();
    for name in tags["h"].split(':') {
        if let Some(index) = fields.iter().rposition(|(known, _)| known == name) {
            let (name, value) = fields.remove(index);
            data.extend(relaxed_field(&name, &value));
            data.extend(b"\r\n");
        }
    }
    // The last tag loses its value, with the white space before it.
    let (unsigned, _) = text.rsplit_once("b=").unwrap();
    data.extend(relaxed_field(
        "dkim-signature",
        &[unsigned.as_bytes(), b"b="].concat(),
    ));
    let key = record.split("; ").find_map(|tag| tag.strip_prefix("p="));
    let key = STANDARD.decode(key.unwrap()).unwrap();
    let signature = STANDARD.decode(&tags["b"]).unwrap();
    let valid = match tags["a"].as_str() {
        "ed25519-sha256" => UnparsedPublicKey::new(&ED25519, key)
            .verify(digest(&SHA256, &data).as_ref(), &signature),
        // RSAPublicKey lies behind the 24 octets that name the algorithm.
        "rsa-sha256" => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key[24..])
            .verify(&data, &signature),
        other => panic!("{other}"),
    };
    valid.map_err(|_| "header")
}
