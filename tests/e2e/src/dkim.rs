//! DKIM keys, and two judges of signatures that share no code with ours: dkimpy and OpenDKIM.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::openssl::OpensslFixtures;
use crate::{Failure, Session};

/// What `openssl genpkey` takes for the kinds of keys.
pub const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
pub const ED25519: &str = "-algorithm ED25519";

/// A private key that `openssl` makes.
pub fn key(kind: &str) -> String {
    OpensslFixtures::new().key("dkim", kind).read("dkim.key")
}

/// The key is a parameter, so that it is not in the text of the statement.
pub fn set_key(
    session: &mut Session,
    domain: &str,
    selector: &str,
    private_key: &str,
) -> Result<(), Failure> {
    let parameters: [&(dyn postgres::types::ToSql + Sync); 3] = [&domain, &selector, &private_key];
    session.execute("SELECT utl_smtp.set_dkim_key($1, $2, $3)", &parameters)?;
    Ok(())
}

/// The TXT record of a key.
pub fn record(session: &mut Session, domain: &str, selector: &str) -> Result<String, Failure> {
    let row = session.query_one("SELECT utl_smtp.dkim_record($1, $2)", &[&domain, &selector])?;
    Ok(row.get(0))
}

/// What dkimpy and OpenDKIM say of each signature of a message, whose lines end in CRLF or LF.
pub fn verdicts(message: &[u8], records: &[[String; 2]]) -> [Vec<bool>; 2] {
    [dkimpy(message, records), opendkim(message, records)]
}

/// Debian's dkimpy: its interpreter is not the first of every PATH.
pub fn dkimpy(message: &[u8], records: &[[String; 2]]) -> Vec<bool> {
    const PROGRAM: &str = "
import base64, dkim, json, sys
given = json.load(sys.stdin)
records = {name + '.': text.encode() for name, text in given['records']}
def look_up(name, timeout=5):
    return records.get(name.decode() if isinstance(name, bytes) else name)
message = dkim.DKIM(base64.b64decode(given['message']))
def verdict(index):
    try:
        return message.verify(index, dnsfunc=look_up)
    except dkim.DKIMException as error:
        print(error, file=sys.stderr)
        return False
names = [name.lower() for name, _ in message.headers]
json.dump([verdict(index) for index in range(names.count(b'dkim-signature'))], sys.stdout)";
    let input = json!({"message": STANDARD.encode(message), "records": records});
    let [output, _] = output(
        Command::new("/usr/bin/python3").args(["-c", PROGRAM]),
        input.to_string().as_bytes(),
    );
    let verdicts: Value = serde_json::from_str(&output).unwrap();
    let verdicts = verdicts.as_array().unwrap().iter();
    verdicts.map(|verdict| verdict.as_bool().unwrap()).collect()
}

/// OpenDKIM's verdicts are in the field that it would add; its exit status says nothing.
fn opendkim(message: &[u8], records: &[[String; 2]]) -> Vec<bool> {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let lines: Vec<String> = records.iter().map(|record| record.join(" ")).collect();
    fs::write(path("records"), lines.join("\n")).unwrap();
    let configuration = format!("Mode v\nTestDNSData {}\n", path("records"));
    fs::write(path("configuration"), configuration).unwrap();
    let text = message.iter().copied().filter(|octet| *octet != b'\r');
    let mut text: Vec<u8> = text.collect();
    // It reports nothing unless the message is complete, as a mail server delivers it.
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    if !text.windows(2).any(|two| two == b"\n\n") {
        text.push(b'\n');
    }
    fs::write(path("message"), text).unwrap();
    let arguments = ["-x", &path("configuration"), "-vvv", "-t", &path("message")];
    let [output, said] = output(Command::new("/usr/sbin/opendkim").args(arguments), b"");
    let (_, results) = output
        .split_once("hname='Authentication-Results'")
        .unwrap_or_else(|| panic!("{said}"));
    let words = results.split_ascii_whitespace();
    words
        .filter_map(|word| word.strip_prefix("dkim="))
        .map(|verdict| verdict == "pass")
        .collect()
}

/// What the program writes to standard output and to standard error.
#[track_caller]
fn output(command: &mut Command, input: &[u8]) -> [String; 2] {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned());
    assert!(output.status.success(), "{command:?}: {stderr}");
    [stdout, stderr]
}
